"""The contract between transports and what they carry.

A transport owns bytes and their framing; a handler owns what they mean. `Connection` (channels) and `RawConnection`
(plain frames) are handlers; the lean WebSocket, the ASGI WebSocket and the long-poll session are transports. Neither
side imports the other.
"""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from broadwing.types import ConnectInfo


class Sink(Protocol):
    """Takes frames. An `asyncio` transport is one as it stands."""

    def write(self, data: Any, /) -> object:
        """Take one frame of the transport's format."""
        ...


class Format(Protocol):
    """How a transport wraps an encoded message; shared by all connections that wrap alike.

    Formats are compared by identity: two connections of one format are written the same frame object.
    """

    def frame(self, opcode: int, data: bytes) -> Any:
        """Wrap a message once for everybody; the result goes to `Transport.sink`."""
        ...

    def is_large(self, frame: Any) -> bool:
        """Whether the frame needs `Transport.write_large`, because on its own it could fill a client's buffer."""
        ...


class Transport(Protocol):
    """One client's line, seen from the handler."""

    @property
    def name(self) -> str:
        """`websocket` or `longpoll`."""
        ...

    @property
    def format(self) -> Format:
        """How this client's messages are wrapped."""
        ...

    @property
    def sink(self) -> Sink:
        """Takes frames of this transport's format; never waits."""
        ...

    def write_large(self, frame: Any) -> None:
        """Like `sink.write`, for a frame that may be larger than the client's buffer limit."""
        ...

    def send(self, opcode: int, data: bytes) -> None:
        """Wrap and deliver one message."""
        ...

    def close(self, code: int, reason: str = "") -> None:
        """End the line; idempotent. `Handler.closed` is called once it is down."""
        ...

    def pause_reading(self) -> None:
        """Take no more from the client for now."""
        ...

    def resume_reading(self) -> None:
        """Take from the client again."""
        ...


@runtime_checkable
class Pinger(Protocol):
    """A transport that has pings, which plain ASGI and long polling have not."""

    def ping(self, payload: bytes) -> None:
        """Send a ping of up to 125 bytes; the pong comes to `Handler.control`."""
        ...


class Handler(Protocol):
    """What a transport feeds."""

    def opened(self, transport: Transport) -> None:
        """The line is up; `transport` may be used from now on."""
        ...

    def received(self, opcode: int, data: bytes) -> None:
        """A whole message came; text has been checked to be UTF-8."""
        ...

    def control(self, opcode: int, payload: bytes) -> None:
        """A ping (already answered) or a pong came."""
        ...

    def closing(self) -> None:
        """The line is about to say its last word: what the client is owed has to be written now, or never."""
        ...

    def closed(self, reason: Any) -> None:
        """The line is down; `reason` is what `terminate` gets, e.g. `("shutdown", "closed")`."""
        ...


class Host(Protocol):
    """What is mounted at a path: it decides who may connect, and handles those who do."""

    @property
    def name(self) -> str:
        """For logs."""
        ...

    @property
    def connects_at_once(self) -> bool:
        """Whether `connect`, called now, is sure not to wait."""
        ...

    async def connect(self, transport: str, params: Mapping[str, Any], info: ConnectInfo) -> Handler:
        """Admit a client.

        Raises:
            ConnectError: The client is refused.
            VersionError: The client speaks no wire version of this mount.
        """
        ...


class Reception(Protocol):
    """The ASGI application, as transports see it."""

    def websocket_entrance(self, path: str) -> "tuple[Any, dict[str, str]] | None":
        """The entrance mounted for WebSockets at `path` and the variables in it, or `None`."""
        ...

    async def drain(self) -> None:
        """Send all connections away in batches; returns when they are gone."""
        ...

    def abort(self) -> None:
        """End all connections at once."""
        ...
