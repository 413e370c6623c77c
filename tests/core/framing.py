"""A client's side of RFC 6455 for the tests of the frame codec, and the ways in which a stream can be cut."""

from collections.abc import Callable, Iterator, Sequence

from broadwing.core.frames import BINARY, CLOSE, CONTINUATION, FAIL, PING, TEXT, FrameEvent, FrameLimits, FrameReader

KEY = bytes.fromhex("37fa213d")
"""The masking key of the examples in RFC 6455 section 5.7."""


def masked(payload: bytes, key: bytes = KEY) -> bytes:
    """Mask as section 5.3 describes it: octet by octet, so that it shares nothing with the code under test."""
    return bytes(octet ^ key[i % 4] for i, octet in enumerate(payload))


def header(opcode: int, length: int, *, fin: bool = True, rsv: int = 0, mask: bool = True) -> bytes:
    """The header of a client's frame up to its masking key, which is not part of it here."""
    first = (0x80 if fin else 0) | (rsv << 4) | opcode
    bit = 0x80 if mask else 0
    if length < 126:
        return bytes((first, bit | length))
    if length < 65_536:
        return bytes((first, bit | 126)) + length.to_bytes(2)
    return bytes((first, bit | 127)) + length.to_bytes(8)


def client(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, key: bytes = KEY) -> bytes:
    """A whole frame of a client."""
    # Long payloads go unmasked under a key of zeros, since masking octet by octet would take the tests seconds.
    if len(payload) > 100_000:
        return header(opcode, len(payload), fin=fin, rsv=rsv) + bytes(4) + payload
    return header(opcode, len(payload), fin=fin, rsv=rsv) + key + masked(payload, key)


def fragmented(opcode: int, parts: Sequence[bytes], *, rsv: int = 0) -> list[bytes]:
    """The frames of one message in several fragments (section 5.4)."""
    last = len(parts) - 1
    return [
        client(CONTINUATION if i else opcode, part, fin=i == last, rsv=0 if i else rsv) for i, part in enumerate(parts)
    ]


def text(payload: str | bytes) -> FrameEvent:
    """The event of a text message."""
    return (TEXT, payload.encode() if isinstance(payload, str) else payload)


def binary(payload: bytes) -> FrameEvent:
    """The event of a binary message."""
    return (BINARY, payload)


def fails(code: int) -> FrameEvent:
    """The event of a broken rule."""
    return (FAIL, code)


def feed(chunks: Sequence[bytes] | Iterator[bytes], limits: FrameLimits | None = None) -> list[FrameEvent]:
    """Feed chunks until the reader is done, as a transport does."""
    reader = FrameReader(limits or FrameLimits())
    events: list[FrameEvent] = []
    for chunk in chunks:
        events += reader.feed(chunk)
        if events and events[-1][0] in (CLOSE, FAIL):
            break
    return events


def held(reader: FrameReader) -> int:
    """Bytes of unfinished frames that a reader keeps, those of an unfinished message apart."""
    return len(reader._buffer or b"")


def positions(length: int) -> list[int]:
    """Where to cut: everywhere, or near the ends and here and there where everywhere would take seconds."""
    if length <= 700:
        return list(range(length + 1))
    near = 20
    return [*range(near), *range(near, length - near, max(1, length // 20)), *range(length - near, length + 1)]


def check(stream: bytes, expected: list[FrameEvent], limits: Callable[[], FrameLimits] = FrameLimits) -> None:
    """Feed a stream whole, byte by byte, cut in two, and followed by another frame; the events must be the same."""
    assert feed([stream], limits()) == expected
    if len(stream) < 70_000:
        assert feed((stream[i : i + 1] for i in range(len(stream))), limits()) == expected, "byte by byte"
    for cut in positions(len(stream)):
        assert feed([stream[:cut], stream[cut:]], limits()) == expected, f"cut at {cut}"
    following = client(PING, b"following")
    done = bool(expected) and expected[-1][0] in (CLOSE, FAIL)
    after = expected if done else [*expected, (PING, b"following")]
    assert feed([stream + following], limits()) == after, "with a following frame"
    # The cut goes through the following frame now: what is left of the chunk must not get lost.
    assert feed([stream + following[:1], following[1:]], limits()) == after
    assert feed([stream + following[:8], following[8:]], limits()) == after
