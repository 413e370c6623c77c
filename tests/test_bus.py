"""`broadwing.PubSub` as applications use it: over every bus where that matters, alone where it does not."""

import asyncio
import pickle
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from broadwing import (
    Broadcast,
    ConfigurationError,
    Endpoint,
    Health,
    LocalProtocolError,
    Messages,
    PubSub,
    PubSubUnavailable,
)
from broadwing.pubsub.batch import pack
from broadwing.pubsub.local import LocalAdapter
from broadwing.types import BUS_VARIABLE
from tests.support.brokers import Broker
from tests.support.bus import MemoryAdapter, MemoryBus
from tests.support.mesh import free_addresses, listed

PATIENCE = 30.0


@pytest.fixture(params=["redis", "nats", "zmq+ipc", "zmq"])
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """The URL of each further node of one bus."""
    kind: str = request.param
    if kind == "zmq+ipc":
        return lambda: f"zmq+ipc://{tmp_path}/bus"
    if kind == "zmq":
        every = cycle(listed(free_addresses(3)))
        return lambda: next(every)
    broker: Broker = request.getfixturevalue(f"{kind}_broker")
    broker.ensure()
    return lambda: f"{kind}://127.0.0.1:{broker.port}?prefix={tmp_path.name}"


@asynccontextmanager
async def nodes(urls: Callable[[], str], count: int) -> AsyncIterator[list[PubSub]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(PubSub(urls())) for _ in range(count)]


async def take(messages: Messages, count: int) -> list[Any]:
    got: list[Any] = []
    async with asyncio.timeout(PATIENCE):
        while len(got) < count:
            message = await anext(messages)
            got.append((message.topic, message.event, message.payload))
    return got


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.002)


async def test_events_with_payloads_of_json_and_bytes_reach_listeners_on_every_node(urls: Callable[[], str]) -> None:
    async with nodes(urls, 2) as (one, two), one.listen("t") as here, two.listen("t") as there:
        one.broadcast("t", "created", {"n": 1, "ü": [None, 1.5, "🦋"]})
        one.broadcast("t", "raw", b"\x00\xff")
        expected = [("t", "created", {"n": 1, "ü": [None, 1.5, "🦋"]}), ("t", "raw", b"\x00\xff")]
        assert await take(here, 2) == expected
        assert await take(there, 2) == expected


async def test_nothing_that_is_sent_after_a_listener_was_entered_is_missed(urls: Callable[[], str]) -> None:
    async with nodes(urls, 2) as (one, two):
        for number in range(50):
            async with two.listen(f"t:{number % 3}") as messages:
                one.broadcast(f"t:{number % 3}", "n", number)
                assert await take(messages, 1) == [(f"t:{number % 3}", "n", number)]


async def test_nothing_that_is_sent_after_an_awaited_subscription_is_missed(urls: Callable[[], str]) -> None:
    async with nodes(urls, 2) as (one, two):
        for number in range(50):
            got: list[Broadcast] = []
            subscription = await two.subscribe("t", got.append)
            one.broadcast("t", "n", number)
            await until(got.__len__)
            subscription.cancel()
            assert [message.payload for message in got] == [number]


async def test_a_subscription_of_an_endpoint_that_has_not_started_counts_once_it_has(urls: Callable[[], str]) -> None:
    got: list[Broadcast] = []
    endpoint = Endpoint(pubsub=urls())
    endpoint.subscribe("t", got.append)
    endpoint.subscribe("left", got.append).cancel()
    async with nodes(urls, 1) as (other,):
        await endpoint.start()
        await endpoint.subscribe("confirms", print)
        other.broadcast("left", "n", 0)
        other.broadcast("t", "n", 1)
        await until(lambda: got)
        assert [message.payload for message in got] == [1]
        await endpoint.stop()


