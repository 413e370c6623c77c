"""Trackers of several nodes in one loop, on a bus in memory that can be cut."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from broadwing import PubSub, Tracker
from broadwing.presence.tracker import Diff
from tests.support.bus import MemoryAdapter, MemoryBus

TIMEOUT = 30.0
# A second is long enough that a busy machine does not take a live node for dead, as long as its loop gets to run at all.
QUICK: dict[str, Any] = {
    "broadcast_period": 0.02,
    "max_silent_periods": 3,
    "down_period": 1.0,
    "permdown_period": 600.0,
    "clock_sample_periods": 2,
}

Present = set[tuple[str, str, str]]


class SeverableAdapter(MemoryAdapter):
    """A node's line to the bus; while it is cut, nothing comes and goes, and nobody is told."""

    is_cut = False

    def publish(self, topic: str, data: bytes) -> None:
        self._carry(lambda: [client for client in self.bus.clients if topic in client.subscribed], topic, data)

    def publish_to(self, node: str, topic: str, data: bytes) -> None:
        self._carry(lambda: [client for client in self.bus.clients if client.node_name == node], topic, data)

    def _carry(self, targets: Callable[[], list[MemoryAdapter]], topic: str, data: bytes) -> None:
        self.must_be_up()

        def command() -> None:
            for client in targets():
                assert isinstance(client, SeverableAdapter)
                if client is not self and not (self.is_cut or client.is_cut):
                    client.receive(topic, data)

        self.bus.do(command)


class Node:
    """A tracker on a bus, and what it reported.

    Attributes:
        pubsub: Its bus.
        tracker: The tracker.
        adapter: Its line.
        diffs: Every diff, in order.
        present: What they add up to: topics, keys and refs.
        changes: What became of other nodes, in order.
        heard: Events of what trackers said to its first shard, its own broadcasts included.
    """

    def __init__(self, adapter: Any, options: dict[str, Any]) -> None:
        self.adapter = adapter
        self.pubsub = PubSub(adapter, canary_interval=1000.0, canary_timeout=1000.0)
        self.tracker = Tracker(self.pubsub, handle_diff=self._take, **{**QUICK, **options})
        self.tracker.on_replica(lambda name, status: self.changes.append((name, status)))
        self.diffs: list[Diff] = []
        self.present: Present = set()
        self.changes: list[tuple[str, str]] = []
        self.heard: list[str] = []

    @property
    def name(self) -> str:
        """Its name on the bus."""
        return self.pubsub.node_name

    def _take(self, diff: Diff) -> None:
        self.diffs.append(diff)
        for topic, changes in diff.items():
            for key, meta in changes.joins:
                assert (topic, key, meta["phx_ref"]) not in self.present
                self.present.add((topic, key, meta["phx_ref"]))
            for key, meta in changes.leaves:
                self.present.remove((topic, key, meta["phx_ref"]))

    def keys(self, topic: str = "lobby") -> list[str]:
        """Who is listed."""
        return sorted(key for key, _ in self.tracker.list(topic))

    async def start(self) -> None:
        """Join the bus and take part."""
        await self.pubsub.start()
        await self.tracker.start()
        topic = f"phx_presence:{self.tracker.name}_shard0"
        self.pubsub.subscribe(topic, lambda message: self.heard.append(message.event))

    async def stop(self) -> None:
        """Stop as a program does."""
        await self.tracker.stop()
        await self.pubsub.stop()

    async def crash(self) -> None:
        """Be gone without a word."""
        self.adapter.is_cut = True
        await self.stop()


async def until(condition: Callable[[], object], about: Callable[[], object] = str) -> None:
    """Wait until `condition()` is true."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + TIMEOUT
    while not condition():
        assert loop.time() < deadline, f"waited {TIMEOUT} s; there is {about()!r}"
        await asyncio.sleep(0.005)


class Cluster:
    """Nodes on one bus."""

    def __init__(self) -> None:
        self.bus = MemoryBus(SeverableAdapter)
        self.nodes: list[Node] = []

    async def node(self, name: str, **options: Any) -> Node:
        """Start one; options are the tracker's."""
        node = Node(self.bus.adapter(name), options)
        self.nodes.append(node)
        await node.start()
        return node

    async def pair(self, **options: Any) -> tuple[Node, Node]:
        """Two that have heard of each other."""
        one, other = await self.node("a", **options), await self.node("b", **options)
        await until(lambda: one.tracker.replicas == {"b": "up"} and other.tracker.replicas == {"a": "up"})
        return one, other


@asynccontextmanager
async def cluster() -> AsyncIterator[Cluster]:
    """Nodes for a test; they are stopped at its end, and have told the truth until then."""
    made = Cluster()
    try:
        yield made
        for node in made.nodes:
            if node.tracker.is_started:
                topics = {topic for topic, _, _ in node.present}
                listed = {(topic, key, str(m["phx_ref"])) for topic in topics for key, m in node.tracker.list(topic)}
                assert listed == node.present
    finally:
        for node in made.nodes:
            await node.stop()
