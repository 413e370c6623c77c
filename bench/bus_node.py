"""One process of a measurement of a bus; it writes its figures to stdout as JSON.

    python -m bench.bus_node send|receive this|bare URL TOPICS TOGETHER SECONDS WARM_UP
    python -m bench.bus_node watch this|bare URL TOPICS 0 0 0

`send` and `receive` share a socket, their standard input. `this` is a node of Broadwing, `bare` the client library of its bus
by itself. `watch` is a further node, which listens to nothing of all that as `this`, and to everything as `bare`; it writes
a line when it is ready and its figures when its standard input ends.
"""

import asyncio
import json
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import uvloop

from bench.bus_bare import bare
from bench.figures import Figures
from bench.lines import LoadError
from bench.stream import Plan, Receiver, Sender, message
from broadwing.pubsub.adapter import Adapter
from broadwing.pubsub.adapters import adapter_for
from broadwing.pubsub.pubsub import PubSub

# No canary flies while messages are counted.
QUIET: Final = 1_000.0
# How long nothing has to arrive until everything has, in seconds.
SILENCE: Final = 0.2


class Opaque:
    """Messages are bytes already, as they are for the bare clients."""

    def encode(self, message: bytes) -> bytes:
        """Leave it."""
        return message

    def decode(self, topic: str, data: bytes) -> bytes:
        """Leave it."""
        return data


class Node(PubSub):
    """A node that counts what its adapter hands it.

    Attributes:
        handed: Messages of the bus: what is broadcast on one topic in one turn of the loop is one.
    """

    def __init__(self, adapter: Adapter) -> None:
        super().__init__(adapter, codec=Opaque(), canary_interval=QUIET, canary_timeout=QUIET)
        self.handed = 0

    def _receive(self, topic: str, data: bytes) -> None:
        self.handed += 1
        super()._receive(topic, data)

    @property
    def arrived(self) -> int:
        """Messages of the bus that reached this process, whether or not anybody wants them."""
        received: int = getattr(self._adapter, "received", self.handed)
        return received

    async def listen(self, topics: list[str], take: Any) -> None:
        """Subscribe, and wait until the bus knows."""
        sink = _Sink(take)
        for topic in topics:
            _, confirmation = self.attach(topic, sink, sink)
            if confirmation is not None:
                await confirmation


class _Sink:
    def __init__(self, take: Any) -> None:
        self.write = take


@asynccontextmanager
async def node(url: str) -> AsyncIterator[Node]:
    """Be a node for a while."""
    made = Node(adapter_for(url))
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def send(beside: socket.socket, url: str, topics: list[str], plan: Plan) -> Figures:
    """Broadcast bursts, each in one turn of the loop."""
    async with node(url) as made:
        count, broadcast = len(topics), made.broadcast

        async def burst(numbers: range) -> None:
            for number in numbers:
                broadcast(topics[number % count], message(number))
            await asyncio.sleep(0)

        return await Sender(beside, plan.together).send(burst, plan.seconds)


async def receive(beside: socket.socket, url: str, topics: list[str], plan: Plan) -> Figures:
    """Subscribe and count."""
    receiver = Receiver(beside, plan.warm_up, is_ordered=len(topics) == 1)
    async with node(url) as made:
        await made.listen(topics, receiver.take)
        receiver.ready()
        return await receiver.until_told()


async def watch(url: str, topics: list[str]) -> Figures:
    """Stand by: `arrived`, messages of the bus that reached this process, and `cpu_seconds`, what they cost."""
    async with node(url) as made:
        await made.listen(topics, lambda message: None)
        await asyncio.sleep(SILENCE)
        arrived, cpu = made.arrived, time.process_time()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        before = -1
        while before != made.arrived:
            before = made.arrived
            await asyncio.sleep(SILENCE)
        return {"arrived": made.arrived - arrived, "cpu_seconds": time.process_time() - cpu}


def main(words: list[str]) -> Figures:
    """Measure as told by the arguments."""
    role, kind, url = words[:3]
    topics = [f"room.{number}" for number in range(int(words[3]))]
    plan = Plan(int(words[4]), *map(float, words[5:]))
    if role == "watch":
        return uvloop.run(watch(url, topics if kind == "bare" else ["elsewhere"]))
    with socket.socket(fileno=0) as beside:
        if kind == "bare":
            return bare(role, beside, url, topics, plan)
        if role == "send":
            return uvloop.run(send(beside, url, topics, plan))
        return uvloop.run(receive(beside, url, topics, plan))


if __name__ == "__main__":
    try:
        print(json.dumps(main(sys.argv[1:])))
    except (LoadError, OSError, EOFError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
