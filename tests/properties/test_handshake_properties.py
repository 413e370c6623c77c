"""What holds for every handshake, honest or not."""

import base64
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from broadwing.core import upgrade
from broadwing.core.origin import compile_check, refusal_message
from broadwing.core.request import Request
from broadwing.core.upgrade import AUTH_TOKEN_PREFIX, Subprotocol, negotiate_subprotocol
from broadwing.core.version import negotiate, parse_version
from broadwing.exceptions import VersionError

NAMES = st.sampled_from([b"host", b"connection", b"upgrade", b"sec-websocket-key", b"sec-websocket-version", b"origin"])
VALUES = st.sampled_from([b"Upgrade", b"websocket", b"13", b"dGhlIHNhbXBsZSBub25jZQ==", b"http://a.test"]) | st.binary()
ORIGINS = st.lists(
    st.sampled_from(
        [*(b"http", b"https", b":", b"//", b"/", b"a.com", b".", b"*", b"@", b"[", b"]", b"::1", b"80", b"\t")]
    )
).map(b"".join)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=8))
def test_any_request_is_opened_or_refused(headers: list[tuple[bytes, bytes]]) -> None:
    request = Request("GET", "http", "a.test", 80, "/", b"", headers)
    refused = upgrade.check(request)
    if refused is None:
        assert upgrade.response(request).endswith(b"\r\n\r\n")
    else:
        head, _, body = upgrade.refusal(*refused, upgrade.VERSION_HEADERS).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 Bad Request\r\ncontent-length: %d\r\n" % len(body))
        assert body.isascii()


@given(ORIGINS | st.binary())
def test_any_origin_gets_a_verdict(origin: bytes) -> None:
    request = Request("GET", "http", "a.com", 80, "/", b"", [(b"origin", origin)])
    options: list[Any] = [True, "conn", ["//a.com", "https://*.a.com"], lambda parsed: parsed.hostname == "a.com"]
    for option in options:
        assert compile_check(option, host="a.com")(request) in (True, False)
        assert len(refusal_message(origin, option).splitlines()) == 7
    # What the narrowest policy accepts, the wider one accepts too.
    if compile_check("conn")(request):
        assert compile_check(["http://a.com"])(request)


@given(st.lists(st.text(max_size=8) | st.text(max_size=8).map(AUTH_TOKEN_PREFIX.__add__), max_size=4), st.booleans())
def test_any_offer_of_subprotocols_gets_an_answer(offered: list[str], auth_token: bool) -> None:
    chosen, _, status = negotiate_subprotocol(offered, ["sip", "x"], auth_token)
    assert status in (None, 400, 403)
    # RFC 6455 section 4.2.2: only what the client offered may be answered.
    assert chosen is None or (chosen in offered and status is None)


@given(st.text(st.characters(codec="utf-8")), st.booleans())
def test_every_token_survives_the_wire(token: str, padded: bool) -> None:
    encoded = base64.b64encode(token.encode()).decode()
    offered = ["phoenix", AUTH_TOKEN_PREFIX + (encoded if padded else encoded.rstrip("="))]
    assert negotiate_subprotocol(offered, None, True) == Subprotocol("phoenix", token)


NUMBERS = st.integers(0, 10**6)
PRE = st.text("0123456789abZ-", min_size=1, max_size=4).filter(lambda text: not (text.isdigit() and text[0] == "0"))


@given(NUMBERS, NUMBERS, NUMBERS, st.lists(PRE, max_size=3), st.lists(PRE, max_size=2))
def test_every_semantic_version_is_read(major: int, minor: int, patch: int, pre: list[str], build: list[str]) -> None:
    text = f"{major}.{minor}.{patch}" + ("-" + ".".join(pre) if pre else "") + ("+" + ".".join(build) if build else "")
    version = parse_version(text)
    assert version[:3] == (major, minor, patch)
    assert (version < parse_version(f"{major}.{minor}.{patch}")) is bool(pre)


@given(st.none() | st.text() | st.text("0123456789.-+a") | st.lists(st.text()) | st.dictionaries(st.text(), st.text()))
def test_any_version_is_served_or_refused(vsn: object) -> None:
    message = ""
    try:
        served = negotiate(vsn, (("~> 1.0.0", 1), ("~> 2.0.0", 2)))
    except VersionError as refusal:
        served, message = 0, str(refusal)
    assert served in (1, 2) or (message.isprintable() and len(message) < 1_600)
