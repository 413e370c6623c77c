"""URLs of connections, and the token beside them."""

import base64

import pytest

from broadwing.core.client.address import check_url, connection_url, token_subprotocols
from broadwing.core.client.effects import LONGPOLL, WEBSOCKET
from broadwing.core.params import parse_query
from broadwing.exceptions import ConfigurationError


@pytest.mark.parametrize(
    ("url", "kind", "expected"),
    [
        ("ws://localhost:4000/socket", WEBSOCKET, "ws://localhost:4000/socket/websocket?vsn=2.0.0"),
        ("ws://localhost:4000/socket", LONGPOLL, "http://localhost:4000/socket/longpoll?vsn=2.0.0"),
        ("wss://example.com/socket/", WEBSOCKET, "wss://example.com/socket/websocket?vsn=2.0.0"),
        ("https://example.com/socket", WEBSOCKET, "wss://example.com/socket/websocket?vsn=2.0.0"),
        ("https://example.com/socket", LONGPOLL, "https://example.com/socket/longpoll?vsn=2.0.0"),
        ("ws://h/socket/websocket", LONGPOLL, "http://h/socket/longpoll?vsn=2.0.0"),
        ("ws://h/socket?a=b", WEBSOCKET, "ws://h/socket/websocket?a=b&vsn=2.0.0"),
        ("ws://h", WEBSOCKET, "ws://h/websocket?vsn=2.0.0"),
    ],
)
def test_a_connections_url_is_the_mount_and_the_transports_name(url: str, kind: str, expected: str) -> None:
    assert connection_url(check_url(url), kind, {}, "2.0.0") == expected


def test_parameters_arrive_as_they_were_given() -> None:
    params = {"token": "a b/+&=ü", "user": {"id": 7, "tags": ["x", "y"]}, "on": True, "none": None}
    url = connection_url("ws://h/socket", WEBSOCKET, params, "1.0.0")
    assert parse_query(url.partition("?")[2].encode()) == {
        "token": "a b/+&=ü",
        "user": {"id": "7", "tags": ["x", "y"]},
        "on": "true",
        "vsn": "1.0.0",
    }


@pytest.mark.parametrize("url", ["", "/socket", "ftp://h/socket", "ws:///socket", "localhost:4000/socket"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="ws://localhost:4000/socket"):
        check_url(url)


def test_a_token_travels_in_standard_base64_without_padding() -> None:
    first, second = token_subprotocols("s3cret?>")
    assert first == "phoenix"
    assert second == "base64url.bearer.phx.czNjcmV0Pz4"
    padded = second.removeprefix("base64url.bearer.phx.") + "="
    assert base64.b64decode(padded, validate=True) == b"s3cret?>"
