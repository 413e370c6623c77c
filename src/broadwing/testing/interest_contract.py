"""What an adapter has to do whose bus knows who listens to what, so that a node pays only for its own topics."""

from broadwing.testing.cluster import Cluster
from broadwing.testing.node_contract import NodeContract


class InterestContract(NodeContract):
    """What holds for buses with subscriptions, such as Redis and NATS. To be added to `AdapterContract`."""

    def test_a_node_is_not_sent_topics_that_nobody_on_it_listens_to(self) -> None:
        async def story(cluster: Cluster) -> None:
            one, two = await cluster.nodes(2)
            inbox = await two.inbox("a")
            one.broadcast("never", b"1")
            one.broadcast("a", b"2")
            await inbox.has(b"2")
            assert "never" not in two.pubsub.heard

        self.tell(story)

    def test_a_node_is_not_sent_topics_that_everybody_on_it_has_left(self) -> None:
        async def story(cluster: Cluster) -> None:
            one, two = await cluster.nodes(2)
            left, stays = await two.inbox("left"), await two.inbox("a")
            one.broadcast("left", b"1")
            await left.has(b"1")
            left.close()
            await two.inbox("later")  # is confirmed after the end of the other
            heard = len(two.pubsub.heard)
            one.broadcast("left", b"2")
            one.broadcast("a", b"3")
            await stays.has(b"3")
            assert "left" not in two.pubsub.heard[heard:]

        self.tell(story)
