"""Presence of the Python client: the vectors that hold for the JavaScript client, and a real server."""

import asyncio
import copy
import json
from pathlib import Path
from typing import Any

import pytest

from broadwing.client import Presence, connect
from broadwing.client.channel import Channel
from broadwing.client.socket import Socket
from broadwing.core.client.effects import Message
from broadwing.exceptions import ConfigurationError
from tests.support.app import make_endpoint
from tests.support.background import TIMEOUT
from tests.support.server import serve

SYNC: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "spec" / "vectors" / "presence_sync.json").read_text("utf-8")
)


def recording(presence: Presence) -> list[list[Any]]:
    """What its callbacks are called with from now on."""
    calls: list[list[Any]] = []
    presence.on_join(lambda *values: calls.append(["join", *copy.deepcopy(values)]))
    presence.on_leave(lambda *values: calls.append(["leave", *copy.deepcopy(values)]))
    presence.on_sync(lambda: calls.append(["sync"]))
    return calls


def hear(channel: Channel, event: str, payload: Any) -> None:
    """A message comes for the channel."""
    channel._deliver(Message(None, None, channel.topic, event, payload))


@pytest.mark.parametrize("vector", SYNC["conversations"], ids=lambda vector: vector["name"])
async def test_a_conversation_is_followed(vector: dict[str, Any]) -> None:
    channel = connect("ws://localhost/socket").channel("room:lobby")
    names = vector.get("events") or {"state": "presence_state", "diff": "presence_diff"}
    presence = Presence(channel, state_event=names["state"], diff_event=names["diff"])
    calls = recording(presence)
    for step in vector["steps"]:
        if "join" in step:
            channel._state.join_ref = step["join"]
            continue
        for what in ("state", "diff"):
            if what in step:
                hear(channel, names[what], step[what])
        assert calls == step["calls"]
        assert presence.state == step["expected"]
        calls.clear()


async def test_a_callback_that_fails_keeps_nothing_from_the_others(caplog: pytest.LogCaptureFixture) -> None:
    channel = connect("ws://localhost/socket").channel("room:lobby")
    presence = Presence(channel)

    def fail(*_: Any) -> None:
        raise RuntimeError("the callback's own")

    presence.on_join(fail)
    calls = recording(presence)
    entry = {"metas": [{"phx_ref": "A"}]}
    hear(channel, "presence_state", {"u1": entry})
    assert calls == [["join", "u1", None, entry], ["sync"]]
    assert "the callback's own" in caplog.text


async def test_coroutine_functions_are_refused() -> None:
    presence = Presence(connect("ws://localhost/socket").channel("room:lobby"))

    async def callback(*_: Any) -> None: ...

    with pytest.raises(ConfigurationError):
        presence.on_join(callback)
    with pytest.raises(ConfigurationError):
        presence.on_leave(callback)
    with pytest.raises(ConfigurationError):
        presence.on_sync(callback)


async def until(condition: Any) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(TIMEOUT):
        while not condition():
            await asyncio.sleep(0.002)


async def present(socket: Socket, user: str) -> tuple[Channel, Presence]:
    """Join as a user."""
    channel = socket.channel("presence:lobby", {"user_id": user})
    presence = Presence(channel)
    await channel.join(TIMEOUT)
    return channel, presence


@pytest.mark.parametrize("transport", ["websocket", "longpoll"])
@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
async def test_who_comes_and_goes_is_known(transport: str, vsn: str) -> None:
    endpoint = make_endpoint()
    async with serve(endpoint) as served:
        options: dict[str, Any] = {"transport": transport, "vsn": vsn, "open_timeout": TIMEOUT, "proxy": None}
        url = served.url("/socket")
        async with connect(url, **options) as one, connect(url, **options) as two:
            _, presence = await present(one, "u1")
            gone: list[str] = []
            presence.on_leave(lambda key, current, left: gone.append(key) if not current["metas"] else None)
            await until(lambda: set(presence.state) == {"u1"})
            assert not presence.is_waiting
            channel, other = await present(two, "u2")
            await until(lambda: set(presence.state) == set(other.state) == {"u1", "u2"})
            assert sorted(presence.list(lambda key, entry: (key, len(entry["metas"])))) == [("u1", 1), ("u2", 1)]
            assert len(presence.list()) == 2
            await channel.leave(TIMEOUT)
            await until(lambda: set(presence.state) == {"u1"})
            assert gone == ["u2"]


async def test_what_changed_during_an_outage_is_told_after_it() -> None:
    endpoint = make_endpoint()
    async with serve(endpoint) as served:
        options: dict[str, Any] = {"open_timeout": TIMEOUT, "proxy": None}
        url = served.url("/socket")
        async with connect(url, **options) as one, connect(url, **options) as two, connect(url, **options) as three:
            _, presence = await present(one, "u1")
            await present(two, "u2")
            await until(lambda: set(presence.state) == {"u1", "u2"})
            told: list[tuple[str, str]] = []
            presence.on_join(lambda key, current, joined: told.append(("join", key)) if current is None else None)
            presence.on_leave(lambda key, current, left: told.append(("leave", key)) if not current["metas"] else None)
            await one.disconnect()
            assert set(presence.state) == {"u1", "u2"}
            await two.close()
            _, other = await present(three, "u3")
            await until(lambda: set(other.state) == {"u3"})
            await one.connect(TIMEOUT)
            await until(lambda: set(presence.state) == {"u1", "u3"})
            assert ("join", "u3") in told
            assert ("leave", "u2") in told
