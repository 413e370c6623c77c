"""What the adapters of all brokers have in common: topics and who waits for them, own messages and strangers', and an end."""

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from broadwing.exceptions import PubSubUnavailable
from broadwing.pubsub.adapter import Receive
from broadwing.pubsub.broker_frames import Frames
from broadwing.pubsub.broker_life import START_TIMEOUT, STOP_TIMEOUT

logger = logging.getLogger("broadwing.pubsub")

Name = TypeVar("Name", str, bytes)
"""What a topic is called on the broker."""
Named = TypeVar("Named", str, bytes, contravariant=True)  # `Name`, where it is only taken

Waiter = asyncio.Future[None] | None
"""Who waits for a subscription to be confirmed."""


class Servers(Protocol[Named]):
    """The way to a broker's server, or to all of them."""

    @property
    def is_up(self) -> bool:
        """Whether every message gets through, as far as is known."""
        ...

    def start(self) -> None:
        """Begin to connect."""
        ...

    async def settled(self) -> None:
        """Wait until it is known whether they can be reached."""
        ...

    async def stop(self) -> None:
        """Disconnect now."""
        ...

    async def renew(self) -> None:
        """Make new connections."""
        ...

    async def flush(self) -> None:
        """Wait until the servers have got everything. Raises PubSubUnavailable when a connection is away, or breaks."""
        ...

    def subscribe(self, name: Named, waiter: Waiter, /) -> None:
        """Listen; `waiter` learns when the broker does. While it is away, that is remembered."""
        ...

    def unsubscribe(self, name: Named, /) -> None:
        """Do not listen any more."""
        ...

    def publish(self, name: Named, data: bytes, /) -> None:
        """Send. Raises PubSubUnavailable when the broker is away or too much waits for it."""
        ...


class BrokerAdapter(ABC, Generic[Name]):
    """An adapter, but for the broker.

    Args:
        node_name: This node's name on the bus.

    Attributes:
        received: Messages that came from the broker, this node's own included.
        damaged: Messages that were dropped because their head is not readable.
    """

    is_alone = False
    _servers: Servers[Name]
    _mailbox: Name

    def __init__(self, node_name: str) -> None:
        self.node_name = node_name
        self.is_up = False
        self.received = 0
        self.damaged = 0
        self._frames = Frames()
        self._topics: dict[Name, str] = {}
        self._waiting: dict[Name, asyncio.Future[None]] = {}
        self._on_message: Receive | None = None
        self._on_change: Callable[[], None] | None = None

    @abstractmethod
    def _name(self, topic: str) -> Name:
        """What a topic is called on the broker."""

    @abstractmethod
    def publish(self, topic: str, data: bytes) -> None:
        """Send to all other nodes that listen; raises PubSubUnavailable."""

    @abstractmethod
    def publish_to(self, node: str, topic: str, data: bytes) -> None:
        """Send to one node through the broker, itself included; raises PubSubUnavailable."""

    async def start(self, receive: Receive, changed: Callable[[], None]) -> None:
        """Begin to connect.

        A broker that answers is waited for, so that the first subscriptions are confirmed by it; one that is down is not.
        """
        self._on_message, self._on_change = receive, changed
        self._servers.start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_TIMEOUT):
                await self._servers.settled()

    async def stop(self) -> None:
        """Send what was published, for at most two seconds, and disconnect; idempotent."""
        with contextlib.suppress(TimeoutError, PubSubUnavailable):
            async with asyncio.timeout(STOP_TIMEOUT):
                await self._servers.flush()
        self._on_change = None  # an orderly end is no outage
        await self._servers.stop()
        self._on_message = None
        for waiter in list(self._waiting.values()):
            waiter.cancel()
        await asyncio.sleep(0)  # the loop closes sockets in its next turn

    async def flush(self) -> None:
        """Wait until the broker has taken everything; raises PubSubUnavailable."""
        await self._servers.flush()

    async def reconnect(self) -> None:
        """Make new connections; subscriptions are asked for again."""
        await self._servers.renew()

    def subscribe(self, topic: str) -> Awaitable[None] | None:
        """Listen to a topic; done when the broker has confirmed it."""
        name = self._name(topic)
        if name in self._topics:
            return self._waiting.get(name)
        self._topics[name] = topic
        waiter = self._waiting[name] = asyncio.get_running_loop().create_future()
        waiter.add_done_callback(lambda done: self._confirmed(name, done))
        self._servers.subscribe(name, waiter)
        return waiter

    def _confirmed(self, name: Name, done: asyncio.Future[None]) -> None:
        if self._waiting.get(name) is done:
            del self._waiting[name]

    def unsubscribe(self, topic: str) -> None:
        """Do not listen to it any more."""
        name = self._name(topic)
        if self._topics.pop(name, None) is not None:
            self._servers.unsubscribe(name)
            waiter = self._waiting.pop(name, None)
            if waiter is not None:
                waiter.cancel()

    def _changed(self) -> None:
        if self.is_up is not self._servers.is_up:
            self.is_up = not self.is_up
            if self._on_change is not None:
                self._on_change()

    def _take(self, name: Name, frame: bytes) -> None:
        self.received += 1
        topic = self._topics.get(name)
        if topic is None and name != self._mailbox:
            return  # unsubscribed while it was on its way
        try:
            received = self._frames.read(topic, frame)
        except ValueError as error:
            self.damaged += 1
            if self.damaged == 1 or self.damaged % 1000 == 0:  # a stranger on the bus must not fill the log
                logger.warning("dropped a message on %r (%d so far): %s", name, self.damaged, error)
            return
        if received is not None and self._on_message is not None:
            try:
                self._on_message(received.topic, received.data)
            except Exception:  # a subscriber's fault must not cost the node its connection
                logger.exception("a message on %r could not be delivered", received.topic)
