"""A broker in memory, with outages: it shows what the adapter contract asks for, and what its tests find when it is missing."""

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from broadwing.exceptions import PubSubUnavailable
from broadwing.pubsub.adapter import Receive


class MemoryBus:
    """Carries out its clients' commands one after the other, in later turns of the loop.

    Attributes:
        commands: What is to be done.
        clients: Who is connected or wants to be.
    """

    def __init__(self, kind: "type[MemoryAdapter]") -> None:
        self.commands: deque[Callable[[], None]] = deque()
        self.clients: list[MemoryAdapter] = []
        self.is_up = True
        self._kind = kind
        self._paused = False

    def adapter(self, node_name: str | None = None) -> "MemoryAdapter":
        return self._kind(self, node_name)

    def do(self, command: Callable[[], None]) -> None:
        self.commands.append(command)
        asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        while self.commands and not self._paused:
            self.commands.popleft()()

    async def stop_bus(self) -> None:
        self.is_up = False
        self.commands.clear()
        for client in list(self.clients):
            client.disconnected()

    async def start_bus(self) -> None:
        self.is_up = True
        for client in list(self.clients):
            client.connected()

    async def pause_bus(self) -> None:
        self._paused = True

    async def resume_bus(self) -> None:
        self._paused = False
        self._run()


class MemoryAdapter:
    """A client that does everything right."""

    is_alone = False

    def __init__(self, bus: MemoryBus, node_name: str | None = None) -> None:
        self.node_name = node_name or uuid.uuid4().hex
        self.is_up = False
        self.bus = bus
        self.wanted: set[str] = set()
        self.unconfirmed: dict[str, asyncio.Future[None]] = {}
        self.subscribed: set[str] = set()
        self.receive: Receive = lambda topic, data: None
        self.changed: Callable[[], None] = lambda: None

    async def start(self, receive: Receive, changed: Callable[[], None]) -> None:
        self.receive, self.changed = receive, changed
        self.bus.clients.append(self)
        if self.bus.is_up:
            self.connected()

    async def stop(self) -> None:
        self.is_up = False
        if self in self.bus.clients:
            self.bus.clients.remove(self)

    async def flush(self) -> None:
        self.must_be_up()
        done = asyncio.get_running_loop().create_future()
        self.bus.do(lambda: done.set_result(None))
        await done

    async def reconnect(self) -> None:
        if self.is_up:
            self.disconnected()
            self.connected()

    def connected(self) -> None:
        self.is_up = True
        for topic in self.wanted:
            self.send_subscription(topic, self.unconfirmed.pop(topic, None))
        self.changed()

    def disconnected(self) -> None:
        self.is_up = False
        self.subscribed.clear()
        self.changed()

    def subscribe(self, topic: str) -> Awaitable[None] | None:
        self.wanted.add(topic)
        confirmation = asyncio.get_running_loop().create_future()
        if self.is_up:
            self.send_subscription(topic, confirmation)
        else:
            self.unconfirmed[topic] = confirmation
        return confirmation

    def send_subscription(self, topic: str, confirmation: "asyncio.Future[None] | None") -> None:
        def command() -> None:
            self.subscribed.add(topic)
            if confirmation is not None and not confirmation.done():
                confirmation.set_result(None)

        self.bus.do(command)

    def unsubscribe(self, topic: str) -> None:
        self.wanted.discard(topic)
        if self.is_up:
            self.bus.do(lambda: self.subscribed.discard(topic) if topic not in self.wanted else None)

    def publish(self, topic: str, data: bytes) -> None:
        self.must_be_up()

        def command() -> None:
            for client in list(self.bus.clients):
                if client is not self and topic in client.subscribed:
                    client.receive(topic, data)

        self.bus.do(command)

    def publish_to(self, node: str, topic: str, data: bytes) -> None:
        self.must_be_up()

        def command() -> None:
            for client in list(self.bus.clients):
                if client.node_name == node:
                    client.receive(topic, data)

        self.bus.do(command)

    def must_be_up(self) -> None:
        if not self.is_up:
            raise PubSubUnavailable("the bus in memory is down")


@asynccontextmanager
async def memory_bus(kind: type[MemoryAdapter] = MemoryAdapter) -> AsyncIterator[MemoryBus]:
    yield MemoryBus(kind)
