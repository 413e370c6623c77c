"""Upgrade requests read at a glance: what browsers send is read, everything unusual is left to a parser of HTTP."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadwing.core.head import read_upgrade

USUAL = [
    b"Host: localhost:4000",
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
]


def head(*lines: bytes, request: bytes = b"GET /socket/websocket?vsn=2.0.0 HTTP/1.1") -> bytes:
    return b"\r\n".join([request, *lines, b"", b""])


def test_a_browsers_upgrade_is_read_with_names_in_lower_case_and_values_without_blanks() -> None:
    found = read_upgrade(head(*USUAL, b"Origin: \t http://localhost:4000 ", b"X-Empty:"))
    assert found is not None
    assert found.target == b"/socket/websocket?vsn=2.0.0"
    assert found.headers == [
        (b"host", b"localhost:4000"),
        (b"connection", b"Upgrade"),
        (b"upgrade", b"websocket"),
        (b"sec-websocket-version", b"13"),
        (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
        (b"origin", b"http://localhost:4000"),
        (b"x-empty", b""),
    ]


def test_firefox_names_more_than_one_thing_in_connection() -> None:
    assert read_upgrade(head(b"Connection: keep-alive, Upgrade", b"Upgrade: WebSocket")) is not None


def test_where_the_head_ends_frames_may_follow() -> None:
    whole = head(*USUAL)
    found = read_upgrade(whole + b"\x81\x80mask")
    assert found is not None
    assert found.end == len(whole)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        head(*USUAL)[:-1],
        head(*USUAL, request=b"POST /socket/websocket HTTP/1.1"),
        head(*USUAL, request=b"GET /socket/websocket HTTP/1.0"),
        head(*USUAL, request=b"GET http://localhost/socket/websocket HTTP/1.1"),
        head(*USUAL, request=b"GET /socket /websocket HTTP/1.1"),
        head(*USUAL, request="GET /söcket HTTP/1.1".encode()),
        head(request=b"GET / HTTP/1.1"),
        head(b"Host: localhost"),
        head(b"Connection: Upgrade", b"Upgrade: h2c"),
        head(b"Upgrade: websocket"),
        # RFC 9112 section 5.2: a folded line.
        head(*USUAL, b"X-Long: one", b" two"),
        # RFC 9112 section 5.1: no blank before the colon.
        head(*USUAL, b"X-Long : one"),
        # RFC 9112 section 2.2: a bare CR or LF, and what ends lines with LF alone.
        head(*USUAL, b"X-Bare: a\rb"),
        head(*USUAL, b"X-Bare: a\nContent-Length: 3"),
        head(*USUAL).replace(b"\r\n", b"\n"),
        # RFC 9110 section 5.5: no control characters.
        head(*USUAL, b"X-Nul: \x00"),
        head(*USUAL, b"X-Del: \x7f"),
        # A body, or an answer that is due before the upgrade.
        head(*USUAL, b"Content-Length: 0"),
        head(*USUAL, b"Transfer-Encoding: chunked"),
        head(*USUAL, b"Expect: 100-continue"),
        head(*USUAL, b": no name"),
        head(*USUAL, b"no colon"),
    ],
)
def test_what_is_out_of_the_ordinary_is_left_to_a_parser_of_http(data: bytes) -> None:
    assert read_upgrade(data) is None


@given(st.lists(st.binary(max_size=20), max_size=6), st.binary(max_size=20))
def test_nothing_that_is_read_holds_a_line_end_or_a_nul(lines: list[bytes], request: bytes) -> None:
    found = read_upgrade(head(*USUAL, *lines, request=b"GET /" + request + b" HTTP/1.1"))
    if found is not None:
        for name, value in found.headers:
            assert not set(name + value + found.target) & set(b"\r\n\x00")
            assert value == value.strip(b" \t")
