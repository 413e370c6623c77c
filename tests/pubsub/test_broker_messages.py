"""What a broker carries for nodes, and what it costs them; both adapters, by the same stories."""

import asyncio
import logging
from typing import Any

import pytest

from broadwing.pubsub.batch import pack
from broadwing.pubsub.broker_frames import Frames
from broadwing.pubsub.health import Health
from tests.pubsub.nodes import Server, becomes, gets, join, listen, node, until
from tests.support.background import TIMEOUT
from tests.support.relay import relay


async def test_a_topic_without_listeners_here_costs_a_node_not_one_byte(server: Server) -> None:
    async with relay(server.broker.port) as way, node(server.adapter(way.port)) as one, node(server.adapter()) as two:
        got = await listen(one, "mine")
        _, leave = await join(one, "left")
        leave()
        await listen(one, "the last thing asked for")
        begin, received = way.to_client, one._adapter.received  # type: ignore[attr-defined]
        two.broadcast("mine", b"1")
        await gets(got, b"1")
        one_message = way.to_client - begin
        for number in range(2000):
            two.broadcast(f"room:{number}", b"x" * 200)
            two.broadcast("left", b"x" * 200)
        await asyncio.sleep(0)  # what is broadcast in one turn may go together
        two.broadcast("mine", b"2")  # comes behind all of that
        await gets(got, b"1", b"2")
        assert way.to_client == begin + 2 * one_message
        assert one._adapter.received == received + 2  # type: ignore[attr-defined]


async def test_a_node_has_no_more_lines_than_it_needs_however_much_it_does(server: Server) -> None:
    async with relay(server.broker.port) as way, node(server.adapter(way.port)) as one, node(server.adapter()) as two:
        there = await listen(two, "a")
        await asyncio.gather(*(listen(one, f"room:{number}") for number in range(500)))
        for number in range(500):
            one.broadcast("a", b"%d" % number)
        await gets(there, *(b"%d" % number for number in range(500)))
        # One listens and one publishes; NATS has one line for both.
        assert way.opened == {"redis": 2, "nats": 1}[server.kind]


async def test_subscriptions_of_one_turn_are_confirmed_together(server: Server) -> None:
    async with relay(server.broker.port) as way, node(server.adapter(way.port)) as one:
        way.hold()
        waiting = [one._adapter.subscribe(f"room:{number}") for number in range(1000)]
        await until(lambda: not one._adapter._servers._commands)  # type: ignore[attr-defined]
        way.go_on()
        for confirmation in waiting:
            assert confirmation is not None
            await confirmation


async def test_prefixes_separate_applications(server: Server) -> None:
    other = Server(server.kind, server.broker)
    async with node(server.adapter()) as one, node(server.adapter()) as two, node(other.adapter()) as stranger:
        there, elsewhere = await listen(two, "a"), await listen(stranger, "a")
        one.broadcast("a", b"1")
        await gets(there, b"1")
        one.direct_broadcast(stranger.node_name, "a", b"not for strangers")
        stranger.broadcast("a", b"2")
        await gets(elsewhere, b"2")
        assert there == [b"1"]


async def test_what_strangers_publish_under_our_names_is_dropped_with_one_line_in_the_log(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "broadwing.pubsub")
    async with node(server.adapter()) as one, node(server.adapter()) as two:
        got = await listen(one, "a")
        raw = two._adapter._servers  # type: ignore[attr-defined]
        name, mailbox = two._adapter._name("a"), one._adapter._mailbox  # type: ignore[attr-defined]
        caplog.clear()
        for _ in range(20):
            raw.publish(name, b'{"hello": 1}')
        two.broadcast("a", b"1")
        await gets(got, b"1")
        assert one.dropped == 20
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        # Damaged heads, and messages for one node that nobody can place: dropped by the adapter, and counted.
        caplog.clear()
        damaged = [
            b"\xb7BW",
            b"\xb7BW\x01",
            b"\xb7BW\x02\x00" + bytes(8),
            Frames().with_topic("b", b"other topic")[:-12],
        ]
        for frame in damaged:
            raw.publish(name, frame)
        for frame in (b"", b"hello", Frames().plain, Frames().to_node("a", b"")[:15]):
            raw.publish(mailbox, frame)
        two.broadcast("a", b"2")
        await gets(got, b"1", b"2")
        assert one._adapter.damaged == 8  # type: ignore[attr-defined]
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert one.dropped == 20


async def test_a_program_that_is_no_node_can_publish_without_a_head(server: Server) -> None:
    async with node(server.adapter()) as one, node(server.adapter()) as two:
        got = await listen(one, "a")
        name = two._adapter._name("a")  # type: ignore[attr-defined]
        two._adapter._servers.publish(name, pack([b"P1", b"P2"]))  # type: ignore[attr-defined]
        await gets(got, b"1", b"2")


async def test_nodes_that_were_given_one_name_by_mistake_still_hear_each_other(server: Server) -> None:
    first, second = server.adapter(), server.adapter()
    first.node_name = second.node_name = "web"
    async with node(first) as one, node(second) as two:
        here, there = await listen(one, "a"), await listen(two, "a")
        one.broadcast("a", b"1")
        await gets(there, b"1")
        two.broadcast("a", b"2")
        await gets(here, b"1", b"2")


async def test_a_receiver_that_raises_costs_neither_the_line_nor_the_next_message(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = server.adapter(), server.adapter()
    got: list[Any] = []

    def receive(topic: str, data: bytes) -> None:
        got.append(data)
        raise RuntimeError("a receiver of the test raises on purpose")

    await one.start(receive, lambda: None)
    await two.start(lambda topic, data: None, lambda: None)
    try:
        confirmation = one.subscribe("a")
        assert confirmation is not None
        await confirmation
        two.publish("a", b"1")
        two.publish("a", b"2")
        await gets(got, b"1", b"2")
        assert one.is_up
        assert "could not be delivered" in caplog.text
    finally:
        await one.stop()
        await two.stop()


async def test_subscribing_twice_is_one_subscription(server: Server) -> None:
    adapter = server.adapter()
    async with node(adapter), node(server.adapter()) as two:
        first = adapter.subscribe("a")
        assert adapter.subscribe("a") is first
        assert first is not None
        await first
        assert adapter.subscribe("a") is None
        received = adapter.received
        two.broadcast("a", b"1")
        adapter.publish_to(adapter.node_name, "b", b"behind it")
        await until(lambda: adapter.received >= received + 2, lambda: adapter.received)
        assert adapter.received == received + 2
        adapter.unsubscribe("a")
        adapter.unsubscribe("a")
        adapter.unsubscribe("never")


async def test_start_waits_for_a_broker_that_is_there(server: Server) -> None:
    async with node(server.adapter()) as one:
        assert one.health is Health.UP


async def test_start_does_not_wait_for_a_broker_that_is_not(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broadwing.pubsub.broker.START_TIMEOUT", 600.0)
    await server.kill()
    async with asyncio.timeout(TIMEOUT), node(server.adapter()) as one:
        assert one.health is Health.DOWN
        await server.start()
        await becomes(one, Health.UP)
