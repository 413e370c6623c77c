"""Trackers of several nodes: who is seen where, through crashes, restarts, pauses and netsplits.

Cases of phoenix_pubsub test/phoenix/tracker/shard_replication_test.exs. The rules are judged without a loop in
tests/core/presence/test_participant.py; here they run.
"""

import asyncio
import logging
import random
import time
from typing import Any

import pytest

from broadwing import PubSub, Tracker
from broadwing.core.presence.parts import PART_BYTES
from broadwing.exceptions import PubSubUnavailable
from tests.support.trackers import QUICK, Cluster, Node, cluster, until


def track(node: Node, *keys: str, topic: str = "lobby") -> None:
    for key in keys:
        node.tracker.track("owner", topic, key, {"from": node.name})


async def lists(node: Node, *keys: str) -> None:
    await until(lambda: node.keys() == sorted(keys), node.keys)


async def test_heartbeats_are_sent_without_any_change() -> None:
    async with cluster() as nodes:
        node = await nodes.node("a")
        await until(lambda: node.heard.count("heartbeat") >= 5)


async def test_joins_updates_and_leaves_elsewhere_are_seen_and_reported_once() -> None:
    async with cluster() as nodes:
        one, other = await nodes.pair()
        ref = one.tracker.track("owner", "lobby", "alice", {"n": 1})
        await lists(other, "alice")
        assert other.diffs == [{"lobby": ([("alice", {"n": 1, "phx_ref": ref})], [])}]
        new = one.tracker.update("owner", "lobby", "alice", {"n": 2})
        meta = {"n": 2, "phx_ref": new, "phx_ref_prev": ref}
        await until(lambda: other.tracker.get_by_key("lobby", "alice") == [meta])
        assert other.diffs[1:] == [{"lobby": ([("alice", meta)], [("alice", {"n": 1, "phx_ref": ref})])}]
        one.tracker.untrack("owner")
        await lists(other)
        assert other.diffs[2:] == [{"lobby": ([], [("alice", meta)])}]


async def test_gossip_from_an_unseen_node_brings_it_up_and_a_transfer_brings_what_it_has() -> None:
    async with cluster() as nodes:
        one = await nodes.node("a")
        track(one, "alice", "bob")
        await until(lambda: one.heard.count("heartbeat") >= 3)  # what was joined has been told, to nobody
        other = await nodes.node("b")
        await lists(other, "alice", "bob")
        assert other.changes == [("a", "up")]
        assert one.heard.count("transfer_request") == 1
        assert other.heard.count("transfer") == 1
        track(other, "carol")
        await lists(one, "alice", "bob", "carol")


async def test_a_node_that_crashes_is_down_after_the_down_period_and_not_before() -> None:
    async with cluster() as nodes:
        one, other = await nodes.pair()
        track(one, "alice")
        await lists(other, "alice")
        clock = asyncio.get_running_loop().time
        last = clock()
        await one.crash()
        await until(lambda: other.changes[-1] == ("a", "down"))
        # Its last heartbeat may be as old as the longest silence between two.
        longest = QUICK["broadcast_period"] * (QUICK["max_silent_periods"] + 1)
        assert clock() - last > QUICK["down_period"] - longest
        assert other.keys() == []
        assert [key for key, _ in other.tracker.dirty_list("lobby")] == ["alice"]
        assert other.tracker.replicas == {"a": "down"}
        again = await nodes.node("a")
        track(again, "alan")
        await lists(other, "alan")
        assert other.changes[-2:] == [("a", "permdown"), ("a", "up")]
        assert other.tracker.dirty_list("lobby") == other.tracker.list("lobby")


async def test_a_node_that_is_down_for_long_enough_is_forgotten() -> None:
    async with cluster() as nodes:
        one, other = await nodes.pair(down_period=0.3, permdown_period=0.6)
        track(one, "alice")
        await lists(other, "alice")
        await one.crash()
        await until(lambda: other.tracker.replicas == {})
        assert other.changes[-2:] == [("a", "down"), ("a", "permdown")]
        assert other.tracker.dirty_list("lobby") == []


async def test_a_netsplit_leaves_and_its_end_joins_again_on_both_sides() -> None:
    async with cluster() as nodes:
        one, other = await nodes.pair()
        track(one, "alice")
        track(other, "bob")
        for node in (one, other):
            await lists(node, "alice", "bob")
        one.adapter.is_cut = True
        await lists(one, "alice")
        await lists(other, "bob")
        track(one, "alan")
        other.tracker.untrack("owner")
        one.adapter.is_cut = False
        for node in (one, other):
            await lists(node, "alice", "alan")
        for node in (one, other):
            await until(lambda: len(node.changes) == 3)  # noqa: B023 - awaited before the next
            assert [status for _, status in node.changes] == ["up", "down", "up"]


