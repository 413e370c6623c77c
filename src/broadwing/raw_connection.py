"""What drives a raw socket: its connection, its mailbox, and the mount that makes them."""

import asyncio
import inspect
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from broadwing.actor import Actor, is_cancelled
from broadwing.core.close import CloseCode
from broadwing.core.frames import PING, TEXT
from broadwing.exceptions import ConfigurationError, ConnectError, TokenError
from broadwing.intake import Intake
from broadwing.prompt import never_waits
from broadwing.raw import RawSocket, encode
from broadwing.returns import Reply, Stop, is_graceful
from broadwing.transports.base import Pinger, Transport
from broadwing.types import ConnectInfo

if TYPE_CHECKING:
    from broadwing.endpoint import Endpoint

logger = logging.getLogger("broadwing.raw")

# `handle_info` messages that may wait for one socket; a client's own are bounded by not reading on.
MAX_MAILBOX: Final = 10_000

# Kinds of mailbox items: tuples whose first member is one of these.
_INIT, _IN, _CONTROL, _INFO, _END = range(5)


class RawConnection(Intake):
    """The handler behind a transport that carries a raw socket.

    Attributes:
        mount: Where it is mounted.
        runner: What calls the application.
    """

    __slots__ = ("mount", "runner")

    def __init__(self, mount: "RawMount", socket: RawSocket) -> None:
        super().__init__()
        self.mount = mount
        self.runner = RawRunner(self, socket)

    @property
    def endpoint(self) -> "Endpoint":
        """The endpoint that serves this connection."""
        return self.mount.endpoint

    def opened(self, transport: Transport) -> None:
        """Remember the line and let the application begin."""
        self.transport = transport
        self.runner.begin()

    def received(self, opcode: int, data: bytes) -> None:
        """Take a whole message of the client."""
        self.runner.receive((_IN, opcode, data, len(data)))
        self.take(len(data))

    def control(self, opcode: int, payload: bytes) -> None:
        """Take a ping or a pong, if the application looks at them."""
        if self.mount.takes_control:
            self.runner.receive((_CONTROL, opcode, payload, len(payload)))
            self.take(len(payload))

    def closing(self) -> None:
        """Nothing is owed: what a raw socket sends is written at once."""

    def closed(self, reason: Any) -> None:
        """End; what waits is still handled, but nothing is written any more."""
        self.is_closed = True
        self.count_end(reason)
        self.runner.end(reason)
        self.endpoint.linger(self.runner)


