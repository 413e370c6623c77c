"""The load client: the scenarios that a server is measured with.

A server that loses, doubles or makes up messages gets no figures: whatever a scenario cannot account for ends it.
"""

import asyncio
import errno
import json
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from bench.figures import Figures, Stretch, latencies
from bench.lines import Crew, Line, LoadError, Progress, Target, crew, push_frame
from bench.rooms import Concert

# Connections of `echo`, and how many `churn` has under way at a time.
ECHOING, CHURNING = 64, 32
# `churn` ends after so many connects even when its time is not over.
MAX_CHURN: Final = 100_000
# Connections on each topic of `topics`.
PER_TOPIC: Final = 10
# Broadcasts in flight in the room of `neighbours`, so that the server has the next before it has written the last.
PRESSING: Final = 4
# The longest that the room of `neighbours` goes on, in seconds over the probe's own time: it has to start and connect.
PROBE_GRACE: Final = 20.0


def warm_up(seconds: float) -> float:
    """How long a scenario runs before it counts."""
    return min(0.5, seconds / 4)


async def _broadcasts(target: Target, connections: int, rooms: int, seconds: float, progress: Progress) -> Figures:
    async with crew(target, progress) as members:
        concert = Concert(members, connections, rooms)
        await concert.join()
        await concert.play(warm_up(seconds))
        stretch = Stretch(target.server_seconds)
        deliveries = await concert.play(seconds)
        return {**stretch.end(deliveries), **latencies(concert.times)}


async def fanout(target: Target, connections: int, seconds: float, progress: Progress) -> Figures:
    """All connections on one topic; the next broadcast is sent when the last delivery has arrived."""
    return await _broadcasts(target, connections, 1, seconds, progress)


