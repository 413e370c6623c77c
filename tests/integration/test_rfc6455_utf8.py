"""Text that is and is not UTF-8, over a real line: family 6 of the Autobahn suite (RFC 6455 section 8.1, RFC 3629)."""

from collections.abc import Iterator

import pytest
from websockets.sync.client import connect

from tests.support.background import LEAN, PLAIN_ASGI, TIMEOUT, Background
from tests.support.echo import ECHO, echoes
from tests.support.wire import BINARY, CONTINUATION, PING, PONG, TEXT, Frame, Wire, client_frame, wire

INVALID_DATA = 1007

# Autobahn's own sentence: two octets, three octets, four octets.
GREETING = "Hello-µ@ßöäüàá-UTF-8!!"
KOSME = "κόσμε"

# RFC 3629: first and last of each length, the borders of the surrogates, and non-characters, which are no error.
VALID = {
    "Autobahn's greeting": GREETING,
    "Greek with a combining letter": KOSME,
    "U+0000": "\x00",
    "last of one octet": "\x7f",
    "first of two octets": "\x80",
    "last of two octets": "\u07ff",
    "first of three octets": "\u0800",
    "before the surrogates": "\ud7ff",
    "after the surrogates": "\ue000",
    "replacement character": "\ufffd",
    "last of three octets": "\uffff",
    "first of four octets": "\U00010000",
    "last of all": "\U0010ffff",
    "non-characters": "\ufdd0\ufffe\uffff\U0001fffe\U0010ffff",
    "everything at once": "$£€𐍈" * 500,
}

# Markus Kuhn's stress test, which the suite follows.
INVALID = {
    "continuation first": b"\x80",
    "continuation last": b"\xbf",
    "six continuations": b"\x80\xbf\x80\xbf\x80\xbf",
    "every lonely start of two": bytes(octet for start in range(0xC0, 0xE0) for octet in (start, 0x20)),
    "lonely start of three": b"\xe0 ",
    "lonely start of four": b"\xf0 ",
    "two octets, one missing": b"\xc3",
    "three octets, one missing": b"\xe0\xa0",
    "four octets, one missing": b"\xf0\x90\x80",
    "five octets": b"\xf8\x88\x80\x80\x80",
    "six octets": b"\xfc\x84\x80\x80\x80\x80",
    "FE": b"\xfe",
    "FF": b"\xff",
    "overlong solidus of two": b"\xc0\xaf",
    "overlong solidus of three": b"\xe0\x80\xaf",
    "overlong solidus of four": b"\xf0\x80\x80\xaf",
    "longest overlong of two": b"\xc1\xbf",
    "longest overlong of three": b"\xe0\x9f\xbf",
    "longest overlong of four": b"\xf0\x8f\xbf\xbf",
    "overlong NUL": b"\xc0\x80",
    "first surrogate": b"\xed\xa0\x80",
    "last surrogate": b"\xed\xbf\xbf",
    "pair of surrogates": b"\xed\xa0\x80\xed\xb0\x80",
    "beyond U+10FFFF": b"\xf4\x90\x80\x80",
    "far beyond": b"\xf7\xbf\xbf\xbf",
}


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


def test_valid_text_comes_back_as_it_was(either: Background) -> None:
    with connect(either.url(ECHO), compression=None) as client:
        for name, text in VALID.items():
            client.send(text)
            assert client.recv(timeout=TIMEOUT) == text, name


def test_valid_text_may_be_cut_anywhere_even_within_a_letter(line: Wire) -> None:
    for text in VALID.values():
        data = text.encode()[:40] if text != VALID["everything at once"] else text.encode()
        for size in (1, 2, 3):
            parts = [data[at : at + size] for at in range(0, len(data), size)]
            last = len(parts) - 1
            line.send(
                b"".join(client_frame(CONTINUATION if n else TEXT, p, fin=n == last) for n, p in enumerate(parts))
            )
            assert line.frame() == Frame(TEXT, data)


def test_empty_fragments_are_valid_text(line: Wire) -> None:
    line.send(client_frame(TEXT, fin=False) + client_frame(CONTINUATION, fin=False) + client_frame(CONTINUATION))
    assert line.frame() == Frame(TEXT, b"")


@pytest.mark.parametrize("name", INVALID)
@pytest.mark.parametrize("around", [b"", KOSME.encode()], ids=["alone", "within text"])
def test_invalid_text_is_answered_with_1007(line: Wire, name: str, around: bytes) -> None:
    line.send_frame(TEXT, around + INVALID[name] + (around and b" edited"))
    assert line.close_code() == INVALID_DATA


@pytest.mark.parametrize("name", INVALID)
def test_invalid_text_in_fragments_is_answered_with_1007(line: Wire, name: str) -> None:
    data = KOSME.encode() + INVALID[name] + b"edited"
    line.send_frame(TEXT, data[:1], fin=False)
    for octet in data[1:-1]:
        line.send_frame(CONTINUATION, bytes((octet,)), fin=False)
    line.send_frame(CONTINUATION, data[-1:])
    assert line.close_code() == INVALID_DATA


def test_text_is_refused_as_soon_as_it_is_wrong(line: Wire) -> None:
    # Autobahn 6.4: the message never ends, and the server need not wait for it to.
    line.send_frame(TEXT, KOSME, fin=False)
    line.send_frame(CONTINUATION, b"\xf4\x90\x80\x80", fin=False)
    assert line.close_code() == INVALID_DATA


def test_a_letter_may_be_finished_after_a_ping(line: Wire) -> None:
    data = "€".encode()
    line.send_frame(TEXT, data[:1], fin=False)
    line.send_frame(PING, b"\xff")
    assert line.frame() == Frame(PONG, b"\xff"), "the payload of a ping is no text"
    line.send_frame(CONTINUATION, data[1:])
    assert line.frame() == Frame(TEXT, data)


@pytest.mark.parametrize("name", INVALID)
def test_bytes_need_not_be_text(line: Wire, name: str) -> None:
    line.send_frame(BINARY, INVALID[name])
    assert line.frame() == Frame(BINARY, INVALID[name])
