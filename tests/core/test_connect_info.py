"""What a connection gets to see of its request."""

import gc
from collections.abc import Mapping
from typing import Any

import pytest

from broadwing.core.connect_info import NAMES, compile_connect_info
from broadwing.core.request import Request
from broadwing.exceptions import ConfigurationError


def request(*headers: tuple[bytes, bytes], **changes: Any) -> Request:
    asked: dict[str, Any] = {
        "method": "GET",
        "scheme": "http",
        "host": "127.0.0.1",
        "port": 4000,
        "path": "/socket/websocket",
        "query": b"vsn=2.0.0",
        "headers": list(headers),
        "client": ("127.0.0.1", 51234),
    }
    return Request(**{**asked, **changes})


class CookieSession:
    """Stands for a session store; says what it was asked."""

    def __init__(self, session: dict[str, Any] | None) -> None:
        self.session = session
        self.asked: list[tuple[str | None, str | None, str | None, bool]] = []

    def load(
        self, secret_key_base: str | None, cookie_header: str | None, csrf_token: str | None, *, check_csrf: bool
    ) -> dict[str, Any] | None:
        self.asked.append((secret_key_base, cookie_header, csrf_token, check_csrf))
        return self.session


def test_nothing_is_asked_for_by_default() -> None:
    build = compile_connect_info()
    info = build(request((b"x-a", b"1")), {}, None)
    assert info == {}
    assert build(request(), {}, "token") is info
    with pytest.raises(TypeError):
        info["mine"] = 1  # type: ignore[index]


def test_header_groups_come_as_pairs_in_order_and_verbatim() -> None:
    build = compile_connect_info(["x_headers", "sec_websocket_headers", "trace_context_headers"])
    asked = request(
        (b"x-request-id", b"1"),
        (b"traceparent", b"00-aa-bb-01"),
        (b"sec-websocket-version", b"13"),
        (b"tracestate", b"k=v"),
        (b"traceparenthesis", b"no"),
        (b"x-a", b"caf\xe9"),
        (b"sec-websocket-extensions", b"permessage-deflate; client_max_window_bits"),
        (b"x-request-id", b"2"),
        (b"cookie", b"x-a=1"),
    )
    assert build(asked, {}, None) == {
        "x_headers": [("x-request-id", "1"), ("x-a", "caf\xe9"), ("x-request-id", "2")],
        "sec_websocket_headers": [
            ("sec-websocket-version", "13"),
            ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"),
        ],
        "trace_context_headers": [("traceparent", "00-aa-bb-01"), ("tracestate", "k=v")],
    }


def test_header_groups_without_a_header_are_empty() -> None:
    build = compile_connect_info(("x_headers", "sec_websocket_headers", "trace_context_headers"))
    assert build(request(), {}, None) == {"x_headers": [], "sec_websocket_headers": [], "trace_context_headers": []}


def test_peer_data_uri_and_user_agent() -> None:
    build = compile_connect_info(["peer_data", "uri", "user_agent"])
    assert build(request((b"user-agent", b"curl/8.5"), peer_cert=b"der"), {}, None) == {
        "peer_data": {"address": "127.0.0.1", "port": 51234, "ssl_cert": b"der"},
        "uri": {
            "scheme": "http",
            "host": "127.0.0.1",
            "port": 4000,
            "path": "/socket/websocket",
            "query": "vsn=2.0.0",
        },
        "user_agent": "curl/8.5",
    }


def test_what_is_not_known_is_none() -> None:
    info = compile_connect_info(["peer_data", "user_agent", "uri"])(request(client=None, query=b"\xff"), {}, None)
    assert info["peer_data"] == {"address": None, "port": None, "ssl_cert": None}
    assert info["user_agent"] is None
    assert info["uri"]["query"] == "\ufffd"


def test_exactly_the_keys_asked_for_are_there() -> None:
    assert set(compile_connect_info({"uri", "user_agent"})(request(), {}, "token")) == {"uri", "user_agent"}
    assert set(compile_connect_info({"uri": True, "user_agent": False})(request(), {}, None)) == {"uri"}


def test_every_connection_gets_a_mapping_of_its_own() -> None:
    build = compile_connect_info({"region": "eu"})
    first, second = build(request(), {}, None), build(request(), {}, None)
    assert first == second == {"region": "eu"}
    assert first is not second


