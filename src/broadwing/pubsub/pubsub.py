"""Publish and subscribe by topic, on this node and through an adapter on all others.

This is the engine: its messages are opaque. What applications use is `broadwing.PubSub`, which speaks of events and payloads.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Generator, Hashable
from threading import get_ident
from typing import Any, Protocol

from broadwing.exceptions import ConfigurationError, EnvelopeError, LocalProtocolError, PubSubUnavailable
from broadwing.pubsub.adapter import Adapter
from broadwing.pubsub.batch import pack, unpack
from broadwing.pubsub.health import CANARY_TOPIC, Health, Watch
from broadwing.pubsub.interest import Interest
from broadwing.pubsub.local import LocalAdapter
from broadwing.pubsub.outbox import Outbox, Policy
from broadwing.pubsub.registry import Registry, Sink, Subscribers
from broadwing.types import Unsubscribe

logger = logging.getLogger("broadwing.pubsub")

Dispatcher = Callable[[Subscribers, Any, Hashable], int]
"""Delivers one message to a topic's subscribers but the sender's key; returns how many were handed it."""


class Codec(Protocol):
    """How messages become the bytes of the bus."""

    def encode(self, message: Any) -> bytes:
        """Bytes for other nodes."""
        ...

    def decode(self, topic: str, data: bytes) -> Any:
        """The message another node encoded. Raises EnvelopeError for one that is not ours."""
        ...


def deliver_to_all(subscribers: Subscribers, message: Any, sender: Hashable) -> int:
    """The plain dispatcher: call every subscriber but `sender` with the message."""
    # Lists, because a subscriber may end its subscription or make others.
    count = 0
    for members in list(subscribers.groups.values()):
        for key, sink in list(members.items()):
            if sender is not None and key is sender:
                continue
            count += 1
            try:
                sink.write(message)
            except Exception:  # one subscriber's fault must not keep the message from the others
                logger.exception("a subscriber of %r raised", subscribers.topic)
    return count


class Subscription:
    """One subscription; end it with `cancel()`.

    It counts on this node at once. `await` it to know that what other nodes send from then on arrives too: that waits for
    the bus's confirmation, or not at all while the bus is down. Cancelling that wait ends the subscription.
    """

    __slots__ = ("_pubsub", "topic", "write")

    def __init__(self, pubsub: "PubSub", topic: str, callback: Callable[[Any], object]) -> None:
        self._pubsub = pubsub
        self.topic = topic
        self.write = callback

    def cancel(self) -> None:
        """Unsubscribe; calling it again is a no-op."""
        self._pubsub.detach(self.topic, self)

    def __await__(self) -> Generator[Any, None, "Subscription"]:
        try:
            yield from self._pubsub.confirmed(self.topic).__await__()
        except asyncio.CancelledError:
            self.cancel()  # whoever would have ended it never got hold of it
            raise
        return self


class PubSub:
    """Topics, and who listens to them.

    Messages are opaque here: `codec` turns them into bytes for other nodes, `dispatcher` hands them to subscribers.

    Args:
        adapter: The bus to the other nodes; without one this process is alone.
        codec: How messages travel.
        dispatcher: How local delivery is done.
        on_unavailable: What publishing does while the bus is down: `queue` waits in a bounded queue while local delivery goes
            on; `raise` raises `PubSubUnavailable`, and nobody got the message.
        queue_limit: Most messages that may wait for the bus.
        canary_interval: Seconds between the proofs that this node hears the bus.
        canary_timeout: Seconds such a proof may take, and a subscription's confirmation.

    Attributes:
        registry: Who listens on this node.
        dropped: Messages from the bus that were not ours, and were dropped.
        is_started: Whether messages of other nodes arrive.
    """

    def __init__(
        self,
        adapter: Adapter | None = None,
        *,
        codec: Codec,
        dispatcher: Dispatcher = deliver_to_all,
        on_unavailable: Policy = "queue",
        queue_limit: int = 10_000,
        canary_interval: float = 5.0,
        canary_timeout: float = 5.0,
    ) -> None:
        self.registry = Registry()
        self.dropped = 0
        self._adapter: Adapter = adapter or LocalAdapter()
        self._codec = codec
        self._dispatch = dispatcher
        self._outbox = Outbox(self._adapter, on_unavailable, queue_limit)
        self._interest = Interest(self._adapter, canary_timeout)
        self._watch = Watch(self._adapter, canary_interval, canary_timeout, self._tell)
        self._observers: list[list[Callable[[Health], object]]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self.is_started = False

    def serve(self, dispatcher: Dispatcher) -> None:
        """Have an endpoint's dispatcher do the local delivery.

        Raises:
            ConfigurationError: Another endpoint's does already: two would not keep the order between their clients.
        """
        if self._dispatch is not deliver_to_all:
            raise ConfigurationError("a PubSub belongs to one endpoint; give each one its own, with the same URL")
        self._dispatch = dispatcher

    @property
    def node_name(self) -> str:
        """This node's name on the bus."""
        return self._adapter.node_name

    @property
    def is_alone(self) -> bool:
        """Whether there can be no other node."""
        return self._adapter.is_alone

    @property
    def health(self) -> Health:
        """How the bus is; `UP` for a process that is alone."""
        return Health.UP if self._adapter.is_alone else self._watch.health

    @property
    def waiting(self) -> int:
        """How many messages wait for the bus."""
        return self._outbox.waiting

    def on_health(self, observer: Callable[[Health], object]) -> Unsubscribe:
        """Call `observer` with the new `Health` whenever it changes, in the loop; the returned function ends it."""
        entry = [observer]
        self._observers.append(entry)

        def forget() -> None:
            self._observers = [other for other in self._observers if other is not entry]

        return forget

    async def start(self) -> None:
        """Connect to the bus; messages of other nodes arrive from now on. Does not wait for a bus that is down."""
        self._loop = asyncio.get_running_loop()
        self._thread = get_ident()
        self._interest.begin()
        await self._adapter.start(self._receive, self._changed)
        if not self._adapter.is_alone:
            self._watch.start()
        self.is_started = True

    async def stop(self) -> None:
        """Send what waits if the bus is up, then leave it. Local subscriptions stay."""
        self.is_started = False
        await self._watch.stop()
        self._outbox.flush()
        await self._adapter.stop()

    async def flush(self) -> None:
        """Wait until the bus has taken everything that was broadcast so far; as long as it is down, if need be.

        Raises:
            PubSubUnavailable: The connection broke meanwhile, so that nobody knows.

        Cancellation: ends the waiting and nothing else.
        """
        await self._outbox.emptied()
        await self._adapter.flush()

    async def confirmed(self, topic: str) -> None:
        """Wait until the bus has confirmed the interest in `topic`, is down, or takes too long.

        Raises:
            LocalProtocolError: It was not started.
        """
        if not self.is_started:
            raise LocalProtocolError(
                "a subscription was awaited before the bus was started, so nothing can confirm it; enter `async with pubsub:` "
                "or start the endpoint first"
            )
        await self._interest.confirmed(topic)

    def subscribe(self, topic: str, callback: Callable[[Any], object]) -> Subscription:
        """Call `callback` with every message on `topic`, in the loop.

        The same callback may be subscribed several times and is then called as often.
        """
        subscription = Subscription(self, topic, callback)
        self.attach(topic, subscription, subscription)
        return subscription

    def prepare(self, topic: str) -> Awaitable[None] | None:
        """Tell the bus of a subscription that `attach` is about to make.

        Returns:
            What to await until other nodes' messages are sure to arrive; `None`: they are. Call `unprepare` in any case, after
            `attach` or instead of it.
        """
        return None if self._adapter.is_alone else self._interest.add(topic)

    def unprepare(self, topic: str) -> None:
        """End what `prepare` began."""
        if not self._adapter.is_alone:
            self._interest.remove(topic)

    def attach(
        self, topic: str, key: Hashable, sink: Sink, metadata: Hashable = None
    ) -> tuple[Subscribers, Awaitable[None] | None]:
        """Subscribe under a key and with metadata that the dispatcher understands.

        Returns:
            The topic's subscribers, and what to await until other nodes' messages are sure to arrive (`None`: they are).
        """
        waiting = None
        if not self._adapter.is_alone and topic not in self.registry.topics:
            waiting = self._interest.add(topic)
        return self.registry.add(topic, key, sink, metadata), waiting

    def detach(self, topic: str, key: Hashable, metadata: Hashable = None) -> None:
        """End a subscription made by `attach`."""
        if self.registry.discard(topic, key, metadata) and not self._adapter.is_alone:
            self._interest.remove(topic)

    def broadcast(self, topic: str, message: Any, sender: Hashable = None) -> None:
        """Send a message to all nodes' subscribers of `topic`, but to `sender` on this one.

        Callable from any thread. Other nodes come first: when the bus refuses, nobody local got it either.

        Raises:
            PubSubUnavailable: The bus is down and the policy is `raise`, or too much waits for it.

        Delivery: at most once, in order per publisher and topic. Cancellation: not a switch point.
        Source: phoenix_pubsub `lib/phoenix/pubsub.ex`, broadcast.
        """
        if self._loop is not None and get_ident() != self._thread:
            self._outbox.check()
            self._in_loop(self.broadcast, topic, message, sender)
            return
        if not self._adapter.is_alone:
            self._outbox.put(topic, self._codec.encode(message))
        subscribers = self.registry.topics.get(topic)
        if subscribers is not None:
            self._dispatch(subscribers, message, sender)

    def local_broadcast(self, topic: str, message: Any, sender: Hashable = None) -> None:
        """Send a message to this node's subscribers only. Callable from any thread."""
        if self._loop is not None and get_ident() != self._thread:
            self._in_loop(self._deliver, topic, message, sender)
        else:
            self._deliver(topic, message, sender)

    def direct_broadcast(self, node: str, topic: str, message: Any) -> None:
        """Send a message to one node's subscribers; an unknown node is a no-op. Callable from any thread.

        It waits in no queue, whatever the policy: from another thread the log tells of a bus that is down.

        Raises:
            PubSubUnavailable: The bus is down or full.
        """
        if self._loop is not None and get_ident() != self._thread:
            self._in_loop(self.direct_broadcast, node, topic, message)
            return
        data = pack([self._codec.encode(message)])
        if self._outbox.waiting:
            self._outbox.flush()  # what was broadcast before comes before
        self._adapter.publish_to(node, topic, data)

    def _in_loop(self, function: Callable[..., object], *args: Any) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError as error:  # closed
            raise PubSubUnavailable(
                "the loop that the bus was started in has ended, so the message was not sent to anybody"
            ) from error

    def _deliver(self, topic: str, message: Any, sender: Hashable) -> None:
        subscribers = self.registry.topics.get(topic)
        if subscribers is not None:
            self._dispatch(subscribers, message, sender)

    def _receive(self, topic: str, data: bytes) -> None:
        if topic == CANARY_TOPIC:
            self._watch.heard(data)
            return
        subscribers = self.registry.topics.get(topic)
        if subscribers is None:
            return  # unsubscribed while it was on its way, or a bus that knows no topics
        try:
            envelopes = unpack(data)
        except ValueError as error:
            self._drop(topic, error)
            return
        for envelope in envelopes:
            if not subscribers.groups:  # all have left since the first; somebody may have come
                subscribers = self.registry.topics.get(topic)
                if subscribers is None:
                    return
            try:
                self._dispatch(subscribers, self._codec.decode(topic, envelope), None)
            except EnvelopeError as error:
                self._drop(topic, error)
            except Exception:  # whoever raised has to answer for it, not those who wait for the next message
                logger.exception("a subscriber of %r raised", topic)

    def _drop(self, topic: str, error: Exception) -> None:
        self.dropped += 1
        if self.dropped == 1 or self.dropped % 1000 == 0:  # a stranger on the bus must not fill the log
            logger.warning("dropped a message on %r that is not ours (%d so far): %s", topic, self.dropped, error)

    def _changed(self) -> None:
        self._watch.changed()
        self._outbox.flush()

    def _tell(self, health: Health) -> None:
        for (observer,) in list(self._observers):
            try:
                observer(health)
            except Exception:  # an observer's fault must not end the watch
                logger.exception("an observer of the bus's health raised")
