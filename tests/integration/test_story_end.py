"""How a channel ends: leave, stop, crash, a newer join, the connection's end; over every transport and both wire versions.

Expected frames are those of Phoenix 1.8.12, recorded in spec/vectors/recording_v1.json and recording_v2.json, but where a
test names its departure.
"""

from typing import Any

import pytest

from broadwing import LocalProtocolError
from broadwing.core.topics import TRACKERS
from tests.integration.conftest import World
from tests.support.server import until

CRASH = {"reason": "channel_crash"}
UNMATCHED = {"reason": "unmatched topic"}


async def test_a_leave_is_answered_then_closed_then_what_terminate_pushed_arrives(world: World) -> None:
    """checklist 51, 114"""
    client = await world.connect()
    await client.join("story:x", "1")
    await client.send("1", "2", "story:x", "phx_leave")
    await client.expect_reply("1", "2", "story:x")
    await client.expect("1", "1", "story:x", "phx_close")
    await client.expect("1", None, "story:x", "farewell", {"topic": "story:x"})
    assert world.endpoint.terminated == [("story:x", ("shutdown", "left"))]
    world.endpoint.broadcast("story:x", "gone", {})
    await client.quiet()


async def test_after_a_leave_events_are_unmatched_and_a_leave_is_still_answered(world: World) -> None:
    """checklist 52"""
    client = await world.connect()
    await client.join("story:x", "1")
    await client.send("1", "2", "story:x", "phx_leave")
    await client.send("1", "3", "story:x", "record")
    await client.send("1", "4", "story:x", "phx_leave")
    await client.expect_reply("1", "2", "story:x")
    await client.expect("1", "1", "story:x", "phx_close")
    await client.expect("1", None, "story:x", "farewell", {"topic": "story:x"})
    await client.expect_reply(None, "3", "story:x", "error", UNMATCHED)
    await client.expect_reply("1", "4", "story:x")
    await client.send("1", "5", "story:x", "record")
    await client.expect_reply(None, "5", "story:x", "error", UNMATCHED)
    await client.send("1", "6", "story:x", "phx_leave")
    await client.expect_reply("1", "6", "story:x")
    assert world.endpoint.handled == []
    await client.join("story:x", "7")


async def test_a_leave_without_a_join_ref_leaves_and_one_of_an_earlier_join_does_not(world: World) -> None:
    client = await world.connect()
    await client.join("room:lobby", "1")
    await client.send("0", "2", "room:lobby", "phx_leave")
    await client.quiet()
    await client.send(None, "3", "room:lobby", "phx_leave")
    await client.expect_reply("1", "3", "room:lobby")
    await client.expect("1", "1", "room:lobby", "phx_close")


async def test_a_leave_and_a_join_sent_at_once_are_answered_one_after_the_other(world: World) -> None:
    """A departure: Phoenix answers the join first, closes the old channel, and never answers the leave."""
    client = await world.connect()
    await client.join("room:lobby", "1")
    await client.send("1", "2", "room:lobby", "phx_leave")
    await client.send("3", "3", "room:lobby", "phx_join")
    await client.expect_reply("1", "2", "room:lobby")
    await client.expect("1", "1", "room:lobby", "phx_close")
    await client.expect_reply("3", "3", "room:lobby")
    await client.send("3", "4", "room:lobby", "echo", {"k": 1})
    await client.expect_reply("3", "4", "room:lobby", "ok", {"k": 1})


async def test_without_join_refs_the_close_that_follows_a_leave_has_no_ref(world: World) -> None:
    """The ref of `phx_close` is the join_ref that the join carried, null included, also when a new join waits already."""
    client = await world.connect()
    await client.send(None, "1", "room:lobby", "phx_join")
    await client.expect_reply(None, "1", "room:lobby")
    await client.send(None, "2", "room:lobby", "phx_leave")
    await client.send(None, "3", "room:lobby", "phx_join")
    await client.expect_reply("1", "2", "room:lobby")
    await client.expect(None, None, "room:lobby", "phx_close")
    await client.expect_reply(None, "3", "room:lobby")


