"""The lean WebSocket path: an `asyncio.Protocol` for uvicorn's `ws=` setting.

uvicorn parses HTTP and hands over requests that want to be upgraded. Those for a mounted socket are served here, straight on
the transport, without a task, a queue or a timer per connection; all others go to uvicorn's own implementation, so that
the application's WebSocket routes keep working.
"""

import asyncio
import logging
from typing import Any, Final

from broadwing.core.close import CloseCode
from broadwing.core.deflate import MIN_COMPRESSED, cached_negotiate, deflate, inflate
from broadwing.core.frames import BINARY, CLOSE, FAIL, PING, PONG, TEXT, FrameLimits, FrameReader, close_frame, frame
from broadwing.core.request import Request
from broadwing.core.upgrade import VERSION_HEADERS, check, refusal, response
from broadwing.transports.base import Handler
from broadwing.transports.entrance import Entrance, Refusal, Visitor
from broadwing.transports.options import WebSocketOptions
from broadwing.transports.sweep import Sweeper

logger = logging.getLogger("broadwing.transport")

# How long a client may take to answer a close frame, or to read what is still buffered for it, in seconds.
CLOSE_TIMEOUT: Final = 3.0
# A client has no reason to send anything before it is answered; this much is kept of one that does.
MAX_EARLY_BYTES: Final = 65_536
# Larger frames are written with a look at the client's buffer; see `WebSocketLine.write_large`.
LARGE: Final = 262_144


class PlainFormat:
    """Uncompressed frames."""

    __slots__ = ()

    def frame(self, opcode: int, data: bytes) -> bytes:
        """Wrap a message."""
        return frame(opcode, data)

    def is_large(self, frame: bytes) -> bool:
        """Whether it could fill a buffer on its own."""
        return len(frame) > LARGE


class DeflateFormat(PlainFormat):
    """Frames compressed for one window size; made once per broadcast for everybody who negotiated it."""

    __slots__ = ("_bits",)

    def __init__(self, bits: int) -> None:
        self._bits = bits

    def frame(self, opcode: int, data: bytes) -> bytes:
        """Compress and wrap a message, if that makes it shorter."""
        if len(data) >= MIN_COMPRESSED:
            packed = deflate(data, self._bits)
            if len(packed) < len(data):
                return frame(opcode, packed, compressed=True)
        return frame(opcode, data)


PLAIN: Final = PlainFormat()
_DEFLATE: Final = {bits: DeflateFormat(bits) for bits in range(9, 16)}

NEW, CONNECTING, OPEN, CLOSING, DONE = range(5)

REASONS: Final[dict[int, str]] = {
    CloseCode.GOING_AWAY: "disconnected",
    CloseCode.SERVICE_RESTART: "draining",
    CloseCode.SLOW_READER: "slow_reader",
    CloseCode.STALLED: "stalled",
}


