"""A node of a bus in a process of its own, told what to do in lines of JSON.

    python -m tests.support.node URL [NAME]

It says {"name": …} once it is started, and then answers each command with one line:
{"do": "subscribe", "topic": …}            {"subscribed": topic}
{"do": "broadcast", "topic": …, "messages": […]}    {"sent": how many}, once they have left
{"do": "drip", …}                          the same, each in a turn of its own
{"do": "stream", "topic": …}               {"streaming": topic}; counts up on the topic until the end
{"do": "got", "topic": …}                  {"got": all messages that arrived on it}
{"do": "figures"}                          {"dropped": …, "refused": …, "kilobytes": …}
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

from broadwing.pubsub.pubsub import PubSub
from broadwing.pubsub.zmq import ZmqAdapter
from broadwing.testing.cluster import Plain

ROOT = Path(__file__).parents[2]
TIMEOUT = 20.0


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
async def remote(url: str, name: str = "") -> AsyncIterator[Remote]:
    """Run a node; it is killed at the end if it has not stopped."""
    command: Sequence[str] = (sys.executable, "-m", "tests.support.node", url, *([name] if name else []))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=pipe, stdout=pipe, limit=2**26)
    node = Remote(process, name)
    try:
        node.name = (await node.answer())["name"]
        yield node
    finally:
        await node.kill()


async def main(url: str, name: str | None = None) -> None:
    """Be the node."""
    adapter = ZmqAdapter(url, name)
    pubsub = PubSub(adapter, codec=Plain(), queue_limit=1_000_000)
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
                arrived = got[topic] = []
                pubsub.subscribe(topic, arrived.append)
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
                say({"dropped": adapter.dropped, "refused": adapter.refused, "kilobytes": kilobytes()})
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
