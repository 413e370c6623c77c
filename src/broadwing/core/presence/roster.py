"""Who is on which topic according to the diffs alone, for whoever follows them."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from broadwing.core.presence.payloads import Diff, Meta

Roster: TypeAlias = Mapping[str, Sequence[Meta]]
"""Key to its metas, in the order in which they came."""


class Rosters:
    """The rosters of all topics. A diff costs its length; keys and topics without metas are gone."""

    def __init__(self) -> None:
        self._topics: dict[str, dict[str, list[Meta]]] = {}

    def __len__(self) -> int:
        """Topics with somebody on them."""
        return len(self._topics)

    def apply(self, topic: str, diff: Diff) -> Roster:
        """Work in a diff; returns the topic's roster, which changes with the next one."""
        keys = self._topics.setdefault(topic, {})
        for key, entry in diff.joins.items():
            metas = keys.setdefault(key, [])
            known = {meta["phx_ref"] for meta in metas}
            metas.extend(meta for meta in entry["metas"] if meta["phx_ref"] not in known)
        for key, entry in diff.leaves.items():
            gone = {meta["phx_ref"] for meta in entry["metas"]}
            left = [meta for meta in keys.get(key, ()) if meta["phx_ref"] not in gone]
            if left:
                keys[key] = left
            else:
                keys.pop(key, None)
        if not keys:
            del self._topics[topic]
        return keys
