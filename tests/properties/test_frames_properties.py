"""The frame codec against arbitrary bytes, and against the framing of two other libraries."""

from itertools import pairwise
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader
from wsproto.frame_protocol import FrameDecoder, FrameProtocol
from wsproto.frame_protocol import Opcode as WsprotoOpcode

from broadwing.core import deflate
from broadwing.core.close import received_close_is_valid
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
    close_frame,
    frame,
)
from tests.core.framing import client, feed, held

MAX_FRAME = 300
MAX_MESSAGE = 400
LONGEST_HEADER = 14


def _limits(compression: bool = True) -> FrameLimits:
    return FrameLimits(MAX_FRAME, MAX_MESSAGE, deflate.inflate if compression else None)


def _cut(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:stop] for start, stop in pairwise(edges)]


cuts = st.lists(st.integers(0, 10_000), max_size=12)

# Frames that are legal or nearly so: far more of the codec is reached by them than by arbitrary bytes.
any_frame = st.builds(
    lambda first, length, payload, mask: (
        bytes((first, (0x80 if mask else 0) | length))
        + (len(payload).to_bytes(2) if length == 126 else len(payload).to_bytes(8) if length == 127 else b"")
        + payload
    ),
    first=st.sampled_from([0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0xC1, 0xC2, 0x41, 0x88, 0x89, 0x8A])
    | st.integers(0, 255),
    length=st.sampled_from([126, 127]) | st.integers(0, 127),
    payload=st.binary(max_size=MAX_FRAME + 20),
    mask=st.booleans() | st.just(True),
)


@st.composite
def legal_frame(draw: st.DrawFn) -> bytes:
    opcode = draw(st.sampled_from([CONTINUATION, TEXT, BINARY, PING, PONG, CLOSE]))
    fin = True if opcode >= CLOSE else draw(st.booleans())
    rsv = draw(st.sampled_from([0, 4])) if opcode in (TEXT, BINARY) else 0
    payload = draw(st.binary(max_size=125)) if opcode >= CLOSE else draw(st.text(max_size=80)).encode()
    if rsv and draw(st.booleans()):
        payload = deflate.deflate(payload)
    return client(opcode, payload, fin=fin, rsv=rsv, key=draw(st.binary(min_size=4, max_size=4)))


streams = st.lists(legal_frame() | legal_frame() | any_frame | st.binary(max_size=30), max_size=8).map(b"".join)


@settings(max_examples=250)
@given(stream=streams, cuts=cuts, compression=st.booleans())
@example(stream=b"\x81", cuts=[], compression=False)
@example(stream=client(TEXT, b"\xed\xa0", fin=False) + client(CONTINUATION, b"\x80"), cuts=[9], compression=False)
@example(stream=bytes.fromhex("82ff8000000000000000"), cuts=[2, 9], compression=True)
def test_any_bytes_in_any_slices_give_the_same_events_and_are_held_within_limits(
    stream: bytes, cuts: list[int], compression: bool
) -> None:
    whole = feed([stream], _limits(compression))
    reader = FrameReader(_limits(compression))
    events: list[FrameEvent] = []
    for chunk in _cut(stream, cuts):
        if events and events[-1][0] in (CLOSE, FAIL):
            break
        events += reader.feed(chunk)
        assert held(reader) < LONGEST_HEADER + MAX_FRAME
        assert reader._fragments is None or len(reader._fragments.data) <= MAX_MESSAGE
    assert events == whole
    for opcode, value in whole[:-1]:
        assert opcode in (TEXT, BINARY, PING, PONG), "nothing follows the last event"
        assert isinstance(value, bytes)
    for opcode, value in whole:
        if opcode in (TEXT, BINARY):
            assert isinstance(value, bytes)
            assert len(value) <= max(MAX_FRAME, MAX_MESSAGE)
        elif opcode in (PING, PONG):
            assert isinstance(value, bytes)
            assert len(value) <= 125
        elif opcode == CLOSE:
            assert isinstance(value, int)
            assert value == 1005 or received_close_is_valid(value)
        else:
            assert (opcode, value) in [(FAIL, 1002), (FAIL, 1007), (FAIL, 1009)]
        if opcode == TEXT:
            assert isinstance(value, bytes)
            value.decode()


