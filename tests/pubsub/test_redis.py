"""Redis in particular: its URLs, TLS, passwords and rights; clusters and sentinels."""

import asyncio
import re
import socket
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from redis.crc import key_slot

from broadwing.exceptions import ConfigurationError, PubSubUnavailable
from broadwing.pubsub.adapters import adapter_for
from broadwing.pubsub.broker_url import Host
from broadwing.pubsub.health import Health
from broadwing.pubsub.redis import RedisAdapter
from broadwing.pubsub.redis_cluster import Cluster
from broadwing.pubsub.redis_line import Access
from broadwing.testing.adapter_contract import AdapterContract
from broadwing.testing.interest_contract import InterestContract
from tests.pubsub.nodes import becomes, gets, join, join_now, listen, node, until
from tests.support.brokers import Broker, closing, free_port, redis, redis_cluster, redis_sentinels, tell, until_told
from tests.support.certificates import Certificates, make_certificates


async def talk(first: str, second: str) -> None:
    """Two nodes hear each other."""
    async with node(RedisAdapter(first)) as one, node(RedisAdapter(second)) as two:
        here, there = await listen(one, "a"), await listen(two, "a")
        one.broadcast("a", b"1")
        await gets(there, b"1")
        two.broadcast("a", b"2")
        await gets(here, b"1", b"2")


# URLs


@pytest.mark.parametrize("scheme", ["redis", "valkey"])
async def test_a_url_names_a_server(redis_broker: Broker, scheme: str) -> None:
    redis_broker.ensure()
    adapter = adapter_for(f"{scheme}://127.0.0.1:{redis_broker.port}/0?prefix=chat", node_name="web-1")
    assert isinstance(adapter, RedisAdapter)
    assert adapter.node_name == "web-1"
    await talk(f"{scheme}://localhost:{redis_broker.port}", f"redis://127.0.0.1:{redis_broker.port}/0")


async def test_a_database_is_separate_though_its_channels_are_not(redis_broker: Broker) -> None:
    redis_broker.ensure()
    url = f"redis://127.0.0.1:{redis_broker.port}"
    prefix = uuid.uuid4().hex
    await talk(f"{url}/2?prefix={prefix}", f"{url}/2?prefix={prefix}")
    async with (
        node(RedisAdapter(f"{url}/2?prefix={prefix}")) as one,
        node(RedisAdapter(f"{url}/3?prefix={prefix}")) as two,
        node(RedisAdapter(f"{url}/2?prefix={prefix}")) as three,
    ):
        elsewhere, there = await listen(two, "a"), await listen(three, "a")
        one.broadcast("a", b"1")
        await gets(there, b"1")
        assert elsewhere == []


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("redis+tls://h", "names no Redis"),
        ("rediss3://h", "names no adapter"),
        ("redis://h,i", "names several servers"),
        ("redis://h/chat", "no number of a database"),
        ("redis://h:99999", "host or host:port"),
        ("redis://h:port", "host or host:port"),
        ("redis://::1", "host or host:port"),
        ("redis://h?db=1", "accepted here are prefix, queue_bytes, tls_ca"),
        ("redis://h?prefix=", "needs one value"),
        ("redis://h?prefix=a&prefix=b", "needs one value"),
        ("redis://h?queue_bytes=1MB", "is no number"),
        ("redis+cluster://h/1", "no databases"),
        ("redis+sentinel://h", "what the sentinels call the master"),
        ("redis+sentinel://h/m/x", "no number of a database"),
        ("rediss://h?tls_verify=maybe", "accepted are full"),
        ("rediss://h?tls_key=/k", "needs tls_cert"),
        ("rediss://h?tls_ca=/nowhere.pem", "PEM"),
        ("redis://:secr/et@h", "behind a / or ?"),
        ("redis://:secr?et@h", "behind a / or ?"),
    ],
)
def test_a_url_that_can_never_work_is_refused_with_its_remedy(url: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(complaint)) as caught:
        adapter_for(url)
    assert "secr" not in str(caught.value)


