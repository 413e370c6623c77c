"""Joining: what a client gets for `phx_join`, over every transport and both wire versions.

Expected frames are those of Phoenix 1.8.12, recorded in spec/vectors/recording_v1.json and recording_v2.json, but for the
one departure that its test names.
"""

import logging
from typing import Any

import pytest

from tests.integration.conftest import World
from tests.support.server import until


async def test_a_join_is_answered_with_its_own_refs(world: World) -> None:
    """checklist 48"""
    client = await world.connect()
    await client.send("1", "1", "room:lobby", "phx_join")
    await client.expect_reply("1", "1", "room:lobby", "ok", {})
    await client.quiet()


@pytest.mark.parametrize("params", [{"p": 1}, None, "str", [1, {"a": None}], 7, True])
async def test_any_json_value_may_be_the_payload_of_a_join(world: World, params: Any) -> None:
    client = await world.connect()
    await client.send("1", "1", "room:reply", "phx_join", params)
    await client.expect_reply("1", "1", "room:reply", "ok", {"got": params, "n": 1})


async def test_a_join_may_be_answered_with_any_json_value(world: World) -> None:
    """checklist 109"""
    client = await world.connect()
    await client.join("story:list", "1", response=[1, "two", None])
    await client.send("2", "2", "story:refuse", "phx_join")
    await client.expect_reply("2", "2", "story:refuse", "error", ["not", "you"])


async def test_a_refused_join_leaves_the_topic_free(world: World) -> None:
    client = await world.connect()
    await client.send("1", "1", "room:private", "phx_join")
    await client.expect_reply("1", "1", "room:private", "error", {"reason": "unauthorized"})
    await client.send("1", "2", "room:private", "echo")
    await client.expect_reply(None, "2", "room:private", "error", {"reason": "unmatched topic"})
    await client.quiet()


