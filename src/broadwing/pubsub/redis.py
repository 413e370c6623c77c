"""The bus over Redis or Valkey: one channel for each topic that somebody listens to.

    redis://[user:password@]host[:6379][/db]                     one server
    redis+sentinel://[user:password@]host[:26379],.../name[/db]  the master of that name, asked of sentinels
    redis+cluster://[user:password@]host[:6379],...              a cluster of Redis 7 or newer, by sharded pub/sub

`rediss` instead of `redis` is TLS; `valkey` and `valkeys` mean the same. Options behind `?`:

    prefix       separates applications on one server; "broadwing" by default. Channels are PREFIX:t:TOPIC and PREFIX:n:NODE
    queue_bytes  most bytes that may wait to be written; 8 MiB by default
    tls_ca, tls_cert, tls_key                files in PEM form: whom to trust, and who we are
    tls_verify   full (default), ca (not the host name) or none
    sentinel_username, sentinel_password     for the sentinels, where they have any

A node has two connections to a server, one listens and one publishes. Redis keeps the databases of one server apart but not
their channels, so a db other than 0 becomes part of the prefix: PREFIX@2:t:TOPIC.
"""

import uuid
from typing import Final

from broadwing.exceptions import ConfigurationError
from broadwing.pubsub.broker import BrokerAdapter
from broadwing.pubsub.broker_frames import LENIENT
from broadwing.pubsub.broker_life import PING_INTERVAL
from broadwing.pubsub.broker_url import PREFIX, QUEUE_BYTES, TLS_OPTIONS, BrokerURL, parse
from broadwing.pubsub.redis_cluster import Cluster
from broadwing.pubsub.redis_line import Access
from broadwing.pubsub.redis_link import Link
from broadwing.pubsub.redis_places import Fixed, Place, Sentinels

_OPTIONS: Final = TLS_OPTIONS | {"prefix", "queue_bytes"}
_SENTINEL_OPTIONS: Final = _OPTIONS | {"sentinel_username", "sentinel_password"}
_FORMS: Final = (
    "accepted are redis://host/0, redis+cluster://host,host and redis+sentinel://host,host/name, with rediss for TLS"
)


class RedisAdapter(BrokerAdapter[bytes]):
    """A bus between nodes over Redis or Valkey.

    Order is kept per publisher, and so per publisher and topic. A topic's confirmation is the server's own acknowledgement.

    Args:
        url: See the head of this module.
        node_name: This node's name on the bus; by default one that no other has.
        ping_interval: Seconds after which a server that does not answer is left and connected to anew.

    Raises:
        ConfigurationError: The URL can never work.
    """

    def __init__(self, url: str, node_name: str | None = None, *, ping_interval: float = PING_INTERVAL) -> None:
        super().__init__(node_name or f"redis-{uuid.uuid4().hex[:12]}")
        self._ping_interval = ping_interval
        scheme, _, mode = url.partition("://")[0].partition("+")
        if scheme not in ("redis", "rediss", "valkey", "valkeys") or mode not in ("", "cluster", "sentinel"):
            raise ConfigurationError(f"the scheme {url.partition('://')[0]!r} names no Redis; {_FORMS}")
        address = parse(
            url,
            default_port=26379 if mode == "sentinel" else 6379,
            accepted=_SENTINEL_OPTIONS if mode == "sentinel" else _OPTIONS,
        )
        self._queue_bytes = address.number("queue_bytes", QUEUE_BYTES)
        self._servers, db = self._resolve(address, mode)
        prefix = address.options.get("prefix", PREFIX) + (f"@{db}" if db else "")
        self._topic_prefix = f"{prefix}:t:".encode()
        self._node_prefix = f"{prefix}:n:".encode()
        self._mailbox = self._node_channel(self.node_name)
        self._servers.subscribe(self._mailbox, None)

    def _resolve(self, url: BrokerURL, mode: str) -> tuple[Link | Cluster, int]:
        if mode == "cluster":
            if url.path not in ("", "0"):
                raise ConfigurationError(f"pubsub={url.shown}: a cluster has no databases; leave out /{url.path}")
            access = Access.of(url, self.node_name, 0)
            cluster = Cluster(url.hosts, access, lambda host: self._link(Fixed(host), access, cluster), self._changed)
            return cluster, 0
        place: Place
        if mode == "sentinel":
            master, _, database = url.path.partition("/")
            if not master:
                raise ConfigurationError(
                    f"pubsub={url.shown} does not say what the sentinels call the master; {_FORMS}"
                )
            keys = Access.of(url, self.node_name, 0, prefix="sentinel_")
            place = Sentinels(url.hosts, keys, master)
        else:
            database = url.path
            if len(url.hosts) > 1:
                raise ConfigurationError(f"pubsub={url.shown} names several servers; {_FORMS}")
            place = Fixed(url.hosts[0])
        if not (database or "0").isdecimal():
            raise ConfigurationError(f"pubsub={url.shown}: {database!r} is no number of a database; {_FORMS}")
        db = int(database or "0")
        return self._link(place, Access.of(url, self.node_name, db), None), db

    def _link(self, place: Place, access: Access, cluster: Cluster | None) -> Link:
        return Link(
            place,
            access,
            receive=self._take,
            changed=self._changed if cluster is None else cluster.link_changed,
            moved=_ignore if cluster is None else cluster.moved,
            sharded=cluster is not None,
            queue_bytes=self._queue_bytes,
            ping_interval=self._ping_interval,
        )

    def publish(self, topic: str, data: bytes) -> None:
        """Send to all other nodes that listen; raises PubSubUnavailable."""
        self._servers.publish(self._name(topic), self._frames.plain + data)

    def publish_to(self, node: str, topic: str, data: bytes) -> None:
        """Send to one node through Redis, itself included; raises PubSubUnavailable."""
        self._servers.publish(self._node_channel(node), self._frames.to_node(topic, data))

    def _name(self, topic: str) -> bytes:
        return self._topic_prefix + topic.encode("utf-8", LENIENT)

    def _node_channel(self, node: str) -> bytes:
        return self._node_prefix + node.encode("utf-8", LENIENT)


def _ignore(link: Link, channel: bytes | None) -> None:
    """A single server has all slots."""
