"""The server's automaton of one connection: which topics are joined, under which ref, and what a message means.

Pure and synchronous: `route` tells what to do with a message, the connection does it. What is stored per topic is opaque here.
"""

from enum import IntEnum
from typing import Any, Generic, TypeVar

E = TypeVar("E")


class Route(IntEnum):
    """What a client's message means, given what is joined."""

    FORWARD = 0
    """An event for a joined (or joining) channel."""
    JOIN = 1
    """A join of a topic that is free."""
    REJOIN = 2
    """A join of a topic that is taken: the old channel goes, the new one comes."""
    LEAVE = 3
    """A leave of a joined channel."""
    LEAVE_NOTHING = 4
    """A leave of a topic that is not joined: answered ok, so that clients can be sure of it."""
    HEARTBEAT = 5
    """`heartbeat` on topic `phoenix`, whatever is joined there."""
    UNMATCHED = 6
    """An event on a topic that is not joined."""
    STALE = 7
    """A message of an earlier join of the same topic: dropped without an answer."""
    TOO_MANY = 8
    """A join beyond the cap; a topic that no channel answers to is answered as such first."""


class SocketState(Generic[E]):
    """Joined topics of one connection.

    Attributes:
        joined: Topic to `(join_ref, entry)`; `join_ref` is what the join message carried, null included.
    """

    __slots__ = ("joined",)

    def __init__(self) -> None:
        self.joined: dict[str, tuple[Any, E]] = {}

    def route(self, join_ref: Any, topic: Any, event: Any, max_channels: int) -> Route:
        """Tell what a message means; changes nothing.

        Args:
            join_ref: As the message carries it.
            topic: As the message carries it; what is not a string matches nothing.
            event: As the message carries it.
            max_channels: Most topics that may be joined at once on this connection.

        Source: Phoenix `lib/phoenix/socket.ex`, handle_in.
        """
        try:
            entry = self.joined.get(topic)
        except TypeError:  # a list or an object in the place of the topic cannot be looked up, let alone joined
            entry = None
        if event == "phx_join":
            if entry is not None:
                return Route.REJOIN
            return Route.TOO_MANY if len(self.joined) >= max_channels else Route.JOIN
        if event == "heartbeat" and topic == "phoenix":  # before the lookup: a channel may be joined under this name
            return Route.HEARTBEAT
        if entry is None:
            return Route.LEAVE_NOTHING if event == "phx_leave" else Route.UNMATCHED
        if join_ref is not None and not same_ref(join_ref, entry[0]):
            return Route.STALE
        return Route.LEAVE if event == "phx_leave" else Route.FORWARD


def same_ref(one: Any, other: Any) -> bool:
    """Compare refs as Phoenix does: strictly and typed, so that `1`, `1.0`, `true` and `"1"` all differ."""
    return type(one) is type(other) and bool(one == other)
