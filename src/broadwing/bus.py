"""PubSub for applications: events on topics, between all nodes of a bus, with or without sockets."""

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeAlias

from broadwing.core.codec import body
from broadwing.core.envelope import Envelope
from broadwing.core.messages import Broadcast
from broadwing.exceptions import ConfigurationError, LocalProtocolError
from broadwing.pubsub.adapter import Adapter
from broadwing.pubsub.adapters import adapter_for
from broadwing.pubsub.health import Health
from broadwing.pubsub.outbox import Policy
from broadwing.pubsub.pubsub import PubSub as Engine
from broadwing.pubsub.pubsub import Subscription
from broadwing.pubsub.registry import Registry
from broadwing.types import BUS_VARIABLE, Unsubscribe

logger = logging.getLogger("broadwing.pubsub")

Overflow: TypeAlias = Literal["drop_oldest", "drop_newest", "end"]
"""What `Messages` does with a reader that does not keep up: lose the oldest message that waits, lose the new one, or end."""

OVERFLOWS: Final = ("drop_oldest", "drop_newest", "end")


class PubSub:
    """Topics, and who listens to them, on this node and on all others of its bus.

    Every message is a `Broadcast`: a topic, an event and a payload, as channels broadcast them; so whoever is on the bus hears
    whoever else is, clients of channels included. A payload is anything with a JSON form, or `bytes`.

        async with PubSub("redis://localhost") as pubsub:
            async with pubsub.listen("orders") as messages:
                pubsub.broadcast("orders", "created", {"number": 17})
                async for message in messages:
                    print(message.event, message.payload)

    Delivery: at most once, in order per publisher and topic. Source: phoenix_pubsub `lib/phoenix/pubsub.ex`.

    Args:
        bus: A URL, see `broadwing.pubsub.adapters`, or an adapter of one's own. By default what the environment variable
            `BROADWING_BUS` names, else `local://`: this process alone.
        node_name: This node's name on the bus; by default one that no other has. Not together with an adapter, which has one.
        on_unavailable: What publishing does while the bus is down: `queue` waits in a bounded queue while local delivery goes
            on; `raise` raises `PubSubUnavailable`, and nobody got the message.
        queue_limit: Most messages that may wait for the bus; one more raises `PubSubUnavailable`.
        canary_interval: Seconds between the proofs that this node hears the bus.
        canary_timeout: Seconds such a proof may take, and a subscription's confirmation.

    Raises:
        ConfigurationError: The URL names no adapter, or one that can never work.

    Attributes:
        engine: What does the work; its messages are opaque to it. For Broadwing's own use.
    """

    def __init__(
        self,
        bus: str | Adapter | None = None,
        *,
        node_name: str | None = None,
        on_unavailable: Policy = "queue",
        queue_limit: int = 10_000,
        canary_interval: float = 5.0,
        canary_timeout: float = 5.0,
    ) -> None:
        if on_unavailable not in ("queue", "raise"):
            raise ConfigurationError(f"on_unavailable={on_unavailable!r}; accepted are 'queue' and 'raise'")
        if bus is None:
            bus = os.environ.get(BUS_VARIABLE, "local://")
        if isinstance(bus, str):
            bus = adapter_for(bus, node_name=node_name)
        elif node_name is not None:
            raise ConfigurationError(f"node_name={node_name!r} was given together with an adapter, which has a name")
        self.engine = Engine(
            bus,
            codec=Envelope(),
            on_unavailable=on_unavailable,
            queue_limit=queue_limit,
            canary_interval=canary_interval,
            canary_timeout=canary_timeout,
        )
        self._listening: set[Messages] = set()

    # Sending.

    def broadcast(self, topic: str, event: str, payload: Any) -> None:
        """Send an event to everybody on `topic`, on every node. Callable from any thread; does not wait.

        Args:
            topic: The topic, exactly.
            event: The event's name; at most 65,535 bytes.
            payload: Anything with a JSON form, or `bytes`; encoded once, here.

        Raises:
            LocalProtocolError: The payload has no JSON form.
            PubSubUnavailable: The bus cannot take it; nobody got it, here neither. From another thread than the loop's this is
                judged by what waits already.

        Delivery: at most once, in order per publisher and topic. Cancellation: not a switch point.
        """
        self.engine.broadcast(topic, message_of(topic, event, payload))

    def broadcast_from(self, sender: Subscription, topic: str, event: str, payload: Any) -> None:
        """Like `broadcast`, but not to the subscription `sender` of this node."""
        self.engine.broadcast(topic, message_of(topic, event, payload), sender)

    def local_broadcast(self, topic: str, event: str, payload: Any) -> None:
        """Like `broadcast`, on this node only, so that no bus can refuse it."""
        self.engine.local_broadcast(topic, message_of(topic, event, payload))

    def local_broadcast_from(self, sender: Subscription, topic: str, event: str, payload: Any) -> None:
        """Like `broadcast_from`, on this node only."""
        self.engine.local_broadcast(topic, message_of(topic, event, payload), sender)

    def direct_broadcast(self, node: str, topic: str, event: str, payload: Any) -> None:
        """Like `broadcast`, on the node of that `node_name` only, by way of the bus even to this one.

        A node that does not exist is a no-op. While the bus is down it raises `PubSubUnavailable` whatever the policy; from
        another thread than the loop's the log tells instead.
        """
        self.engine.direct_broadcast(node, topic, message_of(topic, event, payload))

    async def flush(self) -> None:
        """Wait until the bus has taken everything that was broadcast so far.

        That is: Redis has answered, NATS has, and all nodes of a mesh that can answer have read it. While the bus is down it
        waits; bound it with `asyncio.timeout`.

        Raises:
            PubSubUnavailable: The connection broke meanwhile, so that some may be lost.

        Cancellation: ends the waiting; the messages still go.
        """
        await self.engine.flush()

    # Listening.

    def subscribe(self, topic: str, callback: Callable[[Broadcast], object]) -> Subscription:
        """Call `callback` with every `Broadcast` on `topic`, in the loop, until the subscription is cancelled.

        It counts on this node at once; `await pubsub.subscribe(...)` returns when the bus has confirmed it too, so that nothing
        that any node sends from then on is missed. The same callback may be subscribed several times and is then called
        as often. What it raises is logged. It must not block; for work that waits, `listen`.

        Called in the loop, or before it runs.
        """
        return self.engine.subscribe(topic, callback)

    def listen(self, topic: str, *, limit: int = 1_000, overflow: Overflow = "drop_oldest") -> "Messages":
        """Listen to `topic` in an `async with` block, and read with `async for`.

        Args:
            topic: The topic, exactly.
            limit: Most messages that may wait to be read.
            overflow: What happens beyond it; see `Overflow`.

        Raises:
            ConfigurationError: `overflow` is none of these, or `limit` leaves no room.
        """
        return Messages(self, topic, limit, overflow)

    # The bus.

    @property
    def node_name(self) -> str:
        """This node's name on the bus."""
        return self.engine.node_name

    @property
    def health(self) -> Health:
        """How the bus is: `UP`, `DOWN`, or `DEAF` when what this node sends itself does not come back. Alone, always `UP`."""
        return self.engine.health

    def on_health(self, observer: Callable[[Health], object]) -> Unsubscribe:
        """Call `observer` with the new `Health` whenever it changes, in the loop; the returned function ends it."""
        return self.engine.on_health(observer)

    @property
    def dropped(self) -> int:
        """Messages that came over the bus and were not ours: foreign, damaged, or of another version."""
        return self.engine.dropped

    @property
    def registry(self) -> Registry:
        """Who listens on this node."""
        return self.engine.registry

    # Life-cycle.

    @property
    def is_started(self) -> bool:
        """Whether it is on the bus, or trying to be."""
        return self.engine.is_started

    async def start(self) -> None:
        """Join the bus; `async with` does it. Waits two seconds at most, and not for a bus that is down.

        Raises:
            ConfigurationError: The bus can never be joined like this.
            LocalProtocolError: It was started already.
        """
        if self.engine.is_started:
            raise LocalProtocolError("this PubSub was started already; stop it first, or make another one")
        await self.engine.start()

    async def stop(self) -> None:
        """Send what waits, if the bus is up, and leave it. Ends what was listened to by `listen`; idempotent."""
        for messages in list(self._listening):
            messages.cancel()
        await self.engine.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()


