"""Fuzzes the frame reader: `python -m tests.fuzz.frames --runs 100000`.

The first byte of an input chooses the limits, the second where the stream is cut; the rest is the stream.
"""

from broadwing.core import deflate
from broadwing.core.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FAIL,
    PING,
    PONG,
    TEXT,
    FrameEvent,
    FrameLimits,
    FrameReader,
)
from tests.core.framing import client, fragmented, header, held
from tests.fuzz.harness import main

MAX_FRAME, MAX_MESSAGE = 1000, 1500


def fuzz_one(data: bytes) -> None:
    """Read a stream whole and in slices: nothing raises, both agree, and nothing is hoarded."""
    if len(data) < 2:
        return
    inflate = deflate.inflate if data[0] & 1 else None
    step, stream = data[1] % 40 + 1, data[2:]
    whole = FrameReader(FrameLimits(MAX_FRAME, MAX_MESSAGE, inflate)).feed(stream)
    reader = FrameReader(FrameLimits(MAX_FRAME, MAX_MESSAGE, inflate))
    events: list[FrameEvent] = []
    for at in range(0, len(stream), step):
        events += reader.feed(stream[at : at + step])
        if events and events[-1][0] in (CLOSE, FAIL):
            break
        assert held(reader) < MAX_FRAME + 14
        assert reader._fragments is None or len(reader._fragments.data) <= MAX_MESSAGE
    assert events == whole
    for opcode, value in whole:
        assert opcode in (TEXT, BINARY, PING, PONG, CLOSE, FAIL)
        if opcode == TEXT:
            assert isinstance(value, bytes)
            value.decode()


_HELLO = bytes.fromhex("f248cdc9c90700")  # RFC 7692 section 7.2.3.1
_PLAIN, _COMPRESSED = b"\x00\x06", b"\x01\x06"

SEEDS = [
    _PLAIN + client(TEXT, "Grüße".encode()) + client(BINARY, b"\x00\xff" * 70),
    _PLAIN + client(PING, b"hi") + client(PONG) + client(CLOSE, b"\x03\xe8bye"),
    _PLAIN + client(PING).join(fragmented(TEXT, [b"\xe2\x82", b"\xac", b""])),
    _PLAIN + b"".join(fragmented(BINARY, [bytes(700), bytes(700)])),
    _PLAIN + header(TEXT, 1001) + header(CONTINUATION, 5),
    _COMPRESSED + client(TEXT, _HELLO, rsv=4) + client(TEXT, b"plain"),
    _COMPRESSED + b"".join(fragmented(TEXT, [_HELLO[:3], _HELLO[3:]], rsv=4)),
    _COMPRESSED + client(BINARY, deflate.deflate(bytes(3000)), rsv=4),
    _COMPRESSED + client(TEXT, bytes.fromhex("f348cdc9c9070000"), rsv=4),  # a final block, and the empty one behind it
]
TOKENS = [
    client(PING),
    client(TEXT, b"a", fin=False),
    client(CONTINUATION, b"b", fin=False),
    client(CONTINUATION, b"c"),
    b"\xfe\x00\x7e",
    b"\xff" + (1 << 63).to_bytes(8),
    b"\xff" + (1000).to_bytes(8),
    b"\x88\x82\x00\x00\x00\x00\x03\xed",
    b"\xed\xa0\x80",
]

if __name__ == "__main__":
    main(fuzz_one, SEEDS, TOKENS)