class WebSocketEntrance(Entrance):
    """An entrance with what all its connections share.

    Attributes:
        sweeper: Looks after idle and closing connections.
        slow_readers: Clients closed because they did not read.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        assert isinstance(self.options, WebSocketOptions)
        settings = self.options
        self.settings = settings
        self.plain_limits = FrameLimits(settings.max_frame_size, settings.max_message_size)
        self.deflate_limits = FrameLimits(settings.max_frame_size, settings.max_message_size, inflate)
        self.sweeper = Sweeper(settings.timeout)
        self.slow_readers = 0

    def extensions(self, request: Request) -> tuple[str | None, PlainFormat, FrameLimits]:
        """Negotiate permessage-deflate: the header to answer with, and what the connection works with."""
        if self.settings.compress:
            offers = tuple(request.header_all(b"sec-websocket-extensions"))
            chosen = cached_negotiate(tuple(offer.decode("latin-1") for offer in offers)) if offers else None
            if chosen is not None:
                return chosen[0], _DEFLATE[chosen[1]], self.deflate_limits
        return None, PLAIN, self.plain_limits


class WebSocketLine(asyncio.Protocol):
    """One WebSocket connection on an asyncio transport, from the parsed request to the end.

    Attributes:
        name: `websocket`.
        format: How its frames are made.
        sink: The asyncio transport.
    """

    __slots__ = ("_deadline", "_early", "_entrance", "_handler", "_reader", "_state", "_task", "format", "seen", "sink")

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
        self._task = asyncio.get_running_loop().create_task(self._connect(request, visitor))

    async def _connect(self, request: Request, visitor: Visitor) -> None:
        outcome = await self._entrance.admit(self.name, visitor)
        self._task = None
        if self._state != CONNECTING:
            return
        if isinstance(outcome, Refusal):
            self._refuse(outcome)
            return
        extensions, self.format, limits = self._entrance.extensions(request)
        self._reader = FrameReader(limits)
        self._handler = outcome
        self._state = OPEN
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
        self.sink.write(refusal(*answer))
        self.sink.close()

    # Called by the protocol.

    def data_received(self, data: bytes) -> None:
        """Take bytes of the client."""
        self.seen = self._entrance.sweeper.now
        if self._state == OPEN:
            assert self._reader is not None
            assert self._handler is not None
            for opcode, payload in self._reader.feed(data):
                if opcode == TEXT or opcode == BINARY:  # noqa: SIM109 - on the hot path two comparisons beat a tuple
                    self._handler.received(opcode, payload)  # type: ignore[arg-type] # bytes with these opcodes
                    if self._state != OPEN:
                        return
                else:
                    self._control(opcode, payload)
        elif self._state == CONNECTING:
            if self._early is None:
                self._early = bytearray()
            self._early += data
            if len(self._early) > MAX_EARLY_BYTES:
                self._abort()
        elif self._state == CLOSING and self._reader is not None:
            for opcode, _ in self._reader.feed(data):
                if opcode in (CLOSE, FAIL):
                    self._finish()
                    return

    def _control(self, opcode: int, payload: bytes | int) -> None:
        if opcode in (PING, PONG):
            assert isinstance(payload, bytes)
            if opcode == PING:
                self.sink.write(frame(PONG, payload))
            assert self._handler is not None
            self._handler.control(opcode, payload)
        elif opcode == CLOSE:
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
            self._entrance.slow_readers += 1
            logger.warning(
                "%s: a client does not read: more than %d bytes wait for it; closing with %d",
                self._entrance.host.name,
                self._entrance.settings.max_buffer_bytes,
                CloseCode.SLOW_READER,
            )
            self.close(CloseCode.SLOW_READER)

    def resume_writing(self) -> None:
        """The client has read on; a limit raised for one large message goes back to normal."""
        if self._state == OPEN:
            self.sink.set_write_buffer_limits(high=self._entrance.settings.max_buffer_bytes)

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
        waiting = self.sink.get_write_buffer_size()
        if waiting <= limit:
            self.sink.set_write_buffer_limits(high=max(limit, waiting + len(data)))
            self.sink.write(data)
        else:
            self.pause_writing()

    def send(self, opcode: int, data: bytes) -> None:
        """Wrap and write one message."""
        if self._state == OPEN:
            packed = self.format.frame(opcode, data)
            if len(packed) > LARGE:
                self.write_large(packed)
            else:
                self.sink.write(packed)

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame, and give the client `CLOSE_TIMEOUT` to answer it."""
        if self._state != OPEN:
            return
        self._state = CLOSING
        self._deadline = asyncio.get_running_loop().time() + CLOSE_TIMEOUT
        self.sink.write(close_frame(code, reason))
        self._ended(REASONS.get(code, "closed"))
        if self._reader is None:
            # Half-closed, so that the client sees the end now; closing fully while it still sends would reset the line
            # and could destroy the close frame on its way.
            if self.sink.can_write_eof():
                self.sink.write_eof()
        elif not self.sink.is_reading():
            self.sink.resume_reading()  # for the client's own close frame

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
                self._abort()
        elif now - self.seen > self._entrance.settings.timeout:
            if self._state == CONNECTING:
                self._abort()
            elif not self.sink.is_reading():
                self.close(CloseCode.STALLED)
            else:
                self._reader = None
                self.close(CloseCode.PROTOCOL_ERROR)

    def _ended(self, reason: str) -> None:
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.closed(("shutdown", reason))

    def _finish(self) -> None:
        self._state = CLOSING
        self._deadline = asyncio.get_running_loop().time() + CLOSE_TIMEOUT
        self._reader = None
        self.sink.close()

    def _abort(self) -> None:
        self._state = DONE
        self.sink.abort()