@pytest.mark.parametrize("topic", ["room:crash", "room:badreturn", "story:early_push", "story:early_broadcast"])
async def test_a_join_that_crashes_is_told_so_and_its_connection_lives(
    world: World, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    """checklist 110: it raised, returned what is no reply, or pushed or broadcast before it was done"""
    client = await world.connect()
    await client.send("1", "1", topic, "phx_join")
    await client.expect_reply("1", "1", topic, "error", {"reason": "join crashed"})
    assert "join crashed" in caplog.text
    await client.join("room:lobby", "2")


async def test_what_has_to_follow_a_join_is_sent_to_oneself(world: World) -> None:
    client = await world.connect()
    await client.send("1", "1", "room:after", "phx_join")
    await client.expect_reply("1", "1", "room:after")
    await client.expect("1", None, "room:after", "welcome", {"topic": "room:after"})


@pytest.mark.parametrize("topic", ["nosuch:topic", "bare:x", "room", ""])
async def test_a_topic_without_a_route_is_unmatched(world: World, topic: str, caplog: pytest.LogCaptureFixture) -> None:
    """checklist 71"""
    client = await world.connect()
    await client.send("1", "1", topic, "phx_join")
    await client.expect_reply(None, "1", topic, "error", {"reason": "unmatched topic"})
    assert f"Ignoring unmatched topic {topic!r} in GroundSocket" in caplog.text


@pytest.mark.parametrize("topic", ["bare", "room:", "room:a:b", "room:é☃😀"])
async def test_an_exact_topic_and_any_rest_of_a_prefix_are_joined(world: World, topic: str) -> None:
    client = await world.connect()
    await client.join(topic)
    await client.send("1", "2", topic, "echo", {"a": 1})
    await client.expect_reply("1", "2", topic, "ok", {"a": 1})


async def test_without_a_join_ref_the_ref_of_the_join_stands_in_for_it(world: World) -> None:
    """checklist 107: replies and pushes carry it; messages that carry it are stale, since the client never sent it as such"""
    client = await world.connect()
    await client.send(None, "7", "room:lobby", "phx_join")
    await client.expect_reply(None, "7", "room:lobby")
    await client.send(None, "8", "room:lobby", "push_me", {"k": 1})
    await client.expect("7", None, "room:lobby", "pushed", {"k": 1})
    await client.send(None, "9", "room:lobby", "echo", {"k": 1})
    await client.expect_reply("7", "9", "room:lobby", "ok", {"k": 1})
    await client.send("7", "10", "room:lobby", "echo", {"k": 1})
    await client.quiet()
    await client.send(None, "11", "room:lobby", "phx_leave")
    await client.expect_reply("7", "11", "room:lobby")
    await client.expect(None, None, "room:lobby", "phx_close")


async def test_a_join_without_any_ref_works(world: World) -> None:
    client = await world.connect()
    await client.send(None, None, "room:lobby", "phx_join")
    await client.expect_reply(None, None, "room:lobby")
    await client.send(None, "2", "room:lobby", "echo", {"k": 1})
    await client.expect_reply(None, "2", "room:lobby", "ok", {"k": 1})


async def test_refs_are_compared_with_their_types(world: World) -> None:
    """checklist 106"""
    client = await world.connect()
    await client.join("room:lobby", "1")
    await client.join("room:other", 1)
    await client.send(1, "2", "room:lobby", "echo", {"stale": True})
    await client.send("1", 3, "room:other", "echo", {"stale": True})
    await client.quiet()
    await client.send(1, 4, "room:other", "push_me", {"k": 1})
    await client.expect(1, None, "room:other", "pushed", {"k": 1})
    await client.send(1, 5, "room:other", "echo", {"k": 1})
    await client.expect_reply(1, 5, "room:other", "ok", {"k": 1})


async def test_a_second_mount_of_a_socket_works(world: World) -> None:
    """checklist 47"""
    client = await world.connect("/again")
    await client.join("room:lobby")


async def test_the_hundred_and_first_join_of_a_connection_is_refused(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """checklist 53"""
    client = await world.connect()
    for n in range(100):
        await client.send(f"{n}", f"{n}", f"room:{n}", "phx_join")
    for n in range(100):
        await client.expect_reply(f"{n}", f"{n}", f"room:{n}")
    await client.send("100", "101", "room:100", "phx_join")
    await client.expect_reply("100", "101", "room:100", "error", {"reason": "too many channels joined"})
    assert [r.levelno for r in caplog.records if "beyond its 100 channels" in r.getMessage()] == [logging.ERROR]
    # A topic that is joined already costs nothing more, and one that was left can be joined again.
    await client.send("102", "102", "room:0", "phx_join")
    await client.expect_reply("102", "102", "room:0")
    await client.expect("0", "0", "room:0", "phx_close")
    await client.send("1", "103", "room:1", "phx_leave")
    await client.expect_reply("1", "103", "room:1")
    await client.expect("1", "1", "room:1", "phx_close")
    await client.join("room:100", "104")


async def test_the_cap_is_the_socket_classes_own(ws_world: World) -> None:
    """checklist 54"""
    client = await ws_world.connect("/small")
    await client.join("room:1", "1")
    await client.send("2", "2", "room:2", "phx_join")
    await client.expect_reply("2", "2", "room:2", "error", {"reason": "too many channels joined"})


async def test_a_slow_join_holds_up_its_own_topic_alone(world: World) -> None:
    """checklist 116, where we differ on purpose: Phoenix holds up the whole connection, heartbeats included"""
    client, other = await world.connect(), await world.connect()
    await client.send("1", "1", "story:slow", "phx_join")
    await client.send("1", "2", "story:slow", "record", {"early": True})
    await client.join("room:lobby", "3")
    await other.join("room:lobby", "1")
    await client.quiet()
    world.endpoint.gate.set()
    await client.expect_reply("1", "1", "story:slow")
    await client.expect_reply("1", "2", "story:slow")
    assert world.endpoint.handled == [("story:slow", {"early": True})]


async def test_a_join_that_is_still_going_on_when_its_client_leaves_is_ended_after_it(world: World) -> None:
    client = await world.connect()
    await client.send("1", "1", "story:slow", "phx_join")
    await client.send("1", "2", "story:slow", "phx_leave")
    await client.quiet()
    world.endpoint.gate.set()
    await client.expect_reply("1", "1", "story:slow")
    await client.expect_reply("1", "2", "story:slow")
    await client.expect("1", "1", "story:slow", "phx_close")
    await client.expect("1", None, "story:slow", "farewell", {"topic": "story:slow"})
    await until(lambda: world.endpoint.terminated == [("story:slow", ("shutdown", "left"))])


async def test_a_channel_starts_with_the_assigns_of_its_socket_and_route_and_keeps_its_own(world: World) -> None:
    """checklist 151, and 4.1: what one channel assigns is seen by no other"""
    client = await world.connect(user_id="7")
    await client.join("story:static", "1")
    await client.join("story:other", "2")
    await client.send("1", "3", "story:static", "remember", {"mine": 1, "static": "changed"})
    await client.expect_reply("1", "3", "story:static")
    await client.send("1", "4", "story:static", "recall")
    await client.expect_reply("1", "4", "story:static", "ok", {"user_id": "7", "static": "changed", "mine": 1})
    await client.send("2", "5", "story:other", "recall")
    await client.expect_reply("2", "5", "story:other", "ok", {"user_id": "7"})
    await client.join("room:lobby", "6")
    again = await world.connect(user_id="7")
    await again.join("story:static", "1")
    await again.send("1", "2", "story:static", "recall")
    await again.expect_reply("1", "2", "story:static", "ok", {"user_id": "7", "static": "from the route"})
