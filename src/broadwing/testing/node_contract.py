"""What holds for any node on any bus, also for one that is alone."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import ClassVar

from broadwing.pubsub.health import Health
from broadwing.testing.cluster import Bus, Cluster, Story, tell


class NodeContract(ABC):
    """What holds for any node, alone or not.

    Attributes:
        patience: Seconds that anything waited for may take.
        loop_factory: Which loop to run on; asyncio's by default.
    """

    patience: ClassVar[float] = 5.0
    loop_factory: ClassVar[Callable[[], asyncio.AbstractEventLoop] | None] = None

    @abstractmethod
    def bus(self) -> AbstractAsyncContextManager[Bus]:
        """A bus that nobody else is on."""

    def tell(self, story: Story) -> None:
        """Run a story."""
        tell(story, self.bus(), self.patience, type(self).loop_factory)

    def test_no_two_nodes_have_one_name(self) -> None:
        async def story(cluster: Cluster) -> None:
            names = [cluster.bus.adapter().node_name for _ in range(50)]
            assert len(set(names)) == 50
            assert all(names)

        self.tell(story)

    def test_a_node_has_the_name_it_is_given(self) -> None:
        async def story(cluster: Cluster) -> None:
            assert (await cluster.node("knoten-7.é")).name == "knoten-7.é"

        self.tell(story)

    def test_a_node_keeps_its_name(self) -> None:
        async def story(cluster: Cluster) -> None:
            adapter = cluster.bus.adapter()
            name = adapter.node_name
            await adapter.start(lambda topic, data: None, lambda: None)
            await adapter.reconnect()
            await adapter.stop()
            assert adapter.node_name == name

        self.tell(story)

    def test_a_broadcast_reaches_each_subscription_of_its_own_node_once(self) -> None:
        async def story(cluster: Cluster) -> None:
            node = await cluster.node()
            first, second, other = await node.inbox("a"), await node.inbox("a"), await node.inbox("b")
            node.broadcast("a", b"1")
            node.broadcast("a", b"2")
            await first.has(b"1", b"2")
            await second.has(b"1", b"2")
            await other.has()

        self.tell(story)

    def test_broadcast_from_leaves_out_the_sender(self) -> None:
        async def story(cluster: Cluster) -> None:
            node = await cluster.node()
            sender, other = await node.inbox("a"), await node.inbox("a")
            node.pubsub.broadcast("a", b"1", sender)
            node.pubsub.broadcast("a", b"2")
            await other.has(b"1", b"2")
            await sender.has(b"2")

        self.tell(story)

    def test_local_broadcast_reaches_its_own_node(self) -> None:
        async def story(cluster: Cluster) -> None:
            node = await cluster.node()
            inbox = await node.inbox("a")
            node.pubsub.local_broadcast("a", b"1")
            await inbox.has(b"1")

        self.tell(story)

    def test_direct_broadcast_to_its_own_name_comes_back(self) -> None:
        async def story(cluster: Cluster) -> None:
            node = await cluster.node()
            inbox = await node.inbox("a")
            node.pubsub.direct_broadcast(node.name, "a", b"1")
            node.pubsub.direct_broadcast(node.name, "a", b"2")
            await inbox.has(b"1", b"2")

        self.tell(story)

    def test_direct_broadcast_to_an_unknown_node_is_a_no_op(self) -> None:
        async def story(cluster: Cluster) -> None:
            node = await cluster.node()
            inbox = await node.inbox("a")
            node.pubsub.direct_broadcast("nobody", "a", b"1")
            node.pubsub.direct_broadcast(node.name, "a", b"2")
            await inbox.has(b"2")

        self.tell(story)

    def test_an_ended_subscription_gets_nothing_more(self) -> None:
        async def story(cluster: Cluster) -> None:
            node = await cluster.node()
            ended, other = await node.inbox("a"), await node.inbox("a")
            ended.close()
            ended.close()
            node.broadcast("a", b"1")
            await other.has(b"1")
            await ended.has()

        self.tell(story)

    def test_other_threads_can_broadcast(self) -> None:
        async def story(cluster: Cluster) -> None:
            node = await cluster.node()
            inbox = await node.inbox("a")
            await asyncio.to_thread(node.broadcast, "a", b"1")
            await inbox.has(b"1")

        self.tell(story)

    def test_a_node_comes_up(self) -> None:
        async def story(cluster: Cluster) -> None:
            node = await cluster.node()
            await node.becomes(Health.UP)

        self.tell(story)

    def test_stopping_twice_or_without_a_start_is_a_no_op(self) -> None:
        async def story(cluster: Cluster) -> None:
            adapter = cluster.bus.adapter()
            await adapter.stop()
            await adapter.start(lambda topic, data: None, lambda: None)
            await adapter.stop()
            await adapter.stop()

        self.tell(story)
