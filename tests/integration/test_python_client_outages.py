"""The Python client when servers end and lines break; servers that the tests play themselves where ours would not do it."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as play

from broadwing.client import ConnectFailed, Disconnected, connect
from broadwing.core.client.effects import ChannelStatus, Status
from tests.support.app import make_endpoint
from tests.support.background import TIMEOUT
from tests.support.loopback import HOST
from tests.support.relay import relay
from tests.support.restart import RestartableServer
from tests.support.server import serve

GROUND = "tests.support.ground:endpoint"

TRANSPORTS = pytest.mark.parametrize("transport", ["websocket", "longpoll"])


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(TIMEOUT):
        while not condition():
            await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def played(script: Callable[[ServerConnection], Awaitable[None]]) -> AsyncIterator[str]:
    """A server that does what the script says with every connection; its URL."""
    async with play(script, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/socket"


async def answer(line: ServerConnection) -> list[Any]:
    """Read a message and answer it with ok."""
    message: list[Any] = json.loads(await line.recv())
    join_ref, ref, topic, *_ = message
    await line.send(json.dumps([join_ref, ref, topic, "phx_reply", {"status": "ok", "response": {}}]))
    return message


@TRANSPORTS
async def test_a_killed_server_is_found_again_and_what_was_queued_is_sent(transport: str) -> None:
    server = RestartableServer(GROUND)
    await asyncio.to_thread(server.start)
    try:
        async with connect(
            server.url("/socket", "ws"), transport=transport, open_timeout=TIMEOUT, proxy=None
        ) as socket:
            channel = socket.channel("room:lobby")
            joins: list[Any] = []
            channel.on_join(joins.append)
            await channel.join(TIMEOUT)
            await asyncio.to_thread(server.kill)
            await until(lambda: channel.status is ChannelStatus.ERRORED)
            push = asyncio.create_task(channel.push("echo", {"queued": True}, timeout=TIMEOUT))
            await asyncio.to_thread(server.start)
            assert await push == {"queued": True}
            assert len(joins) == 2
    finally:
        await asyncio.to_thread(server.stop)


@TRANSPORTS
async def test_a_server_that_stops_sends_its_clients_to_the_next(transport: str) -> None:
    server = RestartableServer(GROUND)
    await asyncio.to_thread(server.start)
    try:
        async with connect(
            server.url("/socket", "ws"), transport=transport, open_timeout=TIMEOUT, proxy=None
        ) as socket:
            channel = await socket.join("room:lobby", timeout=TIMEOUT)
            codes: list[int] = []
            socket.on_close(lambda code, reason: codes.append(code))
            await asyncio.to_thread(server.stop)
            await until(lambda: codes)
            if transport == "websocket":
                assert codes[0] == 1012
            await asyncio.to_thread(server.start)
            assert await channel.push("echo", {"n": 1}, timeout=TIMEOUT) == {"n": 1}
    finally:
        await asyncio.to_thread(server.stop)


@TRANSPORTS
async def test_a_cut_line_is_made_again(transport: str) -> None:
    async with (
        serve(make_endpoint()) as served,
        relay(served.port, HOST) as line,
        connect(f"ws://127.0.0.1:{line.port}/socket", transport=transport, open_timeout=TIMEOUT, proxy=None) as socket,
    ):
        opened: list[int] = []
        socket.on_open(lambda: opened.append(1))
        channel = await socket.join("room:lobby", timeout=TIMEOUT)
        for number in range(3):
            line.cut()
            await until(lambda number=number: len(opened) > number)  # type: ignore[misc]
            assert await channel.push("echo", {"n": number}, timeout=TIMEOUT) == {"n": number}


async def test_a_line_that_has_gone_silent_is_given_up() -> None:
    async with serve(make_endpoint()) as served, relay(served.port, HOST) as line:
        url = f"ws://127.0.0.1:{line.port}/socket"
        async with connect(url, heartbeat_interval=0.2, open_timeout=TIMEOUT, proxy=None) as socket:
            codes: list[str] = []
            socket.on_close(lambda code, reason: codes.append(reason))
            channel = await socket.join("room:lobby", timeout=TIMEOUT)
            await until(lambda: socket.latency is not None)  # heartbeats are answered
            assert codes == []
            line.hold()
            await until(lambda: codes)
            assert codes[0] == "heartbeat timeout"
            line.go_on()
            assert await channel.push("echo", {"n": 1}, timeout=TIMEOUT) == {"n": 1}


async def test_a_websocket_that_does_not_open_in_time_falls_back() -> None:
    async with serve(make_endpoint()) as served, relay(served.port, HOST) as line:
        line.hold()
        url = f"ws://127.0.0.1:{line.port}/socket"
        socket = connect(url, longpoll_fallback=0.1, open_timeout=TIMEOUT, proxy=None)
        connecting = asyncio.create_task(socket.connect(TIMEOUT))
        try:
            await until(lambda: socket.transport == "longpoll")
            line.go_on()
            await connecting
            channel = await socket.join("room:lobby", timeout=TIMEOUT)
            assert channel.is_joined
        finally:
            await socket.close()


async def test_a_close_with_1000_is_final_until_the_next_connect() -> None:
    seen: list[Any] = []

    async def script(line: ServerConnection) -> None:
        seen.append(await answer(line))
        if len(seen) == 1:
            await line.close(1000, "go away")
        else:
            await line.wait_closed()

    async with played(script) as url, connect(url, open_timeout=TIMEOUT, proxy=None) as socket:
        channel = await socket.join("room:lobby", timeout=TIMEOUT)
        with pytest.raises(Disconnected) as caught:
            await channel.receive(TIMEOUT)
        assert (caught.value.code, caught.value.reason) == (1000, "go away")
        assert socket.status is Status.CLOSED
        await socket.connect(TIMEOUT)
        await until(lambda: channel.is_joined)
        assert [message[3] for message in seen] == ["phx_join", "phx_join"]


async def test_what_is_no_message_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    async def script(line: ServerConnection) -> None:
        await answer(line)
        await line.send("<html>")
        await line.send(b"\x09")
        await line.send(json.dumps([None, None, "room:lobby", "news", {"n": 1}]))
        await line.wait_closed()

    async with played(script) as url, connect(url, open_timeout=TIMEOUT, proxy=None) as socket:
        channel = await socket.join("room:lobby", timeout=TIMEOUT)
        assert (await channel.receive(TIMEOUT)).payload == {"n": 1}
    assert "it is ignored" in caplog.text


async def test_a_message_beyond_the_limit_ends_the_connection() -> None:
    async def script(line: ServerConnection) -> None:
        await answer(line)
        await line.send("x" * 2_000)
        await line.wait_closed()

    async with (
        played(script) as url,
        connect(url, max_message_bytes=1_000, open_timeout=TIMEOUT, proxy=None) as socket,
    ):
        codes: list[int] = []
        socket.on_close(lambda code, reason: codes.append(code))
        await socket.join("room:lobby", timeout=TIMEOUT)
        await until(lambda: codes)
        assert codes[0] == 1009


async def test_a_function_for_parameters_that_fails_is_asked_again() -> None:
    calls: list[int] = []

    def params() -> dict[str, Any]:
        calls.append(1)
        if len(calls) < 3:
            raise OSError("the vault is away")
        return {"user_id": "7"}

    endpoint = make_endpoint()
    async with serve(endpoint) as served:
        url = served.url("/socket")
        async with connect(url, params=params, open_timeout=TIMEOUT, proxy=None) as socket:
            assert socket.last_error is None
        assert [sent["user_id"] for sent, _ in endpoint.connected] == ["7"]


async def test_a_dead_network_does_not_hold_up_the_end() -> None:
    async with serve(make_endpoint()) as served, relay(served.port, HOST) as line:
        url = f"ws://127.0.0.1:{line.port}/socket"
        socket = connect(url, open_timeout=TIMEOUT, proxy=None)
        await socket.connect()
        await socket.join("room:lobby", timeout=TIMEOUT)
        line.hold()
        began = time.monotonic()
        await socket.close()
        assert time.monotonic() - began < TIMEOUT / 2


async def test_an_attempt_that_hangs_ends_in_time() -> None:
    async with serve(make_endpoint()) as served, relay(served.port, HOST) as line:
        line.hold()
        for transport in ("websocket", "longpoll"):
            socket = connect(f"ws://127.0.0.1:{line.port}/socket", transport=transport, open_timeout=0.1, proxy=None)
            with pytest.raises(ConnectFailed):
                await socket.connect(0.3)
