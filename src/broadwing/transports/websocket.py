"""The lean WebSocket path: an `asyncio.Protocol` for uvicorn's `ws=` setting.

uvicorn parses HTTP and hands over requests that want to be upgraded. Those for a mounted socket are served here, straight on
the transport, without a task, a queue or a timer per connection; all others go to uvicorn's own implementation, so that
the application's WebSocket routes keep working.
"""

import asyncio
import logging
from typing import Final

from broadwing.core.close import CloseCode
from broadwing.core.frames import BINARY, CLOSE, FAIL, PING, PONG, TEXT, FrameReader, close_frame, frame
from broadwing.core.request import Request
from broadwing.core.upgrade import VERSION_HEADERS, check, refusal, response
from broadwing.prompt import finish
from broadwing.transports.base import Handler
from broadwing.transports.entrance import SERVER_ERROR, STOPPING, Refusal, Visitor
from broadwing.transports.websocket_entrance import LARGE, PLAIN, PlainFormat, WebSocketEntrance

logger = logging.getLogger("broadwing.transport")

# How long a client may take to answer a close frame, or to read what is still buffered for it, in seconds.
CLOSE_TIMEOUT: Final = 3.0
# A client has no reason to send anything before it is answered; this much is kept of one that does.
MAX_EARLY_BYTES: Final = 65_536

NEW, CONNECTING, OPEN, CLOSING, DONE = range(5)

REASONS: Final[dict[int, str]] = {
    CloseCode.GOING_AWAY: "disconnected",
    CloseCode.SERVICE_RESTART: "draining",
    CloseCode.SLOW_READER: "slow_reader",
    CloseCode.STALLED: "stalled",
}