@pytest.mark.parametrize(
    ("event", "reason"),
    [("stop_normal", "normal"), ("stop_shutdown", "shutdown"), ("stop_shutdown_t", ("shutdown", "why"))],
)
async def test_a_graceful_stop_closes_the_channel_without_a_reply(world: World, event: str, reason: Any) -> None:
    """checklist 111"""
    client = await world.connect()
    await client.join("room:lobby", "1")
    await client.send("1", "2", "room:lobby", event)
    await client.expect("1", "1", "room:lobby", "phx_close")
    assert world.endpoint.terminated == [("room:lobby", reason)]
    await client.send("1", "3", "room:lobby", "echo")
    await client.expect_reply(None, "3", "room:lobby", "error", UNMATCHED)


async def test_a_stop_with_a_reply_replies_first(world: World) -> None:
    """checklist 111"""
    client = await world.connect()
    await client.join("room:lobby", "1")
    await client.send("1", "2", "room:lobby", "stop_reply")
    await client.expect_reply("1", "2", "room:lobby", "ok", {"bye": True})
    await client.expect("1", "1", "room:lobby", "phx_close")


async def test_a_stop_for_any_other_reason_is_an_error(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """checklist 111"""
    client = await world.connect()
    await client.join("room:lobby", "1")
    await client.send("1", "2", "room:lobby", "stop_other")
    await client.expect("1", "1", "room:lobby", "phx_error", CRASH)
    assert "RoomChannel on 'room:lobby' stopped: 'other'" in caplog.text
    await client.join("room:lobby", "3")
    await client.send("3", "4", "room:lobby", "stop_other_reply")
    await client.expect_reply("3", "4", "room:lobby", "error", {"bye": False})
    await client.expect("3", "3", "room:lobby", "phx_error", CRASH)
    assert world.endpoint.terminated == [("room:lobby", "other"), ("room:lobby", "other")]


@pytest.mark.parametrize("event", ["raise", "exit_kill", "bad_return"])
async def test_a_crash_is_told_and_nothing_else_is_touched(
    world: World, event: str, caplog: pytest.LogCaptureFixture
) -> None:
    """checklist 61, 112: phx_error has the ref and join_ref of the join; the client's other channels and the room live on"""
    client, other = await world.connect(), await world.connect()
    await client.join("room:lobby", "1")
    await client.join("room:other", "2")
    await other.join("room:lobby", "1")
    await client.send("1", "3", "room:lobby", event)
    await client.expect("1", "1", "room:lobby", "phx_error", CRASH)
    assert "RoomChannel on 'room:lobby' crashed" in caplog.text
    await client.send("1", "4", "room:lobby", "echo")
    await client.expect_reply(None, "4", "room:lobby", "error", UNMATCHED)
    await client.send("2", "5", "room:other", "echo", {"k": 1})
    await client.expect_reply("2", "5", "room:other", "ok", {"k": 1})
    await other.send("1", "2", "room:lobby", "new_msg", {"body": "hi"})
    await other.expect(None, None, "room:lobby", "new_msg", {"body": "hi"})
    await client.quiet()
    await client.join("room:lobby", "6")
    ((topic, (kind, error)),) = world.endpoint.terminated
    assert (topic, kind) == ("room:lobby", "error")
    assert isinstance(error, LocalProtocolError if event == "bad_return" else BaseException)


async def test_replies_before_a_crash_arrive_and_events_after_it_are_unmatched(world: World) -> None:
    """A departure in the last frame: what waited behind the crash is lost in Phoenix, and answered here."""
    client = await world.connect()
    await client.join("room:x", "1")
    for n in range(3):
        await client.send("1", f"{n + 2}", "room:x", "echo", {"i": n})
    await client.send("1", "9", "room:x", "raise")
    await client.send("1", "10", "room:x", "echo")
    for n in range(3):
        await client.expect_reply("1", f"{n + 2}", "room:x", "ok", {"i": n})
    await client.expect("1", "1", "room:x", "phx_error", CRASH)
    await client.expect_reply(None, "10", "room:x", "error", UNMATCHED)


async def test_a_crash_of_a_join_without_join_ref_has_no_ref_at_all(world: World) -> None:
    client = await world.connect()
    await client.send(None, "1", "room:x", "phx_join")
    await client.expect_reply(None, "1", "room:x")
    await client.send(None, "2", "room:x", "raise")
    await client.expect(None, None, "room:x", "phx_error", CRASH)


async def test_a_duplicate_join_closes_the_old_channel_after_the_new_joins_reply(world: World) -> None:
    """checklist 68, 113; a departure inside: the old channel's `terminate` is called"""
    client = await world.connect()
    await client.join("room:lobby", "1")
    await client.send("2", "2", "room:lobby", "phx_join")
    await client.expect_reply("2", "2", "room:lobby")
    await client.expect("1", "1", "room:lobby", "phx_close")
    assert world.endpoint.terminated == [("room:lobby", ("shutdown", "duplicate_join"))]
    await client.send("1", "3", "room:lobby", "echo")
    await client.quiet()
    await client.send("2", "4", "room:lobby", "new_msg", {"n": 1})
    await client.expect(None, None, "room:lobby", "new_msg", {"n": 1})  # once: the old subscription is gone
    await client.send("1", "5", "room:lobby", "phx_leave")
    await client.quiet()
    await client.send("2", "6", "room:lobby", "phx_join")
    await client.expect_reply("2", "6", "room:lobby")
    await client.expect("2", "2", "room:lobby", "phx_close")
    await client.quiet()


async def test_pushes_of_the_new_channel_come_after_the_old_ones_close(world: World) -> None:
    """checklist 113"""
    client = await world.connect()
    await client.send("1", "1", "room:after", "phx_join")
    await client.expect_reply("1", "1", "room:after")
    await client.expect("1", None, "room:after", "welcome", {"topic": "room:after"})
    await client.send("2", "2", "room:after", "phx_join")
    await client.expect_reply("2", "2", "room:after")
    await client.expect("1", "1", "room:after", "phx_close")
    await client.expect("2", None, "room:after", "welcome", {"topic": "room:after"})


async def test_a_duplicate_join_does_not_wait_for_a_handler_that_does(world: World) -> None:
    """What the old channel was doing is given up; what waited behind it is answered."""
    client = await world.connect()
    await client.join("story:x", "1")
    await client.send("1", "2", "story:x", "wait")
    await client.send("1", "3", "story:x", "record")
    await client.quiet()
    await client.send("4", "4", "story:x", "phx_join")
    received = [await client.receive() for _ in range(4)]
    events = [(each.event, each.ref) for each in received]
    assert events.index(("phx_reply", "4")) < events.index(("phx_close", "1"))
    assert ("phx_reply", "3") in events
    assert received[events.index(("phx_reply", "3"))].payload == {"status": "error", "response": UNMATCHED}
    assert ("farewell", None) in events
    assert world.endpoint.handled == []
    assert world.endpoint.terminated == [("story:x", ("shutdown", "duplicate_join"))]


async def test_of_three_joins_sent_at_once_the_last_one_stays(world: World) -> None:
    """Each is answered, and each old channel is gone: a broadcast arrives once."""
    client = await world.connect()
    await client.join("room:lobby", "1")
    for n in "234":
        await client.send(n, n, "room:lobby", "phx_join")
    received = [await client.receive()]
    while received[-1].ref != "4":
        received.append(await client.receive())
    received += await client.rest()
    replies = {each.ref: each.payload["status"] for each in received if each.event == "phx_reply"}
    assert set(replies) == {"2", "3", "4"}
    assert replies["4"] == "ok"
    # Every join that was answered ok, but the last, is closed.
    closed = [each.ref for each in received if each.event == "phx_close"]
    assert sorted(closed) == ["1", *sorted(ref for ref, status in replies.items() if status == "ok" and ref != "4")]
    await client.send("4", "5", "room:lobby", "new_msg", {"n": 1})
    await client.expect(None, None, "room:lobby", "new_msg", {"n": 1})
    await client.quiet()
    assert len(world.endpoint.terminated) == len(closed)


async def test_a_newer_join_supersedes_one_that_is_still_going_on(world: World) -> None:
    """In Phoenix it would wait for it; nothing else on the connection would move meanwhile."""
    client = await world.connect()
    await client.send("1", "1", "story:slow", "phx_join")
    await client.send("1", "2", "story:slow", "record")
    await client.quiet()
    await client.send("3", "3", "story:slow", "phx_join")
    await client.expect_reply("1", "1", "story:slow", "error", {"reason": "superseded by a newer join"})
    await client.expect_reply(None, "2", "story:slow", "error", UNMATCHED)
    await client.quiet()
    world.endpoint.gate.set()
    await client.expect_reply("3", "3", "story:slow")
    await client.send("3", "4", "story:slow", "record", {"n": 1})
    await client.expect_reply("3", "4", "story:slow")
    await client.quiet()
    assert world.endpoint.handled == [("story:slow", {"n": 1})]
    assert world.endpoint.terminated == []  # the first one never was


def listened_to(world: World) -> list[str]:
    """Topics that somebody listens to, but for those of the endpoint's own presence."""
    return [topic for topic in world.endpoint.pubsub.registry.topics if not topic.startswith(TRACKERS)]


async def test_the_end_of_the_connection_ends_its_channels(ws_world: World) -> None:
    """checklist 62"""
    client = await ws_world.connect()
    await client.join("room:a", "1")
    await client.join("room:b", "2")
    await client.close()
    await until(lambda: len(ws_world.endpoint.terminated) == 2)
    assert sorted(ws_world.endpoint.terminated) == [
        ("room:a", ("shutdown", "closed")),
        ("room:b", ("shutdown", "closed")),
    ]
    assert listened_to(ws_world) == []


async def test_a_handler_at_work_when_the_line_goes_down_finishes_before_terminate(ws_world: World) -> None:
    client = await ws_world.connect()
    await client.join("story:x", "1")
    await client.send("1", "2", "story:x", "wait")
    await client.send("1", "3", "story:x", "record", {"n": 1})
    await client.quiet()
    await client.close()
    await until(lambda: not listened_to(ws_world))
    assert ws_world.endpoint.terminated == []
    ws_world.endpoint.gate.set()
    await until(lambda: ws_world.endpoint.terminated == [("story:x", ("shutdown", "closed"))])
    assert ws_world.endpoint.handled == [("story:x", {"n": 1})]


async def test_disconnect_under_the_sockets_id_ends_all_its_connections(world: World) -> None:
    """checklist 23, 67"""
    one, two = await world.connect(user_id="42"), await world.connect(user_id="42")
    other = await world.connect(user_id="43")
    await one.join("room:lobby", "1")
    await two.join("room:lobby", "1")
    await other.join("room:lobby", "1")
    world.endpoint.broadcast("users_socket:42", "another event", {})
    await one.quiet()
    await one.send("1", "2", "room:lobby", "disconnect_me")
    expected = 1001 if world.is_websocket else 410
    assert await one.ended() == expected
    assert await two.ended() == expected
    await other.quiet()
    await until(lambda: len(world.endpoint.terminated) == 2)
    assert world.endpoint.terminated == [("room:lobby", ("shutdown", "disconnected"))] * 2


async def test_what_was_sent_before_a_disconnect_arrives_before_the_end(ws_world: World) -> None:
    one, two = await ws_world.connect(user_id="42"), await ws_world.connect(user_id="42")
    await one.join("story:x", "1")
    await two.join("story:x", "7")
    await one.send("1", "2", "story:x", "last_words")
    await one.expect(None, None, "story:x", "two")
    await one.expect("1", None, "story:x", "one")
    await two.expect(None, None, "story:x", "two")
    assert await one.ended() == 1001
    assert await two.ended() == 1001


async def test_what_cannot_be_read_ends_the_connection_and_all_its_channels(ws_world: World) -> None:
    """checklist 115; the recording has every kind of it"""
    client = await ws_world.connect()
    await client.join("room:a", "1")
    await client.join("room:b", "2")
    await client.send_raw("{oops")
    assert await client.ended() == 1011
    await until(lambda: len(ws_world.endpoint.terminated) == 2)
