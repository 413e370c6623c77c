"""After 1,000 connections have come and gone, whichever way they went, nothing of them is left: no task, no socket, no object."""

import asyncio
import contextlib
import gc
import os
import random
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from broadwing import Endpoint
from broadwing.channel_runner import ChannelRunner
from broadwing.connection import Connection
from broadwing.core.frames import FrameReader
from broadwing.raw_connection import RawConnection, RawRunner
from broadwing.transports.asgi import AsgiLine
from broadwing.transports.uvicorn_http import HttpProtocol
from broadwing.transports.websocket import WebSocketLine
from broadwing.transports.websocket_uvicorn import WebSocketProtocol
from tests.support.background import LEAN, LEAN_BEHIND_H11, PLAIN_ASGI, Background, background, until
from tests.support.echo import EchoSocket
from tests.support.hostile import ROOM, GatedChannel, HostSocket, RoomChannel
from tests.support.wire import CLOSE, TEXT, Wire, upgrade_headers, wire

# As `broadwing serve` has it; the other two ways are the same but for their beginning.
CONNECTIONS = {LEAN: 1_000, LEAN_BEHIND_H11: 300, PLAIN_ASGI: 300}
OURS = (
    AsgiLine,
    ChannelRunner,
    Connection,
    EchoSocket,
    FrameReader,
    GatedChannel,
    HostSocket,
    HttpProtocol,
    RawConnection,
    RawRunner,
    RoomChannel,
    WebSocketLine,
    WebSocketProtocol,
)

WAYS = [
    "closes",
    "leaves and closes",
    "half closes",
    "resets",
    "breaks the protocol",
    "sends garbage",
    "leaves at the door",
    "is refused",
    "leaves a handler at work",
    "goes within a message",
    "is a raw socket",
    "only asks by HTTP",
]


def leaked() -> Counter[str]:
    """Objects of connections, by class, that cannot be collected."""
    gc.collect()
    return alive()


def alive() -> Counter[str]:
    """Objects of connections, by class."""
    return Counter(type(each).__name__ for each in gc.get_objects() if isinstance(each, OURS))


def sockets() -> int:
    """Open descriptors of this process."""
    return len(os.listdir("/proc/self/fd" if Path("/proc/self/fd").exists() else "/dev/fd"))


def visit(served: Background, way: str) -> None:
    with wire(served.port) as line:
        if way == "only asks by HTTP":
            line.request("GET", "/socket/websocket", {"Host": "localhost"})
            assert line.answer().status == 400
            return
        if way == "leaves at the door":
            line.request("GET", ROOM, upgrade_headers())
            return
        if way == "is refused":
            assert line.upgrade("/socket/websocket?vsn=9.9.9").status == 403
            return
        target = "/raw/websocket" if way == "is a raw socket" else ROOM
        assert line.upgrade(target).status == 101
        if way == "is a raw socket":
            line.send_frame(TEXT, "hello")
            assert line.frame().payload == b"hello"
            return
        line.join("room:a")
        _go(line, way)


def _go(line: Wire, way: str) -> None:
    match way:
        case "closes":
            line.send_frame(CLOSE, (1000).to_bytes(2))
            while line.frame().opcode not in (CLOSE, -1):
                pass
        case "leaves and closes":
            line.send_message("1", "2", "room:a", "phx_leave", {})
            line.send_frame(CLOSE)
        case "half closes":
            line.line.shutdown(socket.SHUT_WR)
        case "resets":
            line.send_message("1", "2", "room:a", "shout", {})
            line.line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        case "breaks the protocol":
            line.send_frame(3)
        case "sends garbage":
            line.send_frame(TEXT, "{oops")
        case "leaves a handler at work":
            line.send_message("2", "2", "gated:a", "phx_join", {})
            line.send_message("2", "3", "gated:a", "step", {})
            line.send_message("2", "4", "gated:a", "step", {})
        case _:
            line.send(b"\x81\xfe\x10\x00")


@pytest.fixture(params=[LEAN, LEAN_BEHIND_H11, PLAIN_ASGI])
def served(request: pytest.FixtureRequest) -> Iterator[tuple[Background, Endpoint, int]]:
    endpoint = Endpoint(check_origin=False)
    endpoint.socket("/socket", HostSocket, websocket={"timeout": 5})
    endpoint.socket("/raw", EchoSocket, websocket={"timeout": 5})
    with background(endpoint, request.param) as each:
        yield each, endpoint, CONNECTIONS[request.param]


def test_nothing_is_left_of_connections_that_are_gone(served: tuple[Background, Endpoint, int]) -> None:
    background_, endpoint, connections = served
    for way in WAYS:  # once each, for what is built at the first connection and kept
        visit(background_, way)
    entrances = [endpoint.websocket_entrance(path) for path in ("/socket/websocket", "/raw/websocket")]
    sweepers = [entrance[0].sweeper for entrance in entrances if entrance is not None]

    def quiet() -> bool:
        state = background_.server.server_state
        gate = 0 if not state.connections else 1  # the drain's stand-in, once for all
        return (
            all(not sweeper.members for sweeper in sweepers)
            and len(state.connections) <= gate
            and not state.tasks
            and not endpoint._lingering
        )

    until(quiet)
    tasks_before = len(asyncio.all_tasks(background_.loop))
    sockets_before, objects_before = sockets(), leaked()
    chance = random.Random(5)
    for _ in range(connections // len(WAYS)):
        for way in chance.sample(WAYS, len(WAYS)):
            visit(background_, way)
    until(quiet)
    assert endpoint.pubsub.registry.topics == {}
    assert endpoint.fastlane.pending == {}
    until(lambda: len(asyncio.all_tasks(background_.loop)) <= tasks_before)
    until(lambda: sockets() <= sockets_before)
    # What the last callbacks still hold goes in the next turns of the loop.
    with contextlib.suppress(AssertionError):
        until(lambda: background_.run(leaked) - objects_before == Counter())
    assert leaked() - objects_before == Counter()


def test_connections_are_freed_without_the_garbage_collector() -> None:
    # `broadwing serve` runs the collector seldom, and must not keep what is gone until then.
    endpoint = Endpoint(check_origin=False)
    endpoint.socket("/socket", HostSocket)
    entrance = endpoint.websocket_entrance("/socket/websocket")
    assert entrance is not None
    with background(endpoint) as served:
        visit(served, "closes")
        until(lambda: not entrance[0].sweeper.members)
        before = leaked()
        gc.disable()
        try:
            for way in ("closes", "leaves and closes", "resets", "leaves a handler at work"):
                for _ in range(10):
                    visit(served, way)
            until(lambda: not entrance[0].sweeper.members and not endpoint._lingering)
            until(lambda: served.run(alive) - before == Counter())
        finally:
            gc.enable()
