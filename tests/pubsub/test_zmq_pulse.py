"""Nodes of a mesh that hang or lag are noticed, and libzmq's own heartbeats, which can abort a process, are not sent."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import zmq

from broadwing.pubsub import zmq_peer
from broadwing.pubsub.zmq_peer import Peer, Wiring
from broadwing.pubsub.zmq_pulse import Pulse
from tests.support.background import TIMEOUT
from tests.support.mesh import Here, free_addresses, here, until
from tests.support.node import Remote, remote
from tests.support.relay import Relay

NEVER = 600.0
MANY = 3 * zmq_peer.HIGH_WATER


@asynccontextmanager
async def apart() -> AsyncIterator[tuple[Here, Remote, Relay, str]]:
    """A node here that reaches one in another process by way of a relay, and that one's URL; it reaches us without."""
    ours, theirs = free_addresses(2)
    host, _, port = theirs.rpartition(":")
    way = Relay(int(port), host)
    await way.start()
    url = f"zmq://{ours}?bind={theirs}"
    try:
        async with remote(url, "there") as there, here(f"zmq://127.0.0.1:{way.port}?bind={ours}", "here") as one:
            await there.ask("subscribe", topic="a")
            await until(lambda: one.reaches(1))
            yield one, there, way, url
    finally:
        way.go_on()
        await way.refuse()


async def says_until_heard(one: Here, there: Remote, what: str) -> None:
    """Repeat a message until it has arrived, as it does once both are in touch again."""
    async with asyncio.timeout(TIMEOUT):
        while what not in await there.got("a"):
            one.pubsub.broadcast("a", what.encode())
            await asyncio.sleep(0.01)


def only_peer(one: Here) -> Peer:
    assert one.adapter._mesh is not None
    (peer,) = one.adapter._mesh.peers.values()
    return peer


async def wake(fifo: Path) -> None:
    """Let a node go on that dozes."""
    await asyncio.to_thread(fifo.write_bytes, b"")


async def test_a_node_survives_that_a_sender_it_lags_behind_breaks_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With this as ZMQ_HEARTBEAT_IVL the other process dies: a PING is behind the frames that its queue had no room for.
    monkeypatch.setattr(zmq_peer, "HEARTBEAT", 0.05)
    monkeypatch.setattr(zmq_peer, "HEARTBEAT_TIMEOUT", NEVER)
    os.mkfifo(tmp_path / "wake")
    async with apart() as (one, there, way, _):
        way.hold()
        for number in range(MANY):
            one.pubsub.broadcast("a", b"%d" % number)
            await asyncio.sleep(0.01)  # so that each is a frame, and there is time for heartbeats in between
        await there.ask("doze", until=str(tmp_path / "wake"))
        passed = way.to_server
        way.go_on()
        await until(lambda: way.to_server > passed)
        await asyncio.sleep(0.3)  # its ZeroMQ takes what fits while it dozes
        way.reset()
        await wake(tmp_path / "wake")
        got = await there.got("a", zmq_peer.HIGH_WATER)
        assert got == [str(number) for number in range(len(got))]
        await until(lambda: one.reaches(1))
        await says_until_heard(one, there, "end")


async def test_a_loop_that_is_blocked_loses_its_connection_once_and_is_heard_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(zmq_peer, "HEARTBEAT", 0.05)
    monkeypatch.setattr(zmq_peer, "HEARTBEAT_TIMEOUT", NEVER)
    os.mkfifo(tmp_path / "wake")
    where = f"zmq+ipc://{tmp_path}/bus"
    async with here(where) as one, remote(where) as there:
        await there.ask("subscribe", topic="a")
        await until(lambda: one.reaches(1) and only_peer(one).heard)
        await there.ask("doze", until=str(tmp_path / "wake"))
        monkeypatch.setattr(zmq_peer, "HEARTBEAT_TIMEOUT", 0.2)
        await until(lambda: only_peer(one).is_mute)
        await until(lambda: one.reaches(1))  # ZeroMQ's thread takes the call
        await until(lambda: only_peer(one).silence > 20)
        assert caplog.text.count("cannot be reached: it does not answer") == 1
        assert one.reaches(1)
        monkeypatch.setattr(zmq_peer, "HEARTBEAT_TIMEOUT", NEVER)
        await wake(tmp_path / "wake")
        await until(lambda: not only_peer(one).is_mute)
        await says_until_heard(one, there, "end")
        assert one.reaches(1)