async def test_a_third_node_that_was_cut_off_learns_from_whoever_knows_the_most() -> None:
    async with cluster() as nodes:
        one, other = await nodes.pair(down_period=600.0, permdown_period=1200.0)
        third = await nodes.node("c", down_period=600.0, permdown_period=1200.0)
        await until(lambda: len(third.tracker.replicas) == 2)
        third.adapter.is_cut = True
        track(one, "alice", "bob")
        await lists(other, "alice", "bob")
        one.tracker.untrack("owner", "lobby", "alice")
        await lists(other, "bob")
        await one.crash()  # so that only the other one can tell
        third.adapter.is_cut = False
        await lists(third, "bob")


async def test_a_goodbye_is_a_leave_at_once() -> None:
    async with cluster() as nodes:
        one, other = await nodes.pair(down_period=600.0, permdown_period=1200.0)
        track(one, "alice")
        await lists(other, "alice")
        await one.tracker.graceful_permdown()
        await until(lambda: other.tracker.replicas == {})
        assert other.changes[1:] == [("a", "down"), ("a", "permdown")]
        assert other.keys() == []
        track(other, "bob")
        assert one.keys() == []


async def test_a_stop_says_goodbye_unless_it_is_told_not_to() -> None:
    async with cluster() as nodes:
        one, other = await nodes.pair(down_period=600.0, permdown_period=1200.0, permdown_on_shutdown=True)
        third = await nodes.node("c", permdown_on_shutdown=False)
        await until(lambda: other.tracker.replicas == {"a": "up", "c": "up"})
        said = len(third.heard)
        await third.stop()
        await one.stop()
        await until(lambda: other.tracker.replicas == {"c": "up"})
        assert "permdown" not in third.heard[said:]


async def test_a_node_that_was_rolled_over_is_replaced_and_nobody_asks_twice() -> None:
    async with cluster() as nodes:
        one, other = await nodes.pair()
        track(other, "bob")
        await other.crash()
        await until(lambda: one.tracker.replicas == {"b": "down"})
        track(one, "alice")
        told = one.heard.count("heartbeat")
        await until(lambda: one.heard.count("heartbeat") >= told + 2)
        third = await nodes.node("c")
        await lists(third, "alice")
        asked = one.heard.count("transfer_request")
        heard = third.heard.count("heartbeat")
        await until(lambda: third.heard.count("heartbeat") > heard + 10)
        assert one.heard.count("transfer_request") == asked == 1


async def test_shards_are_replicated_one_by_one() -> None:
    async with cluster() as nodes:
        one, other = await nodes.pair(shards=3)
        topics = [f"room:{number}" for number in range(20)]
        for topic in topics:
            track(one, "alice", topic=topic)
        await until(lambda: all(other.keys(topic) == ["alice"] for topic in topics))
        await one.tracker.stop()
        await until(lambda: not any(other.keys(topic) for topic in topics))
        # Three shards have seen it go, and the first one has told of it.
        assert other.changes == [("a", "up"), ("a", "down"), ("a", "permdown")]


async def test_what_is_too_long_for_a_bus_goes_in_parts() -> None:
    async with cluster() as nodes:
        one = await nodes.node("a")
        for number in range(40):
            one.tracker.track(number, "lobby", f"user{number}", {"text": "x" * 20_000})
        assert 3 * PART_BYTES < 40 * 20_000
        other = await nodes.node("b")
        await until(lambda: len(other.keys()) == 40)
        assert other.heard.count("part") > 3


# What may be wrong.


async def test_a_loop_that_stood_still_does_not_take_everybody_for_dead() -> None:
    async with cluster() as nodes:
        one, other = await nodes.pair()
        track(one, "alice")
        await lists(other, "alice")
        for _ in range(3):
            time.sleep(
                1.5 * QUICK["down_period"]
            )  # both stand still; each finds the other one silent for all that time
            for node in (one, other):
                due = len(node.heard) + 4
                await until(lambda: len(node.heard) >= due)  # noqa: B023 - awaited before the next
        assert one.changes == [("b", "up")]
        assert other.changes == [("a", "up")]
        assert len(other.diffs) == 1


async def test_a_bus_that_is_down_keeps_what_there_is_to_say() -> None:
    async with cluster() as nodes:
        one, other = await nodes.pair()
        await nodes.bus.stop_bus()
        for _ in range(200):
            track(one, "alice")
            one.tracker.untrack("owner")
        track(one, "bob")
        await until(lambda: one.tracker.replicas == {"b": "down"})
        assert one.pubsub.engine.waiting == 0
        await nodes.bus.start_bus()
        await lists(other, "bob")
        await until(lambda: one.tracker.replicas == {"b": "up"})


