"""The contract of adapters, over a Redis server and over a cluster of three."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import ClassVar

import pytest
import uvloop

from broadwing.pubsub.redis import RedisAdapter
from broadwing.testing.interest_contract import InterestContract
from broadwing.testing.outage_contract import OutageContract
from tests.support.brokers import Broker, closing, redis


class RedisBus:
    """Nodes behind one prefix on a server, and the server's outages."""

    def __init__(self, server: Broker) -> None:
        self._server = server
        self._prefix = uuid.uuid4().hex

    def adapter(self, node_name: str | None = None) -> RedisAdapter:
        """A node."""
        return RedisAdapter(f"redis://127.0.0.1:{self._server.port}?prefix={self._prefix}", node_name)

    async def stop_bus(self) -> None:
        """Kill the server."""
        await asyncio.to_thread(self._server.kill)

    async def start_bus(self) -> None:
        """Start it again."""
        await asyncio.to_thread(self._server.start)

    async def pause_bus(self) -> None:
        """Send it SIGSTOP."""
        self._server.pause()

    async def resume_bus(self) -> None:
        """Send it SIGCONT."""
        self._server.resume()


class TestRedis(OutageContract, InterestContract):
    # What `broadwing serve` runs on; the other tests of brokers run on asyncio's own loop.
    loop_factory = uvloop.new_event_loop
    server: ClassVar[Broker]

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _server(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        cls.server = redis(tmp_path_factory.mktemp("redis"))
        with closing(cls.server):
            yield

    @asynccontextmanager
    async def bus(self) -> AsyncIterator[RedisBus]:
        self.server.ensure()
        yield RedisBus(self.server)
