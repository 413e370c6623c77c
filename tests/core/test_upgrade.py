"""The WebSocket handshake: answers as recorded from Phoenix 1.8.12 on Bandit 1.12, RFC 6455 where it said nothing."""

import base64

import pytest

from broadwing.core import upgrade
from broadwing.core.request import Request
from broadwing.core.upgrade import Subprotocol, negotiate_subprotocol
from broadwing.exceptions import ConfigurationError, LocalProtocolError

Header = tuple[bytes, bytes]

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
GOOD: dict[bytes, bytes | None] = {
    b"host": b"127.0.0.1:4100",
    b"user-agent": b"curl/8.5",
    b"upgrade": b"websocket",
    b"connection": b"Upgrade",
    b"sec-websocket-key": KEY,
    b"sec-websocket-version": b"13",
}


def request(changes: dict[bytes, bytes | None] | None = None, *more: Header, method: str = "GET") -> Request:
    headers = [(name, value) for name, value in {**GOOD, **(changes or {})}.items() if value is not None]
    return Request(method, "http", "127.0.0.1", 4100, "/socket/websocket", b"", [*headers, *more])


def parse(response: bytes) -> tuple[bytes, dict[bytes, bytes], bytes]:
    """Status line, headers and body; a header that stands twice fails the test."""
    head, _, body = response.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    pairs = [line.partition(b": ") for line in lines]
    headers = {name: value for name, _, value in pairs}
    assert len(headers) == len(pairs)
    return status, headers, body


# What is a handshake


def test_a_handshake_is_accepted() -> None:
    assert upgrade.check(request()) is None


@pytest.mark.parametrize(
    "changes",
    [
        {b"connection": b"keep-alive, Upgrade"},
        {b"connection": b"keep-alive,UPGRADE"},
        {b"upgrade": b"WebSocket"},
        {b"upgrade": b"h2c, websocket"},
    ],
)
def test_tokens_are_found_in_lists_and_in_any_case(changes: dict[bytes, bytes | None]) -> None:
    # RFC 6455 section 4.2.1 items 3 and 4: ASCII case-insensitive, and Connection is a list.
    assert upgrade.check(request(changes)) is None


def test_tokens_are_found_in_a_second_header() -> None:
    assert upgrade.check(request({b"connection": b"keep-alive"}, (b"connection", b"Upgrade"))) is None


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "get"])
def test_another_method_than_get_is_answered_400_without_a_body(method: str) -> None:
    assert upgrade.check(request(method=method)) == (400, b"")


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        # Recorded.
        ({b"connection": None, b"upgrade": None}, b"'connection' header must contain 'upgrade', got []"),
        ({b"sec-websocket-key": None}, b"'sec-websocket-key' header is absent"),
        ({b"sec-websocket-version": b"8"}, b"'sec-websocket-version' header must equal '13', got [\"8\"]"),
        # The same texts for what was not recorded; order as in RFC 6455 section 4.2.1.
        ({b"host": None}, b"'host' header is absent"),
        ({b"connection": b"close"}, b"'connection' header must contain 'upgrade', got [\"close\"]"),
        ({b"connection": b"upgraded"}, b"'connection' header must contain 'upgrade', got [\"upgraded\"]"),
        ({b"upgrade": None}, b"'upgrade' header must contain 'websocket', got []"),
        ({b"upgrade": b"h2c"}, b"'upgrade' header must contain 'websocket', got [\"h2c\"]"),
        ({b"sec-websocket-version": None}, b"'sec-websocket-version' header must equal '13', got []"),
        ({b"sec-websocket-version": b"13, 8"}, b"'sec-websocket-version' header must equal '13', got [\"13, 8\"]"),
    ],
)
def test_a_wrong_header_is_answered_400_naming_it(changes: dict[bytes, bytes | None], body: bytes) -> None:
    assert upgrade.check(request(changes)) == (400, body)


def test_a_version_sent_twice_is_refused() -> None:
    assert upgrade.check(request({}, (b"sec-websocket-version", b"13"))) == (
        400,
        b"'sec-websocket-version' header must equal '13', got [\"13\", \"13\"]",
    )


@pytest.mark.parametrize(
    "key",
    [b"", b"x", KEY[:-2], KEY + b"=", b"dGhlIHNhbXBsZSBub25jZQ=", base64.b64encode(bytes(15)), base64.b64encode(bytes(17)),
     b"dGhlIHNhbXBsZSBub25jZ_==", b"!" * 24, KEY + b"\n"],
)  # fmt: skip
def test_a_key_that_is_not_sixteen_bytes_of_base64_is_refused(key: bytes) -> None:
    # RFC 6455 section 4.2.1 item 5.
    refused = upgrade.check(request({b"sec-websocket-key": key}))
    assert refused is not None
    assert refused[0] == 400
    assert refused[1].startswith(b"'sec-websocket-key' header must be 16 bytes in base64, got [")


def test_a_key_sent_twice_is_refused() -> None:
    # RFC 6455 section 11.3.1.
    refused = upgrade.check(request({}, (b"sec-websocket-key", KEY)))
    assert refused is not None
    assert refused[0] == 400


