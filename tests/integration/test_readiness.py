"""Probes: alive while the loop turns, ready while clients should come; not while the bus is down, deaf, or all are sent away."""

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from broadwing import ConfigurationError, DrainOptions, Endpoint, Health, PubSub, telemetry
from tests.support.app import GroundSocket, make_endpoint
from tests.support.brokers import Broker, tell
from tests.support.bus import MemoryAdapter, MemoryBus
from tests.support.client import V2, open_websocket
from tests.support.loopback import HOST
from tests.support.process import Process
from tests.support.server import ASGI, HYPERCORN, LEAN, WSPROTO, serve

PATIENCE = 30.0
READY, LIVE = "/broadwing/health/ready", "/broadwing/health/live"


@contextlib.asynccontextmanager
async def probing(port: int) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://{HOST}:{port}", timeout=PATIENCE, trust_env=False) as http:
        yield http


def said(answer: httpx.Response) -> tuple[int, Any]:
    """Status and body, which has nothing but a status."""
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    return answer.status_code, answer.json()


async def becomes(http: httpx.AsyncClient, status: int, text: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while (answer := said(await http.get(READY))) != (status, {"status": text}):
            await asyncio.sleep(0.01)
    assert answer[0] == status


@pytest.mark.parametrize("kind", [LEAN, "lean-ws-only", ASGI, WSPROTO, HYPERCORN])
async def test_probes_are_answered_under_any_server(kind: str) -> None:
    async with serve(Endpoint(), kind) as served, probing(served.port) as http:
        assert said(await http.get(READY)) == (200, {"status": "ready"})
        assert said(await http.get(LIVE)) == (200, {"status": "alive"})
        head = await http.head(READY)
        assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "18")
        refused = await http.post(READY)
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
        for path in ("/broadwing/health", "/broadwing/health/", f"{READY}/", "/broadwing/health/other"):
            assert (await http.get(path)).status_code == 404


async def test_a_node_whose_bus_goes_down_is_not_ready_until_it_is_back() -> None:
    bus = MemoryBus(MemoryAdapter)
    endpoint = Endpoint(pubsub=PubSub(bus.adapter()))
    told: list[tuple[str, Any]] = []
    detach = telemetry.attach("pubsub_health", lambda event, measurements, metadata: told.append((event, metadata)))
    observed: list[Health] = []
    endpoint.on_health(observed.append)
    async with serve(endpoint) as served, probing(served.port) as http:
        await becomes(http, 200, "ready")
        assert endpoint.health is Health.UP
        await bus.stop_bus()
        assert said(await http.get(READY)) == (503, {"status": "bus down"})
        assert said(await http.get(LIVE)) == (200, {"status": "alive"})
        assert endpoint.health.value == "down"
        await bus.start_bus()
        await becomes(http, 200, "ready")
    detach()
    assert observed == [Health.UP, Health.DOWN, Health.UP]
    assert told == [("pubsub_health", {"endpoint": endpoint, "health": health}) for health in observed]


async def test_a_node_that_sends_its_clients_away_is_not_ready() -> None:
    endpoint = make_endpoint()
    endpoint.socket("/slow", GroundSocket, drainer=DrainOptions(batch_size=1, batch_interval=0.3))
    async with serve(endpoint, ASGI) as served, probing(served.port) as http:
        clients = [await open_websocket(served.url("/slow/websocket?vsn=2.0.0"), V2) for _ in range(3)]
        draining = asyncio.create_task(endpoint.drain())
        await asyncio.sleep(0)
        assert not draining.done()
        assert said(await http.get(READY)) == (503, {"status": "draining"})
        assert said(await http.get(LIVE)) == (200, {"status": "alive"})
        for client in clients:
            await client.close()
        await draining
        assert said(await http.get(READY)) == (503, {"status": "draining"})


