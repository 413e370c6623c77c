"""The plain ASGI WebSocket path: the same behaviour under any server, at a higher price per message."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

from broadwing.core.authority import split_authority
from broadwing.core.close import CloseCode
from broadwing.core.frames import BINARY, TEXT
from broadwing.core.request import Request
from broadwing.core.upgrade import VERSION_HEADERS, check
from broadwing.transports.base import Handler
from broadwing.transports.entrance import Refusal
from broadwing.transports.websocket import CLOSE_TIMEOUT, REASONS
from broadwing.transports.websocket_entrance import WebSocketEntrance

logger = logging.getLogger("broadwing.transport")

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class AsgiFormat:
    """Messages for `send`; one object for all subscribers of a broadcast."""

    __slots__ = ()

    def frame(self, opcode: int, data: bytes) -> dict[str, Any]:
        """Wrap a message."""
        if opcode == TEXT:
            return {"type": "websocket.send", "text": data.decode()}
        return {"type": "websocket.send", "bytes": data}

    def is_large(self, frame: dict[str, Any]) -> bool:
        """The outbox weighs every message, so that none needs special care."""
        return False


_FORMAT: Final = AsgiFormat()
_SCHEMES: Final = {"ws": "http", "wss": "https", "https": "https"}


def request_of(scope: Scope, path: str) -> Request:
    """The request behind an ASGI scope."""
    scheme = _SCHEMES.get(scope.get("scheme", "http"), "http")
    headers: list[tuple[bytes, bytes]] = [(bytes(name).lower(), bytes(value)) for name, value in scope["headers"]]
    authority = next((value for name, value in headers if name == b"host"), b"")
    host, port = split_authority(authority, scheme)
    client = scope.get("client")
    return Request(
        scope.get("method", "GET"),
        scheme,
        host,
        port,
        path,
        scope.get("query_string", b""),
        headers,
        (client[0], client[1]) if client else None,
    )


class AsgiLine:
    """One WebSocket connection behind an ASGI server.

    Attributes:
        name: `websocket`.
        format: `AsgiFormat`.
        sink: The line itself.
    """

    __slots__ = (
        "_closing",
        "_deadline",
        "_entrance",
        "_handler",
        "_idle_since",
        "_outbox",
        "_readable",
        "_receiver",
        "_send",
        "_sender",
        "_weight",
    )

    name: Final = "websocket"
    format: Final = _FORMAT

    def __init__(self, entrance: WebSocketEntrance, send: Send) -> None:
        self._entrance = entrance
        self._send = send
        self._handler: Handler | None = None
        self._outbox: list[MutableMapping[str, Any]] = []
        self._weight = 0
        self._sender: asyncio.Task[None] | None = None
        self._receiver: asyncio.Task[Any] | None = None
        self._readable = asyncio.Event()
        self._readable.set()
        self._closing = False
        self._idle_since = 0.0
        self._deadline = 0.0

    @property
    def sink(self) -> "AsgiLine":
        """Takes frames."""
        return self

    async def run(self, scope: Scope, path: str, variables: dict[str, str], receive: Receive) -> None:
        """Serve the connection from its handshake to its end."""
        await receive()  # websocket.connect
        entrance = self._entrance
        visitor = entrance.examine(request_of(scope, path), variables)
        outcome = visitor if isinstance(visitor, Refusal) else await entrance.admit(self.name, visitor)
        if isinstance(outcome, Refusal) or isinstance(visitor, Refusal):
            assert isinstance(outcome, Refusal)
            await self._refuse(scope, outcome)
            return
        await self._send({"type": "websocket.accept", "subprotocol": visitor.subprotocol})
        self._handler = outcome
        self._receiver = asyncio.current_task()
        entrance.sweeper.add(self)
        self._idle_since = entrance.sweeper.now
        try:
            self._feed(outcome.opened, self)
            await self._read(receive)
        except asyncio.CancelledError:
            if self._receiver is not None:
                raise
            # The sweep has let go of a client that does not take its close; the server need not hear of it as an error.
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
        finally:
            entrance.sweeper.members.discard(self)
            self._ended("closed")
            await self._finish()

    async def _read(self, receive: Receive) -> None:
        limit = self._entrance.settings.max_frame_size
        while True:
            if not self._readable.is_set():
                await self._readable.wait()
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            self._idle_since = self._entrance.sweeper.now
            text = message.get("text")
            opcode, data = (TEXT, text.encode()) if text is not None else (BINARY, message.get("bytes") or b"")
            if self._handler is None:
                continue  # closed by us; what the client sends until it notices means nothing
            if len(data) > limit:
                self.close(CloseCode.TOO_BIG)
                continue
            self._feed(self._handler.received, opcode, data)

    def _feed(self, handler: Callable[..., None], *args: Any) -> None:
        try:
            handler(*args)
        except Exception:  # whatever one client's message sets off ends its own connection and nothing else
            logger.exception("%s: closing a connection with 1011", self._entrance.host.name)
            self.close(CloseCode.INTERNAL_ERROR)

    async def _refuse(self, scope: Scope, answer: Refusal) -> None:
        if "websocket.http.response" in (scope.get("extensions") or {}):
            start = {"type": "websocket.http.response.start", "status": answer.status, "headers": _headers(answer)}
            await self._send(start)
            await self._send({"type": "websocket.http.response.body", "body": answer.body})
        else:
            await self._send({"type": "websocket.close", "code": int(CloseCode.POLICY_VIOLATION)})

    async def _finish(self) -> None:
        sender = self._sender
        if sender is not None:
            self._outbox.clear()
            sender.cancel()
            await asyncio.wait((sender,))

    # The transport contract.

    def write(self, message: MutableMapping[str, Any]) -> None:
        """Queue one frame; the client is closed when too much waits for it."""
        if self._closing:
            return
        size = len(message.get("text") or message.get("bytes") or "")
        if self._weight > self._entrance.settings.max_buffer_bytes:
            self._entrance.slow_reader()
            self.close(CloseCode.SLOW_READER)
            return
        self._weight += size
        self._put(message)

    def write_large(self, frame: Any) -> None:
        """As `write`."""
        self.write(frame)

    def send(self, opcode: int, data: bytes) -> None:
        """Wrap and queue one message."""
        self.write(_FORMAT.frame(opcode, data))

    def close(self, code: int, reason: str = "") -> None:
        """Queue the close behind what waits; the client has `CLOSE_TIMEOUT` to take it."""
        if self._handler is not None:
            self._handler.closing()  # whose writes may find the buffer full, and close
        if self._closing:
            return
        self._closing = True
        self._deadline = asyncio.get_running_loop().time() + CLOSE_TIMEOUT
        self._put({"type": "websocket.close", "code": int(code), "reason": reason})
        self._ended(REASONS.get(code, "closed"))
        self._readable.set()

    def abort(self) -> None:
        """End the line at once, as far as that is the application's to do."""
        self._closing = True
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.cancel()

    def pause_reading(self) -> None:
        """Take no more from the client for now."""
        self._idle_since = self._entrance.sweeper.now
        self._readable.clear()

    def resume_reading(self) -> None:
        """Take from the client again."""
        self._idle_since = self._entrance.sweeper.now
        self._readable.set()

    def sweep(self, now: float) -> None:
        """Close after too long a silence; let go of a client that does not take its close."""
        if self._closing:
            if now > self._deadline:
                self.abort()
        elif now - self._idle_since > self._entrance.settings.timeout:
            self.close(CloseCode.PROTOCOL_ERROR if self._readable.is_set() else CloseCode.STALLED)

    def _put(self, message: MutableMapping[str, Any]) -> None:
        self._outbox.append(message)
        if self._sender is None:
            self._sender = asyncio.get_running_loop().create_task(self._write_out())

    async def _write_out(self) -> None:
        try:
            while self._outbox:
                outbox, self._outbox = self._outbox, []
                for message in outbox:
                    await self._send(message)
                    self._weight -= len(message.get("text") or message.get("bytes") or "")
        except Exception as error:  # servers differ in what they raise once the client is gone
            # The receiver hears of it by itself.
            logger.debug("a client was gone when it was written to: %s", error)
            self._outbox.clear()
        finally:
            self._sender = None

    def _ended(self, reason: str) -> None:
        handler, self._handler = self._handler, None
        if handler is not None:
            self._closing = True
            handler.closed(("shutdown", reason))


async def refuse_plain_http(
    entrance: WebSocketEntrance, variables: dict[str, str], scope: Scope, path: str, send: Send
) -> None:
    """Answer a request on a WebSocket's path that does not ask to become one."""
    request = request_of(scope, path)
    outcome = entrance.examine(request, variables)
    if not isinstance(outcome, Refusal):
        fault = check(request)
        outcome = Refusal(*fault, tuple(VERSION_HEADERS)) if fault is not None else Refusal(426)
    await respond(send, outcome)


async def respond(send: Send, answer: Refusal) -> None:
    """Send a whole HTTP answer."""
    await send({"type": "http.response.start", "status": answer.status, "headers": _headers(answer)})
    await send({"type": "http.response.body", "body": answer.body})


def _headers(answer: Refusal) -> list[tuple[bytes, bytes]]:
    given = {name for name, _ in answer.headers}
    headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
    if answer.body and b"content-type" not in given:
        headers.append((b"content-type", b"text/plain; charset=utf-8"))
    if b"cache-control" not in given:
        headers.append((b"cache-control", b"max-age=0, private, must-revalidate"))
    return headers
