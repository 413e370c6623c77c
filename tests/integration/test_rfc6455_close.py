"""The closing handshake over a real line: family 7 of the Autobahn suite (RFC 6455 sections 5.5.1 and 7)."""

import logging
import secrets
import socket
import struct
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosedOK
from websockets.sync.client import connect

from tests.support.background import LEAN, PLAIN_ASGI, TIMEOUT, Background, until
from tests.support.echo import ECHO, EchoSocket, echoes
from tests.support.wire import BINARY, CLOSE, CONTINUATION, EOF, PING, TEXT, Frame, Wire, client_frame, wire

NORMAL, PROTOCOL_ERROR, INVALID_DATA = 1000, 1002, 1007
CLOSED = Frame(CLOSE, NORMAL.to_bytes(2))


@pytest.fixture(scope="module", params=[LEAN, PLAIN_ASGI])
def either(request: pytest.FixtureRequest) -> Iterator[Background]:
    with echoes(request.param) as served:
        yield served


@pytest.fixture(scope="module")
def lean() -> Iterator[Background]:
    with echoes(LEAN) as served:
        yield served


@pytest.fixture
def line(lean: Background) -> Iterator[Wire]:
    with wire(lean.port, ECHO) as connection:
        yield connection


def close(code: int, reason: bytes = b"") -> bytes:
    return client_frame(CLOSE, code.to_bytes(2) + reason)


def test_a_clients_close_is_answered_and_ends_the_connection(either: Background) -> None:
    with connect(either.url(ECHO), compression=None) as client:
        client.send("Hello World!")
        assert client.recv(timeout=TIMEOUT) == "Hello World!"
        client.close()
        assert client.protocol.close_rcvd is not None
        assert client.protocol.close_rcvd.code == NORMAL
        with pytest.raises(ConnectionClosedOK):
            client.recv(timeout=TIMEOUT)


def test_the_second_of_two_closes_is_not_answered(line: Wire) -> None:
    line.send(close(NORMAL) + close(NORMAL))
    assert list(line.frames()) == [CLOSED]


@pytest.mark.parametrize("after", [client_frame(PING, b"late"), client_frame(TEXT, b"late"), b"no frame at all"])
def test_nothing_after_a_close_is_answered(line: Wire, after: bytes) -> None:
    line.send(close(NORMAL) + after)
    assert list(line.frames()) == [CLOSED]


def test_a_close_may_come_in_the_middle_of_a_message(line: Wire) -> None:
    line.send(client_frame(TEXT, b"fragment1", fin=False) + close(NORMAL) + client_frame(CONTINUATION, b"fragment2"))
    assert list(line.frames()) == [CLOSED]


def test_a_large_message_is_answered_before_the_close_behind_it(either: Background) -> None:
    # Autobahn 7.1.6. The client waits for its echo; one that closes at once cannot expect it (section 5.5.1).
    with connect(either.url(ECHO), compression=None) as client:
        client.send("*" * 262_144)
        assert client.recv(timeout=TIMEOUT) == "*" * 262_144
        client.close()
        assert client.protocol.close_rcvd is not None
        assert client.protocol.close_rcvd.code == NORMAL


def test_a_close_may_come_octet_by_octet(line: Wire) -> None:
    for octet in close(NORMAL, b"good bye"):
        line.send(bytes((octet,)))
    assert list(line.frames()) == [CLOSED]


def test_a_close_needs_no_code(line: Wire) -> None:
    line.send_frame(CLOSE)
    assert list(line.frames()) == [CLOSED]


def test_a_close_of_one_byte_is_a_protocol_error(line: Wire) -> None:
    line.send_frame(CLOSE, b"\x03")
    assert line.close_code() == PROTOCOL_ERROR


@pytest.mark.parametrize("reason", [b"", b"Hello World!", b"*" * 123, "€".encode() * 41])
def test_a_close_may_give_a_reason_of_up_to_123_bytes(line: Wire, reason: bytes) -> None:
    line.send(close(NORMAL, reason))
    assert list(line.frames()) == [CLOSED]


def test_a_close_with_a_longer_reason_is_a_protocol_error(line: Wire) -> None:
    line.send(close(NORMAL, b"*" * 124))
    assert line.close_code() == PROTOCOL_ERROR


def test_a_reason_that_is_not_utf8_is_answered_with_1007(line: Wire) -> None:
    line.send(close(NORMAL, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"))
    assert line.close_code() == INVALID_DATA


# Section 7.4.1 and 7.4.2, and what IANA has registered since; beyond 4999 nothing is said, and Phoenix lets it pass.
@pytest.mark.parametrize(
    "code",
    [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999, 5000, 65_535],
)
def test_a_code_that_may_be_sent_is_answered_with_1000(line: Wire, code: int) -> None:
    line.send(close(code))
    assert list(line.frames()) == [CLOSED]


@pytest.mark.parametrize("code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999])
def test_a_code_that_may_not_be_sent_is_a_protocol_error(line: Wire, code: int) -> None:
    line.send(close(code))
    assert line.close_code() == PROTOCOL_ERROR


@pytest.mark.parametrize("code", [1001, 3000, 4999])
def test_a_clients_code_is_accepted_over_every_path(either: Background, code: int) -> None:
    with connect(either.url(ECHO), compression=None) as client:
        client.close(code)
        assert client.protocol.close_rcvd is not None


def test_a_client_that_leaves_without_a_word_harms_nobody(either: Background) -> None:
    with wire(either.port, ECHO) as staying:
        for _ in range(5):
            with wire(either.port, ECHO) as leaving:
                leaving.send(client_frame(TEXT, b"half of a messa", fin=False)[:-4])
        staying.send_frame(BINARY, b"still here")
        assert staying.frame() == Frame(BINARY, b"still here")


def test_a_half_closed_connection_is_closed(line: Wire) -> None:
    # As recorded: "tcp half close by client" is answered with the end of the stream, without a close frame.
    line.line.shutdown(socket.SHUT_WR)
    assert line.frame() == EOF


@pytest.mark.parametrize("way", ["closed", "reset", "half closed", "protocol error"])
def test_terminate_is_called_once_however_the_client_left(
    either: Background, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    name = secrets.token_hex(8)
    with wire(either.port, f"{ECHO}?name={name}") as line:
        line.send_frame(TEXT, "hello")
        assert line.frame() == Frame(TEXT, b"hello")
        match way:
            case "closed":
                line.send(close(NORMAL))
                assert line.frame().opcode == CLOSE
            case "reset":
                # A linger of no time makes close() a reset.
                line.line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            case "half closed":
                line.line.shutdown(socket.SHUT_WR)
            case _:
                line.send_frame(3)
                assert line.frame().code == PROTOCOL_ERROR
    until(lambda: name in EchoSocket.ended)
    assert EchoSocket.ended[name] == [("shutdown", "closed")]
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