class Messages:
    """What arrives on a topic, while an `async with` block lasts: `async for` reads it.

    Entering the block returns when the bus has confirmed the subscription: what any node sends from then on arrives. The
    iteration ends after `cancel()`, and when the PubSub stops, with what had arrived by then. Cancelling a task that reads loses
    nothing: whoever reads next gets the message.

    Attributes:
        topic: The topic.
        dropped: Messages that were lost because they were not read in time.
    """

    def __init__(self, pubsub: PubSub, topic: str, limit: int, overflow: Overflow) -> None:
        if overflow not in OVERFLOWS or limit < 1:
            raise ConfigurationError(
                f"listen(limit={limit!r}, overflow={overflow!r}); accepted are a limit of 1 or more and {', '.join(OVERFLOWS)}"
            )
        self.topic = topic
        self.dropped = 0
        self._pubsub = pubsub
        self._limit = limit
        self._overflow = overflow
        self._queue: deque[Broadcast] = deque()
        self._arrived = asyncio.Event()
        self._subscription: Subscription | None = None
        self._is_over = False

    async def __aenter__(self) -> Self:
        if not self._pubsub.is_started:
            raise LocalProtocolError(
                f"listen({self.topic!r}) before the PubSub was started; enter `async with pubsub:` or start the endpoint first"
            )
        if self._subscription is not None or self._is_over:
            raise LocalProtocolError(f"listen({self.topic!r}) was entered twice; call listen again")
        self._subscription = self._pubsub.subscribe(self.topic, self._take)
        self._pubsub._listening.add(self)
        try:
            await self._subscription
        except BaseException:
            self.cancel()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()

    def __aiter__(self) -> "Messages":
        return self

    async def __anext__(self) -> Broadcast:
        """The next message; raises `StopAsyncIteration` when there will be none."""
        if self._subscription is None and not self._is_over:
            raise LocalProtocolError(
                f"listen({self.topic!r}) was read outside of its block; write `async with pubsub.listen({self.topic!r}) as "
                "messages:` around it"
            )
        while not self._queue:
            if self._is_over:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._queue.popleft()

    def cancel(self) -> None:
        """End it; what has arrived can still be read. Idempotent."""
        self._is_over = True
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.cancel()
        self._pubsub._listening.discard(self)
        self._arrived.set()

    def _take(self, message: Broadcast) -> None:
        if len(self._queue) >= self._limit:
            self.dropped += 1
            if self.dropped == 1 or self.dropped % 1000 == 0:  # a slow reader must not fill the log
                logger.warning(
                    "whoever listens to %r does not keep up: %d message(s) lost so far (overflow=%r, limit=%d)",
                    self.topic,
                    self.dropped,
                    self._overflow,
                    self._limit,
                )
            if self._overflow == "end":
                self.cancel()
            if self._overflow != "drop_oldest":
                return
            self._queue.popleft()
        self._queue.append(message)
        self._arrived.set()


def message_of(topic: Any, event: Any, payload: Any) -> Broadcast:
    """Put a message together, its payload encoded.

    Raises:
        ConfigurationError: Topic or event are no strings.
        LocalProtocolError: The payload has no JSON form.
    """
    if not isinstance(topic, str) or not isinstance(event, str):
        raise ConfigurationError(f"topic and event are strings, got {topic!r} and {event!r}")
    return Broadcast(topic, event, body(payload))