class WebSocketLine(asyncio.Protocol):
    """One WebSocket connection on an asyncio transport, from the parsed request to the end.

    Attributes:
        name: `websocket`.
        format: How its frames are made.
        sink: The asyncio transport.
    """

    __slots__ = (
        "_deadline",
        "_early",
        "_entrance",
        "_handler",
        "_raised",
        "_reader",
        "_state",
        "_task",
        "format",
        "seen",
        "sink",
    )

    name: Final = "websocket"

    def __init__(self, transport: asyncio.Transport, entrance: WebSocketEntrance) -> None:
        self.sink: asyncio.Transport = transport
        self.format: PlainFormat = PLAIN
        self.seen = 0.0
        self._entrance = entrance
        self._handler: Handler | None = None
        self._reader: FrameReader | None = None
        self._state = NEW
        self._task: asyncio.Task[None] | None = None
        self._early: bytearray | None = None
        self._raised = False
        self._deadline = 0.0

    # The handshake.

    def handshake(self, request: Request, variables: dict[str, str]) -> None:
        """Judge the request, ask the application, and answer."""
        entrance = self._entrance
        visitor = entrance.examine(request, variables)
        if isinstance(visitor, Refusal):
            self._refuse(visitor)
            return
        fault = check(request)
        if fault is not None:
            self._refuse(Refusal(*fault, tuple(VERSION_HEADERS)))
            return
        self._state = CONNECTING
        entrance.sweeper.add(self)
        self.seen = entrance.sweeper.now
        if entrance.host.connects_at_once:
            finish(self._connect(request, visitor))
        else:
            self._task = asyncio.get_running_loop().create_task(self._connect(request, visitor))

    async def _connect(self, request: Request, visitor: Visitor) -> None:
        try:
            outcome = await self._entrance.admit(self.name, visitor)
            self._task = None
            if self._state == CONNECTING:
                if isinstance(outcome, Refusal):
                    self._refuse(outcome)
                else:
                    self._open(request, visitor, outcome)
        except Exception:  # a fault on the way in must leave no client hanging
            logger.exception("%s: the handshake failed", self._entrance.host.name)
            if self._state == OPEN:
                self.close(CloseCode.INTERNAL_ERROR)
            else:
                self.abort()

    def _open(self, request: Request, visitor: Visitor, outcome: Handler) -> None:
        extensions, self.format, limits = self._entrance.extensions(request)
        self._reader = FrameReader(limits)
        self._handler = outcome
        self._state = OPEN
        if self.sink.get_protocol() is not self:
            self.sink.set_protocol(self)  # from now on without the one that read the request
        self.sink.set_write_buffer_limits(high=self._entrance.settings.max_buffer_bytes)
        self.sink.write(response(request, visitor.subprotocol, extensions))
        outcome.opened(self)
        if self._early is not None:
            early, self._early = bytes(self._early), None
            self.data_received(early)

    def _refuse(self, answer: Refusal) -> None:
        self._state = DONE
        self._entrance.sweeper.members.discard(self)
        try:
            head = refusal(*answer)
        except Exception:  # what an error_handler answers may be no HTTP at all
            logger.exception("%s: the error_handler's answer cannot be sent: %r", self._entrance.host.name, answer)
            head = refusal(*SERVER_ERROR)
        self.sink.write(head)
        self.sink.close()

    # Called by the protocol.

    def data_received(self, data: bytes) -> None:
        """Take bytes of the client."""
        if self._state == OPEN:
            self.seen = self._entrance.sweeper.now
            assert self._reader is not None
            try:
                for opcode, payload in self._reader.feed(data):
                    if self._state != OPEN:  # one of the messages before this one ended the connection
                        if opcode == CLOSE or opcode == FAIL:  # noqa: SIM109 - as below
                            self._finish()
                            return
                    elif opcode == TEXT or opcode == BINARY:  # noqa: SIM109 - on the hot path two comparisons beat a tuple
                        self._handler.received(opcode, payload)  # type: ignore[union-attr, arg-type] # open, and bytes
                    else:
                        self._control(opcode, payload)
            except Exception:  # whatever one client's message sets off ends its own connection and nothing else
                logger.exception("%s: closing a connection with 1011", self._entrance.host.name)
                self.close(CloseCode.INTERNAL_ERROR)
        elif self._state == NEW:
            self._arrive(data)
        else:
            self.seen = self._entrance.sweeper.now
            self._take_aside(data)

    def _take_aside(self, data: bytes) -> None:
        if self._state == CONNECTING:
            if self._early is None:
                self._early = bytearray()
            self._early += data
            if len(self._early) > MAX_EARLY_BYTES:
                self.abort()
        elif self._state == CLOSING and self._reader is not None:
            for opcode, _ in self._reader.feed(data):
                if opcode in (CLOSE, FAIL):
                    self._finish()
                    return

    def _arrive(self, data: bytes) -> None:
        """Take bytes before the handshake; supplied by a subclass that reads requests itself."""
        raise AssertionError(f"{type(self).__name__} was fed {len(data)} bytes before its handshake")

    def _control(self, opcode: int, payload: bytes | int) -> None:
        if opcode in (PING, PONG):
            assert isinstance(payload, bytes)
            if opcode == PING:
                self.sink.write(frame(PONG, payload))
            if self._handler is not None:  # the pong may have been one byte too many for a client that does not read
                self._handler.control(opcode, payload)
        elif opcode == CLOSE:
            if self._handler is not None:
                self._handler.closing()  # whose writes may find the buffer full, and close
            if self._state == OPEN:
                # Answered with 1000 whatever the client's own code was, as Phoenix does on Bandit.
                self._state = CLOSING
                self.sink.write(close_frame(CloseCode.NORMAL))
                self._ended("closed")
            self._finish()
        else:
            assert isinstance(payload, int)
            self._reader = None  # nothing that follows a broken frame can be understood
            self.close(payload)

    def pause_writing(self) -> None:
        """More than `max_buffer_bytes` waits for the client: it does not read."""
        if self._state == OPEN:
            self._entrance.slow_reader()
            self.close(CloseCode.SLOW_READER)

    def resume_writing(self) -> None:
        """Of no interest: who was paused is being closed."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The line is down."""
        self._entrance.sweeper.members.discard(self)
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._state = DONE
        self._ended("closed")
        self._reader = None

    # The transport contract.

    def write_large(self, data: bytes) -> None:
        """Write a frame that alone could exceed the buffer limit: what counts is what waits besides it."""
        if self._state != OPEN:
            return
        limit = self._entrance.settings.max_buffer_bytes
        if self.sink.get_write_buffer_size() > limit:
            self.pause_writing()
            return
        # A 512th: what TLS adds to each of its records of 16 kB. The sweep takes the limit back once the frame is gone.
        self._raised = True
        self.sink.set_write_buffer_limits(high=limit + len(data) + len(data) // 512)
        self.sink.write(data)

    def send(self, opcode: int, data: bytes) -> None:
        """Wrap and write one message."""
        if self._state == OPEN:
            packed = self.format.frame(opcode, data)
            if len(packed) > LARGE:
                self.write_large(packed)
            else:
                self.sink.write(packed)

    def ping(self, payload: bytes) -> None:
        """Send a ping; the pong goes to the handler."""
        if self._state == OPEN:
            self.sink.write(frame(PING, payload))

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame, and give the client `CLOSE_TIMEOUT` to answer it."""
        if self._state == CONNECTING and self._task is not None:
            self._task.cancel()
            self._task = None
            self._refuse(STOPPING)
        # Whoever does not read is owed nothing more; it would only fill the memory that it is closed to save.
        if self._state == OPEN and self._handler is not None and code != CloseCode.SLOW_READER:
            self._handler.closing()  # whose writes may find the buffer full, and close
        if self._state != OPEN:
            return
        self._state = CLOSING
        self._deadline = asyncio.get_running_loop().time() + CLOSE_TIMEOUT
        self.sink.write(close_frame(code, reason))
        self._ended(REASONS.get(code, "closed"))
        if self._reader is None:
            # Half-closed, so that the client sees the end now; closing fully while it still sends would reset the line
            # and could destroy the close frame on its way. TLS has no half, but its close waits for the client's as well.
            if self.sink.can_write_eof():
                self.sink.write_eof()
            else:
                self.sink.close()
        elif not self.sink.is_reading():
            self.sink.resume_reading()  # for the client's own close frame

    def abort(self) -> None:
        """End the line at once."""
        self._state = DONE
        self._ended("closed")
        self.sink.abort()

    def pause_reading(self) -> None:
        """Take no more from the client for now."""
        if self._state == OPEN:
            self.seen = self._entrance.sweeper.now
            self.sink.pause_reading()

    def resume_reading(self) -> None:
        """Take from the client again."""
        if self._state == OPEN:
            self.seen = self._entrance.sweeper.now
            self.sink.resume_reading()

    def sweep(self, now: float) -> None:
        """Close after too long a silence; abort when a close takes too long."""
        if self._state == CLOSING:
            if now > self._deadline:
                self.abort()
        elif now - self.seen > self._entrance.settings.timeout:
            if self._state == CONNECTING:
                self.abort()
            elif not self.sink.is_reading():
                self.close(CloseCode.STALLED)
            else:
                self._reader = None
                self.close(CloseCode.PROTOCOL_ERROR)
        elif self._raised and self.sink.get_write_buffer_size() <= self._entrance.settings.max_buffer_bytes:
            self._raised = False
            self.sink.set_write_buffer_limits(high=self._entrance.settings.max_buffer_bytes)

    def _ended(self, reason: str) -> None:
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.closed(("shutdown", reason))

    def _finish(self) -> None:
        self._state = CLOSING
        self._deadline = asyncio.get_running_loop().time() + CLOSE_TIMEOUT
        self._reader = None
        self.sink.close()
