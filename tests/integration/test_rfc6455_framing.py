"""Frames, control frames, reserved bits, opcodes and fragments over a real line: families 1-5 and 10 of the Autobahn suite.

What is legal is driven by the client of the `websockets` package, over the lean path and over plain ASGI; what is not, by
bytes, over the lean path: under plain ASGI the server's own implementation answers for it. Sections are RFC 6455's.
"""

from collections.abc import Iterator

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.support.background import LEAN, PLAIN_ASGI, TIMEOUT, Background
from tests.support.echo import ECHO, echoes
from tests.support.wire import BINARY, CLOSE, CONTINUATION, EOF, PING, PONG, TEXT, Frame, Wire, client_frame, wire

# Around the bounds of the three length forms (section 5.2).
SIZES = [0, 1, 125, 126, 127, 128, 65_535, 65_536, 65_537]
PROTOCOL_ERROR = 1002


@pytest.fixture(scope="module", params=[LEAN, PLAIN_ASGI])
def either(request: pytest.FixtureRequest) -> Iterator[Background]:
    with echoes(request.param) as served:
        yield served


@pytest.fixture
def legal(either: Background) -> Iterator[ClientConnection]:
    with connect(either.url(ECHO), compression=None, max_size=None) as client:
        yield client


@pytest.fixture(scope="module")
def lean() -> Iterator[Background]:
    with echoes(LEAN) as served:
        yield served


@pytest.fixture
def line(lean: Background) -> Iterator[Wire]:
    with wire(lean.port, ECHO) as connection:
        yield connection


def chopped(line: Wire, data: bytes, size: int = 1) -> None:
    for at in range(0, len(data), size):
        line.send(data[at : at + size])


# Family 1: framing.


@pytest.mark.parametrize("size", SIZES)
def test_a_text_message_of_any_length_form_comes_back(legal: ClientConnection, size: int) -> None:
    legal.send("*" * size)
    assert legal.recv(timeout=TIMEOUT) == "*" * size


@pytest.mark.parametrize("size", SIZES)
def test_a_binary_message_of_any_length_form_comes_back(legal: ClientConnection, size: int) -> None:
    legal.send(b"\xfe" * size)
    assert legal.recv(timeout=TIMEOUT) == b"\xfe" * size


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("chop", [997, 1_300, 16_384])
def test_a_message_may_come_in_tcp_segments_of_any_size(line: Wire, opcode: int, chop: int) -> None:
    payload = b"*" * 65_536
    chopped(line, client_frame(opcode, payload), chop)
    assert line.frame() == Frame(opcode, payload)


def test_a_server_uses_the_shortest_length_form_and_no_mask(line: Wire) -> None:
    for size, header in ((125, b"\x81\x7d"), (126, b"\x81\x7e\x00\x7e"), (65_536, b"\x81\x7f" + (65_536).to_bytes(8))):
        line.send_frame(TEXT, b"*" * size)
        assert line._read(len(header)) == header
        assert line._read(size) == b"*" * size


def test_messages_sent_without_waiting_come_back_in_order(legal: ClientConnection) -> None:
    for number in range(200):
        legal.send(str(number))
    assert [legal.recv(timeout=TIMEOUT) for _ in range(200)] == [str(number) for number in range(200)]


@pytest.mark.parametrize("size", [0, 10, 200, 70_000])
def test_an_unmasked_frame_ends_the_connection(line: Wire, size: int) -> None:
    # Section 5.1: "a server MUST close the connection upon receiving a frame that is not masked".
    length = bytes((size,)) if size < 126 else b"\x7e\x00\xc8" if size == 200 else b"\x7f" + size.to_bytes(8)
    line.send(b"\x81" + length + b"*" * min(size, 10))
    assert line.close_code() == PROTOCOL_ERROR


# Family 2: pings and pongs.


@pytest.mark.parametrize("payload", [b"", b"Hello, world!", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", b"\xfe" * 125])
def test_a_ping_is_answered_with_its_payload(legal: ClientConnection, payload: bytes) -> None:
    # The library knows a pong by its payload, so that the pong of another ping would not do.
    assert legal.ping(payload).wait(5)
    legal.send("still there")
    assert legal.recv(timeout=TIMEOUT) == "still there"


def test_a_ping_of_126_bytes_ends_the_connection(line: Wire) -> None:
    line.send_frame(PING, b"\xfe" * 126)
    assert line.close_code() == PROTOCOL_ERROR


def test_a_ping_may_come_octet_by_octet(line: Wire) -> None:
    chopped(line, client_frame(PING, b"\xfe" * 125))
    assert line.frame() == Frame(PONG, b"\xfe" * 125)


@pytest.mark.parametrize("payload", [b"", b"unsolicited"])
def test_an_unsolicited_pong_is_not_answered(line: Wire, payload: bytes) -> None:
    line.send_frame(PONG, payload)
    line.send_frame(PING, b"after it")
    assert line.frame() == Frame(PONG, b"after it")


def test_ten_pings_are_answered_in_order(legal: ClientConnection) -> None:
    pongs = [legal.ping(f"payload-{number}") for number in range(10)]
    assert all(pong.wait(5) for pong in pongs)


def test_ten_pings_octet_by_octet_are_answered_in_order(line: Wire) -> None:
    chopped(line, b"".join(client_frame(PING, b"payload-%d" % number) for number in range(10)))
    assert [line.frame() for _ in range(10)] == [Frame(PONG, b"payload-%d" % number) for number in range(10)]


# Family 3: reserved bits, none of which has a meaning without an extension (section 5.2).


@pytest.mark.parametrize("rsv", range(1, 8))
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG, CLOSE])
def test_a_reserved_bit_ends_the_connection(line: Wire, opcode: int, rsv: int) -> None:
    line.send_frame(opcode, b"\x03\xe8" if opcode == CLOSE else b"*" * 10, rsv=rsv)
    assert line.close_code() == PROTOCOL_ERROR


