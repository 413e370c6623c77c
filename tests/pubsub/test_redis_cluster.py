"""A Redis Cluster with sharded pub/sub: the contract of adapters, slots that move, servers that are lost."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from redis.crc import key_slot

from broadwing.exceptions import PubSubUnavailable
from broadwing.pubsub.broker_url import Host
from broadwing.pubsub.health import Health
from broadwing.pubsub.redis import RedisAdapter
from broadwing.pubsub.redis_cluster import Cluster
from broadwing.pubsub.redis_line import Access
from broadwing.testing.adapter_contract import AdapterContract
from broadwing.testing.interest_contract import InterestContract
from tests.pubsub.nodes import becomes, gets, join, join_now, listen, node, until
from tests.support.brokers import Broker, closing, redis, redis_cluster, tell, until_told
from tests.support.loopback import free_port


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Broker]]:
    """Three servers with a third of the slots each."""
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as servers:
        yield servers


class ClusterBus:
    """Nodes on the cluster, behind one prefix."""

    def __init__(self, servers: list[Broker]) -> None:
        self._servers = servers
        self._prefix = uuid.uuid4().hex

    def adapter(self, node_name: str | None = None) -> RedisAdapter:
        """A node."""
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self._servers)
        return RedisAdapter(f"redis+cluster://{hosts}?prefix={self._prefix}", node_name)


class TestCluster(AdapterContract, InterestContract):
    servers: ClassVar[list[Broker]]

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _servers(cls, cluster: list[Broker]) -> None:
        cls.servers = cluster

    @asynccontextmanager
    async def bus(self) -> AsyncIterator[ClusterBus]:
        yield ClusterBus(self.servers)


def slot(adapter: RedisAdapter, topic: str) -> int:
    """Where a topic is."""
    return key_slot(adapter._name(topic))


async def test_a_message_in_a_cluster_goes_to_one_server(cluster: list[Broker]) -> None:
    bus = ClusterBus(cluster)
    adapter = bus.adapter()
    async with node(adapter) as one, node(bus.adapter()) as two:
        topics = [f"room:{number}" for number in range(100)]
        inboxes = [await listen(two, topic) for topic in topics]
        names = [adapter._name(topic).decode() for topic in topics]
        counts = [tell(server.port, "PUBSUB", "SHARDNUMSUB", *names).count("\n:1\r") for server in cluster]
        assert sum(counts) == 100
        assert all(counts)  # each server has some
        for topic in topics:
            one.broadcast(topic, topic.encode())
        for topic, inbox in zip(topics, inboxes, strict=True):
            await gets(inbox, topic.encode())


async def test_one_server_of_a_cluster_is_enough_to_find_the_others(cluster: list[Broker]) -> None:
    bus = ClusterBus(cluster[2:])
    async with node(bus.adapter()) as one, node(bus.adapter()) as two:
        for number in range(20):
            got = await listen(two, f"room:{number}")
            one.broadcast(f"room:{number}", b"1")
            await gets(got, b"1")


async def test_a_cluster_with_a_server_missing_is_down_and_mends_by_itself(cluster: list[Broker]) -> None:
    bus = ClusterBus(cluster)
    async with node(bus.adapter()) as one, node(bus.adapter()) as two:
        inboxes = [await listen(two, f"room:{number}") for number in range(10)]
        await asyncio.to_thread(cluster[1].kill)
        await becomes(one, Health.DOWN)
        await becomes(two, Health.DOWN)
        late = await listen(two, "late")
        await asyncio.to_thread(cluster[1].start)
        await becomes(two, Health.UP)
        await becomes(one, Health.UP)
        one.broadcast("late", b"1")
        await gets(late, b"1")
        for number, inbox in enumerate(inboxes):
            one.broadcast(f"room:{number}", b"%d" % number)
            await gets(inbox, b"%d" % number)
    for server in cluster:
        await asyncio.to_thread(until_told, server.port, "cluster_slots_ok:16384", "CLUSTER", "INFO")


async def test_subscriptions_and_messages_follow_a_slot_that_moves(cluster: list[Broker]) -> None:
    bus = ClusterBus(cluster)
    adapter = bus.adapter()
    async with node(adapter) as one, node(bus.adapter()) as two:
        topic = next(t for t in map("room:{}".format, range(10_000)) if slot(adapter, t) < 5461)
        number = slot(adapter, topic)
        got, leave = await join(two, topic)
        one.broadcast(topic, b"0")
        await gets(got, b"0")
        for source, target in ((cluster[0], cluster[2]), (cluster[2], cluster[0]), (cluster[0], cluster[2])):
            names = [tell(server.port, "CLUSTER", "MYID").split("\r\n")[1] for server in (source, target)]
            for server, words in ((target, ("IMPORTING", names[0])), (source, ("MIGRATING", names[1]))):
                assert tell(server.port, "CLUSTER", "SETSLOT", str(number), *words) == "+OK\r\n"
            for server in (target, source, cluster[1]):
                assert tell(server.port, "CLUSTER", "SETSLOT", str(number), "NODE", names[1]) == "+OK\r\n"
            # `one` does not know yet: what it sends goes to the old server first.
            here, leave_here = join_now(one, topic)
            if target is cluster[2]:
                one.broadcast(topic, b"while it moves")
            # While a slot moves messages may be lost, as in an outage; then they arrive again, each once.
            got.clear()
            while b"again" not in got or b"back" not in here:
                one.broadcast(topic, b"again")
                two.broadcast(topic, b"back")
                await asyncio.sleep(0.01)
            one.broadcast(topic, b"end")
            await until(lambda: b"end" in got, lambda: got)
            here.clear()
            two.broadcast(topic, b"to one")
            await until(lambda: b"to one" in here, lambda: here)  # noqa: B023 - it is called here
            assert (got.count(b"end"), here) == (1, [b"to one"])
            leave_here()
        leave()


async def test_channels_follow_the_slots_and_keep_who_waits_for_them() -> None:
    # Slots as the documentation of CLUSTER KEYSLOT gives them.
    upper, lower = b"somekey", b"foo{hash_tag}"  # 11058 and 2515
    links: dict[str, FakeLink] = {}

    def link(host: Host) -> Any:
        return links.setdefault(host.host, FakeLink())

    cluster = Cluster([Host("a", 1)], Access({}, False), link, lambda: None)
    waiter: Any = object()
    cluster.subscribe(upper, waiter)  # nobody knows yet where
    cluster.subscribe(lower, None)
    cluster.unsubscribe(lower)
    for owner, other in (("a", "b"), ("b", "a"), ("a", "b")):
        cluster._place([(11_058, 16_383, Host(owner, 1)), (0, 11_057, Host(other, 1))])
        assert links[owner].channels == {upper: waiter}
        assert links[other].channels == {}
    cluster._place([(0, 11_057, Host("b", 1))])
    assert links["b"].channels == {}
    with pytest.raises(PubSubUnavailable, match="no server of the cluster"):
        cluster.publish(upper, b"")
    cluster._place([(2516, 16_383, Host("b", 1))])
    assert links["b"].channels == {upper: waiter}
    with pytest.raises(PubSubUnavailable, match="no server of the cluster"):
        cluster.publish(lower, b"")
    await cluster.stop()


class FakeLink:
    """Remembers channels."""

    is_up = True

    def __init__(self) -> None:
        self.channels: dict[bytes, Any] = {}

    def start(self) -> None:
        """There is no server."""

    async def stop(self) -> None:
        """There is no server."""

    def subscribe(self, channel: bytes, waiter: Any) -> None:
        """Remember."""
        self.channels[channel] = waiter

    def unsubscribe(self, channel: bytes) -> None:
        """Forget."""
        self.channels.pop(channel, None)


async def test_a_replica_that_becomes_a_master_is_followed(tmp_path: Path) -> None:
    with redis_cluster(tmp_path, node_timeout=1_000) as servers:
        cluster = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000")
        replica = redis(tmp_path / "replica", *cluster, "--cluster-port", str(free_port()))
        with closing(replica):
            await asyncio.to_thread(replicate, replica, servers[0])
            bus = ClusterBus(servers)
            async with node(bus.adapter()) as one, node(bus.adapter()) as two:
                inboxes = [await listen(two, f"room:{number}") for number in range(10)]
                await asyncio.to_thread(servers[0].kill)
                await becomes(one, Health.DOWN)
                await becomes(two, Health.DOWN)
                await becomes(two, Health.UP)
                await becomes(one, Health.UP)
                for number, inbox in enumerate(inboxes):
                    one.broadcast(f"room:{number}", b"%d" % number)
                    await gets(inbox, b"%d" % number)


def replicate(replica: Broker, master: Broker) -> None:
    """Make one server the replica of another, and wait until it is in step."""
    bus = tell(master.port, "CONFIG", "GET", "cluster-port").split("\r\n")[4]
    assert tell(replica.port, "CLUSTER", "MEET", "127.0.0.1", str(master.port), bus) == "+OK\r\n"
    until_told(replica.port, "cluster_state:ok", "CLUSTER", "INFO")
    name = tell(master.port, "CLUSTER", "MYID").split("\r\n")[1]
    until_told(replica.port, "+OK", "CLUSTER", "REPLICATE", name)
    until_told(replica.port, "master_link_status:up", "INFO", "replication")
