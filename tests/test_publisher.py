"""What a Publisher promises to the program that has it; what arrives is judged in tests/integration/test_publishing.py."""

import asyncio
import gc
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from broadwing import ConfigurationError, LocalProtocolError, Publisher, PubSub, PubSubUnavailable
from broadwing.types import BUS_VARIABLE
from tests.support.brokers import Broker

PATIENCE = 30.0


@pytest.fixture
def url(redis_broker: Broker, tmp_path: Path) -> Iterator[str]:
    redis_broker.ensure()
    yield f"redis://127.0.0.1:{redis_broker.port}?prefix={tmp_path.name}"
    redis_broker.ensure()


async def heard(url: str, count: int, publish: "threading.Thread") -> list[object]:
    """What arrives on "t" while a thread publishes."""
    got: list[object] = []
    async with PubSub(url) as pubsub, pubsub.listen("t", limit=100_000) as messages, asyncio.timeout(PATIENCE):
        publish.start()
        while len(got) < count:
            got.append((await anext(messages)).payload)
    publish.join()
    return got


def until(condition: "object") -> None:
    deadline = time.monotonic() + PATIENCE
    assert callable(condition)
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("broadwing-publisher")}


async def test_many_threads_share_one_and_each_keeps_its_order(url: str) -> None:
    publisher = Publisher(url, queue_limit=100_000)

    def work() -> None:
        def speak(name: int) -> None:
            for number in range(500):
                publisher.broadcast("t", "e", [name, number])

        speakers = [threading.Thread(target=speak, args=(name,)) for name in range(8)]
        for speaker in speakers:
            speaker.start()
        for speaker in speakers:
            speaker.join()

    got = await heard(url, 4_000, threading.Thread(target=work))
    await publisher.aclose()
    for name in range(8):
        assert [payload for payload in got if payload[0] == name] == [[name, n] for n in range(500)]  # type: ignore[index]


def test_making_one_opens_nothing_and_closing_leaves_nothing(url: str) -> None:
    before = len(os.listdir("/dev/fd"))
    publisher = Publisher(url)
    publisher.flush()
    assert threads() == set()
    with publisher:
        publisher.broadcast("t", "e", {})
        publisher.flush(PATIENCE)
        assert threads() == {"broadwing-publisher"}
    assert threads() == set()
    until(lambda: len(os.listdir("/dev/fd")) == before)
    publisher.close()
    with pytest.raises(PubSubUnavailable, match="closed"):
        publisher.broadcast("t", "e", {})
    with pytest.raises(PubSubUnavailable, match="closed"):
        publisher.flush()


async def test_messages_wait_for_a_bus_that_is_down_and_one_more_than_the_limit_is_refused(
    url: str, redis_broker: Broker
) -> None:
    redis_broker.kill()
    publisher = Publisher(url, queue_limit=3)
    for number in range(3):
        publisher.broadcast("t", "e", number)
    with pytest.raises(PubSubUnavailable, match="queue_limit"):
        publisher.broadcast("t", "e", 3)
    with pytest.raises(PubSubUnavailable, match=r"3 message\(s\) still wait"):
        await asyncio.to_thread(publisher.flush, 0.1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await publisher.aflush()
    redis_broker.start()
    async with asyncio.timeout(PATIENCE):
        await publisher.aflush()
    publisher.broadcast("t", "e", 3)
    await publisher.aclose()


def test_the_end_of_one_whose_bus_is_down_is_bounded_and_tells_of_what_is_lost(
    url: str, redis_broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    redis_broker.kill()
    publisher = Publisher(url, close_timeout=0.1)
    publisher.broadcast("t", "e", 1)
    publisher.broadcast("t", "e", 2)
    publisher.close()
    assert threads() == set()
    assert "closed with 2 message(s) that the bus has not taken" in caplog.text


def test_a_name_that_cannot_be_looked_up_is_an_outage(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr("socket.getaddrinfo", fail)
    publisher = Publisher("redis://redis.invalid", close_timeout=0.1)
    publisher.broadcast("t", "e", 1)
    until(lambda: "no such name" in caplog.text)
    publisher.close()
    assert "closed with 1 message(s)" in caplog.text


async def test_one_that_is_forgotten_still_sends_what_it_took(url: str) -> None:
    def work() -> None:
        publisher = Publisher(url)
        for number in range(100):
            publisher.broadcast("t", "e", number)
        del publisher
        gc.collect()

    assert await heard(url, 100, threading.Thread(target=work)) == list(range(100))
    await asyncio.to_thread(until, lambda: threads() == set())


def test_a_bus_that_can_never_be_joined_is_told_to_those_who_publish(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    (tmp_path / "bus").mkdir()
    (tmp_path / "bus").chmod(0o777)
    publisher = Publisher(f"zmq+ipc://{tmp_path}/bus")
    publisher.broadcast("t", "e", {})
    until(lambda: "cannot join its bus; 1 message(s) were not sent" in caplog.text)
    with pytest.raises(PubSubUnavailable, match="could not be joined"):
        publisher.broadcast("t", "e", {})
    with pytest.raises(PubSubUnavailable, match="could not be joined"):
        publisher.flush()
    publisher.close()


async def test_a_loop_is_not_held_up(url: str) -> None:
    async with Publisher(url) as publisher:
        with pytest.raises(LocalProtocolError, match="await publisher"):
            publisher.flush()
        with pytest.raises(LocalProtocolError, match="await publisher"):
            publisher.close()


def test_errors_of_the_message_are_raised_where_it_is_published(url: str) -> None:
    with Publisher(url) as publisher:
        with pytest.raises(LocalProtocolError, match="no JSON form"):
            publisher.broadcast("t", "e", {"x": object()})
        with pytest.raises(ConfigurationError, match="strings"):
            publisher.broadcast("t", 1, {})  # type: ignore[arg-type]


async def test_the_end_of_a_worker_of_celery_sends_what_waits(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery's own signal, played: its pool kills a child a moment after `worker_process_shutdown`."""
    receivers: list[Callable[..., object]] = []

    class Signal:
        def connect(self, receiver: Callable[..., object], weak: bool) -> None:
            assert not weak
            receivers.append(receiver)

    monkeypatch.setitem(sys.modules, "celery.signals", SimpleNamespace(worker_process_shutdown=Signal()))

    def work() -> None:
        publisher = Publisher(url)
        publisher.broadcast("t", "e", 1)
        receivers[0](sender=None, signal=None, pid=1, exitcode=0)
        assert threads() == set()
        with pytest.raises(PubSubUnavailable, match="closed"):
            publisher.broadcast("t", "e", 2)

    assert await heard(url, 1, threading.Thread(target=work)) == [1]


@pytest.mark.parametrize("url", [None, "local://", "gopher://x"])
def test_a_publisher_needs_a_bus(url: str | None) -> None:
    with pytest.raises(ConfigurationError, match=r"Publisher needs the bus|names no adapter"):
        Publisher(url)


def test_the_bus_of_the_environment_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(BUS_VARIABLE, f"zmq+ipc://{tmp_path}/bus")
    with Publisher() as publisher:
        publisher.broadcast("t", "e", {})
        publisher.flush(PATIENCE)
