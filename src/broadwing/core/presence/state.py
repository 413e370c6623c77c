"""Who is present, as one replica knows it: an add-wins set of presences that replicas merge in any order.

Each replica writes its own presences only, and numbers its changes. What it knows of the others is, for each, a clock up to which
it knows everything, and the presences that are left of that. Nothing is kept of what left: a presence at or before that clock that
is not there has been there. So the state is as large as what it holds, whatever came and went.

Source: phoenix_pubsub `lib/phoenix/tracker/state.ex`. Different from there: replicas are merged one by one, and what leads on
from something that was missed waits for it, so that a context has no gaps and needs no cloud of single clocks.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

from broadwing.core.presence.deltas import Delta, Entry, Interval, Meta
from broadwing.core.presence.replica import Replica


class Changes(NamedTuple):
    """What changed on one topic.

    Attributes:
        joins: Keys and metas that have come.
        leaves: Those that have gone. An update has the new meta among `joins` and the old one here.
    """

    joins: list[tuple[str, Meta]]
    leaves: list[tuple[str, Meta]]


Diff: TypeAlias = dict[str, Changes]
"""Topic to what changed there."""

Presences: TypeAlias = list[tuple[str, Meta]]
"""Keys and metas; a key has as many entries as it has presences."""

Metas: TypeAlias = list[Meta]
"""What is known of the presences of one key."""

Entries: TypeAlias = list[Entry]

News: TypeAlias = list[tuple[Replica, Interval]]
"""What a merge has learned, interval by interval."""

# Intervals of one replica that may wait for what is missing before them. The next transfer brings what is dropped.
_MOST_WAITING: Final = 16

_Place: TypeAlias = tuple[Replica, str]


def add_join(diff: Diff, entry: Entry) -> None:
    """Note that a presence has come."""
    _changes(diff, entry.topic).joins.append((entry.key, entry.meta))


def add_leave(diff: Diff, entry: Entry) -> None:
    """Note that a presence has gone."""
    _changes(diff, entry.topic).leaves.append((entry.key, entry.meta))


def _changes(diff: Diff, topic: str) -> Changes:
    changes = diff.get(topic)
    if changes is None:
        changes = diff[topic] = Changes([], [])
    return changes


class State:
    """The presences that one replica knows of.

    A join, a leave and an update cost the same whatever is present; a merge costs what is merged; `list` costs its topic.

    Args:
        replica: Whose state it is.

    Attributes:
        replica: The same.
        context: Up to which clock each replica is known; this one's is its last change.
        down: Replicas whose presences do not count at present.
    """

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.context: dict[Replica, int] = {replica: 0}
        self.down: set[Replica] = set()
        self._values: dict[Replica, dict[int, Entry]] = {replica: {}}
        self._waiting: dict[Replica, list[Interval]] = {}
        # Topic to key to place, because that is how it is read.
        self._topics: dict[str, dict[str, dict[_Place, Entry]]] = {}
        self._owned: dict[str, dict[tuple[str, str], Entry]] = {}
        self._delta = Interval(0, 0)

    # This replica's own presences.

    def join(self, topic: str, owner: str, key: str, meta: Meta) -> Entry:
        """Add a presence; the owner must not have it already."""
        entry = Entry(topic, owner, key, meta, self._next())
        self._owned.setdefault(owner, {})[topic, key] = entry
        self._put(self.replica, entry)
        self._delta.values[entry.clock] = entry
        return entry

    def leave(self, topic: str, owner: str, key: str) -> Entry | None:
        """Remove a presence; returns what it was, or `None` when there is none."""
        entry = self.get(topic, owner, key)
        if entry is not None:
            places = self._owned[owner]
            del places[topic, key]
            if not places:
                del self._owned[owner]
            self._take(self.replica, entry)
            self._removed(entry)
            self._next()  # by which the others notice that they have missed it
        return entry

    def update(self, old: Entry, meta: Meta) -> Entry:
        """Give one of this replica's presences another meta; it keeps its place."""
        self._removed(old)
        del self._values[self.replica][old.clock]
        entry = Entry(old.topic, old.owner, old.key, meta, self._next())
        self._owned[old.owner][old.topic, old.key] = entry
        self._put(self.replica, entry)
        self._delta.values[entry.clock] = entry
        return entry

    def get(self, topic: str, owner: str, key: str) -> Entry | None:
        """A presence of this replica."""
        places = self._owned.get(owner)
        return places.get((topic, key)) if places is not None else None

    def owned(self, owner: str) -> Entries:
        """All presences of an owner on this replica."""
        return list(self._owned.get(owner, {}).values())

    def _next(self) -> int:
        clock = self.context[self.replica] + 1
        self.context[self.replica] = self._delta.end = clock
        return clock

    def _removed(self, entry: Entry) -> None:
        if self._delta.values.pop(entry.clock, None) is None:
            self._delta.removed.add(entry.clock)

    # Reading.

    def list(self, topic: str) -> Presences:
        """Who is present on a topic: keys in the order in which they came, the metas of a key together."""
        keys = self._topics.get(topic, {})
        if not self.down:
            return [(key, entry.meta) for key, places in keys.items() for entry in places.values()]
        return [
            (key, entry.meta)
            for key, places in keys.items()
            for (replica, _), entry in places.items()
            if replica not in self.down
        ]

    def dirty_list(self, topic: str) -> Presences:
        """The same with the presences of replicas that are down."""
        return [(key, entry.meta) for key, places in self._topics.get(topic, {}).items() for entry in places.values()]

    def get_by_key(self, topic: str, key: str) -> Metas:
        """The metas of one key; costs their number."""
        places = self._topics.get(topic, {}).get(key, {})
        return [entry.meta for (replica, _), entry in places.items() if replica not in self.down]

    def topics(self) -> Iterator[str]:
        """Topics with presences, those of replicas that are down included."""
        return iter(self._topics)

    def __len__(self) -> int:
        """How many presences there are, those of replicas that are down included."""
        return sum(map(len, self._values.values()))

    @property
    def waiting(self) -> int:
        """How many intervals wait for something before them."""
        return sum(map(len, self._waiting.values()))

    # Other replicas.

    def clocks(self) -> dict[Replica, int]:
        """What is known here and can be asked for. Replicas that are down are left out, as nobody is to ask for them."""
        return {replica: clock for replica, clock in self.context.items() if replica not in self.down}

    def replica_up(self, replica: Replica, diff: Diff | None = None) -> None:
        """A replica counts from now on; what is known of it joins, in `diff`."""
        self.context.setdefault(replica, 0)
        self._values.setdefault(replica, {})
        if replica in self.down:
            self.down.discard(replica)
            if diff is not None:
                for entry in self._values[replica].values():
                    add_join(diff, entry)

    def replica_down(self, replica: Replica, diff: Diff | None = None) -> None:
        """A replica does not count for the time being; its presences leave, in `diff`, and are kept."""
        if replica in self.context and replica not in self.down:
            self.down.add(replica)
            if diff is not None:
                for entry in self._values[replica].values():
                    add_leave(diff, entry)

    def forget(self, replica: Replica) -> None:
        """Remove everything of a replica that is down and will not come back."""
        for entry in list(self._values.get(replica, {}).values()):
            self._take(replica, entry)
        self.down.discard(replica)
        for known in (self.context, self._values, self._waiting):
            known.pop(replica, None)

    # Replication.

    def take_delta(self) -> Interval | None:
        """What changed here since the last call; `None`: nothing."""
        delta = self._delta
        if not delta:
            return None
        self._delta = Interval(delta.end, delta.end)
        return delta

    def interval(self, replica: Replica) -> Interval:
        """Everything that is known of a replica; shares its values with the state."""
        return Interval(0, self.context[replica], self._values[replica])

    def merge(self, delta: Delta, diff: Diff | None = None) -> News:
        """Take in what happened elsewhere. In any order and as often as one likes: the state is the same in the end.

        What is said of this replica, and of those it has not heard of, is ignored.

        Args:
            delta: What happened; it is not kept, its entries are.
            diff: Where to put what that means for who is present, replicas that are down excepted.

        Returns:
            What was news, interval by interval.
        """
        news: News = []
        diff = {} if diff is None else diff
        for replica, interval in delta.items():
            if replica == self.replica or replica not in self.context:
                continue
            if interval.start > self.context[replica]:
                self._wait(replica, interval)
            elif self._merge(replica, interval, diff):
                news.append((replica, interval))
                due = self._due(replica)
                news.extend((replica, later) for later in due if self._merge(replica, later, diff))
        return news

    def _merge(self, replica: Replica, interval: Interval, diff: Diff) -> bool:
        known = self.context[replica]
        if interval.end <= known:
            return False
        values = self._values[replica]
        left = [clock for clock in interval.removed if clock in values]
        if interval.start < known:
            # Of what it says about clocks that are known, only that something is no longer there can be news.
            left += [clock for clock in _within(values, interval.start, known) if clock not in interval.values]
        joined = interval.values
        if interval.start < known:
            joined = {clock: entry for clock, entry in joined.items() if clock > known}
        gone = [values.pop(clock) for clock in left]
        if not values:
            self._values[replica] = {}  # an empty dict keeps the room that it had when it was full
        self.context[replica] = interval.end
        for entry in joined.values():
            self._put(replica, entry)
        for entry in gone:
            self._unlist(replica, entry)
        if replica not in self.down:
            for entry in joined.values():
                add_join(diff, entry)
            for entry in gone:
                add_leave(diff, entry)
        return True

    def _wait(self, replica: Replica, interval: Interval) -> None:
        waiting = self._waiting.setdefault(replica, [])
        if interval not in waiting:
            waiting.append(interval)
            waiting.sort(key=lambda each: each.start)
            del waiting[_MOST_WAITING:]

    def _due(self, replica: Replica) -> Iterator[Interval]:
        waiting = self._waiting.get(replica)
        while waiting and waiting[0].start <= self.context[replica]:
            yield waiting.pop(0)
        if waiting is not None and not waiting:
            del self._waiting[replica]

    # The table and its index.

    def _put(self, replica: Replica, entry: Entry) -> None:
        self._values[replica][entry.clock] = entry
        keys = self._topics.get(entry.topic)
        if keys is None:
            keys = self._topics[entry.topic] = {}
        places = keys.get(entry.key)
        if places is None:
            places = keys[entry.key] = {}
        places[replica, entry.owner] = entry

    def _take(self, replica: Replica, entry: Entry) -> None:
        values = self._values[replica]
        del values[entry.clock]
        if not values:
            self._values[replica] = {}
        self._unlist(replica, entry)

    def _unlist(self, replica: Replica, entry: Entry) -> None:
        keys = self._topics.get(entry.topic, {})
        places = keys.get(entry.key, {})
        place = (replica, entry.owner)
        if places.get(place) is not entry:
            return  # an update has taken its place
        del places[place]
        if not places:
            del keys[entry.key]
            if not keys:
                del self._topics[entry.topic]


def _within(values: dict[int, Entry], start: int, end: int) -> list[int]:
    """Clocks of values after `start`, up to and with `end`, by whichever way is shorter."""
    if end - start < len(values):
        return [clock for clock in range(start + 1, end + 1) if clock in values]
    return [clock for clock in values if start < clock <= end]
