"""The contract of adapters, over a NATS server."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import ClassVar

import pytest
import uvloop

from broadwing.pubsub.nats import NatsAdapter
from broadwing.testing.interest_contract import InterestContract
from broadwing.testing.outage_contract import OutageContract
from tests.support.brokers import Broker, closing, nats


class NatsBus:
    """Nodes behind one prefix on a server, and the server's outages."""

    def __init__(self, server: Broker) -> None:
        self._server = server
        self._prefix = uuid.uuid4().hex

    def adapter(self, node_name: str | None = None) -> NatsAdapter:
        """A node."""
        return NatsAdapter(f"nats://127.0.0.1:{self._server.port}?prefix={self._prefix}", node_name)

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


class TestNats(OutageContract, InterestContract):
    # What `broadwing serve` runs on; the other tests of brokers run on asyncio's own loop.
    loop_factory = uvloop.new_event_loop
    server: ClassVar[Broker]

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _server(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        cls.server = nats(tmp_path_factory.mktemp("nats"))
        with closing(cls.server):
            yield

    @asynccontextmanager
    async def bus(self) -> AsyncIterator[NatsBus]:
        self.server.ensure()
        yield NatsBus(self.server)
