"""`uvicorn.run(endpoint, ws=WebSocketProtocol)`, fed in ways in which uvicorn's own HTTP parsers do not feed it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from broadwing import Endpoint
from broadwing.transports.asgi import AsgiLine
from broadwing.transports.websocket_entrance import WebSocketEntrance
from broadwing.transports.websocket_uvicorn import MAX_HEAD_BYTES, Gate, WebSocketProtocol, find_reception
from tests.support.background import TIMEOUT
from tests.support.echo import ECHO, echo_endpoint
from tests.support.loopback import HOST
from tests.support.wire import PING, TEXT, client_frame, upgrade_headers

# As uvicorn writes a request down again: names in lower case.
HEAD = "".join(
    [f"GET {ECHO} HTTP/1.1\r\n", *(f"{name.lower()}: {value}\r\n" for name, value in upgrade_headers().items()), "\r\n"]
).encode()


@contextlib.asynccontextmanager
async def bare() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client of the protocol alone, without uvicorn's parser before it."""
    config = Config(echo_endpoint(), ws=WebSocketProtocol, log_config=None)
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(lambda: WebSocketProtocol(config, state), HOST, 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        async with asyncio.timeout(TIMEOUT):
            yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        server.close()
        await server.wait_closed()


async def test_a_head_may_come_in_pieces() -> None:
    async with bare() as (reader, writer):
        sock: socket.socket = writer.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(HEAD), 7):
            writer.write(HEAD[at : at + 7])
            await writer.drain()
            await asyncio.sleep(0)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")


async def test_frames_in_the_segment_of_the_head_are_kept() -> None:
    async with bare() as (reader, writer):
        writer.write(HEAD + client_frame(TEXT, b"early") + client_frame(PING, b"ping"))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        # The echo is a task's work, the pong the line's own.
        assert await reader.readexactly(13) == b"\x8a\x04ping" + b"\x81\x05early"


async def test_a_head_without_end_is_cut_off() -> None:
    async with bare() as (reader, writer):
        writer.write(b"GET /" + b"x" * (MAX_HEAD_BYTES + 1))
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""


def test_the_endpoint_is_found_inside_of_middlewares_and_nothing_else_is() -> None:
    class Wrapper:
        def __init__(self, app: Any) -> None:
            self.app = app

    endpoint = Endpoint()
    assert find_reception(endpoint) is endpoint
    assert find_reception(Wrapper(Wrapper(endpoint))) is endpoint
    assert find_reception(Wrapper(lambda scope, receive, send: None)) is None
    round_and_round = Wrapper(None)
    round_and_round.app = round_and_round
    assert find_reception(round_and_round) is None


async def test_uvicorn_waits_for_the_gate_until_the_drain_is_over() -> None:
    drains = 0
    gate_is_open = asyncio.Event()

    class Reception:
        async def drain(self) -> None:
            nonlocal drains
            drains += 1
            await gate_is_open.wait()

    connections: set[Any] = set()
    gate = Gate(Reception(), connections)  # type: ignore[arg-type] # all that a gate asks of it
    gate.shutdown()
    gate.shutdown()
    await asyncio.sleep(0)
    assert (drains, connections) == (1, {gate})
    gate_is_open.set()
    async with asyncio.timeout(TIMEOUT):
        while connections:
            await asyncio.sleep(0)


@pytest.mark.parametrize("extensions", [None, {}])
async def test_a_server_that_cannot_answer_by_http_is_told_to_refuse(extensions: dict[str, Any] | None) -> None:
    entrance = echo_endpoint().websocket_entrance(ECHO)
    assert entrance is not None
    assert isinstance(entrance[0], WebSocketEntrance)
    entrance[0].is_draining = True
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: dict[str, Any] = {"type": "websocket", "headers": [], "extensions": extensions}
    await AsgiLine(entrance[0], send).run(scope, ECHO, {}, receive)
    assert sent == [{"type": "websocket.close", "code": 1008}]
