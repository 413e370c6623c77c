"""Large and many messages over a real line, and the mount's limits: family 9 of the Autobahn suite."""

from collections.abc import Iterator

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.support.background import LEAN, PLAIN_ASGI, TIMEOUT, Background
from tests.support.echo import ECHO, SMALL, echoes
from tests.support.wire import BINARY, CLOSE, CONTINUATION, EOF, PING, PONG, TEXT, Frame, Wire, client_frame, wire

KB, MB = 1_024, 1_048_576
TOO_BIG = 1009


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


@pytest.fixture
def small(lean: Background) -> Iterator[Wire]:
    """A line with `max_frame_size` 1,000 and `max_message_size` 2,000."""
    with wire(lean.port, SMALL) as connection:
        yield connection


def in_fragments(opcode: int, payload: bytes, size: int) -> bytes:
    pieces = [payload[at : at + size] for at in range(0, len(payload), size)]
    last = len(pieces) - 1
    return b"".join(client_frame(CONTINUATION if n else opcode, p, fin=n == last) for n, p in enumerate(pieces))


@pytest.mark.parametrize("size", [64 * KB, 256 * KB, 1 * MB, 4 * MB, 9 * MB], ids=str)
def test_a_large_text_comes_back(legal: ClientConnection, size: int) -> None:
    message = "BAsd7&jh23" * (size // 10)
    legal.send(message)
    assert legal.recv(timeout=TIMEOUT) == message


@pytest.mark.parametrize("size", [64 * KB, 256 * KB, 1 * MB, 4 * MB, 9 * MB], ids=str)
def test_a_large_binary_comes_back(legal: ClientConnection, size: int) -> None:
    message = b"\x00\xfe\x23\xfa\xf0" * (size // 5)
    legal.send(message)
    assert legal.recv(timeout=TIMEOUT) == message


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [64, 256, 1 * KB, 4 * KB, 64 * KB, 256 * KB, 1 * MB], ids=str)
def test_a_message_of_a_megabyte_in_fragments_of_any_size_comes_back(line: Wire, opcode: int, size: int) -> None:
    payload = b"*" * MB
    line.send(in_fragments(opcode, payload, size))
    assert line.frame() == Frame(opcode, payload)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("chop", [64, 128, 256, 512, 1 * KB, 2 * KB], ids=str)
def test_a_large_message_in_small_segments_comes_back(line: Wire, opcode: int, chop: int) -> None:
    payload = b"*" * 256 * KB
    stream = client_frame(opcode, payload)
    for at in range(0, len(stream), chop):
        line.send(stream[at : at + chop])
    assert line.frame() == Frame(opcode, payload)


@pytest.mark.parametrize("size", [0, 16, 64, 256, 1 * KB, 4 * KB], ids=str)
def test_a_thousand_round_trips(legal: ClientConnection, size: int) -> None:
    for number in range(1_000 if size == 16 else 100):
        message: str | bytes = "*" * size if number % 2 else b"*" * size
        legal.send(message)
        assert legal.recv(timeout=TIMEOUT) == message


def test_a_frame_over_the_limit_is_answered_with_1009_before_it_has_arrived(small: Wire) -> None:
    small.send(client_frame(BINARY, b"*" * 1_001)[:8])
    assert small.close_code() == TOO_BIG


def test_a_frame_of_just_the_limit_is_taken(small: Wire) -> None:
    small.send_frame(BINARY, b"*" * 1_000)
    assert small.frame() == Frame(BINARY, b"*" * 1_000)


def test_fragments_may_add_up_to_the_message_limit_and_no_further(small: Wire) -> None:
    # As recorded: four fragments of less than 600 pass a frame limit of 1,000, which is for each frame.
    small.send(in_fragments(TEXT, b"*" * 2_000, 600))
    assert small.frame() == Frame(TEXT, b"*" * 2_000)
    small.send(in_fragments(TEXT, b"*" * 2_001, 600))
    assert small.close_code() == TOO_BIG


def test_an_announcement_of_9_exabytes_is_refused_from_the_header(line: Wire) -> None:
    line.send(b"\x82\xff" + (2**63 - 1).to_bytes(8))
    assert line.close_code() == TOO_BIG


def test_a_frame_over_the_default_limit_of_10_000_000_bytes_is_refused_from_the_header(line: Wire) -> None:
    # As recorded: 10,000,001 bytes are answered with 1009.
    line.send(client_frame(BINARY, b"*" * 10_000_001)[:14])
    assert line.close_code() == TOO_BIG


@pytest.mark.parametrize("size", [1_001, 20_000])
def test_a_message_over_the_limit_is_answered_with_1009_under_any_server(either: Background, size: int) -> None:
    with wire(either.port, SMALL) as small:
        small.send_frame(TEXT, b"*" * size)
        closing = small.frame()
        assert (closing.opcode, closing.code) == (CLOSE, TOO_BIG)
        small.send_frame(CLOSE, closing.payload)
        assert small.frame() == EOF


def test_others_are_served_while_a_large_frame_trickles_in(lean: Background, line: Wire) -> None:
    stream = client_frame(BINARY, b"*" * 4 * MB)
    line.send(stream[: 3 * MB])
    with wire(lean.port, ECHO) as other:
        for _ in range(10):
            other.send_frame(PING, b"how is it going?")
            assert other.frame() == Frame(PONG, b"how is it going?")
    line.send(stream[3 * MB :])
    assert line.frame() == Frame(BINARY, b"*" * 4 * MB)
