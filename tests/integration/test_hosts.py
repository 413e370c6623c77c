"""Nodes on several hosts: the network is cut and healed, one of them dies, one joins; who can be reached hears everything once.

What the tests are called says how the hosts were made: see `tests.support.hosts`.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.hosts import NAMESPACES, Hosts, hosts, kinds
from tests.support.node import Remote

PATIENCE = 30.0
MANY = 20


async def until(node: Remote, condition: Callable[[Any], bool]) -> None:
    """Wait for what a node sees of the bus."""
    seen = None
    try:
        async with asyncio.timeout(PATIENCE):
            while not condition(seen := await node.ask("sees")):
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{node.name} sees {seen}") from None


class Story:
    """Nodes that all listen to one topic, and what they have heard so far."""

    def __init__(self, where: Hosts, bus: str, stack: AsyncExitStack) -> None:
        self.nodes: dict[int, Remote] = {}
        self._where = where
        self._bus = bus
        self._stack = stack
        self._read: dict[int, int] = {}

    async def start(self, number: int) -> None:
        node = self.nodes[number] = await self._stack.enter_async_context(self._where.run(number))
        await until(node, lambda seen: bool(seen["up"]))  # a broker may be slower to start than we are
        await node.ask("subscribe", topic="room")
        await node.ask("subscribe", topic="stream")
        self._read[number] = 0

    async def reach(self, *numbers: int) -> None:
        """Wait until each of these nodes is in touch with the others of them, and with nobody else."""
        for number in numbers:
            if self._bus == "zmq":
                await until(self.nodes[number], lambda seen: sum(seen["peers"].values()) == len(numbers) - 1)
            else:
                await until(self.nodes[number], lambda seen: bool(seen["up"]))

    async def lose(self, number: int) -> None:
        """Wait until a node has noticed that it is alone."""
        await until(
            self.nodes[number], lambda seen: not (any(seen["peers"].values()) if self._bus == "zmq" else seen["up"])
        )

    async def say(self, what: str, number: int) -> list[str]:
        messages = [f"{what} {number} {count}" for count in range(MANY)]
        assert await self.nodes[number].ask("broadcast", topic="room", messages=messages) == {"sent": MANY}
        return messages

    async def new(self, number: int, count: int) -> list[str]:
        """What a node has heard since it was asked last, once it is as much."""
        got = await self.nodes[number].got("room", self._read[number] + count)
        new = got[self._read[number] :]
        self._read[number] = len(got)
        return new

    async def all_hear(self, what: str, *numbers: int, late: list[str] | None = None) -> None:
        """Each of some nodes broadcasts, and each hears all of that once and in order, and nothing else."""
        said = {number: await self.say(what, number) for number in numbers}
        late = late or []
        for number in numbers:
            own_late = [] if late and late[0].split()[1] == str(number) else late
            new = await self.new(number, len(numbers) * MANY + len(own_late))
            for other in numbers:
                assert [message for message in new if message.startswith(f"{what} {other} ")] == said[other]
            assert [message for message in new if not message.startswith(f"{what} ")] == own_late


CASES = [(kind, "zmq") for kind in kinds()] + [(kinds()[0], "redis")]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "bus"), CASES)
async def test_who_can_be_reached_hears_everything_once_whatever_becomes_of_the_network(
    kind: str, bus: str, tmp_path: Path
) -> None:
    async with hosts(kind, bus, 4, tmp_path) as where, AsyncExitStack() as stack:
        story = Story(where, bus, stack)
        await asyncio.gather(*(story.start(number) for number in (1, 2, 3)))
        await story.reach(1, 2, 3)
        await story.all_hear("whole", 1, 2, 3)
        await story.nodes[1].ask("stream", topic="stream")

        await where.partition(3)
        await story.lose(3)
        await story.reach(1, 2)
        await story.all_hear("apart", 1, 2)
        alone = await story.say("apart", 3)
        assert await story.new(3, MANY) == alone

        await where.heal()
        await story.reach(1, 2, 3)
        # Redis' node has kept what it could not send; in the mesh it went to all who could be reached, and those were none.
        await story.all_hear("healed", 1, 2, 3, late=alone if bus == "redis" else None)

        stream = [int(message) for message in await story.nodes[2].got("stream")]
        await story.nodes[2].kill()
        await story.reach(1, 3)
        await story.all_hear("killed", 1, 3)

        await story.start(4)
        await story.reach(1, 3, 4)
        await story.all_hear("joined", 1, 3, 4)

        # The stream of host 1 went on all the time. Host 2 was never cut off from it, and missed nothing; host 3 was, and got
        # nothing twice and nothing late.
        assert stream == list(range(stream[0], stream[0] + len(stream)))
        assert stream[0] == 0
        assert len(stream) > MANY
        heard = [int(message) for message in await story.nodes[3].got("stream")]
        assert heard == sorted(set(heard))
        assert heard[-1] > stream[-1]


@pytest.mark.slow
@pytest.mark.skipif(NAMESPACES not in kinds(), reason="a relay is no network: its kernel answers for those behind it")
@pytest.mark.parametrize("does", ["nothing", "stream"])
@pytest.mark.parametrize(("option", "seconds"), [("--patient", 10.0), ("--deaf", 2.0)])
async def test_a_host_that_vanishes_is_noticed_in_time_whether_or_not_anything_is_sent_to_it(
    option: str, seconds: float, does: str, tmp_path: Path
) -> None:
    # The second case is the kernel's doing alone, as it is for who asks nobody because nobody can answer.
    loop = asyncio.get_running_loop()
    async with hosts(NAMESPACES, "zmq", 2, tmp_path) as where, AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(where.run(number, option=option)) for number in (1, 2)]
        for node in (one, two):
            await until(node, lambda seen: list(seen["peers"].values()) == [True])
        if does == "stream":
            await two.ask("subscribe", topic="stream")
            await one.ask("stream", topic="stream")
            await two.got("stream", 1)
        begin = loop.time()
        await where.partition(2)
        await until(one, lambda seen: not any(seen["peers"].values()))
        assert seconds * 0.5 < loop.time() - begin < seconds * 1.25 + 8.0  # the machine may be busy
        await where.heal()
        for node in (one, two):
            await until(node, lambda seen: list(seen["peers"].values()) == [True])


def namespaces() -> list[str]:
    """Those that this process has made; others may run the same tests."""
    return [entry.name for entry in Path("/run/netns").glob(f"bw{os.getpid():x}-*")]


@pytest.mark.parametrize("kind", kinds())
async def test_hosts_are_removed_whatever_happens(kind: str, tmp_path: Path) -> None:
    async def fail() -> None:
        async with hosts(kind, "zmq", 2, tmp_path):
            assert len(namespaces()) == (4 if kind == NAMESPACES else 0)
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        await fail()
    assert namespaces() == []


@pytest.mark.parametrize("kind", kinds())
async def test_what_a_killed_run_left_behind_is_removed_by_the_next(kind: str, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    name = f"bw{dead.pid:x}-000000-switch"
    if kind == NAMESPACES:
        subprocess.run(["ip", "netns", "add", name], check=True)
    async with hosts(kind, "zmq", 1, tmp_path):
        assert not Path("/run/netns", name).exists()