def test_no_complaint_repeats_a_password() -> None:
    for rest in ("h/x", "h:port", "h?unknown=1", "h?queue_bytes=x", "h,i", "h?prefix="):
        with pytest.raises(ConfigurationError) as caught:
            adapter_for(f"redis://user:geheim@{rest}")
        assert "geheim" not in str(caught.value)
    with pytest.raises(ConfigurationError) as caught:
        adapter_for("rediz://user:geheim@h")
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(("url", "extra"), [("redis://h", "redis"), ("nats://h", "nats")])
def test_a_driver_that_is_not_installed_is_named_with_its_extra(
    url: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    for name in [name for name in sys.modules if re.match(rf"{extra}\b|broadwing\.pubsub\.{extra}", name)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, extra, None)
    with pytest.raises(ConfigurationError, match=rf"pip install 'broadwing\[{extra}\]'"):
        adapter_for(url)


# Being let in


async def test_passwords_come_from_the_url(tmp_path: Path) -> None:
    with closing(server := redis(tmp_path, "--requirepass", "p@ss:/?#")):
        url = f"redis://:p%40ss%3A%2F%3F%23@127.0.0.1:{server.port}"
        await talk(url, url.replace("://:", "://default:"))


async def test_a_wrong_password_is_told_once_and_no_reason_to_fail(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(server := redis(tmp_path, "--requirepass", "right")):
        async with node(RedisAdapter(f"redis://:wrong@127.0.0.1:{server.port}")) as one:
            assert one.health is Health.DOWN
            tell_as_admin(server.port, "right", "CONFIG SET requirepass wrong")
            await becomes(one, Health.UP)
            said = [record.message for record in caplog.records if "trying again" in record.message]
            assert len(said) == 1
            assert "invalid username-password pair" in said[0]
            assert "wrong" not in said[0].replace("WRONGPASS", "")


def tell_as_admin(port: int, password: str, command: str) -> None:
    """Send a command on a connection that is let in."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
        line.sendall(f"AUTH {password}\r\n{command}\r\n".encode())
        answer = b""
        while answer.count(b"\r\n") < 2:
            answer += line.recv(100)
    assert answer == b"+OK\r\n+OK\r\n"


async def test_a_channel_that_the_user_has_no_right_to_is_refused_aloud_and_others_work(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(server := redis(tmp_path)):
        rights = ("on", ">pw", "+@all", "&broadwing:t:open*", "&broadwing:n:*")
        assert tell(server.port, "ACL", "SETUSER", "limited", *rights) == "+OK\r\n"
        url = f"redis://limited:pw@127.0.0.1:{server.port}"
        adapter = RedisAdapter(url)
        async with node(adapter) as one, node(RedisAdapter(url)) as two:
            refused, accepted = adapter.subscribe("secret"), await listen(one, "open:1")
            assert refused is not None
            with pytest.raises(PubSubUnavailable, match="refuses the subscription"):
                await refused
            assert "refuses subscribe" in caplog.text
            for _ in range(3):
                two.broadcast("secret", b"unheard")
            two.broadcast("open:1", b"1")
            await gets(accepted, b"1")
            assert caplog.text.count("refuses a message") == 1
            assert one.health is Health.UP


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority, a server and a client."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def tls_port(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[int]:
    """A Redis server that speaks TLS only, to clients with a certificate of ours only."""
    pair = ("--tls-cert-file", str(certificates.server), "--tls-key-file", str(certificates.server))
    server = redis(tmp_path_factory.mktemp("tls"), *pair, "--tls-ca-cert-file", str(certificates.authority), tls=True)
    with closing(server):
        yield server.port


async def test_tls_with_certificates_on_both_sides(tls_port: int, certificates: Certificates) -> None:
    keys = f"tls_ca={certificates.authority}&tls_cert={certificates.client}&tls_key={certificates.client}"
    await talk(f"rediss://127.0.0.1:{tls_port}?{keys}", f"valkeys://localhost:{tls_port}?{keys}&tls_verify=ca")
    await talk(
        f"rediss://127.0.0.1:{tls_port}?{keys}",
        f"rediss://localhost:{tls_port}?tls_cert={certificates.client}&tls_verify=none",
    )


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ("tls_cert={client}", "CERTIFICATE_VERIFY_FAILED|certificate verify failed"),
        ("tls_ca={authority}", "(?i)certificate required|closed|reset"),
    ],
)
async def test_tls_without_trust_is_no_connection(
    tls_port: int, certificates: Certificates, keys: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    query = keys.format(client=certificates.client, authority=certificates.authority)
    async with node(RedisAdapter(f"rediss://127.0.0.1:{tls_port}?{query}")) as one:
        assert one.health is Health.DOWN
        assert re.search(reason, caplog.text), caplog.text


async def test_a_server_without_tls_is_not_spoken_to_in_the_clear(redis_broker: Broker) -> None:
    redis_broker.ensure()
    async with node(RedisAdapter(f"rediss://127.0.0.1:{redis_broker.port}?tls_verify=none")) as one:
        assert one.health is Health.DOWN


# Cluster


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
    with redis_cluster(tmp_path) as servers:
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


# Sentinel


async def test_a_failover_by_sentinels_is_followed(tmp_path: Path) -> None:
    name, password = "mymaster", "geheim"
    with redis_sentinels(tmp_path, name, password) as ((master, replica), sentinels):
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
        # A sentinel that is away costs nothing but a moment.
        url = f"redis+sentinel://:{password}@127.0.0.1:1,{hosts}/{name}/1"
        async with node(RedisAdapter(url)) as one, node(RedisAdapter(url)) as two:
            here, there = await listen(one, "a"), await listen(two, "a")
            assert tell_clients(master.port, password) == 4
            assert tell_clients(replica.port, password) == 0
            one.broadcast("a", b"1")
            await gets(there, b"1")
            await asyncio.to_thread(master.kill)
            await becomes(one, Health.DOWN)
            one.broadcast("a", b"waits")
            await becomes(two, Health.UP)
            await becomes(one, Health.UP)
            assert tell_clients(replica.port, password) == 4
            two.broadcast("a", b"2")
            await until(lambda: here[-1] == b"2", lambda: here)
            await asyncio.to_thread(sentinels[0].kill)
            await one._adapter.reconnect()
            await becomes(one, Health.UP)


def tell_clients(port: int, password: str) -> int:
    """How many connections nodes have to a server."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
        line.sendall(f"AUTH {password}\r\nCLIENT LIST\r\nQUIT\r\n".encode())
        answer = b""
        while data := line.recv(65_536):
            answer += data
    return answer.count(b"name=broadwing:")


async def test_sentinels_that_do_not_know_the_master_are_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "sentinel.conf").write_text("")
    with closing(sentinel := redis(tmp_path, sentinel=True)):
        async with node(RedisAdapter(f"redis+sentinel://127.0.0.1:{sentinel.port}/nobody")) as one:
            assert one.health is Health.DOWN
            assert f"127.0.0.1:{sentinel.port} does not know it" in caplog.text


async def test_a_server_that_is_no_master_is_not_taken_for_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "sentinel").mkdir()
    with closing(master := redis(tmp_path / "master")):
        replica = redis(tmp_path / "replica", "--replicaof", "127.0.0.1", str(master.port))
        (tmp_path / "sentinel" / "sentinel.conf").write_text(f"sentinel monitor m 127.0.0.1 {replica.port} 1\n")
        with closing(replica, sentinel := redis(tmp_path / "sentinel", sentinel=True)):
            async with node(RedisAdapter(f"redis+sentinel://127.0.0.1:{sentinel.port}/m")) as one:
                await until(lambda: "whose role is slave" in caplog.text, lambda: caplog.text)
                assert one.health is Health.DOWN
