"""Who gets what is broadcast on one node, how often and in which order."""

import asyncio

from broadwing.testing.cluster import Cluster
from broadwing.testing.node_contract import NodeContract


class DeliveryContract(NodeContract):
    """What holds for messages between nodes."""

    def test_a_broadcast_reaches_every_other_node_once(self) -> None:
        async def story(cluster: Cluster) -> None:
            nodes = await cluster.nodes(3)
            inboxes = [await node.inbox("a") for node in nodes]
            nodes[0].broadcast("a", b"1")
            nodes[0].broadcast("a", b"2")
            for inbox in inboxes:
                await inbox.has(b"1", b"2")

        self.tell(story)

    def test_a_node_does_not_hear_its_own_broadcasts_from_the_bus(self) -> None:
        async def story(cluster: Cluster) -> None:
            one, two = await cluster.nodes(2)
            here, there = await one.inbox("a"), await two.inbox("a")
            one.broadcast("a", b"1")
            await there.has(b"1")
            two.broadcast("a", b"2")  # comes after an echo, if there were one
            await here.has(b"1", b"2")

        self.tell(story)

    def test_broadcast_from_leaves_out_the_sender_and_nobody_on_other_nodes(self) -> None:
        async def story(cluster: Cluster) -> None:
            one, two = await cluster.nodes(2)
            sender, other, there = await one.inbox("a"), await one.inbox("a"), await two.inbox("a")
            one.pubsub.broadcast("a", b"1", sender)
            one.broadcast("a", b"2")
            await there.has(b"1", b"2")
            await other.has(b"1", b"2")
            await sender.has(b"2")

        self.tell(story)

    def test_local_broadcast_stays_on_its_node(self) -> None:
        async def story(cluster: Cluster) -> None:
            one, two = await cluster.nodes(2)
            here, there = await one.inbox("a"), await two.inbox("a")
            one.pubsub.local_broadcast("a", b"local")
            one.broadcast("a", b"global")
            await here.has(b"local", b"global")
            await there.has(b"global")

        self.tell(story)

    def test_direct_broadcast_reaches_one_node_only(self) -> None:
        async def story(cluster: Cluster) -> None:
            one, two, three = await cluster.nodes(3)
            inboxes = [await node.inbox("a") for node in (one, two, three)]
            one.pubsub.direct_broadcast(two.name, "a", b"for two")
            await inboxes[1].has(b"for two")
            one.broadcast("a", b"for all")
            await inboxes[0].has(b"for all")
            await inboxes[1].has(b"for two", b"for all")
            await inboxes[2].has(b"for all")

        self.tell(story)

    def test_a_node_that_is_named_is_found_by_its_name(self) -> None:
        async def story(cluster: Cluster) -> None:
            one, two = await cluster.node("één"), await cluster.node("twee *.> {2}")
            inbox = await two.inbox("a")
            one.pubsub.direct_broadcast("twee *.> {2}", "a", b"1")
            await inbox.has(b"1")

        self.tell(story)

    def test_messages_of_one_publisher_arrive_in_order(self) -> None:
        async def story(cluster: Cluster) -> None:
            one, two = await cluster.nodes(2)
            inboxes = {topic: await two.inbox(topic) for topic in ("a", "b", "c")}
            expected = [b"%d" % number for number in range(2000)]
            for number, message in enumerate(expected):
                for topic in inboxes:
                    one.broadcast(topic, message)
                if number % 7 == 0:
                    await asyncio.sleep(0)  # some in one turn of the loop, some in the next
            for inbox in inboxes.values():
                await inbox.has(*expected)

        self.tell(story)

    def test_publishers_that_speak_at_once_are_each_heard_once_and_in_order(self) -> None:
        async def story(cluster: Cluster) -> None:
            nodes = await cluster.nodes(3)
            inboxes = [await node.inbox("a") for node in nodes]

            async def speak(name: bytes, index: int) -> None:
                for number in range(300):
                    nodes[index].broadcast("a", name + b"%d" % number)
                    await asyncio.sleep(0)

            await asyncio.gather(*(speak(b"xyz"[i : i + 1], i) for i in range(3)))
            for inbox in inboxes:
                await inbox.holds(900)
                for name in (b"x", b"y", b"z"):
                    assert [m for m in inbox.messages if m[:1] == name] == [name + b"%d" % n for n in range(300)]

        self.tell(story)

    def test_a_burst_arrives_whole(self) -> None:
        async def story(cluster: Cluster) -> None:
            one, two = await cluster.nodes(2)
            inbox = await two.inbox("a")
            expected = [b"%d:" % number + b"x" * 200 for number in range(8000)]
            for message in expected:
                one.broadcast("a", message)
            await inbox.has(*expected)

        self.tell(story)

    def test_many_topics_in_one_turn_arrive_whole(self) -> None:
        async def story(cluster: Cluster) -> None:
            one, two = await cluster.nodes(2)
            inboxes = [await two.inbox(f"room:{number}") for number in range(500)]
            for number in range(500):
                one.broadcast(f"room:{number}", b"%d" % number)
                one.broadcast(f"nobody:{number}", b"unheard")
            for number, inbox in enumerate(inboxes):
                await inbox.has(b"%d" % number)

        self.tell(story)

    def test_what_is_broadcast_after_a_subscription_is_confirmed_arrives(self) -> None:
        async def story(cluster: Cluster) -> None:
            one, two = await cluster.nodes(2)
            for number in range(50):
                inbox = await two.inbox(f"room:{number}")
                one.broadcast(f"room:{number}", b"at once")
                await inbox.has(b"at once")

        self.tell(story)

    def test_subscriptions_made_at_once_are_all_confirmed(self) -> None:
        async def story(cluster: Cluster) -> None:
            one, two = await cluster.nodes(2)
            inboxes = await asyncio.gather(*(two.inbox(f"room:{number}") for number in range(300)))
            for number in range(300):
                one.broadcast(f"room:{number}", b"1")
            for inbox in inboxes:
                await inbox.has(b"1")

        self.tell(story)

    def test_the_last_subscription_of_a_topic_ends_it_and_a_new_one_begins_it_again(self) -> None:
        async def story(cluster: Cluster) -> None:
            one, two = await cluster.nodes(2)
            witness = await two.inbox("b")
            for round_ in (b"1", b"2", b"3"):
                ended, again = await two.inbox("a"), await two.inbox("a")
                ended.close()
                one.broadcast("a", round_)
                await again.gets(round_)  # one of two was left
                again.close()
                one.broadcast("a", b"unheard " + round_)
                one.broadcast("b", round_)
                await witness.gets(round_)
                # Of this round: without an order between topics, what nobody heard in the last may have come late.
                assert [message for message in again.messages if message.endswith(round_)] == [round_]
                assert not any(message.endswith(round_) for message in ended.messages)

        self.tell(story)

    def test_a_topic_that_is_left_and_joined_in_one_turn_is_heard(self) -> None:
        async def story(cluster: Cluster) -> None:
            one, two = await cluster.nodes(2)
            first = await two.inbox("a")
            first.close()
            second = await two.inbox("a")
            one.broadcast("a", b"1")
            await second.has(b"1")

        self.tell(story)
