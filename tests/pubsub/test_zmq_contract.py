"""The adapter contract for the bus without a broker, over files and over TCP, and for a process that is alone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

from broadwing.pubsub.adapter import Adapter
from broadwing.pubsub.adapters import adapter_for
from broadwing.testing.adapter_contract import AdapterContract, NodeContract
from tests.support.mesh import free_addresses, listed


class UrlBus:
    """Every node has the same URL."""

    def __init__(self, url: str) -> None:
        self._url = url

    def adapter(self, node_name: str | None = None) -> Adapter:
        return adapter_for(self._url, node_name=node_name)


class ListedBus:
    """Every node has the list of all, and an address of its own."""

    def __init__(self) -> None:
        self._urls = cycle(listed(free_addresses(4)))

    def adapter(self, node_name: str | None = None) -> Adapter:
        return adapter_for(next(self._urls), node_name=node_name)


class TestLocal(NodeContract):
    @asynccontextmanager
    async def bus(self) -> AsyncIterator[UrlBus]:
        yield UrlBus("local://")


class TestOneMachine(AdapterContract):
    @asynccontextmanager
    async def bus(self) -> AsyncIterator[UrlBus]:
        with TemporaryDirectory() as directory:
            yield UrlBus(f"zmq+ipc://{directory}/bus")
            assert [file.name for file in Path(directory).rglob("*.sock")] == []


class TestOneMachineOnUvloop(TestOneMachine):
    loop_factory = uvloop.new_event_loop


class TestSeveralMachines(AdapterContract):
    @asynccontextmanager
    async def bus(self) -> AsyncIterator[ListedBus]:
        yield ListedBus()


class TestSeveralMachinesOnUvloop(TestSeveralMachines):
    loop_factory = uvloop.new_event_loop