async def test_senders_nodes_and_the_local_node_are_told_apart(urls: Callable[[], str]) -> None:
    async with nodes(urls, 2) as (one, two), one.listen("t") as here, two.listen("t") as there:
        mine: list[Broadcast] = []
        subscription = one.subscribe("t", mine.append)
        one.broadcast_from(subscription, "t", "from", 1)
        one.local_broadcast("t", "local", 2)
        one.local_broadcast_from(subscription, "t", "local_from", 3)
        assert await take(here, 3) == [("t", "from", 1), ("t", "local", 2), ("t", "local_from", 3)]
        assert [message.event for message in mine] == ["local"]
        one.direct_broadcast(two.node_name, "t", "direct", 4)
        assert await take(there, 2) == [("t", "from", 1), ("t", "direct", 4)]
        await asyncio.to_thread(one.direct_broadcast, one.node_name, "t", "thread", 5)
        assert await take(here, 1) == [("t", "thread", 5)]


async def test_an_endpoint_and_a_program_without_sockets_hear_each_other(urls: Callable[[], str]) -> None:
    endpoint = Endpoint(pubsub=urls())
    await endpoint.start()
    async with nodes(urls, 1) as (program,), program.listen("t") as messages, endpoint.pubsub.listen("t") as other:
        endpoint.broadcast("t", "hello", {"a": 1})
        assert await take(messages, 1) == [("t", "hello", {"a": 1})]
        program.broadcast("t", "hi", {"a": 2})
        assert await take(other, 2) == [("t", "hello", {"a": 1}), ("t", "hi", {"a": 2})]
    await endpoint.stop()


async def test_a_flush_returns_when_the_bus_has_everything(urls: Callable[[], str]) -> None:
    async with nodes(urls, 2) as (one, two), two.listen("t", limit=5_000) as there:
        for number in range(2_000):
            one.broadcast("t", "n", number)
        async with asyncio.timeout(PATIENCE):
            await one.flush()
        await one.engine._adapter.reconnect()  # what had not left is lost now
        assert [payload for _, _, payload in await take(there, 2_000)] == list(range(2_000))


