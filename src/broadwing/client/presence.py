"""Who is on a topic, kept from what the server tells of it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar, overload

from broadwing.client.channel import Channel, refuse_coroutine
from broadwing.client.listeners import Listeners, Remove
from broadwing.core.presence.sync import Change, Entry, Presences, listed

T = TypeVar("T")

STATE_EVENT: Final = "presence_state"
DIFF_EVENT: Final = "presence_diff"


class Presence:
    """Who is on a channel's topic. Make it before the join, so that it misses nothing:

        channel = socket.channel("room:lobby")
        presence = Presence(channel)
        presence.on_sync(lambda: print(list(presence.state)))
        await channel.join()

    It keeps what it knows while the connection is lost, and tells what has changed when the channel was joined again.

    Args:
        channel: The channel.
        state_event: The server's event with everybody who is there.
        diff_event: The server's event with who came and went.
    """

    def __init__(self, channel: Channel, *, state_event: str = STATE_EVENT, diff_event: str = DIFF_EVENT) -> None:
        self._channel = channel
        self._presences = Presences()
        report = channel._socket._report
        self._joins, self._leaves, self._syncs = Listeners(report), Listeners(report), Listeners(report)
        channel.on(state_event, self._begin)
        channel.on(diff_event, self._follow)

    @property
    def state(self) -> Mapping[str, Entry]:
        """Entries by key; an entry has `metas`, a list with one mapping for each time its key is tracked."""
        return self._presences.state

    @property
    def is_waiting(self) -> bool:
        """Whether the state of the channel's present join has still to come."""
        return self._presences.is_waiting(self._channel.join_ref)

    def on_join(self, callback: Callable[[str, Entry | None, Entry], object]) -> Remove:
        """Call back with a key, its entry before (`None` for a new one), and an entry with the new metas only."""
        refuse_coroutine(callback, "presence.on_join(...)")
        return self._joins.add(callback)

    def on_leave(self, callback: Callable[[str, Entry, Entry], object]) -> Remove:
        """Call back with a key, its entry after (without metas when it is gone), and an entry with the metas that went."""
        refuse_coroutine(callback, "presence.on_leave(...)")
        return self._leaves.add(callback)

    def on_sync(self, callback: Callable[[], object]) -> Remove:
        """Call back when a message of the server has been worked in."""
        refuse_coroutine(callback, "presence.on_sync(...)")
        return self._syncs.add(callback)

    @overload
    def list(self) -> Sequence[Entry]: ...
    @overload
    def list(self, by: Callable[[str, Entry], T]) -> Sequence[T]: ...
    def list(self, by: Callable[[str, Entry], Any] | None = None) -> Sequence[Any]:
        """The entries in the order in which their keys came, or what `by` makes of each key and entry."""
        return listed(self._presences.state, by)

    def _begin(self, state: Any) -> None:
        self._tell(self._presences.begin(self._channel.join_ref, state))

    def _follow(self, diff: Any) -> None:
        changes = self._presences.follow(self._channel.join_ref, diff)
        if changes is not None:
            self._tell(changes)

    def _tell(self, changes: Sequence[Change]) -> None:
        for key, current, joined, left in changes:
            if joined is not None:
                self._joins(key, current, joined)
            if left is not None:
                self._leaves(key, current, left)
        self._syncs()
