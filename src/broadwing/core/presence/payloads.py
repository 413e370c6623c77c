"""What clients are told of presences: grouped by key, and only what they do not know yet."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

Meta: TypeAlias = Mapping[str, Any]
Presences: TypeAlias = Iterable[tuple[str, Meta]]
Entries: TypeAlias = dict[str, dict[str, Any]]
"""Key to `{"metas": [...]}`: the payload of a `presence_state`, and of each half of a `presence_diff`."""


class Diff(NamedTuple):
    """The two halves of a `presence_diff`.

    Attributes:
        joins: Who came, by key. A meta that was changed is here as it is now, with the former ref as `phx_ref_prev`.
        leaves: Who went, and metas as they were before they were changed.
    """

    joins: Mapping[str, Any]
    leaves: Mapping[str, Any]


def grouped(presences: Presences) -> Entries:
    """Put the metas of each key together, in the order in which they come; the metas are copies."""
    entries: Entries = {}
    for key, meta in presences:
        entry = entries.get(key)
        if entry is None:
            entries[key] = {"metas": [{**meta}]}
        else:
            entry["metas"].append({**meta})
    return entries


class Unsent:
    """What has changed on a topic since its listeners were told last.

    What came and went in between they need not hear of, unless somebody was given a list meanwhile that had it. So it grows no
    larger than who was and who is present, whatever happens.
    """

    __slots__ = ("_count", "_joins", "_leaves", "_seen")

    def __init__(self) -> None:
        # By phx_ref: each is joined once and left once, and a meta that is changed has a new one. A join has a number, by which it
        # is told whether somebody was given it in a list meanwhile.
        self._joins: dict[str, tuple[int, str, Meta]] = {}
        self._leaves: dict[str, tuple[str, Meta]] = {}
        self._count = 0
        self._seen = 0

    def __bool__(self) -> bool:
        return bool(self._joins or self._leaves)

    def add(self, joins: Presences, leaves: Presences) -> None:
        """Take what has changed further."""
        for key, meta in leaves:
            ref = meta["phx_ref"]
            came = self._joins.pop(ref, None)
            if came is None or came[0] <= self._seen:
                self._leaves[ref] = (key, meta)  # whoever does not know it ignores it
        for key, meta in joins:
            ref = meta["phx_ref"]
            # Presences of a node that was cut off for a moment go and come back as they were. Clients work joins in before
            # leaves, so they are told of the join alone, which changes nothing for those who still have it.
            is_known = self._leaves.pop(ref, None) is not None
            self._count += 1
            self._joins[ref] = (0 if is_known else self._count, key, meta)

    def was_listed(self) -> None:
        """Somebody knows everything up to now, besides what is left to be told."""
        self._seen = self._count

    def take(self) -> Diff:
        """Everything, to be told now; nothing is left."""
        payload = Diff(grouped((key, meta) for _, key, meta in self._joins.values()), grouped(self._leaves.values()))
        self._joins, self._leaves = {}, {}
        return payload