class Poison:
    """Would make a file if anybody unpickled it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


async def test_a_poisoned_message_is_dropped_with_one_line_in_the_log_and_executed_by_nobody(
    urls: Callable[[], str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bomb = pickle.dumps(Poison(tmp_path / "executed"))
    async with nodes(urls, 2) as (one, two), two.listen("t") as there:
        for _ in range(10):
            one.engine._adapter.publish("t", bomb)
            one.engine._adapter.publish("t", pack([bomb]))  # whole on the outside, foreign within
        one.broadcast("t", "e", 1)
        assert await take(there, 1) == [("t", "e", 1)]
        assert two.dropped == 20
    assert len([record for record in caplog.records if "not ours" in record.message]) == 1
    assert not (tmp_path / "executed").exists()
    pickle.loads(bomb)
    assert (tmp_path / "executed").exists()  # it would have been


# What needs no other node.


async def test_a_node_that_is_alone_is_up_and_serves_itself() -> None:
    async with PubSub("local://", node_name="me") as pubsub, pubsub.listen("t") as messages:
        assert (pubsub.node_name, pubsub.health, pubsub.dropped) == ("me", Health.UP, 0)
        pubsub.direct_broadcast("me", "t", "e", 1)
        pubsub.direct_broadcast("nobody", "t", "e", 2)
        pubsub.broadcast("t", "e", 3)
        await pubsub.flush()
        assert await take(messages, 2) == [("t", "e", 1), ("t", "e", 3)]


async def test_messages_end_when_they_are_cancelled_with_what_had_arrived() -> None:
    async with PubSub("local://") as pubsub, pubsub.listen("t") as messages:
        pubsub.broadcast("t", "e", 1)
        messages.cancel()
        messages.cancel()
        pubsub.broadcast("t", "e", 2)
        assert [message.payload async for message in messages] == [1]
        assert pubsub.registry.topics == {}


async def test_messages_end_when_the_pubsub_stops() -> None:
    pubsub = PubSub("local://")
    await pubsub.start()
    async with pubsub.listen("t") as messages:

        async def read() -> list[Any]:
            return [message.payload async for message in messages]

        reading = asyncio.create_task(read())
        await asyncio.sleep(0)
        pubsub.broadcast("t", "e", 1)
        await pubsub.stop()
        async with asyncio.timeout(PATIENCE):
            assert await reading == [1]


async def test_messages_end_with_their_block_whatever_ends_it() -> None:
    async with PubSub("local://") as pubsub:

        async def read() -> None:
            async with pubsub.listen("t") as messages:
                async for _ in messages:
                    pass

        reading = asyncio.create_task(read())
        await until(lambda: pubsub.registry.count("t"))
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert pubsub.registry.topics == {}


async def test_a_reader_that_is_cancelled_loses_no_message() -> None:
    async with PubSub("local://") as pubsub, pubsub.listen("t") as messages:
        for number in range(100):
            reading = asyncio.ensure_future(anext(messages))
            await asyncio.sleep(0)
            pubsub.broadcast("t", "e", number)
            reading.cancel()  # the message has come, and the reader has not run since
            with pytest.raises(asyncio.CancelledError):
                await reading
            assert (await anext(messages)).payload == number


async def test_the_wait_for_a_confirmation_can_be_cancelled_and_leaves_nothing() -> None:
    bus = MemoryBus(MemoryAdapter)
    async with PubSub(bus.adapter(), canary_interval=1000.0) as pubsub:
        await until(lambda: pubsub.health is Health.UP)
        await bus.pause_bus()

        async def enter() -> None:
            async with pubsub.listen("a"):
                raise AssertionError("nothing has confirmed it")

        async def subscribe() -> None:
            await pubsub.subscribe("b", print)

        tasks = [asyncio.create_task(enter()), asyncio.create_task(subscribe())]
        await until(lambda: set(pubsub.registry.topics) == {"a", "b"})
        for task in tasks:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert pubsub.registry.topics == {}
        await bus.resume_bus()


@pytest.mark.parametrize(
    ("overflow", "kept", "dropped"),
    [("drop_oldest", [2, 3, 4], 2), ("drop_newest", [0, 1, 2], 2), ("end", [0, 1, 2], 1)],
)
async def test_a_reader_that_does_not_keep_up_is_dealt_with_by_its_policy(
    overflow: Any, kept: list[int], dropped: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with PubSub("local://") as pubsub, pubsub.listen("t", limit=3, overflow=overflow) as messages:
        for number in range(5):
            pubsub.broadcast("t", "e", number)
        messages.cancel()
        assert [message.payload async for message in messages] == kept
        assert messages.dropped == dropped
    assert len([record for record in caplog.records if "does not keep up" in record.message]) == 1


async def test_a_subscriber_that_raises_costs_nobody_else_the_message(caplog: pytest.LogCaptureFixture) -> None:
    async with PubSub("local://") as pubsub:

        def fail(message: Broadcast) -> None:
            raise RuntimeError("on purpose")

        pubsub.subscribe("t", fail)
        async with pubsub.listen("t") as messages:
            pubsub.broadcast("t", "e", 1)
            assert await take(messages, 1) == [("t", "e", 1)]
    assert "a subscriber of 't' raised" in caplog.text


async def test_an_observer_of_health_can_be_ended() -> None:
    bus = MemoryBus(MemoryAdapter)
    pubsub = PubSub(bus.adapter())
    told: list[Health] = []
    forget = pubsub.on_health(told.append)
    pubsub.on_health(told.append)
    async with pubsub:
        await until(lambda: told == [Health.UP, Health.UP])
        forget()
        forget()
        await bus.stop_bus()
        assert told == [Health.UP, Health.UP, Health.DOWN]


async def test_the_policy_for_outages_is_chosen_with_the_pubsub_of_an_endpoint() -> None:
    bus = MemoryBus(MemoryAdapter)
    raising = Endpoint(pubsub=PubSub(bus.adapter(), on_unavailable="raise"))
    queueing = Endpoint(pubsub=PubSub(bus.adapter(), queue_limit=1))
    for endpoint in (raising, queueing):
        await endpoint.start()
    await bus.stop_bus()
    with pytest.raises(PubSubUnavailable, match="on_unavailable"):
        raising.broadcast("t", "e", {})
    queueing.broadcast("t", "e", {})
    with pytest.raises(PubSubUnavailable, match="queue_limit"):
        queueing.broadcast("t", "e", {})
    for endpoint in (raising, queueing):
        await endpoint.stop()


async def test_an_endpoint_starts_and_stops_a_pubsub_it_is_given() -> None:
    pubsub = PubSub("local://")
    endpoint = Endpoint(pubsub=pubsub)
    assert endpoint.pubsub is pubsub
    for _ in range(2):
        await endpoint.start()
        assert pubsub.is_started
        await endpoint.stop()
        assert not pubsub.is_started


async def test_an_endpoint_leaves_a_pubsub_running_that_ran_before() -> None:
    async with PubSub("local://") as pubsub:
        endpoint = Endpoint(pubsub=pubsub)
        await endpoint.start()
        await endpoint.stop()
        assert pubsub.is_started


def test_two_endpoints_cannot_share_one_pubsub() -> None:
    pubsub = PubSub("local://")
    Endpoint(pubsub=pubsub)
    with pytest.raises(ConfigurationError, match="one endpoint"):
        Endpoint(pubsub=pubsub)


def test_the_bus_of_the_environment_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert PubSub().health is Health.UP
    monkeypatch.setenv(BUS_VARIABLE, f"zmq+ipc://{tmp_path}/bus")
    assert PubSub().health is Health.DOWN


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: PubSub("gopher://x"), "names no adapter"),
        (lambda: PubSub(on_unavailable="drop"), "'queue' and 'raise'"),  # type: ignore[arg-type]
        (lambda: PubSub(LocalAdapter(), node_name="x"), "together with an adapter"),
        (lambda: PubSub("local://").listen("t", limit=0), "limit of 1"),
        (lambda: PubSub("local://").listen("t", overflow="forget"), "drop_oldest, drop_newest, end"),  # type: ignore[arg-type]
        (lambda: PubSub("local://").broadcast(1, "e", {}), "strings"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_work_is_refused_where_it_is_written(make: Callable[[], object], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        make()


async def test_misuse_is_told() -> None:
    pubsub = PubSub("local://")
    with pytest.raises(LocalProtocolError, match="before the PubSub was started"):
        await pubsub.listen("t").__aenter__()
    with pytest.raises(LocalProtocolError, match="before the bus was started"):
        await pubsub.subscribe("t", print)
    async with pubsub:
        with pytest.raises(LocalProtocolError, match="started already"):
            await pubsub.start()
        with pytest.raises(LocalProtocolError, match="outside of its block"):
            await anext(pubsub.listen("t"))
        async with pubsub.listen("t") as messages:
            with pytest.raises(LocalProtocolError, match="entered twice"):
                await messages.__aenter__()
        with pytest.raises(LocalProtocolError, match="no JSON form"):
            pubsub.broadcast("t", "e", {"x": object()})


def test_a_thread_is_told_that_the_loop_of_the_bus_has_ended() -> None:
    pubsub = PubSub("local://")

    async def main() -> None:
        async with pubsub:
            pass

    asyncio.run(main())
    failed: list[Exception] = []

    def speak() -> None:
        try:
            pubsub.broadcast("t", "e", {})
        except PubSubUnavailable as error:
            failed.append(error)

    thread = threading.Thread(target=speak)
    thread.start()
    thread.join()
    assert "has ended" in str(failed[0])
