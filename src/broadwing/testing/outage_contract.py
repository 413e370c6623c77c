"""What an adapter has to do while its bus is down, and when it is back: for buses that can be stopped and paused."""

import asyncio
from abc import abstractmethod
from contextlib import AbstractAsyncContextManager

import pytest

from broadwing.exceptions import PubSubUnavailable
from broadwing.pubsub.health import Health
from broadwing.testing.adapter_contract import AdapterContract
from broadwing.testing.cluster import Cluster, FragileBus


class OutageContract(AdapterContract):
    """What holds when the bus between the nodes can fail. `bus` yields one that has the hooks of `FragileBus`."""

    @abstractmethod
    def bus(self) -> AbstractAsyncContextManager[FragileBus]:
        """A bus that nobody else is on, and that the suite may stop and pause."""

    def test_an_outage_is_noticed_by_all_nodes_and_mends_by_itself(self) -> None:
        async def story(cluster: Cluster) -> None:
            one, two = await cluster.nodes(2)
            here, there = await one.inbox("a"), await two.inbox("a")
            await one.becomes(Health.UP)
            await two.becomes(Health.UP)
            for _ in range(2):
                await cluster.bus.stop_bus()
                await one.becomes(Health.DOWN)
                await two.becomes(Health.DOWN)
                await cluster.bus.start_bus()
                await one.becomes(Health.UP)
                await two.becomes(Health.UP)
                await self.meet(cluster, here, there)
                here.messages.clear()
                there.messages.clear()

        self.tell(story)

    def test_observers_are_told_of_an_outage_and_of_its_end(self) -> None:
        async def story(cluster: Cluster) -> None:
            node = await cluster.node()
            await node.becomes(Health.UP)
            told: list[Health] = []
            node.pubsub.on_health(told.append)
            await cluster.bus.stop_bus()
            await node.becomes(Health.DOWN)
            await cluster.bus.start_bus()
            await node.becomes(Health.UP)
            assert (told[0], told[-1]) == (Health.DOWN, Health.UP)

        self.tell(story)

    def test_local_delivery_goes_on_during_an_outage(self) -> None:
        async def story(cluster: Cluster) -> None:
            node = await cluster.node()
            inbox = await node.inbox("a")
            await cluster.bus.stop_bus()
            await node.becomes(Health.DOWN)
            node.broadcast("a", b"1")
            await inbox.has(b"1")
            late = await node.inbox("b")  # nothing confirms it, and nothing waits for that
            node.broadcast("b", b"2")
            await late.has(b"2")

        self.tell(story)

    def test_a_subscription_made_during_an_outage_counts_after_it(self) -> None:
        async def story(cluster: Cluster) -> None:
            one, two = await cluster.nodes(2)
            await cluster.bus.stop_bus()
            await one.becomes(Health.DOWN)
            await two.becomes(Health.DOWN)
            here, there = await one.inbox("a"), await two.inbox("a")
            await cluster.bus.start_bus()
            await self.meet(cluster, here, there)

        self.tell(story)

    def test_a_subscription_ended_during_an_outage_stays_ended(self) -> None:
        async def story(cluster: Cluster) -> None:
            one, two = await cluster.nodes(2)
            ended = await two.inbox("ended")
            here, there = await one.inbox("a"), await two.inbox("a")
            await cluster.bus.stop_bus()
            await one.becomes(Health.DOWN)
            await two.becomes(Health.DOWN)
            ended.close()
            await cluster.bus.start_bus()
            await self.meet(cluster, here, there)
            one.broadcast("ended", b"unheard")
            one.broadcast("a", b"last")
            await there.gets(b"last")
            await ended.has()

        self.tell(story)

    def test_messages_wait_for_the_bus_and_none_comes_twice_or_out_of_order(self) -> None:
        async def story(cluster: Cluster) -> None:
            one, two = await cluster.nodes(2)
            here, there = await one.inbox("a"), await two.inbox("a")
            await cluster.bus.stop_bus()
            await one.becomes(Health.DOWN)
            await two.becomes(Health.DOWN)
            for number in range(10):
                one.broadcast("a", b"%d" % number)
            await here.has(*(b"%d" % number for number in range(10)))
            await cluster.bus.start_bus()
            await one.becomes(Health.UP)
            await two.becomes(Health.UP)
            await self.meet(cluster, here, there)
            # Whether a message that waited arrives depends on who is back first; but nothing is turned around.
            waited = [int(message) for message in there.messages if message.isdigit()]
            assert waited == sorted(set(waited))

        self.tell(story)

    def test_no_more_than_the_queues_limit_waits_for_the_bus(self) -> None:
        async def story(cluster: Cluster) -> None:
            node = await cluster.node(queue_limit=5)
            inbox = await node.inbox("a")
            await cluster.bus.stop_bus()
            await node.becomes(Health.DOWN)
            for number in range(5):
                node.broadcast("a", b"%d" % number)
            with pytest.raises(PubSubUnavailable, match="queue_limit"):
                node.broadcast("a", b"too many")
            await inbox.has(*(b"%d" % number for number in range(5)))

        self.tell(story)

    def test_with_the_policy_raise_nobody_gets_what_other_nodes_cannot_get(self) -> None:
        async def story(cluster: Cluster) -> None:
            node = await cluster.node(on_unavailable="raise")
            inbox = await node.inbox("a")
            await cluster.bus.stop_bus()
            await node.becomes(Health.DOWN)
            with pytest.raises(PubSubUnavailable):
                node.broadcast("a", b"refused")
            with pytest.raises(PubSubUnavailable):
                node.pubsub.direct_broadcast(node.name, "a", b"refused")
            await cluster.bus.start_bus()
            await node.becomes(Health.UP)
            node.broadcast("a", b"1")
            await inbox.has(b"1")

        self.tell(story)

    def test_a_node_starts_without_its_bus_and_joins_when_it_is_there(self) -> None:
        async def story(cluster: Cluster) -> None:
            await cluster.bus.stop_bus()
            async with asyncio.timeout(self.patience):
                one, two = await cluster.nodes(2)
            assert one.pubsub.health is Health.DOWN
            here, there = await one.inbox("a"), await two.inbox("a")
            await cluster.bus.start_bus()
            await one.becomes(Health.UP)
            await two.becomes(Health.UP)
            await self.meet(cluster, here, there)

        self.tell(story)

    def test_a_node_stops_without_its_bus(self) -> None:
        async def story(cluster: Cluster) -> None:
            node = await cluster.node()
            await node.inbox("a")
            await cluster.bus.stop_bus()
            await node.becomes(Health.DOWN)
            node.broadcast("a", b"never sent")
            async with asyncio.timeout(self.patience):
                await node.pubsub.stop()

        self.tell(story)

    def test_a_bus_that_answers_nothing_is_found_out_and_heard_again_when_it_does(self) -> None:
        async def story(cluster: Cluster) -> None:
            one = await cluster.node(canary_interval=0.05, canary_timeout=0.2)
            two = await cluster.node(canary_interval=0.05, canary_timeout=0.2)
            here, there = await one.inbox("a"), await two.inbox("a")
            await one.becomes(Health.UP)
            await two.becomes(Health.UP)
            await cluster.bus.pause_bus()
            await cluster.until(
                lambda: one.pubsub.health is not Health.UP, "the silence to be noticed", one.pubsub.health
            )
            await cluster.bus.resume_bus()
            await one.becomes(Health.UP)
            await two.becomes(Health.UP)
            await self.meet(cluster, here, there)

        self.tell(story)

    def test_a_node_stops_while_its_bus_answers_nothing(self) -> None:
        async def story(cluster: Cluster) -> None:
            node = await cluster.node()
            await node.inbox("a")
            await node.becomes(Health.UP)
            await cluster.bus.pause_bus()
            node.broadcast("a", b"1")
            try:
                async with asyncio.timeout(self.patience):
                    await node.pubsub.stop()
            finally:
                await cluster.bus.resume_bus()

        self.tell(story)