async def test_a_bus_that_takes_no_more_is_only_late(monkeypatch: pytest.MonkeyPatch) -> None:
    async with cluster() as nodes:
        one, other = await nodes.pair(log_level=logging.INFO)
        refused = []

        def refuse(*arguments: Any) -> None:
            refused.append(arguments)
            raise PubSubUnavailable("full")

        with monkeypatch.context() as full:
            full.setattr(one.pubsub.engine, "broadcast", refuse)
            full.setattr(one.pubsub.engine, "direct_broadcast", refuse)
            track(one, "alice")
            await until(lambda: refused)
        await lists(other, "alice")


async def test_messages_that_are_lost_are_made_good() -> None:
    chance = random.Random(7)
    async with cluster() as nodes:
        many = [await nodes.node(name, down_period=5.0) for name in "abc"]
        await until(lambda: all(len(node.tracker.replicas) == 2 for node in many))
        for round_ in range(30):
            for node in many:
                node.adapter.is_cut = chance.random() < 0.4
                track(node, f"{node.name}{round_}")
                if round_ % 3 == 2:
                    node.tracker.untrack("owner", "lobby", f"{node.name}{round_ - 1}")
            await asyncio.sleep(0.02)
        for node in many:
            node.adapter.is_cut = False
        left = [f"{name}{round_}" for name in "abc" for round_ in range(30) if round_ % 3 != 1]
        for node in many:
            await lists(node, *left)


async def test_a_fault_in_one_tick_does_not_end_all_ticks(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with cluster() as nodes:
        one, other = await nodes.pair()
        failed = []

        def fail(*arguments: Any, **more: Any) -> None:
            failed.append(arguments)
            raise RuntimeError("no")

        with monkeypatch.context() as broken:
            broken.setattr(one.tracker._shards[0].participant, "tick", fail)
            await until(lambda: len(failed) > 1)
        assert "a tick of phx_presence:tracker_shard0 failed" in caplog.text
        track(one, "alice")
        await lists(other, "alice")


async def test_an_observer_that_raises_and_one_that_has_ended_stop_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with cluster() as nodes:
        one = await nodes.node("a")
        ended: list[str] = []

        def fail(name: str, status: str) -> None:
            raise RuntimeError("no")

        one.tracker.on_replica(fail)
        one.tracker.on_replica(lambda name, status: ended.append(name))()
        await nodes.node("b")
        await until(lambda: one.tracker.replicas == {"b": "up"})
        assert (one.changes, ended) == ([("b", "up")], [])
        assert "an observer of the nodes of tracker 'tracker' raised" in caplog.text


async def test_what_happens_is_logged_at_the_level_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "broadwing.presence"):
        async with cluster() as nodes:
            one = await nodes.node("a", log_level=logging.DEBUG)
            track(one, "alice")
            await until(lambda: one.heard.count("heartbeat") >= 2)
            other = await nodes.node("b")
            await lists(other, "alice")
    lines = [record.getMessage() for record in caplog.records if record.name == "broadwing.presence"]
    assert "node a: phx_presence:tracker_shard0 sees b up" in lines
    assert "node a: phx_presence:tracker_shard0 is asked by b for what it has missed" in lines
    assert not [text for text in lines if text.startswith("node b")]


async def test_presences_that_are_too_many_for_one_message_are_said_to_be(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("broadwing.core.presence.parts.PART_BYTES", 1_000)
    monkeypatch.setattr("broadwing.core.presence.parts.MAX_BYTES", 2_000)
    async with cluster() as nodes:
        one = await nodes.node("a")
        one.tracker.track("owner", "lobby", "alice", {"text": "x" * 3_000})
        await until(lambda: "use more shards" in caplog.text)


async def test_a_start_that_is_cancelled_leaves_nothing_behind() -> None:
    nodes = Cluster()
    await nodes.bus.pause_bus()  # so that it confirms nothing
    pubsub = PubSub(nodes.bus.adapter("a"), canary_interval=1000.0, canary_timeout=1000.0)
    async with pubsub:
        tracker = Tracker(pubsub)
        task = asyncio.create_task(tracker.start())
        await until(lambda: pubsub.registry.topics)
        task.cancel()
        await asyncio.wait((task,))
        assert task.cancelled()
        assert (pubsub.registry.topics, tracker.is_started) == ({}, False)
        await nodes.bus.resume_bus()
