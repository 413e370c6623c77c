"""Sockets without channels: the application takes every message of a client and answers it as it likes."""

import logging
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from broadwing.core.close import CloseCode, close_may_be_sent
from broadwing.core.frames import BINARY, TEXT
from broadwing.exceptions import LocalProtocolError
from broadwing.returns import Stop
from broadwing.types import ConnectInfo, Params

if TYPE_CHECKING:
    from broadwing.endpoint import Endpoint
    from broadwing.raw_connection import RawRunner

logger = logging.getLogger("broadwing.raw")

# RFC 6455 section 5.5.
MAX_PING_BYTES: Final = 125


class RawSocket:
    """One client's connection, message by message: for protocols of your own beside channels.

    An instance lives as long as the connection; its methods run one at a time, in the order in which things happened.
    Mount it as a `Socket`: `endpoint.socket("/echo", EchoSocket)`. A method that is a plain `def` runs in a thread.

    Attributes:
        endpoint: The endpoint that serves this connection.

    Source: Phoenix `lib/phoenix/socket/transport.ex`.
    """

    def __init__(self, endpoint: "Endpoint", transport: str) -> None:
        self.endpoint = endpoint
        self._transport = transport
        self._runner: RawRunner | None = None

    # What applications override.

    async def connect(self, params: Params, info: ConnectInfo) -> None:
        """Authorise the connection.

        Args:
            params: The query parameters, nested as Plug nests them, and the variables of the path.
            info: What the mount's `connect_info` asked for.

        Raises:
            ConnectError: To refuse; so does any `TokenError`. Any other exception is logged and answered with 500.
        """

    async def init(self) -> None:
        """Do what comes first once the connection is up; from here on `push` works."""

    async def handle_in(self, data: str | bytes) -> str | bytes | Stop | None:
        """Take a message of the client; every raw socket defines its own.

        Args:
            data: `str` for a text message, `bytes` for a binary one.

        Returns:
            What to answer with, as text or binary; `None` for nothing; or `Stop(reason, reply)` to end the connection, with
            1000 when the reason is a graceful one and 1011 when not.
        """
        raise AssertionError("a raw socket without its own handle_in cannot be mounted")

    async def handle_control(self, opcode: Literal["ping", "pong"], payload: bytes) -> str | bytes | Stop | None:
        """Take a ping, which has been answered already, or a pong.

        Only WebSockets served by `broadwing serve`, or by uvicorn with `ws=WebSocketProtocol`, let them be seen. Returns as
        `handle_in`.
        """
        return None

    async def handle_info(self, message: Any) -> str | bytes | Stop | None:
        """Take what `send_info` put into the mailbox, and whatever was subscribed with it. Returns as `handle_in`."""
        logger.warning("%s received unexpected message in handle_info: %.200r", type(self).__name__, message)
        return None

    async def terminate(self, reason: Any) -> None:
        """Clean up; called once, whatever ended the connection, after the messages that had come by then.

        Args:
            reason: `("shutdown", "closed")`, `("shutdown", "draining")`, `("shutdown", "slow_reader")`,
                `("shutdown", "stalled")`, what `Stop` gave, or `("error", exception)`.
        """

    # What applications use.

    @property
    def transport(self) -> str:
        """`websocket` or `longpoll`."""
        return self._transport

    def push(self, data: str | bytes) -> None:
        """Send a message to the client. Callable from any thread.

        Args:
            data: `str` for a text message, `bytes` for a binary one.

        Raises:
            LocalProtocolError: Called before the connection is up, or the data is neither.

        Delivery: at most once, in order. Cancellation: not a switch point.
        """
        opcode, encoded = encode(data)
        self._connected("push").send(opcode, encoded)

    def ping(self, payload: bytes = b"") -> bool:
        """Send a ping; `handle_control` gets the pong. Callable from any thread.

        Args:
            payload: At most 125 bytes, which the client sends back.

        Returns:
            Whether the transport has pings: plain ASGI and long polling do not.

        Raises:
            LocalProtocolError: Called before the connection is up, or the payload is too long.
        """
        if len(payload) > MAX_PING_BYTES:
            raise LocalProtocolError(f"a ping carries at most {MAX_PING_BYTES} bytes, got {len(payload)}")
        return self._connected("ping").ping(bytes(payload))

    def close(self, code: int = CloseCode.NORMAL) -> None:
        """End the connection; messages of the client that still wait are not handled. Callable from any thread.

        Args:
            code: What a WebSocket is closed with: 1000, a code of RFC 6455 section 7.4.1, or one from 3000 to 4999.

        Raises:
            LocalProtocolError: Called before the connection is up, or the code is none of those.
        """
        runner = self._connected("close")
        if not close_may_be_sent(code):
            raise LocalProtocolError(
                f"a connection cannot be closed with {code}; accepted are 1000-1003, 1007-1014 and 3000-4999"
            )
        runner.close(code)

    def send_info(self, message: Any) -> None:
        """Put a message into this socket's own mailbox; `handle_info` gets it. Callable from any thread.

        `endpoint.subscribe(topic, self.send_info)` listens to a topic; cancel the subscription in `terminate`.

        Raises:
            LocalProtocolError: Called before the connection is up.
        """
        self._connected("send_info").send_info(message)

    def _connected(self, what: str) -> "RawRunner":
        if self._runner is None:
            raise LocalProtocolError(
                f"{what} was called in connect of {type(self).__name__}, when there is no connection yet; do it in init"
            )
        return self._runner


def encode(data: Any) -> tuple[int, bytes]:
    """Opcode and bytes of what an application wants to send.

    Raises:
        LocalProtocolError: It is neither text nor bytes.
    """
    if isinstance(data, str):
        try:
            return TEXT, data.encode()
        except UnicodeEncodeError as error:
            raise LocalProtocolError(f"a text message has no UTF-8 form: {error}") from error
    if isinstance(data, bytes | bytearray | memoryview):
        return BINARY, bytes(cast("bytes", data))
    raise LocalProtocolError(
        f"a raw socket sends str or bytes, got {type(data).__name__!r}; accepted from a handler are str, bytes, None "
        "and Stop(reason, reply)"
    )
