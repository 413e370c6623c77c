"""Who is on a topic, as a client keeps it from the `presence_state` and `presence_diff` that it is sent.

The twin of js/src/presence.js; spec/vectors/presence_sync.json holds both to the same. Entries are replaced and never changed,
so what a callback was given stays as it was.

Source: phoenix.js `assets/js/phoenix/presence.js`; what differs is told in js/README.md.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias, TypeVar

Entry: TypeAlias = Mapping[str, Any]
"""All that is known of one key: `metas`, a list of mappings with a `phx_ref` each, and what else the server put there."""

State: TypeAlias = Mapping[str, Entry]
"""Who is there, by key; the payload of a `presence_state`."""

Diff: TypeAlias = Mapping[str, State]
"""`joins` and `leaves`, a state each; the payload of a `presence_diff`."""

OnJoin: TypeAlias = Callable[[str, Entry | None, Entry], object]
"""Gets a key, its entry before (`None` for one that was not there), and an entry with the new metas only."""

OnLeave: TypeAlias = Callable[[str, Entry, Entry], object]
"""Gets a key, its entry after (without metas when it is gone), and an entry with the metas that went."""

T = TypeVar("T")


class Change(NamedTuple):
    """Something to tell of one key; of `joined` and `left` one is set.

    Attributes:
        key: Who.
        current: The entry before a join, or after a leave.
        joined: What came.
        left: What went.
    """

    key: str
    current: Entry | None
    joined: Entry | None = None
    left: Entry | None = None


def sync_state(
    state: State, new_state: State, on_join: OnJoin | None = None, on_leave: OnLeave | None = None
) -> dict[str, Entry]:
    """The state that follows when the server tells the whole of its own; metas are compared by `phx_ref`.

    Args:
        state: What was known; it is not changed.
        new_state: The payload of a `presence_state`; it is not changed.
        on_join: Called for each key with new metas, when all is worked in.
        on_leave: Called for each key with metas that went, likewise.
    """
    return sync_diff(state, _difference(state, new_state), on_join, on_leave)


def sync_diff(
    state: State, diff: Diff, on_join: OnJoin | None = None, on_leave: OnLeave | None = None
) -> dict[str, Entry]:
    """The state that follows when the server tells what changed; as `sync_state` otherwise."""
    following = dict(state)
    for change in _merge(following, diff):
        report(change, on_join, on_leave)
    return following


def listed(state: State, chooser: Callable[[str, Entry], T] | None = None) -> list[Any]:
    """The entries in the order of their keys, or what `chooser` makes of each key and entry."""
    return [entry if chooser is None else chooser(key, entry) for key, entry in state.items()]


def report(change: Change, on_join: OnJoin | None, on_leave: OnLeave | None) -> None:
    """Call the callback that a change is for."""
    if change.joined is not None and on_join is not None:
        on_join(change.key, change.current, change.joined)
    if change.left is not None and on_leave is not None:
        assert change.current is not None  # of a leave
        on_leave(change.key, change.current, change.left)


class Presences:
    """Who is on a topic, over joins and rejoins. Diffs that come before the state of their join wait for it.

    Attributes:
        state: Who is there.
        join_ref: The join whose state has come.
    """

    def __init__(self) -> None:
        self.state: dict[str, Entry] = {}
        self.join_ref: Any = None
        self._waiting: list[Diff] = []
        self._waiting_ref: Any = None

    def is_waiting(self, join_ref: Any) -> bool:
        """Whether the state of that join has still to come."""
        return self.join_ref is None or self.join_ref != join_ref

    def begin(self, join_ref: Any, new_state: State) -> list[Change]:
        """Take the payload of a `presence_state`; returns what to report, in order, before a sync."""
        changes = _merge(self.state, _difference(self.state, new_state))
        # What waits from an earlier join is older than this state: worked in, it would bring back who has left since.
        waiting = self._waiting if self._waiting_ref == join_ref else []
        self._waiting = []
        for diff in waiting:
            changes += _merge(self.state, diff)
        self.join_ref = join_ref
        return changes

    def follow(self, join_ref: Any, diff: Diff) -> list[Change] | None:
        """Take the payload of a `presence_diff`; returns what to report, or `None` while it waits, when there is no sync."""
        if not self.is_waiting(join_ref):
            return _merge(self.state, diff)
        if self._waiting_ref != join_ref:
            self._waiting = []
        self._waiting_ref = join_ref
        self._waiting.append(diff)
        return None


def _difference(state: State, new_state: State) -> Diff:
    old = dict(state)
    joins: dict[str, Entry] = {}
    leaves: dict[str, Entry] = {}
    for key, entry in new_state.items():
        current = old.pop(key, None)
        joined = entry if current is None else _without(entry, current["metas"])
        if joined["metas"] or current is None:
            joins[key] = joined
        if current is not None:
            left = _without(current, entry["metas"])
            if left["metas"]:
                leaves[key] = left
    return {"joins": joins, "leaves": {**old, **leaves}}


def _merge(state: dict[str, Entry], diff: Diff) -> list[Change]:
    # In place: a copy of tens of thousands of keys for each diff would take as many microseconds.
    changes: list[Change] = []
    for key, joined in diff["joins"].items():
        current = state.get(key)
        kept = [] if current is None else _without(current, joined["metas"])["metas"]
        state[key] = {**joined, "metas": [*kept, *joined["metas"]]}
        changes.append(Change(key, current, joined=joined))
    for key, left in diff["leaves"].items():
        if key not in state:
            continue
        current = _without(state[key], left["metas"])
        if current["metas"]:
            state[key] = current
        else:
            del state[key]
        changes.append(Change(key, current, left=left))
    return changes


def _without(entry: Entry, metas: Iterable[Mapping[str, Any]]) -> Entry:
    refs = {meta["phx_ref"] for meta in metas}
    return {**entry, "metas": [meta for meta in entry["metas"] if meta["phx_ref"] not in refs]}