class RawRunner(Actor):
    """The application's socket and its mailbox."""

    __slots__ = ("_connection", "_reason", "_socket", "_stopped")

    def __init__(self, connection: RawConnection, socket: RawSocket) -> None:
        super().__init__()
        self._connection = connection
        self._socket = socket
        self._stopped = False
        self._reason: Any = None

    # Called by the connection.

    def begin(self) -> None:
        self._socket._runner = self
        if self._connection.mount.takes_init:
            self._post((_INIT,))

    def receive(self, item: tuple[Any, ...]) -> None:
        self._post(item)

    def end(self, reason: Any) -> None:
        self._post((_END, reason))

    # Called by the application, from any thread.

    def send(self, opcode: int, data: bytes) -> None:
        self._connection.endpoint.run_in_loop(self._send, opcode, data)

    def ping(self, payload: bytes) -> bool:
        transport = self._connection.transport
        if not isinstance(transport, Pinger):
            return False
        self._connection.endpoint.run_in_loop(transport.ping, payload)
        return True

    def close(self, code: int) -> None:
        self._connection.endpoint.run_in_loop(self._close, code)

    def send_info(self, message: Any) -> None:
        self._connection.endpoint.run_in_loop(self._post_info, message)

    def _send(self, opcode: int, data: bytes) -> None:
        transport = self._connection.transport
        if transport is not None and not self._connection.is_closed:
            transport.send(opcode, data)

    def _close(self, code: int) -> None:
        self._stopped = True
        if self._connection.transport is not None:
            self._connection.transport.close(code)

    def _post_info(self, message: Any) -> None:
        if self._connection.is_closed:
            return
        if self.pending >= MAX_MAILBOX:
            self._connection.endpoint.statistics.mailbox_overflows += 1
            logger.error(
                "%s has %d messages waiting and is closed: it handles them more slowly than they come",
                type(self._socket).__name__,
                self.pending,
            )
            self._stop(("error", "mailbox overflow"))
            return
        self._post((_INFO, message))

    # The mailbox.

    async def _process(self, item: tuple[Any, ...]) -> None:
        kind = item[0]
        if kind == _END:
            await self._terminate(item[1] if self._reason is None else self._reason)
            return
        try:
            if not self._stopped:
                self._answer(await self._step(item))
        except (
            Exception,
            asyncio.CancelledError,
        ) as error:  # what a handler raises ends its connection and nothing else
            if is_cancelled(error):
                raise
            logger.exception("%s crashed; its connection is closed", type(self._socket).__name__)
            self._stop(("error", error))
        finally:
            if kind in (_IN, _CONTROL):
                self._connection.release(item[-1])

    async def _step(self, item: tuple[Any, ...]) -> Any:
        kind, call = item[0], self._connection.mount.call
        if kind == _IN:
            return await call(self._socket, "handle_in", item[2].decode() if item[1] == TEXT else item[2])
        if kind == _INFO:
            return await call(self._socket, "handle_info", item[1])
        if kind == _CONTROL:
            return await call(self._socket, "handle_control", "ping" if item[1] == PING else "pong", item[2])
        return await call(self._socket, "init")

    def _answer(self, result: Any) -> None:
        if isinstance(result, Stop):
            reply = result.reply.payload if isinstance(result.reply, Reply) else result.reply
            if reply is not None:
                self._send(*encode(reply))
            self._stop(result.reason)
        elif result is not None:
            self._send(*encode(result))

    def _stop(self, reason: Any) -> None:
        self._reason = reason
        self._close(CloseCode.NORMAL if is_graceful(reason) else CloseCode.INTERNAL_ERROR)

    async def _terminate(self, reason: Any) -> None:
        try:
            await self._connection.mount.call(self._socket, "terminate", reason)
        except Exception:  # the connection is over whatever comes of cleaning up
            logger.exception("terminate of %s raised", type(self._socket).__name__)


class RawMount:
    """A raw socket mounted at a path; the host that transports ask.

    Attributes:
        name: The class's name, for logs.
        takes_init: Whether the class has its own `init`.
        takes_control: Whether it has its own `handle_control`; if not, pings and pongs cost nothing.
    """

    def __init__(self, endpoint: "Endpoint", socket: type[RawSocket]) -> None:
        if socket.handle_in is RawSocket.handle_in:
            raise ConfigurationError(
                f"{socket.__name__} has no handle_in of its own; define `async def handle_in(self, data)`, which may ignore what comes"
            )
        self.endpoint = endpoint
        self.socket = socket
        self.name = socket.__name__
        methods = ("connect", "init", "handle_in", "handle_control", "handle_info", "terminate")
        self._threaded = frozenset(name for name in methods if not inspect.iscoroutinefunction(getattr(socket, name)))
        self._prompt_connect = socket.connect if never_waits(socket.connect) else None
        self.takes_init = socket.init is not RawSocket.init
        self.takes_control = socket.handle_control is not RawSocket.handle_control

    @property
    def connects_at_once(self) -> bool:
        """Whether the socket's own `connect` has nothing to wait for, and the endpoint has started."""
        return self.socket.connect is self._prompt_connect and self.endpoint.is_serving

    async def connect(self, transport: str, params: Mapping[str, Any], info: ConnectInfo) -> RawConnection:
        """Ask the application.

        Raises:
            ConnectError: The application refused.
        """
        await self.endpoint.start()
        socket = self.socket(self.endpoint, transport)
        try:
            await self.call(socket, "connect", dict(params), info)
        except TokenError as error:
            raise ConnectError(error) from error
        return RawConnection(self, socket)

    async def call(self, socket: RawSocket, method: str, *args: Any) -> Any:
        """Call one of the application's methods, in a thread if it is a plain function."""
        function = getattr(socket, method)
        return await (asyncio.to_thread(function, *args) if method in self._threaded else function(*args))
