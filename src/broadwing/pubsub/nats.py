"""The bus over NATS: one subject for each topic that somebody listens to.

    nats://[user:password@]host[:4222][,host[:4222]...]   any of these servers; the next one when one is lost
    nats://token@host                                     with a token
    nats+tls://...                                        with TLS, and never without

Options behind `?`:

    prefix       separates applications on one server; "broadwing" by default. What subjects look like: `nats_subjects`
    credentials  file with a JWT and its seed, as `nsc` writes it
    nkey         file with a seed
    queue_bytes  most bytes that may wait to be written; 8 MiB by default
    tls_ca, tls_cert, tls_key                files in PEM form: whom to trust, and who we are
    tls_verify   full (default), ca (not the host name) or none
"""

import importlib.util
import re
import uuid
from pathlib import Path
from typing import Any, Final

from broadwing.exceptions import ConfigurationError
from broadwing.pubsub.broker import BrokerAdapter
from broadwing.pubsub.broker_life import PING_INTERVAL
from broadwing.pubsub.broker_url import PREFIX, QUEUE_BYTES, TLS_OPTIONS, BrokerURL, parse
from broadwing.pubsub.nats_line import Access
from broadwing.pubsub.nats_link import Link
from broadwing.pubsub.nats_subjects import is_prefix, node_subject, topic_subject

_OPTIONS: Final = frozenset({"prefix", "credentials", "nkey", "queue_bytes"})


class NatsAdapter(BrokerAdapter[str]):
    """A bus between nodes over NATS.

    Order is kept per publisher, and so per publisher and topic. A topic's confirmation is a PONG for a PING behind the SUB. It
    speaks for the server this node is connected to; in a cluster of NATS servers the others learn of the interest a
    moment later.

    Args:
        url: See the head of this module.
        node_name: This node's name on the bus; by default one that no other has.
        ping_interval: Seconds between PINGs, and after which a server that does not answer one is left.

    Raises:
        ConfigurationError: The URL can never work.
    """

    def __init__(self, url: str, node_name: str | None = None, *, ping_interval: float = PING_INTERVAL) -> None:
        super().__init__(node_name or f"nats-{uuid.uuid4().hex[:12]}")
        scheme = url.partition("://")[0]
        if scheme not in ("nats", "nats+tls"):
            raise ConfigurationError(
                f"the scheme {scheme!r} names no NATS; accepted are nats://host,host and nats+tls://host,host"
            )
        address = parse(url, default_port=4222, accepted=_OPTIONS | TLS_OPTIONS if scheme == "nats+tls" else _OPTIONS)
        if address.path:
            raise ConfigurationError(
                f"pubsub={address.shown}: NATS knows no paths; prefixes are ?prefix={address.path}"
            )
        self._prefix = address.options.get("prefix", PREFIX)
        if not is_prefix(self._prefix):
            raise ConfigurationError(
                f"pubsub={address.shown}: prefix={self._prefix!r} cannot begin a subject; accepted are words of printable "
                "ASCII without * and >, joined by dots, the first one without $ in front"
            )
        access = Access(self._options(address), address.tls() if scheme == "nats+tls" else None)
        self._servers = Link(
            address.hosts,
            access,
            receive=self._take,
            changed=self._changed,
            queue_bytes=address.number("queue_bytes", QUEUE_BYTES),
            ping_interval=ping_interval,
        )
        self._mailbox = node_subject(self._prefix, self.node_name).name
        self._servers.subscribe(self._mailbox, None)

    def _options(self, url: BrokerURL) -> dict[str, Any]:
        options: dict[str, Any] = {"name": "broadwing:" + re.sub("[^!-~]", "_", self.node_name)}
        if url.password is not None:
            options |= {"user": url.username or "", "password": url.password}
        elif url.username is not None:
            options["token"] = url.username
        for ours, theirs in (("credentials", "user_credentials"), ("nkey", "nkeys_seed")):
            path = url.options.get(ours)
            if path is None:
                continue
            if not Path(path).is_file():
                raise ConfigurationError(f"pubsub={url.shown}: {ours}={path} is not a file")
            if importlib.util.find_spec("nkeys") is None:
                raise ConfigurationError(
                    f"pubsub={url.shown}: {ours} needs the package nkeys; pip install 'broadwing[nats]' brings it"
                )
            options[theirs] = path
        return options

    def publish(self, topic: str, data: bytes) -> None:
        """Send to all other nodes that listen; raises PubSubUnavailable.

        A message beyond the server's `max_payload` (1 MiB by default) is not sent, with an error in the log.
        """
        subject = topic_subject(self._prefix, topic)
        frame = self._frames.with_topic(topic, data) if subject.is_hash else self._frames.plain + data
        self._servers.publish(subject.name, frame)

    def publish_to(self, node: str, topic: str, data: bytes) -> None:
        """Send to one node through NATS, itself included; raises PubSubUnavailable."""
        self._servers.publish(node_subject(self._prefix, node).name, self._frames.to_node(topic, data))

    def _name(self, topic: str) -> str:
        return topic_subject(self._prefix, topic).name