@settings(max_examples=100)
@given(chunks=st.lists(streams | st.binary(max_size=60), max_size=8))
def test_a_reader_that_is_fed_on_after_its_end_neither_raises_nor_hoards(chunks: list[bytes]) -> None:
    # A transport may have one more chunk under way when it ends a connection.
    reader = FrameReader(_limits())
    for chunk in chunks:
        reader.feed(chunk)
        assert held(reader) < LONGEST_HEADER + MAX_FRAME
        assert reader._fragments is None or len(reader._fragments.data) <= MAX_MESSAGE + MAX_FRAME


# Legal streams, framed by other libraries.


@st.composite
def conversations(draw: st.DrawFn) -> list[tuple[int, bytes, list[int], list[tuple[int, bytes]]]]:
    """Messages, each with the places where it is cut into fragments, and the control frames between those."""
    messages = []
    for _ in range(draw(st.integers(1, 4))):
        opcode = draw(st.sampled_from([TEXT, BINARY]))
        size = draw(st.sampled_from([0, 20, 125, 126, 200]))
        payload = draw(st.text(max_size=size)).encode() if opcode == TEXT else draw(st.binary(max_size=size))
        places = draw(st.lists(st.integers(0, len(payload)), max_size=4))
        controls = draw(
            st.lists(st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125)), max_size=len(places))
        )
        messages.append((opcode, payload, places, controls))
    return messages


def _expected(conversation: list[tuple[int, bytes, list[int], list[tuple[int, bytes]]]]) -> list[FrameEvent]:
    events: list[FrameEvent] = []
    for opcode, payload, _, controls in conversation:
        events += controls
        events.append((opcode, payload))
    return events


@settings(max_examples=100)
@given(conversation=conversations(), cuts=cuts)
def test_what_websockets_frames_is_read_as_it_was_meant(conversation: Any, cuts: list[int]) -> None:
    stream = b""
    for opcode, payload, places, controls in conversation:
        parts = _cut(payload, places)
        for i, part in enumerate(parts):
            kind = Opcode(opcode) if i == 0 else Opcode.CONT
            stream += Frame(kind, part, fin=i == len(parts) - 1).serialize(mask=True)
            if i < len(controls):
                stream += Frame(Opcode(controls[i][0]), controls[i][1]).serialize(mask=True)
    assert feed(_cut(stream, cuts), FrameLimits()) == _expected(conversation)


@settings(max_examples=100)
@given(conversation=conversations(), cuts=cuts, bits=st.integers(9, 15))
def test_what_websockets_compresses_is_read_as_it_was_meant(conversation: Any, cuts: list[int], bits: int) -> None:
    extension = PerMessageDeflate(True, True, 15, bits)  # as negotiated: no context is taken over
    stream = b""
    for opcode, payload, places, controls in conversation:
        parts = _cut(payload, places)
        for i, part in enumerate(parts):
            kind = Opcode(opcode) if i == 0 else Opcode.CONT
            sent = Frame(kind, part, fin=i == len(parts) - 1)
            stream += sent.serialize(mask=True, extensions=[extension])
            if i < len(controls):
                stream += Frame(Opcode(controls[i][0]), controls[i][1]).serialize(mask=True)
    limits = FrameLimits(inflate=deflate.inflate)
    assert feed(_cut(stream, cuts), limits) == _expected(conversation)


@settings(max_examples=80)
@given(
    conversation=conversations(),
    cuts=cuts,
    code=st.sampled_from([None, 1000, 1001, 1009, 3000, 4999]),
    reason=st.text(max_size=30),
)
def test_what_wsproto_frames_is_read_as_it_was_meant(
    conversation: Any, cuts: list[int], code: int | None, reason: str
) -> None:
    peer = FrameProtocol(client=True, extensions=[])
    stream = b""
    expected: list[FrameEvent] = []
    for opcode, payload, places, controls in conversation:
        if opcode == TEXT:
            text = payload.decode()
            parts: list[Any] = [text[:1], text[1:]] if places else [text]
        else:
            parts = _cut(payload, places)
        for i, part in enumerate(parts):
            stream += peer.send_data(part, fin=i == len(parts) - 1)
            if i < min(len(controls), len(parts) - 1):
                kind, data = controls[i]
                stream += peer.ping(data) if kind == PING else peer.pong(data)
                expected.append((kind, data))
        expected.append((opcode, payload))
    stream += peer.close(code, reason if code else None)
    assert feed(_cut(stream, cuts), FrameLimits()) == [*expected, (CLOSE, code or 1005)]


