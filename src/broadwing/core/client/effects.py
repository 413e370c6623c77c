"""What the client's automaton knows of channels and pushes, and what it wants done."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeAlias

from broadwing.core.codec import Body

OK, ERROR, TIMEOUT, CLOSED = "ok", "error", "timeout", "closed"
"""How a push ends, besides statuses of the application's own; `CLOSED` when its channel or the client ended first."""

WEBSOCKET: Final = "websocket"
LONGPOLL: Final = "longpoll"
"""The two kinds of connection; also the last segment of their URLs."""

Payload: TypeAlias = Body | Callable[[], Body]
"""A payload encoded, or what encodes it when it is sent, as the parameters of a join may differ each time."""


class ChannelStatus(StrEnum):
    """Where a channel is; the names are those of the JavaScript client."""

    CLOSED = "closed"
    ERRORED = "errored"
    JOINED = "joined"
    JOINING = "joining"


class Status(StrEnum):
    """Where the connection is."""

    CLOSED = "closed"
    """There is none and none is wanted."""
    CONNECTING = "connecting"
    OPEN = "open"
    WAITING = "waiting"
    """It was lost, and is made again after a delay."""


@dataclass(slots=True, eq=False)
class Push:
    """One message to the server.

    Attributes:
        topic: Where it goes.
        event: What happened.
        payload: Encoded, or what encodes it.
        timeout: Seconds to wait for the reply, from its sending; before that, for its sending. `None` waits as long as it takes.
        wants_reply: Whether somebody waits for the reply.
        ref: Its number, once it is sent.
        join_ref: Number of the join it belongs to.
        done: It was answered, timed out or withdrawn: if it is not sent yet, it never will be.
    """

    topic: str
    event: str
    payload: Payload
    timeout: float | None = None
    wants_reply: bool = True
    ref: str | None = None
    join_ref: str | None = None
    done: bool = False


@dataclass(slots=True, eq=False)
class ChannelState:
    """One topic of a client, from its making to its end.

    Attributes:
        topic: The topic.
        payload: Payload of the join.
        status: Where it is.
        timeout: Seconds each join may take.
        join_ref: Number of the present join; `None` before the first, and after one that timed out.
        was_joined: A join has succeeded.
        tries: Joins that failed in a row.
        joining: The join that waits for its reply.
        buffer: Pushes that wait for a join, in order.
        pending: Pushes that wait for a reply, by ref.
    """

    topic: str
    payload: Payload
    status: ChannelStatus = ChannelStatus.CLOSED
    timeout: float = 10.0
    join_ref: str | None = None
    was_joined: bool = False
    joined_once: bool = False
    tries: int = 0
    joining: Push | None = None
    buffer: dict[Push, None] = field(default_factory=dict)
    pending: dict[str, Push] = field(default_factory=dict)


@dataclass(slots=True, frozen=True)
class Message:
    """A message from the server.

    Attributes:
        join_ref: The join it belongs to; `None` for broadcasts, and always in version 1.0.0.
        ref: What it answers; `None` for pushes and broadcasts.
        topic: Where it comes from.
        event: What happened.
        payload: Any JSON value, or `bytes`.
    """

    join_ref: Any
    ref: Any
    topic: str
    event: str
    payload: Any


@dataclass(slots=True, frozen=True)
class Open:
    """Make a connection of this kind; what comes of it is reported under `generation`."""

    generation: int
    kind: str


@dataclass(slots=True, frozen=True)
class Close:
    """End this connection, or the attempt to make it; what it still reports is ignored."""

    generation: int
    code: int
    reason: str


@dataclass(slots=True, frozen=True)
class Send:
    """Send this over the open connection."""

    push: Push


@dataclass(slots=True, frozen=True)
class Settled:
    """A push came to its end: the reply's status and response, `TIMEOUT` or `CLOSED`."""

    push: Push
    status: str
    response: Any


@dataclass(slots=True, frozen=True)
class Connected:
    """The connection is open."""


@dataclass(slots=True, frozen=True)
class Disconnected:
    """The connection ended; `again` tells whether it is made again.

    `code` is the close code, 1006 where there was none.
    """

    code: int
    reason: str
    again: bool


@dataclass(slots=True, frozen=True)
class Joined:
    """The server has let the channel in, for the first time or again."""

    channel: ChannelState
    response: Any
    again: bool


@dataclass(slots=True, frozen=True)
class Refused:
    """The first join has failed, and the channel is closed: `ERROR` and the reply's response, or `TIMEOUT`."""

    channel: ChannelState
    status: str
    response: Any


@dataclass(slots=True, frozen=True)
class Errored:
    """The channel is out of its topic for a while, and will be joined again."""

    channel: ChannelState
    reason: Any


@dataclass(slots=True, frozen=True)
class Ended:
    """The channel is closed for good; by the server or by this side."""

    channel: ChannelState
    by_server: bool


@dataclass(slots=True, frozen=True)
class Deliver:
    """A push or broadcast for the channel."""

    channel: ChannelState
    message: Message


@dataclass(slots=True, frozen=True)
class Ponged:
    """A ping was answered after `seconds`; `None` when the connection was lost before."""

    ref: str
    seconds: float | None


Effect: TypeAlias = (
    Open | Close | Send | Settled | Connected | Disconnected | Joined | Refused | Errored | Ended | Deliver | Ponged
)
