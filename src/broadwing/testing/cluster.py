"""Nodes on one bus, started and stopped together, and inboxes that say what arrived: the stage of the adapter contract."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol

from broadwing.exceptions import EnvelopeError
from broadwing.pubsub.adapter import Adapter
from broadwing.pubsub.health import Health
from broadwing.pubsub.pubsub import PubSub


class Bus(Protocol):
    """A bus under test."""

    def adapter(self, node_name: str | None = None) -> Adapter:
        """A new node on it, not started."""
        ...


class FragileBus(Bus, Protocol):
    """A bus whose outages can be staged."""

    async def stop_bus(self) -> None:
        """End it: connections break, new ones are refused."""
        ...

    async def start_bus(self) -> None:
        """Begin again at the same address, with nothing remembered."""
        ...

    async def pause_bus(self) -> None:
        """Hold it: connections stay, nothing is answered."""
        ...

    async def resume_bus(self) -> None:
        """Let it go on."""
        ...


class Plain:
    """The codec of the suite: messages are bytes behind a letter, so that what others publish is not ours."""

    def encode(self, message: bytes) -> bytes:
        """Put the letter before it."""
        return b"P" + message

    def decode(self, topic: str, data: bytes) -> bytes:
        """Take it off."""
        if not data.startswith(b"P"):
            raise EnvelopeError(f"no message of the suite: {data[:20]!r}")
        return data[1:]


class Inbox:
    """What one subscription got.

    Attributes:
        messages: All of it, in order.
        node: Where.
        topic: On what.
    """

    def __init__(self, node: "Node", topic: str) -> None:
        self.messages: list[bytes] = []
        self.node = node
        self.topic = topic
        self._closed = False

    def write(self, message: bytes) -> None:
        """Take one."""
        self.messages.append(message)

    def close(self) -> None:
        """End the subscription."""
        if not self._closed:
            self._closed = True
            self.node.pubsub.detach(self.topic, self)

    async def has(self, *messages: bytes) -> None:
        """Wait until as many have arrived, and compare all that have."""
        await self.holds(len(messages))
        assert self.messages == list(messages)

    async def holds(self, count: int) -> None:
        """Wait until as many have arrived."""
        await self.node.cluster.until(lambda: len(self.messages) >= count, f"{count} messages", self)

    async def gets(self, message: bytes) -> None:
        """Wait for one message, whatever comes besides."""
        await self.node.cluster.until(lambda: message in self.messages, f"the message {message[:40]!r}", self)

    def __repr__(self) -> str:
        arrived = ", ".join(repr(message[:20]) for message in self.messages[-5:])
        return f"{len(self.messages)} on {self.topic[:40]!r} of {self.node.name}, at last {arrived or 'nothing'}"


class Watched(PubSub):
    """A PubSub that counts what its adapter hands it.

    Attributes:
        heard: Topics, in order.
    """

    def __init__(self, adapter: Adapter, **options: Any) -> None:
        super().__init__(adapter, codec=Plain(), **options)
        self.heard: list[str] = []

    def _receive(self, topic: str, data: bytes) -> None:
        self.heard.append(topic)
        super()._receive(topic, data)


class Node:
    """A node: an adapter and the PubSub on it.

    Attributes:
        adapter: The adapter.
        pubsub: The PubSub.
        cluster: Where it belongs.
    """

    def __init__(self, cluster: "Cluster", adapter: Adapter, options: dict[str, Any]) -> None:
        self.cluster = cluster
        self.adapter = adapter
        self.pubsub = Watched(adapter, **options)

    @property
    def name(self) -> str:
        """Its name on the bus."""
        return self.adapter.node_name

    async def inbox(self, topic: str) -> Inbox:
        """Subscribe, and wait until the bus has confirmed it."""
        inbox = Inbox(self, topic)
        _, confirmation = self.pubsub.attach(topic, inbox, inbox)
        if confirmation is not None:
            await confirmation
        return inbox

    def broadcast(self, topic: str, message: bytes) -> None:
        """To everybody."""
        self.pubsub.broadcast(topic, message)

    async def becomes(self, health: Health) -> None:
        """Wait for the node's health."""
        await self.cluster.until(lambda: self.pubsub.health is health, f"{health} of {self.name}", self.pubsub.health)


class Cluster:
    """Nodes that are started one by one and stopped together.

    Args:
        bus: Where.
        patience: Seconds that anything waited for may take.
    """

    def __init__(self, bus: Any, patience: float) -> None:
        self.bus = bus
        self.patience = patience
        self._nodes: list[Node] = []

    async def node(self, node_name: str | None = None, **options: Any) -> Node:
        """Start one; options are those of `PubSub`."""
        node = self.later(node_name, **options)
        await node.pubsub.start()
        return node

    def later(self, node_name: str | None = None, **options: Any) -> Node:
        """One that the story starts by itself."""
        node = Node(self, self.bus.adapter(node_name), options)
        self._nodes.append(node)
        return node

    async def nodes(self, count: int, **options: Any) -> list[Node]:
        """Start several."""
        return [await self.node(**options) for _ in range(count)]

    async def stop(self) -> None:
        """Stop all."""
        nodes, self._nodes = self._nodes, []
        for node in nodes:
            await node.pubsub.stop()

    async def until(self, condition: Callable[[], object], what: str, *about: object) -> None:
        """Wait until `condition()` is true."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.patience
        while not condition():
            assert loop.time() < deadline, (
                f"waited {self.patience} s for {what}; there is {', '.join(map(repr, about))}"
            )
            await asyncio.sleep(0.002)


_EXECUTOR: Final = "executor of the loop"

Story = Callable[[Any], Awaitable[None]]


def tell(
    story: Story,
    bus: AbstractAsyncContextManager[Bus],
    patience: float,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None,
) -> None:
    """Run a story in a loop of its own and see that its nodes leave no task and no thread behind."""

    async def main() -> None:
        # The loop keeps the threads in which it resolves names; these are nobody's fault.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(thread_name_prefix=_EXECUTOR))
        async with bus as made:
            around = asyncio.all_tasks()
            threads = set(threading.enumerate())
            cluster = Cluster(made, patience)
            try:
                await story(cluster)
            finally:
                await cluster.stop()

            def left() -> set[object]:
                running = {thread for thread in threading.enumerate() if not thread.name.startswith(_EXECUTOR)}
                return (asyncio.all_tasks() - around) | (running - threads)

            await cluster.until(lambda: not left(), "the end of what stopped nodes began", left())

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