async def test_a_node_is_not_ready_before_its_start_and_after_its_stop() -> None:
    class Slow(MemoryAdapter):
        go_on: asyncio.Event

        async def start(self, *args: Any) -> None:
            await self.go_on.wait()
            await super().start(*args)

    adapter = Slow(MemoryBus(Slow))
    adapter.go_on = asyncio.Event()
    endpoint = Endpoint(pubsub=PubSub(adapter))
    assert endpoint.unready == "starting"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(endpoint), base_url="http://test") as http:
        assert said(await http.get(LIVE)) == (200, {"status": "alive"})
        assert not endpoint.is_started  # a probe of life starts nothing
        first = asyncio.create_task(http.get(READY))
        while not endpoint.is_started:
            await asyncio.sleep(0)
        assert said(await http.get(READY)) == (503, {"status": "starting"})
        adapter.go_on.set()
        assert said(await first) == (200, {"status": "ready"})
        await endpoint.stop()
        assert said(await http.get(READY)) == (503, {"status": "stopped"})
        assert not endpoint.pubsub.is_started


async def test_the_path_of_probes_can_be_chosen_or_left_out() -> None:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(Endpoint(health_path="/")), base_url="http://test"
    ) as http:
        assert said(await http.get("/ready")) == (200, {"status": "ready"})
        assert (await http.get(READY)).status_code == 404
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(Endpoint(health_path=None)), base_url="http://test"
    ) as http:
        assert (await http.get(READY)).status_code == 404
    with pytest.raises(ConfigurationError, match="health_path"):
        Endpoint(health_path="health")


# Over a real Redis, through `broadwing serve`.


@contextlib.contextmanager
def deafened(broker: Broker) -> Iterator[None]:
    """Redis answers PING and SUBSCRIBE, but carries no message: all looks well to a node that does not listen to itself."""
    assert tell(broker.port, "CLIENT", "PAUSE", "600000", "WRITE") == "+OK\r\n"
    try:
        yield
    finally:
        assert tell(broker.port, "CLIENT", "UNPAUSE") == "+OK\r\n"


@pytest.fixture
def server(redis_broker: Broker, request: pytest.FixtureRequest) -> Iterator[Process]:
    redis_broker.ensure()
    bus = f"redis://127.0.0.1:{redis_broker.port}?prefix={uuid.uuid4().hex}"
    app = "tests.support.probed_app:endpoint"
    process = Process(app, "--port", "0", "--log-level", "error", "--bus", bus, "--workers", str(request.param))
    try:
        process.await_start()
        yield process
    finally:
        process.kill()


def probe(server: Process, path: str = READY) -> tuple[int, str]:
    """Ask over a connection of its own, so that any worker may answer."""
    answer = httpx.get(f"http://{HOST}:{server.port}{path}", timeout=PATIENCE, trust_env=False)
    return answer.status_code, json.loads(answer.content)["status"]


def until_all(server: Process, expected: tuple[int, str]) -> None:
    """Wait until twelve probes in a row, which meet all workers, get one answer."""
    deadline = time.monotonic() + PATIENCE
    while any((answer := probe(server)) != expected for _ in range(12)):
        assert time.monotonic() < deadline, answer
        time.sleep(0.05)


@pytest.mark.parametrize("server", [1, 2], indirect=True, ids=["one process", "two workers"])
def test_a_deaf_worker_is_alive_but_not_ready_until_it_hears_again(server: Process, redis_broker: Broker) -> None:
    until_all(server, (200, "ready"))
    with deafened(redis_broker):
        until_all(server, (503, "bus deaf"))
        assert {probe(server, LIVE) for _ in range(6)} == {(200, "alive")}
    until_all(server, (200, "ready"))
    assert any("is deaf" in line for line in server.output)


@pytest.mark.parametrize("server", [1], indirect=True)
def test_a_worker_whose_redis_was_killed_is_not_ready_until_it_is_back(server: Process, redis_broker: Broker) -> None:
    until_all(server, (200, "ready"))
    redis_broker.kill()
    until_all(server, (503, "bus down"))
    redis_broker.start()
    until_all(server, (200, "ready"))


@pytest.mark.parametrize("server", [1], indirect=True)
def test_a_worker_whose_redis_hangs_is_not_ready_until_it_goes_on(server: Process, redis_broker: Broker) -> None:
    until_all(server, (200, "ready"))
    redis_broker.pause()
    deadline = time.monotonic() + PATIENCE
    while (answer := probe(server))[0] == 200:
        assert time.monotonic() < deadline, answer
    assert answer[1] in ("bus deaf", "bus down")
    redis_broker.resume()
    until_all(server, (200, "ready"))
