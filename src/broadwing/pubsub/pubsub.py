"""Publish and subscribe by topic, on this node and through an adapter on all others."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from threading import get_ident
from typing import Any, Protocol

from broadwing.exceptions import ConfigurationError
from broadwing.pubsub.adapter import Adapter
from broadwing.pubsub.local import LocalAdapter
from broadwing.pubsub.registry import Registry, Sink, Subscribers

Dispatcher = Callable[[Subscribers, Any, Hashable], int]
"""Delivers one message to a topic's subscribers but the sender's key; returns how many were handed it."""


class Codec(Protocol):
    """How messages become the bytes of the bus."""

    def encode(self, message: Any) -> bytes:
        """Bytes for other nodes."""
        ...

    def decode(self, topic: str, data: bytes) -> Any:
        """The message another node encoded."""
        ...


def deliver_to_all(subscribers: Subscribers, message: Any, sender: Hashable) -> int:
    """The plain dispatcher: call every subscriber but `sender` with the message."""
    count = 0
    for members in list(subscribers.groups.values()):
        for key, sink in list(members.items()):
            if key is not sender or sender is None:
                sink.write(message)
                count += 1
    return count


class Subscription:
    """One subscription; end it with `cancel()`."""

    __slots__ = ("_pubsub", "topic", "write")

    def __init__(self, pubsub: "PubSub", topic: str, callback: Callable[[Any], object]) -> None:
        self._pubsub = pubsub
        self.topic = topic
        self.write = callback

    def cancel(self) -> None:
        """Unsubscribe; calling it again is a no-op."""
        self._pubsub.detach(self.topic, self)


class PubSub:
    """Topics, and who listens to them.

    Messages are opaque here: `codec` turns them into bytes for other nodes, `dispatcher` hands them to subscribers.

    Args:
        url: Which adapter to use: `local://` (this process alone).
        codec: How messages travel; needed by adapters that leave the process.
        dispatcher: How local delivery is done.

    Raises:
        ConfigurationError: The URL names no adapter.
    """

    def __init__(self, url: str = "local://", *, codec: Codec, dispatcher: Dispatcher = deliver_to_all) -> None:
        self.registry = Registry()
        self._adapter = _adapter(url)
        self._codec = codec
        self._dispatch = dispatcher
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0

    @property
    def node_name(self) -> str:
        """This node's name on the bus."""
        return self._adapter.node_name

    async def start(self) -> None:
        """Connect to the bus; broadcasts from other nodes arrive from now on."""
        self._loop = asyncio.get_running_loop()
        self._thread = get_ident()
        await self._adapter.start(self._receive)

    async def stop(self) -> None:
        """Leave the bus. Local subscriptions stay."""
        await self._adapter.stop()

    def subscribe(self, topic: str, callback: Callable[[Any], object]) -> Subscription:
        """Call `callback` with every message on `topic`, in the loop.

        The same callback may be subscribed several times and is then called as often.
        """
        subscription = Subscription(self, topic, callback)
        self.attach(topic, subscription, subscription)
        return subscription

    def attach(
        self, topic: str, key: Hashable, sink: Sink, metadata: Hashable = None
    ) -> tuple[Subscribers, Awaitable[None] | None]:
        """Subscribe under a key and with metadata that the dispatcher understands.

        Returns:
            The topic's subscribers, and what to await before other nodes' messages are sure to arrive (`None`: nothing).
        """
        new = topic not in self.registry.topics
        subscribers = self.registry.add(topic, key, sink, metadata)
        return subscribers, self._adapter.subscribe(subscribers.topic) if new else None

    def detach(self, topic: str, key: Hashable, metadata: Hashable = None) -> None:
        """End a subscription made by `attach`."""
        if self.registry.discard(topic, key, metadata):
            self._adapter.unsubscribe(topic)

    def broadcast(self, topic: str, message: Any, sender: Hashable = None) -> None:
        """Send a message to all nodes' subscribers of `topic`, but to `sender` on this one.

        Callable from any thread. Other nodes come first: when the bus refuses, nobody local got it either.

        Raises:
            PubSubUnavailable: The adapter's outgoing queue is full or closed.

        Delivery: at most once, in order per publisher and topic. Cancellation: not a switch point.
        Source: phoenix_pubsub `lib/phoenix/pubsub.ex`, broadcast.
        """
        if not self._adapter.is_alone:
            self._adapter.publish(topic, self._codec.encode(message))
        self.local_broadcast(topic, message, sender)

    def local_broadcast(self, topic: str, message: Any, sender: Hashable = None) -> None:
        """Send a message to this node's subscribers only. Callable from any thread."""
        if self._loop is not None and get_ident() != self._thread:
            self._loop.call_soon_threadsafe(self._deliver, topic, message, sender)
        else:
            subscribers = self.registry.topics.get(topic)
            if subscribers is not None:
                self._dispatch(subscribers, message, sender)

    def direct_broadcast(self, node: str, topic: str, message: Any) -> None:
        """Send a message to one node's subscribers; an unknown node is a no-op.

        Raises:
            PubSubUnavailable: The adapter's outgoing queue is full or closed.
        """
        self._adapter.publish_to(node, topic, self._codec.encode(message))

    def _deliver(self, topic: str, message: Any, sender: Hashable) -> None:
        subscribers = self.registry.topics.get(topic)
        if subscribers is not None:
            self._dispatch(subscribers, message, sender)

    def _receive(self, topic: str, data: bytes) -> None:
        self._deliver(topic, self._codec.decode(topic, data), None)


def _adapter(url: str) -> Adapter:
    scheme = url.partition("://")[0]
    if scheme == "local":
        return LocalAdapter()
    raise ConfigurationError(f"pubsub={url!r} names no adapter; accepted is local:// (this process alone)")
