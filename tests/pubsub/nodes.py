"""Nodes over brokers for tests: a server of either kind, and PubSub with messages that are bytes."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from broadwing.pubsub.broker import BrokerAdapter
from broadwing.pubsub.health import Health
from broadwing.pubsub.nats import NatsAdapter
from broadwing.pubsub.pubsub import PubSub
from broadwing.pubsub.redis import RedisAdapter
from broadwing.testing.cluster import Plain
from tests.support.background import TIMEOUT
from tests.support.brokers import Broker

# No canary and no PING within a test that does not ask for them.
QUIET: dict[str, Any] = {"canary_interval": 1000.0, "canary_timeout": 1000.0}


class Server:
    """A broker of either kind, and nodes behind a prefix that is this test's own.

    Attributes:
        kind: `redis` or `nats`.
        broker: Its process.
        prefix: What separates this test from others.
    """

    def __init__(self, kind: str, broker: Broker) -> None:
        self.kind = kind
        self.broker = broker
        self.prefix = uuid.uuid4().hex

    def adapter(self, port: int | None = None, *, ping_interval: float = 1000.0, query: str = "") -> BrokerAdapter[Any]:
        """A node's adapter; it may go another way than straight to the server."""
        kind = RedisAdapter if self.kind == "redis" else NatsAdapter
        url = f"{self.kind}://127.0.0.1:{port or self.broker.port}?prefix={self.prefix}{query}"
        return kind(url, ping_interval=ping_interval)

    async def kill(self) -> None:
        """End it without any farewell."""
        await asyncio.to_thread(self.broker.kill)

    async def start(self) -> None:
        """Start it again."""
        await asyncio.to_thread(self.broker.start)


@asynccontextmanager
async def node(adapter: BrokerAdapter[Any], **options: Any) -> AsyncIterator[PubSub]:
    """A node, until the end of a block."""
    pubsub = PubSub(adapter, codec=Plain(), **{**QUIET, **options})
    await pubsub.start()
    try:
        yield pubsub
    finally:
        await pubsub.stop()


class _Inbox:
    def __init__(self, got: list[Any]) -> None:
        self.write = got.append


def _attach(pubsub: PubSub, topic: str) -> tuple[list[Any], Callable[[], None], Awaitable[None] | None]:
    got: list[Any] = []
    inbox = _Inbox(got)
    _, confirmation = pubsub.attach(topic, inbox, inbox)
    return got, lambda: pubsub.detach(topic, inbox), confirmation


def join_now(pubsub: PubSub, topic: str) -> tuple[list[Any], Callable[[], None]]:
    """Subscribe; where messages are put, and what ends it."""
    got, leave, _ = _attach(pubsub, topic)
    return got, leave


async def join(pubsub: PubSub, topic: str) -> tuple[list[Any], Callable[[], None]]:
    """Subscribe and wait for the confirmation; where messages are put, and what ends it."""
    got, leave, confirmation = _attach(pubsub, topic)
    if confirmation is not None:
        await confirmation
    return got, leave


async def listen(pubsub: PubSub, topic: str) -> list[Any]:
    """Subscribe and wait for the confirmation; where messages are put."""
    return (await join(pubsub, topic))[0]


async def until(condition: Callable[[], object], what: Callable[[], object] = str) -> None:
    """Wait until `condition()` is true; `what` says what is there instead."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + TIMEOUT
    while not condition():
        assert loop.time() < deadline, f"waited {TIMEOUT} s; there is {what()!r}"
        await asyncio.sleep(0.002)


async def becomes(pubsub: PubSub, health: Health) -> None:
    """Wait for a node's health."""
    await until(lambda: pubsub.health is health, lambda: pubsub.health)


async def gets(got: list[Any], *messages: bytes) -> None:
    """Wait for as many messages, and compare."""
    await until(lambda: len(got) >= len(messages), lambda: got)
    assert got == list(messages)


def open_files() -> int:
    """How many files and sockets this process has open."""
    return len(os.listdir("/dev/fd"))