async def topics(target: Target, connections: int, seconds: float, progress: Progress) -> Figures:
    """Ten connections per topic, and one broadcast in flight on each topic."""
    return await _broadcasts(target, connections, max(1, connections // PER_TOPIC), seconds, progress)


class Echo(Line):
    """A connection that sends its message again whenever the reply is there."""

    __slots__ = ("_choir", "_expected", "_frame", "_sent")

    def __init__(self, crew: Crew, number: int, choir: "Choir") -> None:
        topic, body = f"room:{number}", f"#{number:010}"
        super().__init__(crew, topic)
        self._choir = choir
        self._frame = push_frame(topic, "echo", body)
        self._expected = body.encode()
        self._sent = 0.0

    def start(self) -> None:
        """Send."""
        self._sent = time.perf_counter()
        self.send(self._frame)

    def message(self, data: bytes) -> None:
        """Time the reply."""
        if self._expected in data:
            self._choir.times.append(time.perf_counter() - self._sent)
            self._choir.replied(self)
        else:
            self.fail(f"an echo was answered with {data[:200]!r}; expected {self._expected.decode()!r} in it")


class Choir:
    """All echoing connections."""

    def __init__(self, crew: Crew, connections: int) -> None:
        self._crew = crew
        self._lines = [Echo(crew, number, self) for number in range(connections)]
        self._done: asyncio.Future[None] = crew.loop.create_future()
        self._deadline = 0.0
        self._singing = 0
        self.times: list[float] = []

    async def join(self) -> None:
        """Connect and join with all."""
        await self._crew.join(iter(self._lines), len(self._lines))

    async def sing(self, seconds: float) -> int:
        """Echo for so long and return how often."""
        self.times.clear()
        self._done = self._crew.loop.create_future()
        self._singing = len(self._lines)
        self._deadline = time.perf_counter() + seconds
        for line in self._lines:
            line.start()
        await self._crew.until(self._done, "echoing", lambda: len(self.times))
        return len(self.times)

    def replied(self, line: Echo) -> None:
        """Let a connection go on, or not."""
        if time.perf_counter() < self._deadline:
            line.start()
            return
        self._singing -= 1
        if not self._singing:
            self._done.set_result(None)


async def echo(target: Target, connections: int, seconds: float, progress: Progress) -> Figures:
    """64 connections, each on a topic of its own with one message in flight."""
    async with crew(target, progress) as members:
        choir = Choir(members, min(ECHOING, connections))
        await choir.join()
        await choir.sing(warm_up(seconds))
        stretch = Stretch(target.server_seconds)
        replies = await choir.sing(seconds)
        return {**stretch.end(replies), **latencies(choir.times)}


class Churn:
    """Connections that come and go."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self.times: list[float] = []

    async def run(self, width: int, seconds: float) -> int:
        """Connect, join and close for so long, so many at a time, and return how often."""
        self.times.clear()
        deadline = time.perf_counter() + seconds
        await self._crew.work(
            (self._come_and_go(deadline) for _ in range(width)), "connecting and closing", lambda: len(self.times)
        )
        return len(self.times)

    async def _come_and_go(self, deadline: float) -> None:
        while (start := time.perf_counter()) < deadline and len(self.times) < MAX_CHURN:
            line = Line(self._crew, "room:0")
            try:
                await self._crew.connect(line)
            except OSError as error:
                # Closed connections keep their port for a while; a system that has few runs out before the time is over.
                if error.errno == errno.EADDRNOTAVAIL and self.times:
                    return
                raise
            self.times.append(time.perf_counter() - start)
            self._crew.drop(line)


async def churn(target: Target, connections: int, seconds: float, progress: Progress) -> Figures:
    """Connect, join, close the line, 32 at a time."""
    async with crew(target, progress) as members:
        guests = Churn(members)
        width = min(CHURNING, connections)
        await guests.run(width, warm_up(seconds))
        stretch = Stretch(target.server_seconds)
        connects = await guests.run(width, seconds)
        return {**stretch.end(connects), **latencies(guests.times)}


async def idle(target: Target, connections: int, seconds: float, progress: Progress) -> Figures:
    """All connections join one topic and stay; memory is what the server has grown by, per connection."""
    if target.server_kb is None:
        return {}
    async with crew(target, progress) as members:
        # What a server loads and caches with its first clients is no part of the price of the next.
        first = Concert(members, min(20, connections))
        await first.join()
        await first.play(warm_up(seconds))
        before = target.server_kb()
        lines = (Line(members, "room:0") for _ in range(connections))
        await members.join(lines, connections)
        await asyncio.sleep(min(1.0, seconds))  # a server may tidy up after so many handshakes
        return {"kb": (target.server_kb() - before) / connections}


async def neighbours(target: Target, connections: int, seconds: float, progress: Progress) -> Figures:
    """A room is written to without pause while somebody on another topic times echoes.

    The echoes are timed by a process of its own (`bench.probe`), so that a load client that is busy counting the room
    does not add to them.
    """
    async with crew(target, progress) as members:
        concert = Concert(members, connections, window=PRESSING)
        await concert.join()
        playing = asyncio.ensure_future(concert.play(seconds + PROBE_GRACE))
        try:
            stretch, before = Stretch(target.server_seconds), concert.deliveries
            probe = asyncio.ensure_future(_probe(target, seconds))
            await asyncio.wait((playing, probe), return_when=asyncio.FIRST_COMPLETED)
            if not probe.done():
                probe.cancel()
                await asyncio.gather(probe, return_exceptions=True)
                await playing
                raise LoadError(f"the echo on the other topic was not through after {seconds + PROBE_GRACE:g} s")
            figures = stretch.end(concert.deliveries - before)
            times = probe.result()
            concert.deadline = 0.0
            await playing
        finally:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)
        return {**figures, **latencies(times)}


async def _probe(target: Target, seconds: float) -> list[float]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.probe", str(target.port), target.path, str(seconds), target.certfile or ""),
        cwd=Path(__file__).parent.parent,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, errors = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        raise LoadError(f"the echo on the other topic failed: {errors.decode(errors='replace').strip()[-300:]}")
    times: list[float] = json.loads(out)
    return times


Scenario = Callable[[Target, int, float, Progress], Coroutine[Any, Any, Figures]]
SCENARIOS: Final[dict[str, Scenario]] = {
    scenario.__name__: scenario for scenario in (fanout, topics, echo, churn, idle, neighbours)
}