def test_what_came_before_a_reserved_bit_is_answered_and_nothing_after_it(line: Wire) -> None:
    chopped(line, client_frame(TEXT, b"before"))
    assert line.frame() == Frame(TEXT, b"before")
    chopped(line, client_frame(TEXT, b"broken", rsv=4) + client_frame(PING, b"after"))
    assert list(line.frames()) == [Frame(CLOSE, PROTOCOL_ERROR.to_bytes(2))]


def test_what_comes_in_one_segment_with_a_reserved_bit_may_end_unanswered(line: Wire) -> None:
    line.send(client_frame(TEXT, b"before") + client_frame(TEXT, b"broken", rsv=4) + client_frame(PING, b"after"))
    frames = list(line.frames())
    assert frames[-1] == Frame(CLOSE, PROTOCOL_ERROR.to_bytes(2))
    # An echo is a task's work, and its turn may come before the line is down or after it.
    assert frames[:-1] in ([Frame(TEXT, b"before")], [])


# Family 4: opcodes.


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("payload", [b"", b"reserved opcode payload"])
def test_a_reserved_opcode_ends_the_connection(line: Wire, opcode: int, payload: bytes) -> None:
    line.send_frame(TEXT, "Hello, world!")
    assert line.frame() == Frame(TEXT, b"Hello, world!")
    line.send(client_frame(opcode, payload) + client_frame(PING))
    assert line.close_code() == PROTOCOL_ERROR


# Family 5: fragmentation.


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_a_fragmented_control_frame_ends_the_connection(line: Wire, opcode: int) -> None:
    line.send(client_frame(opcode, b"frag", fin=False) + client_frame(CONTINUATION, b"ment"))
    assert line.close_code() == PROTOCOL_ERROR


@pytest.mark.parametrize("parts", [["fragment1", "fragment2"], ["", "", ""], ["", "middle", ""], list("äöüÄ" * 30)])
def test_fragments_come_back_as_one_message(legal: ClientConnection, parts: list[str]) -> None:
    legal.send(iter(parts))
    assert legal.recv(timeout=TIMEOUT) == "".join(parts)


def test_binary_fragments_come_back_as_one_message(legal: ClientConnection) -> None:
    legal.send(iter([b"\xff", b"", b"\xfe" * 70_000, b"\x00"]))
    assert legal.recv(timeout=TIMEOUT) == b"\xff" + b"\xfe" * 70_000 + b"\x00"


@pytest.mark.parametrize("chop", [1, 1_000])
def test_a_ping_between_fragments_is_answered_at_once(line: Wire, chop: int) -> None:
    chopped(line, client_frame(TEXT, b"fragment1", fin=False) + client_frame(PING, b"between"), chop)
    assert line.frame() == Frame(PONG, b"between")
    chopped(line, client_frame(CONTINUATION, b"fragment2"), chop)
    assert line.frame() == Frame(TEXT, b"fragment1fragment2")


def test_many_fragments_with_pings_between_them_are_one_message(line: Wire) -> None:
    stream = [client_frame(CONTINUATION if n else TEXT, b"fragment%d" % n, fin=n == 4) for n in range(5)]
    pings = [client_frame(PING, b"pongme %d!" % n) for n in range(4)]
    line.send(b"".join([part for pair in zip(stream, pings, strict=False) for part in pair] + stream[4:]))
    assert [line.frame() for _ in range(4)] == [Frame(PONG, b"pongme %d!" % n) for n in range(4)]
    assert line.frame() == Frame(TEXT, b"".join(b"fragment%d" % n for n in range(5)))


@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("chop", [1, 1_000])
def test_a_continuation_of_nothing_ends_the_connection(line: Wire, fin: bool, chop: int) -> None:
    chopped(line, client_frame(CONTINUATION, b"non-continuation", fin=fin) + client_frame(TEXT, b"Hello"), chop)
    assert line.close_code() == PROTOCOL_ERROR


@pytest.mark.parametrize("fin", [True, False])
def test_a_continuation_after_the_end_of_a_message_ends_the_connection(line: Wire, fin: bool) -> None:
    line.send(client_frame(TEXT, b"fragment1", fin=False) + client_frame(CONTINUATION, b"fragment2"))
    assert line.frame() == Frame(TEXT, b"fragment1fragment2")
    line.send_frame(CONTINUATION, b"fragment3", fin=fin)
    assert line.close_code() == PROTOCOL_ERROR


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("fin", [True, False])
def test_a_message_that_begins_within_another_ends_the_connection(line: Wire, opcode: int, fin: bool) -> None:
    line.send(client_frame(TEXT, b"fragment1", fin=False) + client_frame(opcode, b"fragment2", fin=fin))
    assert line.close_code() == PROTOCOL_ERROR


# Family 10: what a server makes of a large message is its own affair, but it must arrive whole.


def test_a_message_in_frames_of_1300_bytes_comes_back_whole(legal: ClientConnection) -> None:
    message = "*" * 65_536
    legal.send(message[at : at + 1_300] for at in range(0, len(message), 1_300))
    assert legal.recv(timeout=TIMEOUT) == message


def test_nothing_follows_the_end_of_a_refused_connection(line: Wire) -> None:
    # The close, then the end of the stream, whatever the client still sends (section 7.1.7).
    line.send_frame(3)
    line.send_frame(TEXT, "too late")
    assert line.frame() == Frame(CLOSE, PROTOCOL_ERROR.to_bytes(2))
    assert line.frame() == EOF