async def test_a_way_that_is_held_without_the_kernel_knowing_is_given_up_and_found_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(zmq_peer, "HEARTBEAT", 0.05)
    monkeypatch.setattr(zmq_peer, "HEARTBEAT_TIMEOUT", NEVER)
    monkeypatch.setattr(zmq_peer, "DIAL_TIMEOUT", 0.5)
    ours, theirs = free_addresses(2)
    ways = []
    for address in (ours, theirs):
        host, _, port = address.rpartition(":")
        ways.append(Relay(int(port), host))
        await ways[-1].start()
    try:
        async with (
            remote(f"zmq://127.0.0.1:{ways[0].port}?bind={theirs}") as there,
            here(f"zmq://127.0.0.1:{ways[1].port}?bind={ours}") as one,
        ):
            await there.ask("subscribe", topic="a")
            await until(lambda: one.reaches(1) and only_peer(one).heard)
            for way in ways:
                way.hold()
            monkeypatch.setattr(zmq_peer, "HEARTBEAT_TIMEOUT", 0.2)
            await until(lambda: not one.reaches(1))
            monkeypatch.setattr(zmq_peer, "HEARTBEAT_TIMEOUT", NEVER)
            for way in ways:
                way.go_on()
            await until(lambda: one.reaches(1))
            await says_until_heard(one, there, "end")
    finally:
        for way in ways:
            way.go_on()
            await way.refuse()


async def test_a_node_that_is_reached_at_another_address_than_it_says_is_known_by_its_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(zmq_peer, "HEARTBEAT", 0.05)
    monkeypatch.setattr(zmq_peer, "HEARTBEAT_TIMEOUT", NEVER)
    async with apart() as (one, there, _, url):
        await until(lambda: only_peer(one).node_id)
        first = only_peer(one).node_id
        await there.kill()
        async with remote(url, "there") as again:
            await again.ask("subscribe", topic="a")
            await until(lambda: only_peer(one).node_id not in (None, first))
            messages = [b"%d" % number for number in range(50)]
            for message in messages:
                one.pubsub.broadcast("a", message)
            async with asyncio.timeout(TIMEOUT):
                await one.pubsub.flush()  # which waits for those that are known
            assert await again.ask("got", topic="a") == {"got": [message.decode() for message in messages]}


async def test_silence_is_counted_in_rounds_and_ends_with_any_word(monkeypatch: pytest.MonkeyPatch) -> None:
    # So a loop that was blocked, whose timers are late by that, does not take the others to be silent.
    monkeypatch.setattr(zmq_peer, "HEARTBEAT", 100.0)
    monkeypatch.setattr(zmq_peer, "HEARTBEAT_TIMEOUT", 300.0)
    context: zmq_peer.Context = zmq.Context()
    lost: list[str] = []
    wiring = Wiring(context, asyncio.get_running_loop(), None, 0, lambda peer: None, lambda peer, why: lost.append(why))
    peer = Peer(wiring, "ipc:///nowhere", b"token123")
    asked: list[Peer] = []
    last = 0
    pulse = Pulse(lambda: [peer], lambda sender: last, asked.append)
    try:
        for _ in range(10):
            pulse._round()  # nobody is asked who is not there
        assert asked == []
        peer.connected = True
        for _ in range(10):
            pulse._round()  # nobody is judged who has never spoken
        assert (len(asked), lost) == (10, [])
        peer.node_id, last = b"sender01", 1
        for word in (2, 2, 2, 3, 3, 3):
            last = word
            pulse._round()
        assert lost == []
        pulse._round()
        assert lost == ["it does not answer"]
        peer.connected = True
        for _ in range(10):
            pulse._round()  # it has not spoken since
        assert len(lost) == 1
        last = 4
        for _ in range(4):
            pulse._round()
        assert len(lost) == 2
    finally:
        pulse.stop()
        peer.close()
        context.term()
