"""RFC 6455 frames: bytes in, messages out, and the other way round.

Pure: no socket, no clock. `FrameReader` never raises on what a peer sends; a broken rule becomes one last
event that carries the close code. Reading is on the hot path of every inbound message, so whole unfragmented
frames, which is what clients send, are taken straight from the received bytes; a buffer exists only while a frame
is incomplete and a list of fragments only while a message is.
"""

import codecs
from typing import Final, Protocol

from broadwing.core.close import CloseCode, received_close_is_valid

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA
FAIL: Final = -1
"""Event opcode for a broken rule: its second member is the close code, and nothing follows it."""

FrameEvent = tuple[int, bytes | int]
"""`(TEXT | BINARY | PING | PONG, payload)`, `(CLOSE, code)` with code 1005 when the peer gave none, or `(FAIL, code)`."""

# Bound once: looking it up takes as long as the conversion of a chat message.
_number: Final = int.from_bytes

# The two bytes in front of every short text message a server sends.
_SHORT_TEXT: Final = [bytes((0x80 | TEXT, length)) for length in range(126)]

# 64 KiB at a time keeps the integers of the XOR small; one block of 10 MB would need 40 MB for a moment.
_UNMASK_BLOCK = 65_536


class Inflate(Protocol):
    """Decompresses one message; `None` when it is not valid deflate, `False` when it would exceed `limit` bytes."""

    def __call__(self, data: bytes, limit: int) -> bytes | bool | None: ...


class FrameLimits:
    """What all readers of one mount share, so that a connection holds one reference and not five numbers.

    Attributes:
        max_frame_size: Largest payload of one frame, in bytes.
        max_message_size: Largest message put together from several frames, in bytes; also the largest inflated one.
        inflate: Decompressor when permessage-deflate was negotiated, else `None`.
    """

    __slots__ = ("inflate", "max_frame_size", "max_message_size")

    def __init__(
        self, max_frame_size: int = 10_000_000, max_message_size: int = 8_000_000, inflate: Inflate | None = None
    ) -> None:
        self.max_frame_size = max_frame_size
        self.max_message_size = max_message_size
        self.inflate = inflate


class _Fragments:
    """A message that has begun and not ended."""

    __slots__ = ("compressed", "data", "opcode", "utf8")

    def __init__(self, opcode: int, compressed: bool) -> None:
        self.opcode = opcode
        self.compressed = compressed
        self.data = bytearray()
        # Checked as it comes: a peer must not get 8 MB buffered behind a byte that was wrong from the start.
        self.utf8 = codecs.getincrementaldecoder("utf-8")() if opcode == TEXT and not compressed else None


