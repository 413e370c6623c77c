"""The load client against servers that do what they should, and against some that do not."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bench.lines import LoadError, Target
from bench.load import SCENARIOS
from bench.yardstick import Client, Rooms, listen, text_frame

SILENT: Callable[[str], None] = lambda text: None  # noqa: E731 - a function is all that progress has to be


@asynccontextmanager
async def serving(client: Callable[[Rooms], asyncio.Protocol]) -> AsyncIterator[Target]:
    rooms: Rooms = {}
    server = await asyncio.get_running_loop().create_server(lambda: client(rooms), "127.0.0.1", 0)
    try:
        yield Target(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await server.wait_closed()


def run(scenario: str, target: Target, connections: int = 20) -> Awaitable[dict[str, float]]:
    return SCENARIOS[scenario](target, connections, 0.1, SILENT)


@pytest.mark.parametrize("scenario", ["fanout", "topics", "echo", "churn", "neighbours"])
async def test_a_scenario_gives_figures_of_the_yardstick(scenario: str) -> None:
    async with serving(Client) as target:
        figures = await run(scenario, target)
    assert figures["rate"] > 0
    assert 0 < figures["p50_ms"] <= figures["p99_ms"]


async def test_every_delivery_is_counted_once() -> None:
    written = 0

    class Counting(Client):
        def _answer(self, message: list[Any]) -> None:
            nonlocal written
            if message[3] == "new_msg":
                written += 20
            super()._answer(message)

    async with serving(Counting) as target:
        await SCENARIOS["fanout"](target, 20, 0.1, SILENT)
        first, written = written, 0
        figures = await SCENARIOS["fanout"](target, 20, 0.1, SILENT)
    assert first % 20 == 0
    # What is written while the scenario warms up is not counted, all that comes after is.
    assert 20 <= figures["rate"] * figures["seconds"] < written


async def test_memory_is_the_growth_per_connection() -> None:
    readings = iter([1_000.0, 1_050.0])
    async with serving(Client) as server:
        target = Target(server.port, server_kb=lambda: next(readings))
        assert await run("idle", target, 20) == {"kb": 2.5}


async def test_without_a_way_to_tell_memory_nobody_connects() -> None:
    assert await run("idle", Target(1), 20) == {}


class Refusing(Client):
    def _answer(self, message: list[Any]) -> None:
        reply = {"status": "error", "response": {"reason": "full"}}
        self._line.write(text_frame([*message[:3], "phx_reply", reply]))


class Doubling(Client):
    def _answer(self, message: list[Any]) -> None:
        super()._answer(message)
        if message[3] in ("new_msg", "echo"):
            super()._answer(message)


class Inventing(Client):
    def _answer(self, message: list[Any]) -> None:
        if message[3] == "new_msg":
            message[4] = {"body": "#9999999999"}
        super()._answer(message)


class Closing(Client):
    def _answer(self, message: list[Any]) -> None:
        self._line.write(bytes.fromhex("880203f3"))  # a close frame with 1011 (RFC 6455 section 7.4.1)


class Vanishing(Client):
    def _answer(self, message: list[Any]) -> None:
        self._line.close()


class Forbidding(asyncio.Protocol):
    def __init__(self, rooms: Rooms) -> None:
        pass

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")


class Garbling(Client):
    def _answer(self, message: list[Any]) -> None:
        if message[3] == "phx_join":
            super()._answer(message)
        else:
            self._line.write(text_frame([*message[:3], "phx_reply", {"status": "ok", "response": {"body": "?"}}]))


class Leaving(Client):
    def _answer(self, message: list[Any]) -> None:
        if message[3] == "echo":
            self._line.close()
        else:
            super()._answer(message)


@pytest.mark.parametrize(
    ("client", "scenario", "message"),
    [
        (Refusing, "echo", "a join was answered with .*full.*; expected a phx_reply with status ok"),
        (Doubling, "fanout", "a broadcast arrived more often than there are members"),
        (Inventing, "fanout", "or was never sent: .*#9999999999"),
        (Closing, "topics", "the server closed a connection with code 1011"),
        (Vanishing, "churn", "the server ended a connection"),
        (Forbidding, "echo", "the handshake was answered with .*403 Forbidden.*; expected 101"),
        (Garbling, "echo", "an echo was answered with .*; expected '#00000000.*' in it"),
        (Leaving, "neighbours", "the echo on the other topic failed: .*the server ended the connection"),
    ],
)
async def test_a_server_that_does_something_else_gets_no_figures(
    client: type[Client], scenario: str, message: str
) -> None:
    async with serving(client) as target:
        with pytest.raises(LoadError, match=message):
            await run(scenario, target)


class Losing(Client):
    def _answer(self, message: list[Any]) -> None:
        if message[3] != "new_msg":
            super()._answer(message)
            return
        members = list(self._rooms[message[2]].values())
        for line in members[1:]:
            line.write(text_frame([None, None, message[2], "new_msg", message[4]]))


class Mute(Client):
    def _answer(self, message: list[Any]) -> None:
        if message[3] == "phx_join":
            super()._answer(message)


@pytest.mark.parametrize(("client", "scenario"), [(Losing, "fanout"), (Losing, "topics"), (Mute, "echo")])
async def test_a_server_that_loses_a_message_is_not_waited_for_without_end(
    client: type[Client], scenario: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.lines.PATIENCE", 0.2)
    async with serving(client) as target:
        with pytest.raises(LoadError, match=r"nothing came from the server for 0\.2 s"):
            await run(scenario, target)


async def test_a_port_where_nobody_listens_is_said() -> None:
    with socket.socket() as taken:  # bound, so that it is nobody else's, and not listening
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(LoadError, match=f"a connection to 127.0.0.1:{port} failed"):
            await run("echo", Target(port))


class Chatting(Client):
    """Replies to pushes, pings, and splits what it writes: all of it is allowed."""

    def _answer(self, message: list[Any]) -> None:
        self._line.write(bytes.fromhex("890548656c6c6f"))
        super()._answer(message)
        if message[3] == "new_msg":
            self._line.write(text_frame([*message[:3], "phx_reply", {"status": "ok", "response": {}}]))


@pytest.mark.parametrize("scenario", ["fanout", "echo", "neighbours"])
async def test_pings_and_replies_to_a_push_do_not_disturb(scenario: str) -> None:
    async with serving(Chatting) as target:
        assert (await run(scenario, target))["rate"] > 0


async def test_the_yardstick_answers_frames_that_come_in_pieces() -> None:
    server = await listen()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
    try:
        for byte in Target(1).request():
            writer.write(bytes((byte,)))
        assert b"101" in await reader.readuntil(b"\r\n\r\n")
        # '["1","1","room:0","phx_join",{}]' masked with zeros, in three pieces.
        payload = b'["1","1","room:0","phx_join",{}]'
        frame = bytes((0x81, 0x80 | len(payload), 0, 0, 0, 0)) + payload
        for piece in (frame[:1], frame[1:9], frame[9:]):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        assert (await reader.readexactly(2))[0] == 0x81
        answer = await reader.readuntil(b"]")
        assert json.loads(answer) == ["1", "1", "room:0", "phx_reply", {"status": "ok", "response": {}}]
    finally:
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
