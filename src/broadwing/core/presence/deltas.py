"""What happened to one replica's presences between two of its clocks, and how much of that is kept for who missed it.

An `Interval` is the whole truth about the clocks in it: a presence that was joined at one of them and is not among its values is
gone. So joins and leaves within an interval cost nothing, an interval from 0 is a full state, and two intervals that touch
make one. No tombstone outlives the interval that it is in.

Source: phoenix_pubsub `lib/phoenix/tracker/delta_generation.ex`; Almeida, Shoker, Baquero, "Delta State Replicated Data Types",
2018, whose causal delta-merging condition this is.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from broadwing.core.presence.replica import Replica

Meta: TypeAlias = Mapping[str, Any]
"""What is known of a presence, a JSON object. Shared by all who read it: not to be changed."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One presence.

    Attributes:
        topic: Where.
        owner: Who holds it, in words of its node.
        key: Who is there.
        meta: What is known of it.
        clock: When it was joined, in its replica's history; with the replica, it names the presence.
    """

    topic: str
    owner: str
    key: str
    meta: Meta
    clock: int


class Interval:
    """The truth about the clocks after `start`, up to and with `end`.

    Attributes:
        start: The clock before the first.
        end: The last clock.
        values: Presences that were joined in between and are still there, by their clock, in its order.
        removed: Presences from `start` and before it that left in between.
    """

    __slots__ = ("end", "removed", "start", "values")

    def __init__(
        self, start: int, end: int, values: dict[int, Entry] | None = None, removed: set[int] | None = None
    ) -> None:
        self.start = start
        self.end = end
        self.values: dict[int, Entry] = {} if values is None else values
        self.removed: set[int] = set() if removed is None else removed

    def __len__(self) -> int:
        return len(self.values) + len(self.removed)

    def __bool__(self) -> bool:
        return self.end > self.start

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Interval):
            return NotImplemented
        mine = (self.start, self.end, self.values, self.removed)
        return mine == (other.start, other.end, other.values, other.removed)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Interval({self.start}, {self.end}, {self.values}, {self.removed})"

    def copy(self) -> "Interval":
        """Another one that says the same."""
        return Interval(self.start, self.end, dict(self.values), set(self.removed))

    def touches(self, other: "Interval") -> bool:
        """Whether nothing is missing between the two, so that they make one."""
        return self.start <= other.end and other.start <= self.end

    def joined(self, other: "Interval") -> "Interval":
        """What both say together; neither is changed.

        Raises:
            ValueError: Something is missing between them.
        """
        if not self.touches(other):
            raise ValueError(f"clocks are missing between ({self.start}, {self.end}] and ({other.start}, {other.end}]")
        older, newer = (self, other) if self.end <= other.end else (other, self)
        made = older.copy()
        return made if made.extend(newer) else newer.copy()

    def extend(self, newer: "Interval") -> bool:
        """Take in one that touches this one and does not end before it, in time that is proportional to the newer one.

        Returns:
            Whether that made sense: `False` leaves this one as it was, and `newer` says all of it.
        """
        if newer.start <= self.start:
            return False
        if newer.start < self.end:  # they overlap, and the newer one knows better
            for clock in [clock for clock in self.values if clock > newer.start]:
                del self.values[clock]
        for clock in newer.removed:
            if clock > self.start:
                self.values.pop(clock, None)
            else:
                self.removed.add(clock)
        self.values.update(newer.values)
        self.end = newer.end
        return True


Delta: TypeAlias = Mapping[Replica, Interval]
"""What happened, by replica. Replicas know nothing of each other's clocks, so each interval can be merged alone."""


class History:
    """What happened lately, in generations of growing size, so that who missed a little need not be sent all.

    Args:
        sizes: Most presences and removals that each generation of each replica may hold, from small to large.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self._sizes = tuple(sizes)
        self._generations: dict[Replica, list[Interval]] = {}

    def __len__(self) -> int:
        """How many presences and removals it holds."""
        return sum(len(interval) for generations in self._generations.values() for interval in generations)

    def generations(self, replica: Replica) -> Sequence[Interval]:
        """What is kept of a replica, from the smallest."""
        return self._generations.get(replica, ())

    def push(self, replica: Replica, interval: Interval) -> None:
        """Remember what happened; costs as much as it is long, and now and then as much as the generation before holds."""
        generations = self._generations.get(replica)
        if generations is None:
            generations = [Interval(interval.start, interval.start) for _ in self._sizes]
            self._generations[replica] = generations
        smaller = interval
        for index, size in enumerate(self._sizes):
            generation = generations[index]
            if interval.end < generation.end:
                continue  # late; it is known
            if not (generation.touches(interval) and generation.extend(interval)):
                generation = (
                    interval.copy()
                )  # from here on: what is missing before it will be asked of others, or never
            if len(generation) > size:
                generation = smaller.copy() if len(smaller) <= size else Interval(interval.end, interval.end)
            generations[index] = smaller = generation

    def forget(self, replica: Replica) -> None:
        """A replica is gone for good."""
        self._generations.pop(replica, None)

    def since(self, replica: Replica, clock: int) -> Interval | None:
        """The smallest generation that leads on from `clock`, if there is one."""
        for generation in self._generations.get(replica, ()):
            if generation.start <= clock < generation.end:
                return generation
        return None
