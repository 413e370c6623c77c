"""The scenarios of presence: one join among many, the state for a newcomer, and a room in which people come and go.

Each is measured in turns with something beside it: the same with a hundred present, or with every change told at once.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

import uvloop

from bench.figures import Figures, Stretch, latencies
from bench.frames import masked
from bench.lines import Crew, Line, LoadError, Progress, Target, crew
from bench.load import warm_up
from bench.server import running

THIS: Final = "this"
ROOM, DESK = "room:0", "desk"
PRESENT_APP: Final = (
    *(sys.executable, "-m", "broadwing", "serve", "bench.present_app:endpoint"),
    *("--port", "{port}", "--log-level", "warning"),
)
PATH: Final = "/socket/websocket"
FEW: Final = 100
# How many come in a second of `crowd`, and as many go; and for how many seconds each stays.
COMING: Final = 100
STAYING: Final = 1.0


class Ear(Line):
    """A connection that keeps the next message of an event, and counts what comes."""

    __slots__ = ("_waiting", "bytes", "frames")

    def __init__(self, crew: Crew, topic: str) -> None:
        super().__init__(crew, topic)
        self._waiting: tuple[bytes, asyncio.Future[bytes]] | None = None
        self.bytes = 0
        self.frames = 0

    def message(self, data: bytes) -> None:
        """Count it, and see whether it is awaited."""
        self.frames += 1
        self.bytes += len(data)
        if self._waiting is not None and self._waiting[0] in data:
            self._waiting[1].set_result(data)
            self._waiting = None

    def hear(self, mark: bytes) -> "asyncio.Future[bytes]":
        """Wait for a message with this in it."""
        future: asyncio.Future[bytes] = self.crew.loop.create_future()
        self._waiting = (mark, future)
        return future

    def push(self, event: str, body: Any) -> None:
        """Send an event."""
        self.send(masked(json.dumps(["1", "2", self._topic, event, {"body": body}], separators=(",", ":")).encode()))


def told(figures: Figures) -> Figures:
    """What is told of a stretch in which one message waits for the other: how busy the client was says nothing about the rate."""
    return {name: value for name, value in figures.items() if name != "client"}


class Stage:
    """A room with so many present, and somebody at the desk."""

    def __init__(self, members: Crew) -> None:
        self._crew = members
        self.desk = Ear(members, DESK)
        self.guest = Ear(members, ROOM)
        self.heard = 0

    async def set_up(self, present: int) -> None:
        """Connect both, and fill the room."""
        await self._crew.join(iter((self.desk, self.guest)), 2)
        self.desk.push("fill", present)
        await self.wait(self.desk.hear(b"phx_reply"), "filling the room")

    async def wait(self, message: "asyncio.Future[bytes]", what: str) -> bytes:
        """Wait for a message as long as any come."""
        await self._crew.until(message, what, lambda: self.heard)
        self.heard += 1
        return message.result()


async def _join(target: Target, present: int, seconds: float, progress: Progress) -> Figures:
    async with crew(target, progress) as members:
        stage = Stage(members)
        await stage.set_up(present)

        async def come_and_go(seconds: float) -> tuple[list[float], int]:
            times, size, deadline = list[float](), 0, time.perf_counter() + seconds
            while time.perf_counter() < deadline:
                name = f"guest:{len(times):06}"
                coming = stage.guest.hear(b'"joins":{"' + name.encode())
                begun = time.perf_counter()
                stage.desk.push("come", name)
                size = len(await stage.wait(coming, "coming"))
                times.append(time.perf_counter() - begun)
                going = stage.guest.hear(b'"leaves":{"' + name.encode())
                stage.desk.push("go", name)
                await stage.wait(going, "going")
            return times, size

        await come_and_go(warm_up(seconds))
        stretch = Stretch(target.server_seconds)
        times, size = await come_and_go(seconds)
        return {**told(stretch.end(len(times))), **latencies(times), "bytes": size}


async def _state(target: Target, present: int, seconds: float, progress: Progress) -> Figures:
    async with crew(target, progress) as members:
        stage = Stage(members)
        await stage.set_up(present)

        async def ask(seconds: float) -> tuple[list[float], int]:
            times, size, deadline = list[float](), 0, time.perf_counter() + seconds
            while time.perf_counter() < deadline:
                state = stage.guest.hear(b'"presence_state"')
                begun = time.perf_counter()
                stage.guest.push("state", None)
                size = len(await stage.wait(state, "asking for the state"))
                times.append(time.perf_counter() - begun)
            return times, size

        await ask(warm_up(seconds))
        stretch = Stretch(target.server_seconds)
        times, size = await ask(seconds)
        return {**told(stretch.end(len(times))), **latencies(times), "bytes": size}


async def _crowd(target: Target, listeners: int, seconds: float, progress: Progress) -> Figures:
    async with crew(target, progress) as members:
        stage = Stage(members)
        await stage.set_up(listeners)
        ears = [Ear(members, ROOM) for _ in range(listeners)]
        await members.join(iter(ears), len(ears))
        number = 0

        async def come_and_go(seconds: float) -> None:
            nonlocal number
            begun, done = time.perf_counter(), 0
            while (passed := time.perf_counter() - begun) < seconds:
                while done < passed * COMING:
                    stage.desk.push("come", f"guest:{number:06}")
                    stage.desk.push("go", f"guest:{number - int(COMING * STAYING):06}")
                    number, done = number + 1, done + 1
                await asyncio.sleep(0.005)

        await come_and_go(STAYING + warm_up(seconds))
        before = [(ear.bytes, ear.frames) for ear in ears]
        stretch = Stretch(target.server_seconds)
        await come_and_go(seconds)
        figures = stretch.end(1)
        heard = [(ear.bytes - size, ear.frames - frames) for ear, (size, frames) in zip(ears, before, strict=True)]
        if not all(frames for _, frames in heard):
            raise LoadError("somebody in the room heard nothing of who came and went")
        per_client = listeners * figures["seconds"]
        figures["bytes_s"] = sum(size for size, _ in heard) / per_client
        figures["frames_s"] = sum(frames for _, frames in heard) / per_client
        return {name: figures[name] for name in ("bytes_s", "frames_s", "server", "seconds") if name in figures}


_Play = Callable[[Target, int, float, Progress], Coroutine[Any, Any, Figures]]


def _among(play: _Play, present: int, side: str, connections: int, seconds: float, progress: Progress) -> Figures:
    with running(PRESENT_APP, PATH, None) as target:
        return uvloop.run(play(target, present if side == THIS else FEW, seconds, progress))


# What one core can write of frames in a second, with room to spare: with more the room at once would measure its own collapse.
MOST_FRAMES: Final = 60_000


def crowd(listeners: int | None, side: str, connections: int, seconds: float, progress: Progress) -> Figures:
    """A room in which 100 a second come and 100 go; beside it every change is told at once, where a core can write that."""
    count = connections if listeners is None else listeners
    if side != THIS and count * 2 * COMING > MOST_FRAMES:
        return {}
    environment = {} if side == THIS else {"BENCH_DIFF_RATE": "0"}
    with running(PRESENT_APP, PATH, None, environment) as target:
        return uvloop.run(_crowd(target, count, seconds, progress))


PresenceScenario = Callable[[str, int, float, Progress], Figures]
PRESENCE: Final[dict[str, PresenceScenario]] = {
    **{f"join-{present}": partial(_among, _join, present) for present in (100, 1_000, 10_000)},
    **{f"state-{present}": partial(_among, _state, present) for present in (100, 1_000, 10_000)},
    "crowd-50": partial(crowd, 50),
    "crowd-300": partial(crowd, 300),
    "crowd-all": partial(crowd, None),
}