# What is written, other libraries read, and so does the reader once it is masked.

messages = st.tuples(st.just(TEXT), st.text(max_size=400).map(str.encode)) | st.tuples(
    st.just(BINARY), st.binary(max_size=400) | st.sampled_from([bytes(125), bytes(126), bytes(65_535), bytes(65_536)])
)


def _parsed_by_websockets(data: bytes) -> Frame:
    reader = StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    parsing = Frame.parse(reader.read_exact, mask=False)
    try:
        while True:
            next(parsing)
    except StopIteration as done:
        parsed: Frame = done.value
    assert not reader.buffer, "nothing but the frame"
    return parsed


@settings(max_examples=150)
@given(message=messages)
def test_what_is_framed_is_read_by_websockets_and_wsproto(message: tuple[int, bytes]) -> None:
    opcode, payload = message
    data = frame(opcode, payload)
    parsed = _parsed_by_websockets(data)
    assert (int(parsed.opcode), parsed.data, parsed.fin, parsed.rsv1) == (opcode, payload, True, False)
    decoder = FrameDecoder(client=True)
    decoder.receive_bytes(data)
    received = decoder.process_buffer()
    assert received is not None
    assert received.opcode == WsprotoOpcode(opcode)
    assert received.message_finished
    content = received.payload
    assert isinstance(content, str | bytes | bytearray)
    assert (content.encode() if isinstance(content, str) else bytes(content)) == payload


@settings(max_examples=150)
@given(message=messages, key=st.binary(min_size=4, max_size=4))
def test_a_masked_frame_decodes_to_what_was_encoded(message: tuple[int, bytes], key: bytes) -> None:
    opcode, payload = message
    written = frame(opcode, payload)
    start = len(written) - len(payload)
    mask = (key * (len(payload) // 4 + 1))[: len(payload)]
    body = bytes(a ^ b for a, b in zip(payload, mask, strict=True))
    sent = bytes((written[0], written[1] | 0x80)) + written[2:start] + key + body
    assert feed([sent]) == [(opcode, payload)]


@settings(max_examples=100)
@given(code=st.sampled_from([1000, 1001, 1002, 1007, 1009, 1011, 1012, 4001]), reason=st.text(max_size=200))
def test_a_close_frame_is_legal_whatever_its_reason(code: int, reason: str) -> None:
    parsed = _parsed_by_websockets(close_frame(code, reason))
    parsed.check()  # at most 125 bytes
    assert int.from_bytes(bytes(parsed.data[:2])) == code
    said = bytes(parsed.data[2:]).decode()
    assert reason.startswith(said)
    assert said == reason or len(reason.encode()) > 123


@settings(max_examples=150)
@given(
    data=st.binary(max_size=2000) | st.text(max_size=50).map(lambda text: text.encode() * 30), bits=st.integers(9, 15)
)
def test_what_is_deflated_inflates(data: bytes, bits: int) -> None:
    assert deflate.inflate(deflate.deflate(data, bits), len(data)) == data


@settings(max_examples=150)
@given(data=st.binary(max_size=200), limit=st.integers(0, 300))
def test_any_bytes_inflate_within_the_limit_or_are_refused(data: bytes, limit: int) -> None:
    result = deflate.inflate(data, limit)
    assert result is None or result is False or (isinstance(result, bytes) and len(result) <= limit)


parameters = st.sampled_from(
    [
        "server_no_context_takeover",
        "client_no_context_takeover",
        "client_max_window_bits",
        "client_max_window_bits=10",
        "server_max_window_bits=9",
        "server_max_window_bits=15",
        "server_max_window_bits=8",
        "server_max_window_bits",
        'server_max_window_bits="12"',
        "mystery",
        "",
    ]
)
offers = st.lists(parameters, max_size=4).map(lambda given: ";".join(["permessage-deflate", *given]))


@settings(max_examples=150)
@given(values=st.lists(st.lists(offers | st.text(max_size=20), max_size=3).map(", ".join), max_size=3))
def test_any_offer_is_answered_within_what_was_offered_or_declined(values: list[str]) -> None:
    answer = deflate.negotiate(values)
    if answer is None:
        return
    header, bits = answer
    assert 9 <= bits <= 15
    asked = header.partition("server_max_window_bits=")[2]
    assert (asked == str(bits)) if asked else bits == 15
    if asked:
        assert any("server_max_window_bits" in value and str(bits) in value for value in values)