def test_values_of_the_applications_own_are_passed_on() -> None:
    pool = object()
    info = compile_connect_info({"uri": True, "pool": pool, "flag": False, "empty": None})(request(), {}, None)
    assert {key: value for key, value in info.items() if key != "uri"} == {"pool": pool, "flag": False, "empty": None}


def test_the_token_is_there_when_the_mount_takes_one() -> None:
    assert compile_connect_info((), auth_token=True)(request(), {}, "s3cret") == {"auth_token": "s3cret"}
    assert compile_connect_info((), auth_token=True)(request(), {}, None) == {"auth_token": None}
    assert compile_connect_info({"auth_token": False}, auth_token=True)(request(), {}, "t") == {"auth_token": "t"}
    assert compile_connect_info(["auth_token"])(request(), {}, None) == {"auth_token": None}


# The session


def test_the_session_is_loaded_from_cookie_and_csrf_token() -> None:
    source = CookieSession({"user_id": 7})
    build = compile_connect_info({"session": source}, secret_key_base="k" * 64)
    asked = request((b"cookie", b"_key=abc"))
    assert build(asked, {"_csrf_token": "t"}, None) == {"session": {"user_id": 7}}
    assert source.asked == [("k" * 64, "_key=abc", "t", True)]


def test_a_session_that_is_missing_or_fails_its_csrf_check_is_none() -> None:
    source = CookieSession(None)
    build = compile_connect_info({"session": source})
    assert build(request(), {}, None) == {"session": None}
    # A parameter that is no text (`_csrf_token[]=t`) is no token.
    assert build(request(), {"_csrf_token": ["t"]}, None) == {"session": None}
    assert source.asked == [(None, None, None, True), (None, None, None, True)]


def test_the_csrf_check_can_be_switched_off() -> None:
    source = CookieSession({"user_id": 7})
    compile_connect_info({"session": source}, check_csrf=False)(request((b"cookie", b"a=1")), {}, None)
    assert source.asked == [(None, "a=1", None, False)]


def test_cookies_of_several_headers_are_one_list() -> None:
    # RFC 9113 section 8.2.3: joined by "; ".
    source = CookieSession({})
    compile_connect_info({"session": source})(request((b"cookie", b"a=1"), (b"cookie", b"b=2")), {}, None)
    assert source.asked[0][1] == "a=1; b=2"


def test_the_session_can_come_from_the_endpoint() -> None:
    source = CookieSession({"user_id": 7})
    for spec in (["session"], {"session": True}):
        assert compile_connect_info(spec, session=source)(request(), {}, None) == {"session": {"user_id": 7}}
    assert compile_connect_info({"session": False}, session=source)(request(), {}, None) == {}


def test_the_session_can_come_from_a_function_of_the_request() -> None:
    def session(asked: Request) -> Mapping[str, Any] | None:
        return {"agent": asked.header(b"user-agent")} if asked.header(b"user-agent") else None

    build = compile_connect_info({"session": session})
    assert build(request((b"user-agent", b"curl")), {}, None) == {"session": {"agent": b"curl"}}
    assert build(request(), {}, None) == {"session": None}


def test_a_session_function_must_return_a_mapping() -> None:
    with pytest.raises(ConfigurationError, match="returned 'list'; expected a mapping or None"):
        compile_connect_info({"session": lambda asked: [("user_id", 7)]})(request(), {}, None)


def test_an_async_session_function_is_refused() -> None:
    async def session(asked: Request) -> dict[str, Any]:
        return {}

    with pytest.raises(ConfigurationError, match="returned 'coroutine'"):
        compile_connect_info({"session": session})(request(), {}, None)
    gc.collect()  # a coroutine left behind would warn now


# Configuration


def test_an_unknown_name_is_refused_listing_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="does not know 'peerdata'") as caught:
        compile_connect_info(["uri", "peerdata"])
    for name in NAMES:
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("uri", "list of names or a mapping: got 'uri'"),
        (None, "list of names or a mapping: got None"),
        ({"uri": "x"}, "key 'uri' has a meaning of its own: got the value 'x'"),
        ({7: "x"}, "keys are strings: got 7"),
        ([7], "does not know 7"),
        (["session"], "no way to read it: got None"),
        ({"session": True}, "no way to read it: got None"),
        ({"session": {"key": "_key"}}, "no way to read it: got {'key': '_key'}"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused_at_the_mount(spec: Any, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        compile_connect_info(spec)
    assert says in str(caught.value)
