"""A request as transports hand it on."""

from broadwing.core.request import Request


def request(*headers: tuple[bytes, bytes]) -> Request:
    return Request("GET", "http", "localhost", 4000, "/socket/websocket", b"vsn=2.0.0", list(headers))


def test_header_is_the_first_of_its_name() -> None:
    assert request((b"x-a", b"1"), (b"x-b", b"2"), (b"x-b", b"3")).header(b"x-b") == b"2"


def test_a_header_that_was_not_sent_is_none() -> None:
    assert request((b"x-a", b"1")).header(b"x-b") is None


def test_header_all_keeps_the_order() -> None:
    assert request((b"x-a", b"1"), (b"x-b", b"2"), (b"x-a", b"3")).header_all(b"x-a") == [b"1", b"3"]


def test_header_list_joins_occurrences_and_leaves_out_empty_elements() -> None:
    # RFC 9110 section 5.6.1.2: a recipient must parse and ignore a reasonable number of empty elements.
    asked = request((b"connection", b"keep-alive,\tUpgrade "), (b"x-a", b"no"), (b"connection", b" , te,"))
    assert asked.header_list(b"connection") == ["keep-alive", "Upgrade", "te"]
    assert asked.header_list(b"upgrade") == []


def test_header_list_reads_bytes_that_are_not_text() -> None:
    assert request((b"x-a", b"\xff")).header_list(b"x-a") == ["\xff"]


def test_a_request_has_neither_peer_nor_certificate_unless_told() -> None:
    asked = request()
    assert asked.client is None
    assert asked.peer_cert is None
    assert not hasattr(asked, "__dict__")
