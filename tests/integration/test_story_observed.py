"""What an operator sees: log lines without secrets, and telemetry; over every transport and both wire versions.

Names, fields and wording are Phoenix's (its `Phoenix.Logger`), with durations in seconds.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from broadwing import telemetry
from tests.integration.conftest import World
from tests.support.client import Refused

Seen = list[tuple[str, Mapping[str, float], Mapping[str, Any]]]


@pytest.fixture
def seen() -> Iterator[Seen]:
    """All telemetry of a test."""
    events: Seen = []
    detach = [telemetry.attach(event, lambda *args: events.append(args)) for event in telemetry.EVENTS]
    yield events
    for each in detach:
        each()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines that tell of clients, without their durations."""
    texts = [each.getMessage() for each in caplog.records if each.name == "broadwing"]
    return [re.sub(r" in \d+(ms|µs)", " in TIME", text) for text in texts]


async def test_the_connect_line_lists_transport_serializer_and_filtered_parameters(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """checklist 59, 60, 95"""
    caplog.set_level(logging.INFO)
    query: dict[str, Any] = {"password": "secret", "user[auth_token]": "secret", "name": "ada"}
    await world.connect(**query)
    with pytest.raises(Refused):
        await world.connect(refuse="error")
    transport = "websocket" if world.is_websocket else "longpoll"
    head = f"Transport: :{transport}\n  Serializer: {world.vsn}\n  Parameters: "
    assert lines(caplog) == [
        f"CONNECTED TO GroundSocket in TIME\n  {head}"
        f"{{'vsn': '{world.vsn}', 'password': '[FILTERED]', 'user': {{'auth_token': '[FILTERED]'}}, 'name': 'ada'}}",
        f"REFUSED CONNECTION TO GroundSocket in TIME\n  {head}{{'vsn': '{world.vsn}', 'refuse': 'error'}}",
    ]


async def test_a_socket_may_be_silent(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """checklist 59"""
    caplog.set_level(logging.INFO)
    await world.connect("/quiet")
    assert lines(caplog) == []


async def test_a_level_that_nobody_reads_is_silent_too(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """checklist 59"""
    caplog.set_level(logging.WARNING)
    client = await world.connect()
    await client.join("room:lobby")
    assert lines(caplog) == []


async def test_joins_and_events_are_told_with_filtered_parameters(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """checklist 60"""
    caplog.set_level(logging.DEBUG)
    client = await world.connect()
    caplog.clear()
    await client.send("1", "1", "room:lobby", "phx_join", {"password": "secret", "a": [{"my_token": "secret", "b": 1}]})
    await client.expect_reply("1", "1", "room:lobby")
    await client.send("2", "2", "room:private", "phx_join", {"q": "x=1&token=secret"})
    await client.expect_reply("2", "2", "room:private", "error", {"reason": "unauthorized"})
    await client.send("1", "3", "room:lobby", "reply_ok", {"password": {"deep": "secret"}})
    await client.expect_reply("1", "3", "room:lobby")
    await client.send("1", "4", "room:lobby", "raise")
    await client.expect("1", "1", "room:lobby", "phx_error", {"reason": "channel_crash"})
    assert lines(caplog) == [
        "JOINED room:lobby in TIME\n  Parameters: {'password': '[FILTERED]', 'a': [{'my_token': '[FILTERED]', 'b': 1}]}",
        "REFUSED JOIN room:private in TIME\n  Parameters: {'q': '[FILTERED]'}",
        "HANDLED reply_ok INCOMING ON room:lobby (RoomChannel) in TIME\n  Parameters: {'password': '[FILTERED]'}",
    ]


async def test_a_client_that_is_let_in_or_refused_is_an_event(world: World, seen: Seen) -> None:
    """checklist 121: also when it is refused, but not when it never came to that"""
    await world.connect(user_id="7")
    with pytest.raises(Refused):
        await world.connect(refuse="error")
    with pytest.raises(Refused):
        await world.connect(vsn="3.0.0")
    assert [(name, data["result"]) for name, _, data in seen] == [
        ("socket_connected", "ok"),
        ("socket_connected", "error"),
    ]
    _, measured, data = seen[0]
    assert 0 < measured["duration"] < 5
    assert data == {
        "endpoint": world.endpoint,
        "socket": "GroundSocket",
        "transport": "websocket" if world.is_websocket else "longpoll",
        "params": {"vsn": world.vsn, "user_id": "7"},
        "connect_info": {},
        "vsn": world.vsn,
        "serializer": world.vsn,
        "log": logging.INFO,
        "result": "ok",
    }


async def test_joins_and_handled_events_are_events(world: World, seen: Seen) -> None:
    """checklist 121: not when they raise; a leave is none"""
    client = await world.connect()
    await client.join("room:reply", "1", {"p": 1}, response={"got": {"p": 1}, "n": 1})
    await client.send("2", "2", "room:private", "phx_join")
    await client.expect_reply("2", "2", "room:private", "error", {"reason": "unauthorized"})
    await client.send("3", "3", "room:crash", "phx_join")
    await client.expect_reply("3", "3", "room:crash", "error", {"reason": "join crashed"})
    await client.send("1", "4", "room:reply", "echo", {"k": 1})
    await client.expect_reply("1", "4", "room:reply", "ok", {"k": 1})
    await client.send("1", "5", "room:reply", "bad_return")
    await client.expect("1", "1", "room:reply", "phx_error", {"reason": "channel_crash"})
    await client.join("room:lobby", "6")
    await client.send("6", "7", "room:lobby", "raise")
    await client.expect("6", "6", "room:lobby", "phx_error", {"reason": "channel_crash"})
    await client.join("room:lobby", "8")
    await client.send("8", "9", "room:lobby", "phx_leave")
    await client.expect_reply("8", "9", "room:lobby")
    told = [(name, data["channel"].topic, data.get("result") or data["event"]) for name, _, data in seen[1:]]
    assert told == [
        ("channel_joined", "room:reply", "ok"),
        ("channel_joined", "room:private", "error"),
        ("channel_handled_in", "room:reply", "echo"),
        # Told before what it returned is looked at, as in Phoenix.
        ("channel_handled_in", "room:reply", "bad_return"),
        ("channel_joined", "room:lobby", "ok"),
        ("channel_joined", "room:lobby", "ok"),
    ]
    assert seen[1][2]["params"] == {"p": 1}
    assert 0 < seen[1][1]["duration"] < 5
    assert {key: seen[3][2][key] for key in ("event", "ref", "payload")} == {
        "event": "echo",
        "ref": "4",
        "payload": {"k": 1},
    }
    assert 0 < seen[3][1]["duration"] < 5