def test_a_refusal_quotes_only_so_much() -> None:
    refused = upgrade.check(request({b"connection": b"x" * 9_000}, *[(b"connection", b"y" * 9_000)] * 50))
    assert refused is not None
    assert len(refused[1]) < 3_000
    refused = upgrade.check(request({b"upgrade": b'\xff"\x00'}))
    assert refused == (400, rb"""'upgrade' header must contain 'websocket', got ["\u00ff\"\u0000"]""")


# What is written


def test_the_accept_key_is_that_of_the_rfc() -> None:
    # RFC 6455 section 1.3.
    assert upgrade.accept_key(KEY) == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_the_answer_to_a_handshake_is_101() -> None:
    status, headers, rest = parse(upgrade.response(request()))
    assert status == b"HTTP/1.1 101 Switching Protocols"
    # Recorded, but for the headers every HTTP answer had there.
    assert headers == {
        b"upgrade": b"websocket",
        b"connection": b"Upgrade",
        b"sec-websocket-accept": b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    }
    assert rest == b""


def test_the_answer_names_what_was_negotiated() -> None:
    answer = upgrade.response(request(), "phoenix", "permessage-deflate", [(b"date", b"now"), (b"x-a", b"1")])
    _, headers, rest = parse(answer)
    assert headers[b"sec-websocket-protocol"] == b"phoenix"
    assert headers[b"sec-websocket-extensions"] == b"permessage-deflate"
    assert headers[b"date"] == b"now"
    assert headers[b"x-a"] == b"1"
    assert rest == b""


def test_a_refusal_is_a_whole_response() -> None:
    status, headers, body = parse(upgrade.refusal(403))
    # Recorded: 403 Forbidden, content-length 0, this cache-control, no content-type.
    assert status == b"HTTP/1.1 403 Forbidden"
    assert headers == {
        b"content-length": b"0",
        b"connection": b"close",
        b"cache-control": b"max-age=0, private, must-revalidate",
    }
    assert body == b""


def test_a_refusal_carries_body_and_headers() -> None:
    status, headers, body = parse(upgrade.refusal(429, b"Too many requests", [(b"retry-after", b"5")]))
    assert status == b"HTTP/1.1 429 Too Many Requests"
    assert headers[b"content-length"] == b"17"
    assert headers[b"content-type"] == b"text/plain; charset=utf-8"
    assert headers[b"retry-after"] == b"5"
    assert body == b"Too many requests"


def test_given_headers_replace_the_usual_ones_but_not_those_that_frame_the_message() -> None:
    given = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"content-length", b"99"),
        (b"connection", b"keep-alive"),
        (b"transfer-encoding", b"chunked"),
    ]
    _, headers, _ = parse(upgrade.refusal(400, b"{}", given))
    assert headers == {
        b"content-type": b"application/json",
        b"cache-control": b"no-store",
        b"content-length": b"2",
        b"connection": b"close",
    }


def test_a_status_without_a_name_is_written_too() -> None:
    # RFC 9112 section 4: the blank before the reason stays when there is none.
    assert upgrade.refusal(499).startswith(b"HTTP/1.1 499 \r\n")


def test_a_version_refusal_names_the_version() -> None:
    # RFC 6455 section 4.4.
    refused = upgrade.check(request({b"sec-websocket-version": b"8"}))
    assert refused is not None
    _, headers, _ = parse(upgrade.refusal(*refused, upgrade.VERSION_HEADERS))
    assert headers[b"sec-websocket-version"] == b"13"


@pytest.mark.parametrize("bad", [(b"x-a", b"1\r\nx-b: 2"), (b"x-a\n", b"1"), (b"x-a", b"\x00")])
def test_a_header_cannot_smuggle_another(bad: Header) -> None:
    # CWE-113.
    with pytest.raises(LocalProtocolError, match="line end"):
        upgrade.refusal(403, b"", [bad])
    with pytest.raises(LocalProtocolError, match="line end"):
        upgrade.response(request(), None, None, [bad])


# Subprotocols


def test_without_configured_subprotocols_offers_are_ignored() -> None:
    # Recorded: no auth_token configured, subprotocol offered: 101 without the header.
    assert negotiate_subprotocol(["phoenix", "base64url.bearer.phx.czNjcmV0"], None) == Subprotocol()
    assert negotiate_subprotocol(["sip"], None) == Subprotocol()


def test_the_first_subprotocol_the_server_lists_and_the_client_offers_is_chosen() -> None:
    assert negotiate_subprotocol(["sip", "mqtt"], ["sip", "mqtt"]).chosen == "sip"
    assert negotiate_subprotocol(["mqtt", "sip"], ["sip", "mqtt"]).chosen == "sip"
    assert negotiate_subprotocol(["mqtt"], ("sip", "mqtt")).chosen == "mqtt"


def test_a_client_that_offers_none_is_accepted_without() -> None:
    assert negotiate_subprotocol([], ["sip"]) == Subprotocol()


