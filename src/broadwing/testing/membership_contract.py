"""Nodes that join, leave, are reconnected and listen for themselves; and what a bus carries that is not ours."""

import asyncio

import pytest

from broadwing.exceptions import PubSubUnavailable
from broadwing.pubsub.health import Health
from broadwing.testing.cluster import Cluster, Inbox
from broadwing.testing.node_contract import NodeContract


class MembershipContract(NodeContract):
    """What holds for nodes that come and go."""

    def test_what_is_not_ours_is_dropped_and_counted(self) -> None:
        async def story(cluster: Cluster) -> None:
            one, two = await cluster.nodes(2)
            inbox = await two.inbox("a")
            # Foreign bytes; ours, but cut off; ours, with a message that the codec refuses.
            for poison in (b"{}", b"", b"BW1\n\xff\xff", b"BW1\n\x00\x00\x00\x09P", b"BW1\n\x00\x00\x00\x01?"):
                one.adapter.publish("a", poison)
            one.broadcast("a", b"1")
            await inbox.has(b"1")
            assert two.pubsub.dropped == 5

        self.tell(story)

    def test_a_subscriber_that_raises_costs_no_other_node_a_message(self) -> None:
        async def story(cluster: Cluster) -> None:
            one, two = await cluster.nodes(2)

            def fail(message: bytes) -> None:
                raise RuntimeError("a subscriber of the suite raises on purpose")

            await two.inbox("bad")
            two.pubsub.subscribe("bad", fail)
            inbox = await two.inbox("a")
            for number in (b"1", b"2"):
                one.broadcast("bad", number)
                one.broadcast("a", number)
                await inbox.gets(number)
            await inbox.has(b"1", b"2")

        self.tell(story)

    def test_a_node_that_joins_later_hears_what_is_broadcast_from_then_on(self) -> None:
        async def story(cluster: Cluster) -> None:
            one = await cluster.node()
            one.broadcast("a", b"too early")
            late = await cluster.node()
            inbox = await late.inbox("a")
            one.broadcast("a", b"in time")
            await inbox.gets(b"in time")
            back = await one.inbox("b")
            late.broadcast("b", b"hello")
            await back.has(b"hello")

        self.tell(story)

    def test_a_node_that_leaves_takes_nothing_from_the_others(self) -> None:
        async def story(cluster: Cluster) -> None:
            one, two, three = await cluster.nodes(3)
            inbox = await three.inbox("a")
            await two.inbox("a")
            for number in range(100):
                one.broadcast("a", b"%d" % number)
                if number == 50:
                    await two.pubsub.stop()
            await inbox.has(*(b"%d" % number for number in range(100)))

        self.tell(story)

    def test_what_was_broadcast_before_a_stop_arrives(self) -> None:
        async def story(cluster: Cluster) -> None:
            one, two = await cluster.nodes(2)
            inbox = await two.inbox("a")
            expected = [b"%d" % number for number in range(500)]
            for number, message in enumerate(expected):
                one.broadcast("a", message)
                if number < 200:
                    await asyncio.sleep(0)  # some in a turn of their own, the rest in one
            await one.pubsub.stop()
            await inbox.has(*expected)

        self.tell(story)

    def test_what_was_flushed_survives_the_loss_of_the_connections(self) -> None:
        async def story(cluster: Cluster) -> None:
            one, two = await cluster.nodes(2)
            inbox = await two.inbox("a")
            expected = [b"%d" % number for number in range(200)]
            for message in expected:
                one.broadcast("a", message)
            async with asyncio.timeout(self.patience):
                await one.pubsub.flush()
            await one.adapter.reconnect()
            await inbox.has(*expected)

        self.tell(story)

    def test_a_subscription_made_before_the_start_counts_after_it(self) -> None:
        async def story(cluster: Cluster) -> None:
            one = await cluster.node()
            two = cluster.later()
            got: list[bytes] = []
            two.pubsub.subscribe("a", got.append)
            await two.pubsub.start()
            await (await two.inbox("a")).holds(0)
            one.broadcast("a", b"1")
            await cluster.until(lambda: got == [b"1"], "a message", got)

        self.tell(story)

    def test_a_node_that_is_stopped_or_not_started_refuses_to_publish(self) -> None:
        async def story(cluster: Cluster) -> None:
            adapter = cluster.bus.adapter()
            for _ in range(2):
                with pytest.raises(PubSubUnavailable):
                    adapter.publish("a", b"")
                with pytest.raises(PubSubUnavailable):
                    adapter.publish_to("b", "a", b"")
                with pytest.raises(PubSubUnavailable):
                    await adapter.flush()
                await adapter.start(lambda topic, data: None, lambda: None)
                await adapter.stop()

        self.tell(story)

    def test_a_reconnected_node_hears_and_is_heard(self) -> None:
        async def story(cluster: Cluster) -> None:
            one, two = await cluster.nodes(2)
            here, there = await one.inbox("a"), await two.inbox("a")
            await one.adapter.reconnect()
            await self.meet(cluster, here, there)

        self.tell(story)

    def test_a_canary_flies_through_the_bus_and_comes_back(self) -> None:
        async def story(cluster: Cluster) -> None:
            node = await cluster.node(canary_interval=0.01, canary_timeout=self.patience)
            await cluster.until(
                lambda: node.pubsub.heard.count("broadwing:canary") >= 5, "five canaries", node.pubsub.heard
            )
            assert node.pubsub.health is Health.UP

        self.tell(story)

    def test_canaries_are_not_heard_by_other_nodes(self) -> None:
        async def story(cluster: Cluster) -> None:
            node = await cluster.node(canary_interval=0.01)
            other = await cluster.node(canary_interval=1000.0)
            await cluster.until(
                lambda: node.pubsub.heard.count("broadwing:canary") >= 5, "five canaries", node.pubsub.heard
            )
            inbox = await other.inbox("a")
            node.broadcast("a", b"1")
            await inbox.has(b"1")
            assert other.pubsub.heard.count("broadwing:canary") <= 1  # its own first one

        self.tell(story)

    async def meet(self, cluster: Cluster, one: Inbox, two: Inbox) -> None:
        """Two nodes speak until each has heard the other; then each message arrives once and in order again."""
        loop = asyncio.get_running_loop()
        for speaker, listener in ((one, two), (two, one)):
            name = speaker.node.name.encode()
            deadline = loop.time() + self.patience
            while b"meet " + name not in listener.messages:
                assert loop.time() < deadline, f"{listener!r} does not hear {speaker.node.name}"
                speaker.node.broadcast(speaker.topic, b"meet " + name)
                await asyncio.sleep(0.01)
            expected = [b"%d after " % number + name for number in range(20)]
            for message in expected:
                speaker.node.broadcast(speaker.topic, message)
            await listener.gets(expected[-1])
            assert [m for m in listener.messages if m.endswith(b" after " + name)] == expected
