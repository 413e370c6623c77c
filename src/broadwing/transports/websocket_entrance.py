"""A mount's way in for WebSockets, and how its frames are made: what all connections of one mount share."""

import logging
from math import inf
from typing import Any, Final, Protocol, cast

from broadwing.core.close import CloseCode
from broadwing.core.deflate import MIN_COMPRESSED, cached_negotiate, deflate, inflate
from broadwing.core.frames import FrameLimits, frame
from broadwing.core.request import Request
from broadwing.transports.entrance import Entrance
from broadwing.transports.options import WebSocketOptions
from broadwing.transports.sweep import Sweeper

logger = logging.getLogger("broadwing.transport")

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


class Line(Protocol):
    """A WebSocket connection, as far as ending it goes."""

    def abort(self) -> None:
        """End at once."""
        ...


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
        self._told = -inf

    def extensions(self, request: Request) -> tuple[str | None, PlainFormat, FrameLimits]:
        """Negotiate permessage-deflate: the header to answer with, and what the connection works with."""
        if self.settings.compress:
            offers = tuple(request.header_all(b"sec-websocket-extensions"))
            chosen = cached_negotiate(tuple(offer.decode("latin-1") for offer in offers)) if offers else None
            if chosen is not None:
                return chosen[0], _DEFLATE[chosen[1]], self.deflate_limits
        return None, PLAIN, self.plain_limits

    def abort(self) -> None:
        """End all connections at once."""
        for line in list(self.sweeper.members):
            cast("Line", line).abort()

    def slow_reader(self) -> None:
        """Count a client that is closed because it does not read, and say so, at most once a second."""
        self.slow_readers += 1
        # As many may fall behind at once as a room has members, and their log lines would be one more burden.
        if self.sweeper.now >= self._told + 1:
            self._told = self.sweeper.now
            logger.warning(
                "%s at %s: a client does not read, more than %d bytes wait for it; closing it with %d (%d so far)",
                self.host.name,
                self.pattern.template,
                self.settings.max_buffer_bytes,
                CloseCode.SLOW_READER,
                self.slow_readers,
            )
