"""Telemetry and the log filter. The filter's cases are those of Phoenix's logger tests."""

import logging
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from broadwing import ParameterFilter, telemetry


class Login(msgspec.Struct):
    """Something that is no JSON value."""

    password: str


LOGIN = Login("x")


def test_watchers_get_every_event_of_their_name_until_they_are_detached() -> None:
    got: list[tuple[str, Mapping[str, float], Mapping[str, Any]]] = []

    def watch(*event: Any) -> None:
        got.append(event)

    assert not telemetry.watched(telemetry.SOCKET_DRAIN)
    one = telemetry.attach(telemetry.SOCKET_DRAIN, watch)
    two = telemetry.attach(telemetry.SOCKET_DRAIN, watch)
    telemetry.emit(telemetry.SOCKET_DRAIN, {"count": 1}, {"endpoint": None})
    assert got == [("socket_drain", {"count": 1}, {"endpoint": None})] * 2
    one()
    one()  # a second time it means nothing, not even for the other watcher
    telemetry.emit(telemetry.SOCKET_DRAIN, {"count": 2}, {})
    telemetry.emit(telemetry.CHANNEL_JOINED, {"count": 2}, {})
    assert len(got) == 3
    assert telemetry.watched(telemetry.SOCKET_DRAIN)
    two()
    assert not telemetry.watched(telemetry.SOCKET_DRAIN)


def test_what_a_watcher_raises_reaches_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    got: list[str] = []

    def broken(*event: Any) -> None:
        raise RuntimeError("boom")

    detach = [telemetry.attach("socket_drain", broken), telemetry.attach("socket_drain", lambda *_: got.append("ok"))]
    telemetry.emit("socket_drain", {}, {})
    for each in detach:
        each()
    assert got == ["ok"]
    assert "a watcher of socket_drain raised" in caplog.text


def test_an_unknown_event_is_refused_with_those_there_are() -> None:
    with pytest.raises(
        ValueError, match="there is no event 'socket_joined'; there are socket_connected, channel_joined"
    ):
        telemetry.attach("socket_joined", print)


@pytest.mark.parametrize(
    ("value", "filtered"),
    [
        ({"foo": "bar", "password": "x"}, {"foo": "bar", "password": "[FILTERED]"}),
        ({"my_password_too": {"deep": 1}}, {"my_password_too": "[FILTERED]"}),
        ({"map": {"password": "x", "a": 1}}, {"map": {"password": "[FILTERED]", "a": 1}}),
        ({"list": [{"password": "x"}, 1]}, {"list": [{"password": "[FILTERED]"}, 1]}),
        ({1: "x", "Password": "x"}, {1: "x", "Password": "x"}),
        ({"url": "/path?a=1&password=x"}, {"url": "[FILTERED]"}),
        ({"text": "my password is x"}, {"text": "my password is x"}),
        ({"struct": LOGIN}, {"struct": LOGIN}),
        ("password=x", "[FILTERED]"),
        ([1, None, True], [1, None, True]),
    ],
)
def test_secrets_are_discarded_by_what_their_keys_contain(value: Any, filtered: Any) -> None:
    """checklist 238, 240: also inside a list and a query string; other keys and structs are left alone"""
    assert ParameterFilter(["password"])(value) == filtered


@pytest.mark.parametrize(
    ("value", "filtered"),
    [
        ({"foo": "bar", "other": "x"}, {"foo": "bar", "other": "[FILTERED]"}),
        ({"foo": {"any": ["thing"]}}, {"foo": {"any": ["thing"]}}),
        ({"map": {"foo": 1, "a": 2}}, {"map": {"foo": 1, "a": "[FILTERED]"}}),
        ({"list": [{"foo": 1}, 2, None]}, {"list": [{"foo": 1}, "[FILTERED]", "[FILTERED]"]}),
        ({"foobar": 1}, {"foobar": "[FILTERED]"}),
        ({"struct": LOGIN}, {"struct": "[FILTERED]"}),
        ("text", "[FILTERED]"),
    ],
)
def test_or_all_is_discarded_but_what_is_kept(value: Any, filtered: Any) -> None:
    """checklist 239, 240"""
    assert ParameterFilter(keep=["foo"])(value) == filtered


def test_by_default_passwords_and_tokens_are_secret() -> None:
    value = {"password": 1, "csrf_token": 2, "tok": 3}
    assert ParameterFilter()(value) == {"password": "[FILTERED]", "csrf_token": "[FILTERED]", "tok": 3}
    assert value == {"password": 1, "csrf_token": 2, "tok": 3}


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0µs"), (0.000_9, "900µs"), (0.001, "1000µs"), (0.0015, "1ms"), (2.3456, "2345ms")]
)
def test_durations_are_written_as_phoenix_does(seconds: float, text: str) -> None:
    """Whole milliseconds above 1000 µs, else microseconds"""
    assert telemetry.took(seconds) == text


def test_the_levels_are_those_of_the_standard_library() -> None:
    from broadwing import Socket

    assert (Socket.log, Socket.log_join, Socket.log_handle_in) == (logging.INFO, logging.INFO, logging.DEBUG)
