"""A node of a bus in a process of its own, told what to do in lines of JSON.

    python -m tests.support.node URL [NAME] [--impatient] [--deaf]

With --impatient it notices within four seconds that others are cut off, and looks again every moment. With --deaf it
hears from the kernel alone that a machine has vanished, after two seconds. It says {"name": …} once it is started, and then answers each command with one line:
{"do": "subscribe", "topic": …}            {"subscribed": topic}, once the bus has confirmed it
{"do": "broadcast", "topic": …, "messages": […]}    {"sent": how many}, once they have left
{"do": "drip", …}                          the same, each in a turn of its own
{"do": "stream", "topic": …}               {"streaming": topic}; counts up on the topic until the end
{"do": "got", "topic": …}                  {"got": all messages that arrived on it}
{"do": "figures"}                          {"dropped": …, "refused": …, "kilobytes": …}
{"do": "sees"}                             {"up": whether the bus is, "peers": {address: connected} of a mesh}
{"do": "doze", "until": …}                 {"dozing": path}; its loop is blocked until somebody opens that FIFO
{"do": "stop"}                             {"stopped": true}, and ends
"""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from broadwing.pubsub import broker_life, redis_line, redis_link, zmq, zmq_peer
from broadwing.pubsub.adapters import adapter_for
from broadwing.pubsub.health import Health
from broadwing.pubsub.pubsub import PubSub
from broadwing.pubsub.zmq import ZmqAdapter
from broadwing.testing.cluster import Plain

ROOT = Path(__file__).parents[2]
TIMEOUT = 30.0


def kilobytes(pid: int | str = "self") -> int:
    """The resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


class Remote:
    """The parent's end of such a process."""

    def __init__(self, process: asyncio.subprocess.Process, name: str) -> None:
        self.process = process
        self.name = name

    async def ask(self, do: str, **more: Any) -> Any:
        """Send a command and take its answer."""
        self.tell(do, **more)
        return await self.answer()

    def tell(self, do: str, **more: Any) -> None:
        """Send a command."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **more}).encode() + b"\n")

    async def answer(self) -> Any:
        """Take a line."""
        assert self.process.stdout is not None
        async with asyncio.timeout(TIMEOUT):
            line = await self.process.stdout.readline()
        assert line, "the process of a node has ended"
        return json.loads(line)

    async def got(self, topic: str, count: int = 0) -> list[str]:
        """What has arrived, once it is as many."""
        async with asyncio.timeout(TIMEOUT):
            while len(got := (await self.ask("got", topic=topic))["got"]) < count:
                await asyncio.sleep(0.01)
        return list(got)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    async def kill(self) -> None:
        """End it as the kernel would."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def remote(
    url: str, name: str = "", *options: str, inside: Sequence[str] = (), module: str = "tests.support.node"
) -> AsyncIterator[Remote]:
    """Run a node, by way of the command `inside` if there is one; it is killed at the end if it has not stopped.

    Another `module` may be run that understands the same arguments and answers its first line with its name.
    """
    words = [*([name] if name else []), *options]
    command: Sequence[str] = (*inside, sys.executable, "-m", module, url, *words)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=pipe, stdout=pipe, limit=2**26)
    node = Remote(process, name)
    try:
        node.name = (await node.answer())["name"]
        yield node
    finally:
        await node.kill()


def hurry() -> dict[str, Any]:
    """Notice soon what is cut off, and look often whether it is back; options of a PubSub."""
    zmq_peer.HEARTBEAT, zmq_peer.HEARTBEAT_TIMEOUT = 0.3, 3.0  # type: ignore[misc]
    zmq_peer.DIAL_TIMEOUT, zmq_peer.REDIAL_MAX = 1.0, 0.3  # type: ignore[misc]
    broker_life.LONGEST_DELAY = 0.3  # type: ignore[misc]
    for module in (redis_link, redis_line):
        vars(module)["CONNECT_TIMEOUT"] = 1.0
    return {"canary_interval": 0.3, "canary_timeout": 2.0}


class Inbox:
    """Where messages of a topic go."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.write = self.messages.append


async def main(url: str, *words: str) -> None:
    """Be the node."""
    zmq.LINGER = TIMEOUT  # type: ignore[misc] # on a busy machine a second is not enough
    options = hurry() if "--impatient" in words else {}
    if "--deaf" in words:
        zmq_peer.HEARTBEAT, zmq_peer.HEARTBEAT_TIMEOUT = 600.0, 2.0  # type: ignore[misc]
    name = next((word for word in words if not word.startswith("--")), None)
    adapter = adapter_for(url, node_name=name)
    pubsub = PubSub(adapter, codec=Plain(), queue_limit=1_000_000, **options)
    await pubsub.start()
    got: dict[str, list[bytes]] = {}
    tasks: list[asyncio.Task[None]] = []

    async def stream(topic: str) -> None:
        number = 0
        while True:
            pubsub.broadcast(topic, b"%d" % number)
            number += 1
            await asyncio.sleep(0.001)

    lines = asyncio.StreamReader(limit=2**26)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    say({"name": pubsub.node_name})
    while line := await lines.readline():
        match json.loads(line):
            case {"do": "subscribe", "topic": topic}:
                inbox = Inbox()
                got[topic] = inbox.messages
                _, confirmation = pubsub.attach(topic, inbox, inbox)
                if confirmation is not None:
                    await confirmation
                say({"subscribed": topic})
            case {"do": "broadcast", "topic": topic, "messages": messages}:
                for message in messages:
                    pubsub.broadcast(topic, message.encode())
                await asyncio.sleep(0)
                say({"sent": len(messages)})
            case {"do": "drip", "topic": topic, "messages": messages}:
                for message in messages:
                    pubsub.broadcast(topic, message.encode())
                    await asyncio.sleep(0)
                say({"sent": len(messages)})
            case {"do": "stream", "topic": topic}:
                tasks.append(asyncio.create_task(stream(topic)))
                say({"streaming": topic})
            case {"do": "got", "topic": topic}:
                say({"got": [message.decode() for message in got.get(topic, [])]})
            case {"do": "figures"}:
                assert isinstance(adapter, ZmqAdapter)
                say({"dropped": adapter.dropped, "refused": adapter.refused, "kilobytes": kilobytes()})
            case {"do": "sees"}:
                peers = adapter.peers if isinstance(adapter, ZmqAdapter) else {}
                say({"up": pubsub.health is Health.UP, "peers": peers})
            case {"do": "doze", "until": path}:
                say({"dozing": path})
                Path(path).read_bytes()
            case {"do": "stop"}:
                break
    for task in tasks:
        task.cancel()
    await pubsub.stop()
    say({"stopped": True})


def say(answer: dict[str, Any]) -> None:
    """Write a line."""
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
