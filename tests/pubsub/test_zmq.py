"""Nodes of a mesh as processes of their own: they are killed, stopped and started, and the others notice nothing else."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from broadwing.pubsub import zmq_peer
from tests.support.background import TIMEOUT
from tests.support.mesh import Here, free_addresses, here, listed, until
from tests.support.node import Remote, kilobytes, remote

KINDS = ["ipc", "tcp"]


def urls(kind: str, directory: Path, count: int) -> list[str]:
    """A URL for each node."""
    return [f"zmq+ipc://{directory}/bus"] * count if kind == "ipc" else listed(free_addresses(count))


@asynccontextmanager
async def remotes(urls: list[str]) -> AsyncIterator[list[Remote]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(remote(url)) for url in urls]


async def says(node: Here, topic: str, numbers: range) -> None:
    """Broadcast numbers, some in each turn of the loop."""
    for number in numbers:
        node.pubsub.broadcast(topic, b"%d" % number)
        if number % 10 == 0:
            await asyncio.sleep(0)


def texts(numbers: range) -> list[str]:
    return [str(number) for number in numbers]


@pytest.mark.parametrize("kind", KINDS)
async def test_processes_hear_each_other_once_and_in_order(kind: str, tmp_path: Path) -> None:
    async with remotes(urls(kind, tmp_path, 3)) as nodes:
        for node in nodes:
            await node.ask("subscribe", topic="a")
        said = {node.name: [f"{index}:{number}" for number in range(500)] for index, node in enumerate(nodes)}
        await asyncio.gather(*(node.ask("broadcast", topic="a", messages=said[node.name]) for node in nodes))
        for node in nodes:
            got = await node.got("a", 1500)
            assert len(got) == 1500
            for index, messages in enumerate(said.values()):
                assert [message for message in got if message.startswith(f"{index}:")] == messages


@pytest.mark.parametrize("kind", KINDS)
async def test_a_node_that_is_killed_and_comes_back_costs_the_others_nothing(kind: str, tmp_path: Path) -> None:
    where = urls(kind, tmp_path, 3)
    async with here(where[0]) as one, remote(where[1]) as steady, remote(where[2], "victim") as victim:
        for node in (steady, victim):
            await node.ask("subscribe", topic="a")
        await until(lambda: one.reaches(2))
        await says(one, "a", range(100))
        await victim.got("a", 100)
        await victim.kill()
        await says(one, "a", range(100, 200))
        await until(lambda: not one.reaches(2))
        await says(one, "a", range(200, 300))
        async with remote(where[2], "victim") as back:
            await back.ask("subscribe", topic="a")
            await until(lambda: one.reaches(2))
            await says(one, "a", range(300, 400))
            assert await back.got("a", 100) == texts(range(300, 400))
            one.pubsub.direct_broadcast("victim", "a", b"for you")
            assert (await back.got("a", 101))[-1] == "for you"
        assert await steady.got("a", 400) == texts(range(400))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_node_that_is_stopped_for_a_while_gets_everything_that_was_kept_for_it(
    kind: str, tmp_path: Path
) -> None:
    where = urls(kind, tmp_path, 2)
    async with here(where[0]) as one, remote(where[1]) as sleeper:
        await sleeper.ask("subscribe", topic="a")
        await until(lambda: one.reaches(1))
        sleeper.signal(signal.SIGSTOP)
        await says(one, "a", range(2000))
        sleeper.signal(signal.SIGCONT)
        assert await sleeper.got("a", 2000) == texts(range(2000))
        assert one.adapter.dropped == 0


async def test_a_stopped_node_costs_bounded_memory_and_the_others_nothing(tmp_path: Path) -> None:
    limit = 4 * 2**20
    where = f"zmq+ipc://{tmp_path}/bus?queue_bytes={limit}"
    async with here(where) as one, remote(where) as sleeper, remote(where) as steady:
        for node in (sleeper, steady):
            await node.ask("subscribe", topic="a")
        await until(lambda: one.reaches(2))
        sleeper.signal(signal.SIGSTOP)
        before = kilobytes()
        padding = b"x" * 100_000
        for number in range(1200):  # 120 MB for each of the two
            one.pubsub.broadcast("b", padding)
            one.pubsub.broadcast("a", b"%d" % number)
            if number % 20 == 0:
                await steady.got("a", number)  # no faster than the one that keeps up
        assert await steady.got("a", 1200) == texts(range(1200))
        # ZeroMQ holds up to HIGH_WATER frames, which have at most one message of 100 kB beside 64 KiB of others.
        held = (limit + zmq_peer.HIGH_WATER * 170_000) // 1024
        assert kilobytes() - before < held + 8 * 1024  # and what the allocator does not give back
        assert one.adapter.dropped > 0
        sleeper.signal(signal.SIGCONT)
        one.pubsub.broadcast("a", b"end")
        async with asyncio.timeout(TIMEOUT):
            while "end" not in (got := await sleeper.got("a")):
                one.pubsub.broadcast("a", b"end")
                await asyncio.sleep(0.01)
        numbers = [int(message) for message in got if message != "end"]
        assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_node_that_does_not_answer_is_given_up_and_found_again(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zmq_peer, "HEARTBEAT", 0.1)
    where = urls(kind, tmp_path, 2)
    async with here(where[0]) as one, remote(where[1]) as sleeper:
        await sleeper.ask("subscribe", topic="a")
        await until(lambda: one.reaches(1))
        sleeper.signal(signal.SIGSTOP)
        monkeypatch.setattr(zmq_peer, "HEARTBEAT_TIMEOUT", 0.3)
        await says(one, "a", range(50))
        await until(lambda: not one.reaches(1))
        monkeypatch.setattr(zmq_peer, "HEARTBEAT_TIMEOUT", 600.0)  # it is slow, on a busy machine
        await says(one, "a", range(50, 100))  # for nobody
        assert one.adapter.dropped > 0
        sleeper.signal(signal.SIGCONT)
        await until(lambda: one.reaches(1))
        await says(one, "a", range(100, 150))
        async with asyncio.timeout(TIMEOUT):
            while "149" not in (got := await sleeper.got("a")):
                await asyncio.sleep(0.01)
        numbers = [int(message) for message in got]
        assert numbers == sorted(set(numbers))
        assert numbers[-50:] == list(range(100, 150))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_node_that_joins_hears_a_running_stream_without_a_gap(kind: str, tmp_path: Path) -> None:
    where = urls(kind, tmp_path, 3)
    async with remote(where[0]) as first, remote(where[1]) as second:
        for speaker, topic in ((first, "first"), (second, "second")):
            await speaker.ask("stream", topic=topic)
        async with here(where[2]) as late:
            heard = {topic: late.hears(topic) for topic in ("first", "second")}
            await until(lambda: all(len(messages) >= 100 for messages in heard.values()))
            for messages in heard.values():
                begin = int(messages[0])
                assert messages == [b"%d" % number for number in range(begin, begin + len(messages))]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_start_beside_dead_and_stopped_nodes_takes_no_longer_than_its_patience(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zmq_peer, "DIAL_TIMEOUT", 600.0)
    where = urls(kind, tmp_path, 3)
    loop = asyncio.get_running_loop()
    async with remote(where[1]) as dead, remote(where[2]) as stopped:
        await dead.kill()
        stopped.signal(signal.SIGSTOP)
        begin = loop.time()
        async with here(where[0]) as one:
            assert loop.time() - begin < 15  # 1 s is promised; the machine may be busy
            inbox = one.hears("a")
            one.pubsub.broadcast("a", b"1")
            assert inbox == [b"1"]
            stopped.signal(signal.SIGCONT)
            await stopped.ask("subscribe", topic="a")
            await until(lambda: True in one.adapter.peers.values())
            one.pubsub.broadcast("a", b"2")
            async with asyncio.timeout(TIMEOUT):
                while "2" not in await stopped.got("a"):
                    await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_process_that_stops_has_sent_everything(kind: str, tmp_path: Path) -> None:
    where = urls(kind, tmp_path, 2)
    async with here(where[0]) as one, remote(where[1]) as leaving:
        heard = one.hears("a")
        await until(lambda: one.reaches(1))
        messages = [f"{number}:" + "x" * 5000 for number in range(1000)]
        await leaving.ask("broadcast", topic="a", messages=messages)
        assert await leaving.ask("stop") == {"stopped": True}
        await leaving.process.wait()
        await until(lambda: len(heard) == 1000)
        assert heard == [message.encode() for message in messages]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_process_that_stops_waits_for_a_node_that_is_busy(kind: str, tmp_path: Path) -> None:
    where = urls(kind, tmp_path, 2)
    async with here(where[0]) as one, remote(where[1]) as leaving:
        heard = one.hears("a")
        await until(lambda: one.reaches(1))
        messages = texts(
            range(300)
        )  # more than ZeroMQ's queues hold, less than the kernel takes off the sender's hands
        leaving.tell("drip", topic="a", messages=messages)
        leaving.tell("stop")
        await asyncio.sleep(0)
        time.sleep(0.5)  # the other node is through before this one reads
        await until(lambda: len(heard) == 300)
        assert heard == [message.encode() for message in messages]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stop_leaves_no_thread_no_socket_and_no_file_behind(kind: str, tmp_path: Path) -> None:
    where = urls(kind, tmp_path, 2)

    async def run() -> None:
        async with here(where[0]) as one, here(where[1]) as two:
            heard = two.hears("a")
            one.pubsub.broadcast("a", b"1")
            await until(lambda: heard)
            await one.adapter.reconnect()

    await run()
    threads, tasks, open_files = threading.enumerate(), asyncio.all_tasks(), os.listdir("/proc/self/fd")
    await run()
    assert threading.enumerate() == threads
    assert asyncio.all_tasks() == tasks
    assert len(os.listdir("/proc/self/fd")) == len(open_files)
    assert [path for path in tmp_path.rglob("*") if path.is_socket()] == []
