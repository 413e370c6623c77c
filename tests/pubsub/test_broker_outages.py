"""Brokers that die, hang, come back or throw a node out; both adapters, by the same stories."""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any

import pytest

from broadwing.exceptions import PubSubUnavailable
from broadwing.pubsub.broker import BrokerAdapter
from broadwing.pubsub.health import Health
from tests.pubsub.nodes import QUIET, Server, becomes, gets, join, join_now, listen, node, open_files, until
from tests.support.brokers import Broker, tell
from tests.support.relay import relay


async def test_what_waited_for_a_killed_broker_arrives_in_order_once_others_hear_again(server: Server) -> None:
    # `one` goes through a relay, so that it comes back after `two`: messages for nodes that are away wait for nobody.
    async with relay(server.broker.port) as way, node(server.adapter(way.port)) as one, node(server.adapter()) as two:
        told: list[Health] = []
        one.on_health(told.append)
        here, there = await listen(one, "a"), await listen(two, "a")
        one.broadcast("a", b"before")
        await gets(there, b"before")
        await server.kill()
        await becomes(one, Health.DOWN)
        await becomes(two, Health.DOWN)
        await way.refuse()
        expected = [b"%d" % number for number in range(500)]
        for message in expected:
            one.broadcast("a", message)
        assert here == [b"before", *expected]
        late = await listen(two, "late")
        await server.start()
        await becomes(two, Health.UP)
        await way.start()
        await becomes(one, Health.UP)
        await gets(there, b"before", *expected)
        one.broadcast("late", b"subscribed during the outage")
        await gets(late, b"subscribed during the outage")
        two.broadcast("a", b"and back")
        await gets(here, b"before", *expected, b"and back")
        assert told == [Health.DOWN, Health.UP]


async def test_with_the_policy_raise_a_publisher_is_told_of_the_outage_at_once(server: Server) -> None:
    async with node(server.adapter(), on_unavailable="raise") as one:
        here = await listen(one, "a")
        await server.kill()
        await becomes(one, Health.DOWN)
        with pytest.raises(PubSubUnavailable):
            one.broadcast("a", b"refused")
        await server.start()
        await becomes(one, Health.UP)
        one.broadcast("a", b"taken")
        assert here == [b"taken"]


async def test_a_paused_broker_makes_a_node_deaf_until_it_goes_on(server: Server) -> None:
    healthy = {"canary_interval": 0.05, "canary_timeout": 0.2}
    async with node(server.adapter(), **healthy) as one, node(server.adapter(), **QUIET) as two:
        there = await listen(two, "a")
        await becomes(one, Health.UP)
        told: list[Health] = []
        one.on_health(told.append)
        server.broker.pause()
        await until(lambda: Health.DEAF in told, lambda: told)
        server.broker.resume()
        await becomes(one, Health.UP)
        one.broadcast("a", b"1")
        await gets(there, b"1")


