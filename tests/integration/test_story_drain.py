"""What clients see when the server goes: all are sent away with 1012, in batches, and their channels clean up.

Phoenix 1.8.12 (spec/vectors/recording_shutdown.json) sends 1012 to connections with channels only and lets go of the others
at the very end, with 1000, which its own client takes for good-bye; here all get 1012.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from broadwing import DrainOptions, Endpoint, telemetry
from broadwing.drain import drain
from tests.integration.conftest import LONGPOLL, World
from tests.support.app import GroundSocket, make_endpoint
from tests.support.background import TIMEOUT
from tests.support.client import V1, V2, Client
from tests.support.server import ASGI, LEAN, WSPROTO, serve


@pytest.fixture(params=[LEAN, "lean-ws-only", ASGI, WSPROTO])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A server that the test shuts down."""
    endpoint = make_endpoint()
    async with serve(endpoint, request.param) as served:
        world = World(endpoint, served, request.param, V2)
        yield world
        for client in world.clients:
            await client.close()


async def test_all_clients_are_closed_with_1012_once(world: World) -> None:
    """checklist 118"""
    many, old, none = await world.connect(), await world.connect(vsn=V1), await world.connect()
    await many.join("room:a", "1")
    await many.join("room:b", "2")
    await old.join("room:a", "1")
    await none.quiet()
    stopping = asyncio.get_running_loop().create_task(world.served.shut_down())
    assert [await client.ended() for client in (many, old, none)] == [1012, 1012, 1012]
    async with asyncio.timeout(TIMEOUT):
        await stopping
    # uvicorn without our server class closes its WebSockets by itself before the endpoint hears of the end.
    reason = ("shutdown", "draining") if world.transport.startswith(LEAN) else ("shutdown", "closed")
    assert sorted(world.endpoint.terminated) == [("room:a", reason), ("room:a", reason), ("room:b", reason)]


async def test_a_drain_of_the_endpoint_alone_does_the_same_under_every_server(world: World) -> None:
    """checklist 118"""
    client = await world.connect()
    await client.join("room:a", "1")
    await asyncio.gather(world.endpoint.drain(), _ended_with_1012(client))
    assert world.endpoint.terminated == [("room:a", ("shutdown", "draining"))]


async def _ended_with_1012(client: Client) -> None:
    assert await client.ended() == 1012


async def test_a_handler_at_work_is_waited_for(world: World) -> None:
    client = await world.connect()
    await client.join("story:x", "1")
    await client.send("1", "2", "story:x", "wait")
    await client.quiet()
    stopping = asyncio.get_running_loop().create_task(world.served.shut_down())
    assert await client.ended() == 1012
    assert world.endpoint.terminated == []
    world.endpoint.gate.set()
    async with asyncio.timeout(TIMEOUT):
        await stopping
    assert [topic for topic, _ in world.endpoint.terminated] == ["story:x"]


async def test_poll_sessions_end_and_their_channels_clean_up() -> None:
    endpoint = make_endpoint()
    async with serve(endpoint) as served:
        world = World(endpoint, served, LONGPOLL, V2)
        client = await world.connect()
        await client.join("room:a", "1")
        await endpoint.drain()
        assert await client.ended() == 503  # nobody new is let in while the server stops
        assert endpoint.terminated == [("room:a", ("shutdown", "draining"))]
        await client.close()


class Line:
    """A connection that goes when it is told to."""

    def __init__(self, lines: "list[Line]", codes: list[int]) -> None:
        self._lines = lines
        self._codes = codes
        lines.append(self)

    def close(self, code: int, reason: str = "") -> None:
        """Go."""
        self._codes.append(code)
        self._lines.remove(self)


class Deaf(Line):
    """A connection that stays."""

    def close(self, code: int, reason: str = "") -> None:
        """Note it."""
        self._codes.append(code)


@pytest.mark.parametrize(
    ("total", "counts"),
    # As in Phoenix: rounds = total div batch_size + 1, and the last one takes the remainder.
    [(0, [0]), (1, [1]), (9, [9]), (10, [10, 0]), (25, [10, 10, 5])],
)
async def test_connections_are_drained_in_batches_and_each_is_an_event(
    total: int, counts: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    """checklist 122"""
    caplog.set_level("INFO")
    seen: list[tuple[Mapping[str, float], Mapping[str, Any]]] = []
    detach = telemetry.attach(telemetry.SOCKET_DRAIN, lambda _, measured, data: seen.append((measured, data)))
    lines: list[Line] = []
    codes: list[int] = []
    for _ in range(total):
        Line(lines, codes)
    endpoint = Endpoint()
    options = DrainOptions(batch_size=10, batch_interval=0.01)
    await drain("UserSocket", endpoint, list(lines), lambda: len(lines), options)
    detach()
    rounds = len(counts)
    assert [measured for measured, _ in seen] == [
        {"count": count, "total": total, "index": index + 1, "rounds": rounds} for index, count in enumerate(counts)
    ]
    assert all(
        (data["endpoint"], data["socket"], data["interval"]) == (endpoint, "UserSocket", 0.01) for _, data in seen
    )
    assert codes == [1012] * total
    if total == 25:
        # The words are Phoenix's.
        sentence = "DRAINING 5 of 25 total connection(s) for socket UserSocket every 10ms - round 3 of 3"
        assert sentence in caplog.text


async def test_a_client_that_does_not_go_does_not_hold_up_the_end(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broadwing.drain._LAST_CALL", 0.01)
    codes: list[int] = []
    await drain("UserSocket", Endpoint(), [Deaf([], codes)], lambda: 1, DrainOptions(shutdown=0.01))
    assert "UserSocket: 1 connection(s) were not drained within 0.01 s" in caplog.text
    assert codes == [1012, 1012]


@pytest.mark.parametrize(
    "drainer", [True, False, {"batch_size": 1, "batch_interval": 0.0}, DrainOptions(batch_interval=0.0)]
)
async def test_the_drainer_of_a_mount_may_be_set_in_every_way(drainer: Any) -> None:
    """checklist 22"""
    endpoint = make_endpoint()
    endpoint.socket("/drained", GroundSocket, drainer=drainer)
    async with serve(endpoint) as served:
        world = World(endpoint, served, LEAN, V2)
        clients = [await world.connect("/drained") for _ in range(3)]
        await asyncio.gather(endpoint.drain(), *map(_ended_with_1012, clients))


async def test_the_drainer_of_a_mount_may_be_a_function() -> None:
    """checklist 22"""
    endpoint = make_endpoint()
    endpoint.socket("/drained", GroundSocket, drainer=lambda: {"batch_size": 2, "batch_interval": 0.0})
    seen: list[float] = []
    detach = telemetry.attach(telemetry.SOCKET_DRAIN, lambda _, measured, data: seen.append(measured["count"]))
    async with serve(endpoint) as served:
        world = World(endpoint, served, LEAN, V2)
        clients = [await world.connect("/drained") for _ in range(3)]
        await asyncio.gather(endpoint.drain(), *map(_ended_with_1012, clients))
    detach()
    assert [count for count in seen if count] == [2, 1]