@pytest.mark.parametrize("configured", [["sip"], ["MQTT"], []])
def test_without_a_common_subprotocol_the_request_is_refused_with_403(configured: list[str]) -> None:
    assert negotiate_subprotocol(["mqtt"], configured) == Subprotocol(status=403)


@pytest.mark.parametrize(
    ("offered", "outcome"),
    [
        # Recorded in the first four, observed in the last two; "czNjcmV0" is "s3cret".
        (["phoenix", "base64url.bearer.phx.czNjcmV0"], Subprotocol("phoenix", "s3cret")),
        (["base64url.bearer.phx.czNjcmV0"], Subprotocol(None, "s3cret")),
        (["chat"], Subprotocol(status=403)),
        ([], Subprotocol()),
        (["phoenix"], Subprotocol("phoenix")),
        (["phoenix", "base64url.bearer.phx.czNjcmV0", "base64url.bearer.phx.czNjcmV0"], Subprotocol("phoenix")),
        # A departure: Phoenix answers 500.
        (["phoenix", "base64url.bearer.phx.!"], Subprotocol(status=400)),
        # Follows from the same rules.
        (["base64url.bearer.phx.czNjcmV0", "phoenix"], Subprotocol("phoenix", "s3cret")),
        (["base64url.bearer.phx.czNjcmV0", "chat"], Subprotocol(status=403)),
        (["base64url.bearer.phx.YQ", "base64url.bearer.phx.Yg"], Subprotocol(status=403)),
    ],
)
def test_a_token_is_taken_from_among_the_subprotocols(offered: list[str], outcome: Subprotocol) -> None:
    assert negotiate_subprotocol(offered, None, auth_token=True) == outcome


def test_phoenix_comes_before_the_configured_subprotocols_when_tokens_are_taken() -> None:
    token = "base64url.bearer.phx.czNjcmV0"
    assert negotiate_subprotocol(["sip", token], ["sip"], auth_token=True) == Subprotocol("sip", "s3cret")
    assert negotiate_subprotocol(["sip", "phoenix"], ["sip"], auth_token=True).chosen == "phoenix"
    assert negotiate_subprotocol(["phoenix"], ["sip"]).status == 403


@pytest.mark.parametrize(
    ("encoded", "token"),
    [
        # RFC 4648 section 10, with and without padding; "+" and "/" are digits of the standard alphabet.
        ("", ""),
        ("Zg", "f"),
        ("Zg==", "f"),
        ("Zm8", "fo"),
        ("Zm8=", "fo"),
        ("Zm9v", "foo"),
        ("Zm9vYmE=", "fooba"),
        ("fn4+", "~~>"),
        ("Pz8/", "???"),
        ("w7w", "\u00fc"),
    ],
)
def test_a_token_is_standard_base64_with_or_without_padding(encoded: str, token: str) -> None:
    offered = ["phoenix", f"base64url.bearer.phx.{encoded}"]
    assert negotiate_subprotocol(offered, None, auth_token=True) == Subprotocol("phoenix", token)


@pytest.mark.parametrize(
    "encoded",
    [
        "fn4-",
        "Pz8_",
        "Z",
        "Zm9vY",
        "Z===",
        "Zg=",
        "Zm8==",
        "Zm9v=",
        "Zm9v==",
        "Zg==Zg",
        "Zm 9v",
        "Zm9v\n",
        "/w",
        "\xff",
    ],
)
def test_a_token_that_cannot_be_decoded_is_answered_400(encoded: str) -> None:
    # "-" and "_" belong to the alphabet the prefix names and Phoenix does not use; "/w" is the byte ff, no UTF-8.
    offered = ["phoenix", f"base64url.bearer.phx.{encoded}"]
    assert negotiate_subprotocol(offered, None, auth_token=True) == Subprotocol(status=400)


def test_the_subprotocols_option_is_checked_at_the_mount() -> None:
    assert upgrade.compile_subprotocols(None) is None
    assert upgrade.compile_subprotocols(["sip", "mqtt"]) == ("sip", "mqtt")
    assert upgrade.compile_subprotocols([]) == ()


@pytest.mark.parametrize(
    ("option", "hint"), [("sip", r"write \['sip'\]"), (True, "write"), ([1], "write"), ([""], "write")]
)
def test_subprotocols_that_are_no_list_of_names_are_refused_at_the_mount(option: object, hint: str) -> None:
    with pytest.raises(ConfigurationError, match=hint) as caught:
        upgrade.compile_subprotocols(option)
    assert repr(option) in str(caught.value)


def test_the_log_shows_both_sides_and_hides_the_token() -> None:
    message = upgrade.subprotocol_message(["chat", "base64url.bearer.phx.czNjcmV0"], ["sip"], auth_token=True)
    assert 'Subprotocols of the request: ["chat", "base64url.bearer.phx.[FILTERED]"]' in message
    assert 'Configured supported subprotocols: ["phoenix", "sip"]' in message
    assert "czNjcmV0" not in message
    assert "supported subprotocols: []" in upgrade.subprotocol_message(["x" * 9_000] * 50, None)
    assert len(upgrade.subprotocol_message(["x" * 9_000] * 50, None)) < 3_000
