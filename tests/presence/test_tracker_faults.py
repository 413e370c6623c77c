"""Trackers in processes of their own: killed, stopped, cut off from each other, and with clocks that are wrong."""

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.hosts import hosts, kinds
from tests.support.node import Remote, remote
from tests.support.tracker_node import DOWN_PERIOD, MODULE

pytestmark = pytest.mark.slow

EACH = 5_000
PATIENCE = 60.0


async def sees(node: Remote, condition: Callable[[Any], bool]) -> Any:
    """Wait for what a node sees, and return it."""
    seen: Any = None
    try:
        async with asyncio.timeout(PATIENCE):
            while not condition(seen := await node.ask("sees")):
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{node.name} sees {seen}") from None
    return seen


async def agree(nodes: dict[str, Remote], **present: int) -> Any:
    """Wait until all nodes list so many of each node, and see that they list the same ones; what the last one sees."""
    whole = sum(present.values())
    # A node that is back with nobody present shows in nothing but what is no longer kept of it.
    views = [
        await sees(node, lambda seen: seen["present"] == present and seen["dirty"] == whole) for node in nodes.values()
    ]
    assert len({view["digest"] for view in views}) == 1
    return views[-1]


@asynccontextmanager
async def mesh(*names: str) -> AsyncIterator[tuple[dict[str, Remote], Callable[..., Any]]]:
    """Processes on one bus, and a function that starts another one."""
    with tempfile.TemporaryDirectory(prefix="bw") as directory:
        async with AsyncExitStack() as stack:
            nodes: dict[str, Remote] = {}

            async def start(name: str, *options: str) -> Remote:
                context = remote(f"zmq+ipc://{directory}/bus", name, *options, module=MODULE)
                nodes[name] = await stack.enter_async_context(context)
                return nodes[name]

            await asyncio.gather(*(start(name) for name in names))
            yield nodes, start


async def track(nodes: dict[str, Remote], count: int = EACH) -> None:
    await asyncio.gather(*(node.ask("track", prefix="x", count=count) for node in nodes.values()))


async def test_a_node_that_is_killed_is_missed_for_exactly_what_it_had_and_not_too_early() -> None:
    async with mesh("a", "b", "c") as (nodes, start):
        await track(nodes)
        await agree(nodes, a=EACH, b=EACH, c=EACH)
        victim = nodes.pop("b")
        before = {name: (await node.ask("sees"))["leaves"] for name, node in nodes.items()}
        await victim.kill()
        for name, node in nodes.items():
            seen = await sees(node, lambda seen: seen["present"] == {"a": EACH, "c": EACH})
            assert {who: n - before[name].get(who, 0) for who, n in seen["leaves"].items()} == {"b": EACH}
            assert seen["silence"]["b"] > DOWN_PERIOD
            assert seen["replicas"]["b"] == "down"
            assert seen["dirty"] == 3 * EACH

        again = await start("b")
        await again.ask("track", prefix="y", count=EACH)
        seen = await agree(nodes, a=EACH, b=EACH, c=EACH)
        assert seen["replicas"] == {"a": "up", "c": "up"}

        # One that stood still is missed, comes back as it was, and has missed nobody.
        last = (await again.ask("sees"))["leaves"]
        again.signal(signal.SIGSTOP)
        await sees(nodes["a"], lambda seen: seen["present"] == {"a": EACH, "c": EACH})
        await nodes["a"].ask("track", prefix="meanwhile", count=10)
        await sees(nodes["c"], lambda seen: seen["present"] == {"a": EACH + 10, "c": EACH})
        again.signal(signal.SIGCONT)
        await agree(nodes, a=EACH + 10, b=EACH, c=EACH)
        seen = await again.ask("sees")
        assert seen["leaves"] == last
        assert "down" not in [status for _, status in seen["changes"]]


@pytest.mark.parametrize(("kind", "bus"), [(kinds()[0], "zmq"), (kinds()[0], "redis")])
async def test_a_netsplit_ends_without_a_phantom(kind: str, bus: str, tmp_path: Path) -> None:
    async with hosts(kind, bus, 3, tmp_path) as where, AsyncExitStack() as stack:
        nodes = {f"node{n}": await stack.enter_async_context(where.run(n, MODULE)) for n in (1, 2, 3)}
        for node in nodes.values():
            await sees(node, lambda seen: bool(seen["up"]))  # a broker may be slower to start than we are
        await track(nodes)
        await agree(nodes, node1=EACH, node2=EACH, node3=EACH)

        await where.partition(3)
        together = {name: nodes[name] for name in ("node1", "node2")}
        await sees(nodes["node3"], lambda seen: seen["present"] == {"node3": EACH})
        for node in together.values():
            seen = await sees(node, lambda seen: seen["present"] == {"node1": EACH, "node2": EACH})
            assert seen["silence"]["node3"] > DOWN_PERIOD
        await nodes["node1"].ask("track", prefix="apart", count=500)
        await nodes["node2"].ask("untrack", prefix="x", count=EACH)
        await nodes["node3"].ask("untrack", prefix="x", count=1_000)
        await nodes["node3"].ask("track", prefix="apart", count=7)
        for node in together.values():
            await sees(node, lambda seen: seen["present"] == {"node1": EACH + 500})

        await where.heal()
        await agree(nodes, node1=EACH + 500, node3=EACH - 1_000 + 7)


async def test_a_node_whose_clock_is_two_hours_off_does_no_harm() -> None:
    async with mesh("right") as (nodes, start):
        await start("fast", "--impatient", "--clock=7200")
        await start("slow", "--impatient", "--clock=-7200")
        times = [(await node.ask("sees"))["now"] for node in nodes.values()]
        assert times[1] - times[0] > 7_000
        assert times[0] - times[2] > 7_000
        await track(nodes, 10)
        seen = await agree(nodes, right=10, fast=10, slow=10)
        assert seen["leaves"] == {}

        # Back with its clock set right, which is to say two hours before its former life.
        await nodes["fast"].kill()
        again = await start("fast", "--impatient")
        await again.ask("track", prefix="y", count=3)
        await agree(nodes, right=10, fast=3, slow=10)
        await again.ask("stop")
        del nodes["fast"]
        seen = await agree(nodes, right=10, slow=10)
        assert "slow" not in seen["leaves"]
        assert "right" not in seen["leaves"]
