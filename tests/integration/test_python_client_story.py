"""The Python client tells the story that was recorded from phoenix.js, word for word, over both transports."""

import asyncio
import json
from typing import Any

import pytest

from broadwing.client import Channel, JoinError, Presence, connect
from tests.integration.test_official_client import GROUND, RECORDED
from tests.support.background import TIMEOUT
from tests.support.loopback import HOST
from tests.support.restart import RestartableServer

NAMES = {"websocket": "WebSocket", "longpoll": "LongPoll"}


def text(value: Any) -> str:
    """JSON as JavaScript writes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


async def told(url: str, transport: str) -> list[str]:
    """Live the story, and tell it."""
    lines: list[str] = []
    params = {"user_id": "js", "token": "x"}
    async with connect(url, transport=transport, params=params, timeout=TIMEOUT, open_timeout=TIMEOUT) as socket:
        room: Channel = await socket.join("room:lobby", {})
        where = (await socket._lines._way.dial(socket.transport)).url
        lines.append(f"join -> {text(room.response)} over {NAMES[socket.transport]} {where}")
        lines.append(f"echo -> {text(await room.push('echo', {'hello': 'wörld', 'n': [1, 2.5, None]}))}")
        room.send("new_msg", {"body": f"hi from {transport}"})
        message = await room.receive(TIMEOUT)
        lines.append(f"broadcast <- {text(message.payload)}")
        data = await room.push("echo", bytes([0, 255, 1, 2]))
        lines.append(f"binary echo -> {data.hex()}")
        # The recorded application tracked its members in room:lobby; ours does on a topic of its own.
        there = socket.channel("presence:story", {"user_id": f"js-{transport}"})
        presence = Presence(there)
        synced = asyncio.Event()
        presence.on_sync(lambda: synced.set() if presence.state else None)
        await there.join()
        await asyncio.wait_for(synced.wait(), TIMEOUT)
        who = presence.list(lambda key, entry: f"{key}:{len(entry['metas'])}")
        lines.append(f"presence -> {text(who)}")
        try:
            await socket.join("room:private", {})
        except JoinError as error:
            lines.append(f"join room:private -> error {text(error.response)}")
        lines.append(f"leave -> {text(await room.leave())}")
    lines.append("disconnected")
    return [f"{transport} {line}\n" for line in lines]


@pytest.mark.parametrize("transport", ["websocket", "longpoll"])
def test_the_recorded_story_is_told_word_for_word(transport: str) -> None:
    with RestartableServer(GROUND) as server:
        lines = asyncio.run(told(server.url("/socket", "ws"), transport))
        expected = RECORDED[transport].replace("HOST", HOST).replace("PORT", str(server.port))
    # The recording's line about presence, which RECORDED leaves out.
    presence = f'{transport} presence -> ["js-{transport}:1"]\n'
    expected = expected.replace(f"{transport} join room", f"{presence}{transport} join room")
    if transport == "longpoll":
        # Bytes that are not UTF-8 are heard over long polling too, as by our JavaScript client.
        expected = expected.replace("longpoll presence", "longpoll binary echo -> 00ff0102\nlongpoll presence")
    assert "".join(lines) == expected