class FrameReader:
    """Turns a client's bytes into messages and control frames."""

    __slots__ = ("_buffer", "_fragments", "_limits", "_need")

    def __init__(self, limits: FrameLimits) -> None:
        self._limits = limits
        self._buffer: bytearray | None = None
        self._need = 0
        self._fragments: _Fragments | None = None

    def feed(self, data: bytes | bytearray) -> list[FrameEvent]:
        """Take received bytes and return what they complete, in order.

        Args:
            data: Any slice of the stream; frames may begin and end anywhere in it.

        Returns:
            Events as described at `FrameEvent`. After `CLOSE` or `FAIL` the reader is done: feed it nothing more.

        Source: RFC 6455 section 5.
        """
        buffer = self._buffer
        # What most clients send most of the time, one short text message by itself, is seen at a glance: half a microsecond less.
        if buffer is None and self._fragments is None and len(data) > 6 and data[0] == 0x81:
            length = data[1] - 0x80
            if 0 < length < 126 and length == len(data) - 6 and length <= self._limits.max_frame_size:
                payload = _unmask(data[6:], data[2:6])
                if payload.isascii() or _is_utf8(payload):
                    return [(TEXT, payload)]
                return [(FAIL, CloseCode.INVALID_DATA)]
        events: list[FrameEvent] = []
        if buffer is not None:
            buffer += data
            if len(buffer) < self._need:
                return events
            data = buffer  # read where it lies: a copy would hold a frame of 10 MB once more
            self._buffer = None
        limits = self._limits
        pos, end = 0, len(data)
        while end - pos >= 2:
            first, second = data[pos], data[pos + 1]
            length = second & 0x7F
            if length < 126:
                start = pos + 6
            elif length == 126:
                if end - pos < 4:
                    break
                length = (data[pos + 2] << 8) | data[pos + 3]
                start = pos + 8
            else:
                if end - pos < 10:
                    break
                length = int.from_bytes(data[pos + 2 : pos + 10])
                start = pos + 14
            code = self._fault(first, second, length)
            if code:
                events.append((FAIL, code))
                return events
            stop = start + length
            if stop > end:
                # The header is judged before its payload is waited for, so that nobody gets 10 MB buffered
                # in order to be told that the frame was not allowed.
                self._need = stop - pos
                self._buffer = bytearray(memoryview(data)[pos:])
                return events
            if length <= _UNMASK_BLOCK:
                payload = _unmask(data[start:stop], data[start - 4 : start]) if length else b""
            else:
                payload = _unmask_in_blocks(data, start, stop)
            pos = stop
            if first == 0x81:
                if not payload.isascii() and not _is_utf8(payload):
                    events.append((FAIL, CloseCode.INVALID_DATA))
                    return events
                events.append((TEXT, payload))
                continue
            event = self._complete(first, payload, limits)
            if event is not None:
                events.append(event)
                if event[0] == FAIL or event[0] == CLOSE:
                    return events
        if pos < end:
            self._need = 2
            rest = memoryview(data)[pos:]
            if len(rest) >= 2:
                self._need = 4 if rest[1] & 0x7F == 126 else 10
            self._buffer = bytearray(rest)
        return events

    def _fault(self, first: int, second: int, length: int) -> int:
        """Judge a frame's header: 0 when it may follow, else the close code."""
        if second < 0x80:
            return CloseCode.PROTOCOL_ERROR  # section 5.1: a client masks every frame
        opcode = first & 0x0F
        if opcode >= CLOSE:
            # Section 5.5: control frames are whole and at most 125 bytes; no extension gives them a reserved bit.
            if first & 0xF0 != 0x80 or length > 125 or opcode > PONG:
                return CloseCode.PROTOCOL_ERROR
            return 0
        fragments = self._fragments
        # RSV1 belongs to permessage-deflate (RFC 7692 section 6) and only to a message's first frame.
        if first & 0x70 and (first & 0x30 or self._limits.inflate is None or opcode == CONTINUATION):
            return CloseCode.PROTOCOL_ERROR
        if opcode > BINARY or (opcode == CONTINUATION) != (fragments is not None):
            return CloseCode.PROTOCOL_ERROR
        if length > self._limits.max_frame_size:
            return CloseCode.TOO_BIG
        if fragments is not None:
            length += len(fragments.data)
        elif first >= 0x80:
            return 0  # whole: only `max_frame_size` counts, and `inflate` keeps to `max_message_size` itself
        return CloseCode.TOO_BIG if length > self._limits.max_message_size else 0

    def _complete(self, first: int, payload: bytes, limits: FrameLimits) -> FrameEvent | None:
        """Take one whole frame that is not a plain text message."""
        opcode = first & 0x0F
        if opcode >= CLOSE:
            return _close_event(payload) if opcode == CLOSE else (opcode, payload)
        final = first & 0x80
        fragments = self._fragments
        if fragments is None:
            if final and not first & 0x40:
                return (opcode, payload)
            fragments = _Fragments(opcode, bool(first & 0x40))
        fragments.data += payload
        if fragments.utf8 is not None:
            try:
                fragments.utf8.decode(payload, final=bool(final))
            except UnicodeDecodeError:
                return (FAIL, CloseCode.INVALID_DATA)
        if not final:
            self._fragments = fragments
            return None
        self._fragments = None
        message = bytes(fragments.data)
        if fragments.compressed:
            assert limits.inflate is not None  # _fault refuses RSV1 otherwise
            inflated = limits.inflate(message, limits.max_message_size)
            if inflated is False:
                return (FAIL, CloseCode.TOO_BIG)
            if not isinstance(inflated, bytes) or (fragments.opcode == TEXT and not _is_utf8(inflated)):
                return (FAIL, CloseCode.INVALID_DATA)
            message = inflated
        return (fragments.opcode, message)


def frame(opcode: int, payload: bytes, *, compressed: bool = False) -> bytes:
    """Build one unfragmented server frame.

    Args:
        opcode: `TEXT`, `BINARY`, `CLOSE`, `PING` or `PONG`.
        payload: The payload, already deflated when `compressed`.
        compressed: Set RSV1 (RFC 7692 section 6).

    Returns:
        The frame's bytes, unmasked as section 5.1 wants it of a server.
    """
    length = len(payload)
    if opcode == TEXT and length < 126 and not compressed:
        return _SHORT_TEXT[length] + payload
    first = 0x80 | opcode | (0x40 if compressed else 0)
    if length < 126:
        return bytes((first, length)) + payload
    if length < 65_536:
        return bytes((first, 126, length >> 8, length & 0xFF)) + payload
    return bytes((first, 127)) + length.to_bytes(8) + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """Build a close frame; `reason` is cut to the 123 bytes that fit a control frame (section 5.5)."""
    return frame(CLOSE, code.to_bytes(2) + reason.encode()[:123].decode(errors="ignore").encode())


def _close_event(payload: bytes) -> FrameEvent:
    if not payload:
        return (CLOSE, 1005)
    if len(payload) == 1:
        return (FAIL, CloseCode.PROTOCOL_ERROR)
    code = int.from_bytes(payload[:2])
    if not received_close_is_valid(code):
        return (FAIL, CloseCode.PROTOCOL_ERROR)
    if not _is_utf8(payload[2:]):
        return (FAIL, CloseCode.INVALID_DATA)
    return (CLOSE, code)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _unmask_in_blocks(data: bytes | bytearray, start: int, stop: int) -> bytes:
    key = data[start - 4 : start]
    return b"".join(_unmask(data[at : min(at + _UNMASK_BLOCK, stop)], key) for at in range(start, stop, _UNMASK_BLOCK))


def _unmask(data: bytes | bytearray, key: bytes | bytearray) -> bytes:
    # XOR of two big integers: 0.25 µs for a chat message, where a loop over bytes takes 10.
    length = len(data)
    mask = (key * ((length + 3) >> 2))[:length]
    return (_number(data, "little") ^ _number(mask, "little")).to_bytes(length, "little")