async def test_a_line_that_carries_nothing_any_more_is_noticed_without_a_canary(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with relay(server.broker.port) as way, node(server.adapter(way.port, ping_interval=0.2)) as one:
        await becomes(one, Health.UP)
        way.hold()
        await becomes(one, Health.DOWN)
        assert "no answer to PING within 0.2 s" in caplog.text
        way.go_on()
        await becomes(one, Health.UP)


async def test_a_quiet_line_is_kept(server: Server) -> None:
    async with relay(server.broker.port) as way, node(server.adapter(way.port, ping_interval=0.5)) as one:
        await becomes(one, Health.UP)
        told: list[Health] = []
        one.on_health(told.append)
        opened, begin = way.opened, way.to_client
        await until(
            lambda: way.to_client > begin + 20
        )  # some PINGs later, each of which a busy broker had time to answer
        assert (way.opened, told) == (opened, [])


async def test_a_cut_line_is_restored_with_one_line_in_the_log(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "broadwing.pubsub")
    async with relay(server.broker.port) as way, node(server.adapter(way.port)) as one, node(server.adapter()) as two:
        got = await listen(one, "a")
        for number in range(3):
            caplog.clear()
            way.cut()
            await becomes(one, Health.DOWN)
            await becomes(one, Health.UP)
            lost = [record for record in caplog.records if record.message.endswith("trying again")]
            assert [record.levelname for record in lost] == ["WARNING"]
            two.broadcast("a", b"%d" % number)
            await gets(got, *(b"%d" % earlier for earlier in range(number + 1)))


async def test_a_listener_that_redis_throws_out_is_replaced(redis_broker: Broker) -> None:
    redis_broker.ensure()
    server = Server("redis", redis_broker)
    async with node(server.adapter()) as one, node(server.adapter()) as two:
        here, there = await listen(one, "a"), await listen(two, "a")
        down: list[Health] = []
        one.on_health(down.append)
        two.on_health(down.append)
        assert tell(redis_broker.port, "CLIENT", "KILL", "TYPE", "pubsub") == ":2\r\n"
        await until(lambda: down.count(Health.UP) == 2, lambda: down)
        one.broadcast("a", b"1")
        await gets(there, b"1")
        two.broadcast("a", b"2")
        await gets(here, b"1", b"2")


async def test_an_outage_is_one_line_in_the_log_however_long_it_lasts(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async with relay(server.broker.port) as way, node(server.adapter(way.port)) as one:
        await becomes(one, Health.UP)
        await server.kill()
        begin = way.opened
        await until(lambda: way.opened >= begin + 4, lambda: way.opened)  # attempts that the relay cannot pass on
        lines = [record.message for record in caplog.records if "trying again" in record.message]
        assert len(lines) == len(set(lines)) <= 2, lines  # the loss, and the refusal if it is worded otherwise
        await server.start()
        await becomes(one, Health.UP)


async def test_more_than_the_queue_holds_is_refused_and_the_node_recovers(server: Server) -> None:
    adapter = server.adapter(query="&queue_bytes=100000")
    async with node(server.adapter()) as other:
        there = await listen(other, "end")
        async with node(adapter) as one:
            await becomes(one, Health.UP)
            server.broker.pause()
            # The kernel's buffers and the transport's take some; then it waits here, and then there is no room.
            with pytest.raises(PubSubUnavailable, match="queue_bytes"):
                await fill_slowly(adapter)
            server.broker.resume()
            one.broadcast("end", b"1")  # waits in the outbox until there is room
            await gets(there, b"1")


def fill(adapter: BrokerAdapter[Any]) -> None:
    """Publish until there is no room left."""
    for _ in range(1000):
        adapter.publish("a", b"x" * 100_000)


async def fill_slowly(adapter: BrokerAdapter[Any]) -> None:
    """The same, one turn of the loop each."""
    for _ in range(1000):
        adapter.publish("a", b"x" * 50_000)
        await asyncio.sleep(0)


async def test_a_node_ends_in_bounded_time_with_everything_full(server: Server) -> None:
    before = open_files()
    adapter = server.adapter()
    async with node(adapter) as one:
        await becomes(one, Health.UP)
        server.broker.pause()
        with pytest.raises(PubSubUnavailable, match="queue_bytes"):
            fill(adapter)
        await asyncio.sleep(0)
        waiting = adapter.subscribe("never confirmed")
        assert waiting is not None
    assert asyncio.ensure_future(waiting).cancelled()
    server.broker.resume()
    await until(lambda: open_files() == before, open_files)


async def test_many_lives_leave_nothing_behind(server: Server) -> None:
    before, tasks = open_files(), asyncio.all_tasks()
    for _ in range(3):
        async with node(server.adapter()) as one:
            await listen(one, "a")
            await one._adapter.reconnect()
            await becomes(one, Health.UP)
            one.broadcast("a", b"1")
    assert asyncio.all_tasks() == tasks
    await until(lambda: open_files() == before, open_files)


async def test_a_broker_that_does_not_answer_a_handshake_is_tried_again(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(f"broadwing.pubsub.{server.kind}_link.CONNECT_TIMEOUT", 0.1)
    monkeypatch.setattr("broadwing.pubsub.broker.START_TIMEOUT", 0.1)
    before = open_files()
    server.broker.pause()
    async with node(server.adapter()) as one:
        await until(lambda: "no answer within 0.1 s" in caplog.text, lambda: caplog.text)
        assert one.health is Health.DOWN
        server.broker.resume()
        await becomes(one, Health.UP)
    await until(lambda: open_files() == before, open_files)


async def test_stopping_in_the_middle_of_a_handshake_leaves_nothing_behind(server: Server) -> None:
    before, tasks = open_files(), asyncio.all_tasks()
    server.broker.pause()
    adapter = server.adapter()
    starting = asyncio.create_task(adapter.start(lambda topic, data: None, lambda: None))
    await until(lambda: open_files() > before, open_files)
    await adapter.stop()
    server.broker.resume()
    await starting
    assert not adapter.is_up
    assert asyncio.all_tasks() == tasks
    await until(lambda: open_files() == before, open_files)


async def test_a_subscription_is_confirmed_before_anything_is_missed(server: Server) -> None:
    # The listener has the longer way, so that a message that does not wait for it comes first.
    async with relay(server.broker.port) as way, node(server.adapter(way.port)) as two, node(server.adapter()) as one:
        for number in range(200):
            topic = f"room:{number % 7}"
            got, leave = await join(two, topic)
            one.broadcast(topic, b"%d" % number)
            await gets(got, b"%d" % number)
            leave()


async def test_nobody_but_the_broker_confirms_a_subscription(server: Server) -> None:
    async with relay(server.broker.port) as way, node(server.adapter(way.port)) as two, node(server.adapter()) as one:
        await becomes(two, Health.UP)
        way.hold()
        waiting = two._adapter.subscribe("a")
        assert waiting is not None
        for number in range(20):  # while others subscribe and hear
            got = await listen(one, f"room:{number}")
            one.direct_broadcast(one.node_name, f"room:{number}", b"1")
            await gets(got, b"1")
        assert not asyncio.ensure_future(waiting).done()
        way.go_on()
        await waiting


async def test_the_confirmation_of_a_subscription_that_has_ended_is_not_taken_for_a_later_one(server: Server) -> None:
    # The listener has the longer way, so that a message that does not wait for it comes first.
    async with relay(server.broker.port) as way, node(server.adapter(way.port)) as two, node(server.adapter()) as one:
        for number in range(200):
            two.subscribe("a", print).cancel()
            got, leave = await join(two, "a")
            one.broadcast("a", b"%d" % number)
            await gets(got, b"%d" % number)
            leave()


async def test_topics_joined_and_left_in_any_order_end_as_they_should(server: Server) -> None:
    chance = random.Random(7)
    async with node(server.adapter()) as one, node(server.adapter()) as two:
        joined: dict[str, tuple[list[Any], Callable[[], None]]] = {}
        for _ in range(500):
            topic = f"room:{chance.randrange(20)}"
            if topic in joined:
                joined.pop(topic)[1]()
            else:
                joined[topic] = join_now(two, topic)
            if chance.random() < 0.3:
                await asyncio.sleep(0)
        await join(two, "the last")
        received = two._adapter.received  # type: ignore[attr-defined]
        for number in range(20):
            one.broadcast(f"room:{number}", b"1")
        for got, _ in joined.values():
            await gets(got, b"1")
        assert two._adapter.received == received + len(joined)  # type: ignore[attr-defined]


async def test_a_flush_tells_of_a_connection_that_broke_before_the_broker_had_answered(server: Server) -> None:
    async with node(server.adapter()) as one:
        await becomes(one, Health.UP)
        server.broker.pause()
        one.broadcast("a", b"perhaps lost")
        flushing = asyncio.ensure_future(one.flush())
        await until(lambda: not one.waiting, lambda: one.waiting)
        assert not flushing.done()
        await server.kill()
        with pytest.raises(PubSubUnavailable, match="broke"):
            await flushing


async def test_a_flush_waits_for_a_broker_that_is_down_for_as_long_as_it_may(server: Server) -> None:
    async with node(server.adapter()) as one, node(server.adapter()) as two:
        await becomes(one, Health.UP)
        there = await listen(two, "a")
        await server.kill()
        await becomes(one, Health.DOWN)
        one.broadcast("a", b"1")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await one.flush()
        with pytest.raises(PubSubUnavailable, match="not connected"):
            await one._adapter.flush()
        flushing = asyncio.ensure_future(one.flush())
        await server.start()
        await flushing
        await becomes(two, Health.UP)
        one.broadcast("a", b"2")
        await until(lambda: there[-1:] == [b"2"], lambda: there)
