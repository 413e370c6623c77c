"""Presences of several nodes: each tells its own clients, once, of whoever is anywhere."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from broadwing import Broadcast, Presence, PubSub
from broadwing.core.presence.sync import Presences
from tests.support.bus import MemoryAdapter, MemoryBus
from tests.support.server import until

TOPIC = "room"
PATIENCE = 30.0
QUICK: dict[str, Any] = {"broadcast_period": 0.02, "max_silent_periods": 2, "down_period": 0.4, "permdown_period": 60.0}


class Node:
    """A node with a client on the topic, who keeps the list as a page does.

    Attributes:
        diffs: What the client was told, diff by diff.
    """

    def __init__(self, bus: MemoryBus, name: str) -> None:
        self.adapter = bus.adapter(name)
        self.pubsub = PubSub(self.adapter)
        self.presence = Presence(self.pubsub, **QUICK)
        self.client = Presences()
        self.diffs: list[Any] = []

    def hear(self, message: Broadcast) -> None:
        """Be the client."""
        self.diffs.append(message.payload)
        self.client.follow("1", message.payload)

    async def sees(self, *keys: str) -> None:
        """Wait until client and server know of these and no others."""

        def same() -> bool:
            return sorted(self.client.state) == sorted({key for key, _ in self.presence.tracker.list(TOPIC)}) == [*keys]

        await until(same, PATIENCE)


@asynccontextmanager
async def nodes(*names: str) -> AsyncIterator[list[Node]]:
    """Nodes that have heard of each other."""
    bus = MemoryBus(MemoryAdapter)
    async with AsyncExitStack() as stack:
        made = [Node(bus, name) for name in names]
        for node in made:
            await stack.enter_async_context(node.pubsub)
            await stack.enter_async_context(node.presence)
            node.client.begin("1", await node.presence.list(TOPIC))
            node.pubsub.subscribe(TOPIC, node.hear)
        await until(lambda: all(len(node.presence.tracker.replicas) == len(names) - 1 for node in made), PATIENCE)
        yield made


async def test_the_clients_of_every_node_are_told_once_and_by_their_own() -> None:
    async with nodes("a", "b", "c") as (a, b, c):
        ref = a.presence.track("tab 1", "ada", {"at": 1}, topic=TOPIC)
        for node in (a, b, c):
            await node.sees("ada")
        b.presence.track("tab 2", "ada", topic=TOPIC)
        c.presence.track("tab", "grace", topic=TOPIC)
        for node in (a, b, c):
            await node.sees("ada", "grace")
            await until(lambda node=node: len(node.client.state["ada"]["metas"]) == 2, PATIENCE)
        new = a.presence.update("tab 1", "ada", {"at": 2}, topic=TOPIC)
        a.presence.untrack("tab 1")
        c.presence.untrack("tab")
        for node in (a, b, c):
            await node.sees("ada")
            await until(lambda node=node: len(node.client.state["ada"]["metas"]) == 1, PATIENCE)
            told = [
                meta["phx_ref"] for diff in node.diffs for entry in diff["joins"].values() for meta in entry["metas"]
            ]
            assert len(told) == len(set(told))
            assert ref in told
            assert new not in told  # it came and went in one turn


async def test_of_a_node_that_is_cut_off_all_leave_and_come_back_with_it() -> None:
    async with nodes("a", "b") as (a, b):
        a.presence.track("one", "ada", topic=TOPIC)
        b.presence.track("one", "grace", topic=TOPIC)
        for node in (a, b):
            await node.sees("ada", "grace")
        b.adapter.disconnected()
        await a.sees("ada")
        await asyncio.sleep(0)
        b.adapter.connected()
        for node in (a, b):
            await node.sees("ada", "grace")


async def test_a_node_that_stops_takes_its_presences_along_at_once() -> None:
    async with nodes("a", "b") as (a, b):
        a.presence.track("one", "ada", topic=TOPIC)
        b.presence.track("one", "grace", topic=TOPIC)
        for node in (a, b):
            await node.sees("ada", "grace")
        a.diffs.clear()
        await b.presence.stop()
        await a.sees("ada")
        assert [list(diff["leaves"]) for diff in a.diffs] == [["grace"]]
