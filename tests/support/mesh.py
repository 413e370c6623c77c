"""Nodes of a mesh in the test's own loop, and places for them to meet."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from broadwing.pubsub.pubsub import PubSub
from broadwing.pubsub.zmq import ZmqAdapter
from broadwing.testing.cluster import Plain
from tests.support.background import TIMEOUT
from tests.support.loopback import NET, free_port


class Here:
    """A node in this loop.

    Attributes:
        adapter: Its adapter.
        pubsub: Its PubSub.
    """

    def __init__(self, url: str, name: str | None = None, **options: Any) -> None:
        self.adapter = ZmqAdapter(url, name)
        self.pubsub = PubSub(self.adapter, codec=Plain(), **options)

    def hears(self, topic: str) -> list[bytes]:
        """Subscribe; the list fills."""
        got: list[bytes] = []
        self.pubsub.subscribe(topic, got.append)
        return got

    def reaches(self, count: int) -> bool:
        """Whether exactly so many other nodes are connected, and no more are known."""
        return list(self.adapter.peers.values()) == [True] * count


@asynccontextmanager
async def here(url: str, name: str | None = None, **options: Any) -> AsyncIterator[Here]:
    """Run a node in this loop."""
    node = Here(url, name, **options)
    await node.pubsub.start()
    try:
        yield node
    finally:
        await node.pubsub.stop()


async def until(condition: Callable[[], object], seconds: float = TIMEOUT) -> None:
    """Wait until `condition()` is true."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


def free_addresses(count: int) -> list[str]:
    """Addresses of the loopback net, each with a port that is free there."""
    return [f"{NET}.{number + 1}:{free_port()}" for number in range(count)]


def listed(addresses: list[str]) -> list[str]:
    """The URL of each node of a list."""
    return [f"zmq://{','.join(addresses)}?bind={address}" for address in addresses]
