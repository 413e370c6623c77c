"""What every adapter has to do, as tests that run with pytest alone.

    from broadwing.testing.adapter_contract import AdapterContract

    class MyBus:                                  # see broadwing.testing.cluster.Bus
        def adapter(self, node_name=None):
            return MyAdapter("localhost:1234", node_name)

    class TestMyAdapter(AdapterContract):
        @asynccontextmanager
        async def bus(self):
            async with a_server_of_my_own():
                yield MyBus()

`NodeContract` is what also holds for a node that is alone, `AdapterContract` adds the other nodes, and `OutageContract` adds
outages, for a bus that can be stopped and paused (`broadwing.testing.cluster.FragileBus`). A bus that knows who listens to what
is also held to `InterestContract`. Each test has a bus, a loop and nodes of its own, and also fails when a stopped node
leaves a task or a thread behind. docs/guide/adapters.md has the rest.
"""

from broadwing.testing.delivery_contract import DeliveryContract
from broadwing.testing.membership_contract import MembershipContract
from broadwing.testing.node_contract import NodeContract
from broadwing.testing.topic_contract import TopicContract

__all__ = ["AdapterContract", "NodeContract"]


class AdapterContract(DeliveryContract, TopicContract, MembershipContract):
    """What holds for nodes on one bus: the guarantees of `broadwing.pubsub.adapter`, and PubSub on top of them."""
