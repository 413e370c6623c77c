"""Events, replies, pushes and broadcasts of a joined channel, over every transport and both wire versions.

Expected frames are those of Phoenix 1.8.12, recorded in spec/vectors/recording_v1.json and recording_v2.json, but where a
test names its departure.
"""

from typing import Any

import pytest

from broadwing import Broadcast
from tests.integration.conftest import World
from tests.support.client import V1, V2
from tests.support.server import until


async def test_pushes_carry_the_join_ref_and_broadcasts_carry_nothing(world: World) -> None:
    """checklist 49"""
    client = await world.connect()
    await client.join("room:lobby", "1")
    await client.send("1", "2", "room:lobby", "push_me", {"k": "v"})
    await client.expect("1", None, "room:lobby", "pushed", {"k": "v"})
    await client.send("1", "3", "room:lobby", "new_msg", {"body": "hi"})
    await client.expect(None, None, "room:lobby", "new_msg", {"body": "hi"})
    await client.quiet()


TEXT = 'é☃😀 </script> "q" \\ /  \u2028\u2029 \n\t\u0001'


async def test_text_of_every_kind_comes_back_as_it_was(world: World) -> None:
    client = await world.connect()
    await client.join("room:lobby", "1")
    await client.send("1", "2", "room:lobby", "new_msg", {"body": TEXT, TEXT: 1})
    await client.expect(None, None, "room:lobby", "new_msg", {"body": TEXT, TEXT: 1})
    await client.send("1", "3", "room:lobby", "server_broadcast")
    await client.expect(None, None, "room:lobby", "from_server", {"x": [1, 2.5, None, True, 'é\u2028</script>"\\/\n']})


@pytest.mark.parametrize(
    "payload", ["str", [1], 5, None, {"a": 1, "f": 1.0, "g": 1e21, "h": 12345678901234567890, "b": [None, True]}]
)
async def test_a_reply_may_be_any_json_value(world: World, payload: Any) -> None:
    """checklist 109"""
    client = await world.connect()
    await client.join("room:lobby", "1")
    await client.send("1", "2", "room:lobby", "echo", payload)
    await client.expect_reply("1", "2", "room:lobby", "ok", payload)


async def test_a_message_without_a_ref_is_answered_without_one(world: World) -> None:
    client = await world.connect()
    await client.join("room:lobby", "1")
    await client.send("1", None, "room:lobby", "echo", {"a": 1})
    await client.expect_reply("1", None, "room:lobby", "ok", {"a": 1})


async def test_a_message_without_a_join_ref_is_taken_for_the_current_join(world: World) -> None:
    client = await world.connect()
    await client.join("room:lobby", "1")
    await client.send(None, "6", "room:lobby", "echo", {"a": 1})
    await client.expect_reply("1", "6", "room:lobby", "ok", {"a": 1})


async def test_a_message_of_an_earlier_join_is_dropped_without_a_word(world: World) -> None:
    client = await world.connect()
    await client.join("story:x", "1")
    await client.send("99", "7", "story:x", "record", {"a": 1})
    await client.quiet()
    assert world.endpoint.handled == []


@pytest.mark.parametrize(
    ("event", "status", "response"),
    [
        ("reply_ok", "ok", {}),
        ("reply_error", "error", {}),
        ("reply_error_map", "error", {"reason": "bad"}),
        ("reply_custom", "teapot", {"a": 1}),
    ],
)
async def test_replies_have_the_status_the_handler_gave(
    world: World, event: str, status: str, response: dict[str, Any]
) -> None:
    """checklist 109"""
    client = await world.connect()
    await client.join("room:lobby", "1")
    await client.send("1", "8", "room:lobby", event)
    await client.expect_reply("1", "8", "room:lobby", status, response)


async def test_a_handler_that_returns_nothing_replies_nothing(world: World) -> None:
    client = await world.connect()
    await client.join("room:lobby", "1")
    await client.send("1", "13", "room:lobby", "noreply")
    await client.quiet()


async def test_a_reply_may_come_later_with_the_ref_of_its_message(world: World) -> None:
    """checklist 127"""
    client = await world.connect()
    await client.join("room:lobby", "1")
    await client.send("1", "12", "room:lobby", "async_reply", {"k": "v"})
    await client.expect_reply("1", "12", "room:lobby", "ok", {"k": "v"})


@pytest.mark.parametrize("event", ["order", "order_in_a_thread"])
async def test_what_a_handler_sends_arrives_in_its_order_and_before_its_reply(world: World, event: str) -> None:
    client = await world.connect()
    await client.join("story:x", "1")
    await client.send("1", "2", "story:x", event)
    await client.expect("1", None, "story:x", "one")
    await client.expect(None, None, "story:x", "two")
    await client.expect("1", None, "story:x", "three")
    await client.expect_reply("1", "2", "story:x", "ok", {"four": True})


async def test_broadcast_reaches_everybody_and_broadcast_from_everybody_else(world: World) -> None:
    """checklist 123, 124"""
    one, two = await world.connect(), await world.connect()
    await one.join("room:lobby", "1")
    await two.join("room:lobby", "7")
    await one.send("1", "2", "room:lobby", "new_msg", {"body": "hi"})
    await one.expect(None, None, "room:lobby", "new_msg", {"body": "hi"})
    await two.expect(None, None, "room:lobby", "new_msg", {"body": "hi"})
    await one.send("1", "3", "room:lobby", "shout", {"loud": True})
    await two.expect(None, None, "room:lobby", "shout", {"loud": True})
    await one.quiet()


async def test_a_client_on_several_topics_gets_each_broadcast_once_per_topic(world: World) -> None:
    client = await world.connect()
    await client.join("room:a", "1")
    await client.join("room:b", "2")
    world.endpoint.broadcast("room:a", "e", {"n": 1})
    world.endpoint.broadcast("room:b", "e", {"n": 2})
    world.endpoint.broadcast("room:c", "e", {"n": 3})
    await client.expect(None, None, "room:a", "e", {"n": 1})
    await client.expect(None, None, "room:b", "e", {"n": 2})
    await client.quiet()


async def test_both_wire_versions_meet_in_one_room(world: World) -> None:
    one = await world.connect(vsn=V2)
    two = await world.connect(vsn=V1)
    await one.join("room:lobby", "1")
    await two.join("room:lobby", None)
    for sender in (one, two):
        await sender.send(None, "2", "room:lobby", "new_msg", {"body": "hi"})
        for client in (one, two):
            await client.expect(None, None, "room:lobby", "new_msg", {"body": "hi"})


async def test_an_intercepted_broadcast_is_what_its_handler_makes_of_it(world: World) -> None:
    """checklist 50: it carries each member's own join_ref, because it has become a push"""
    one, two = await world.connect(), await world.connect()
    await one.join("intercept:x", "1")
    await two.join("intercept:x", "7")
    await one.send("1", "2", "intercept:x", "secret", {"s": 1})
    await one.expect("1", None, "intercept:x", "secret", {"for": "intercept:x", "s": 1})
    await two.expect("7", None, "intercept:x", "secret", {"for": "intercept:x", "s": 1})
    await one.send("1", "3", "intercept:x", "public", {"s": 2})
    await one.expect(None, None, "intercept:x", "public", {"s": 2})
    await two.expect(None, None, "intercept:x", "public", {"s": 2})


async def test_an_intercept_handler_may_end_its_channel(world: World) -> None:
    one, two = await world.connect(), await world.connect()
    await one.join("intercept:x", "1")
    await two.join("intercept:x", "7")
    world.endpoint.broadcast("intercept:x", "secret", {"stop": "1"})
    await one.expect("1", "1", "intercept:x", "phx_close")
    await two.expect("7", None, "intercept:x", "secret", {"for": "intercept:x", "stop": "1"})


async def test_broadcasts_of_another_topic_subscribed_by_hand_come_to_the_channel(world: World) -> None:
    client = await world.connect()
    await client.join("story:x", "1")
    await client.send("1", "2", "story:x", "listen", {"topic": "elsewhere"})
    await client.expect_reply("1", "2", "story:x")
    world.endpoint.broadcast("elsewhere", "news", {"n": 1})
    heard = {"topic": "elsewhere", "event": "news", "payload": {"n": 1}}
    await client.expect("1", None, "story:x", "heard", heard)
    await client.send("1", "3", "story:x", "phx_leave")
    await client.expect_reply("1", "3", "story:x")
    await client.expect("1", "1", "story:x", "phx_close")
    await client.expect("1", None, "story:x", "farewell", {"topic": "story:x"})
    world.endpoint.broadcast("elsewhere", "news", {"n": 2})
    await client.quiet()


async def test_plain_subscribers_of_the_endpoint_get_broadcasts_of_channels(world: World) -> None:
    """checklist 26"""
    got: list[Broadcast] = []
    subscription = world.endpoint.subscribe("room:lobby", got.append)
    client = await world.connect()
    await client.join("room:lobby", "1")
    await client.send("1", "2", "room:lobby", "new_msg", {"body": "hi"})
    await client.expect(None, None, "room:lobby", "new_msg", {"body": "hi"})
    assert [(each.topic, each.event, each.payload) for each in got] == [("room:lobby", "new_msg", {"body": "hi"})]
    world.endpoint.broadcast_from(subscription, "room:lobby", "e", {})
    world.endpoint.local_broadcast_from(subscription, "room:lobby", "f", {})
    assert len(got) == 1
    world.endpoint.local_broadcast("room:lobby", "g", {})
    assert [each.event for each in got] == ["new_msg", "g"]
    for event in "efg":
        await client.expect(None, None, "room:lobby", event)
    subscription.cancel()
    world.endpoint.broadcast("room:lobby", "h", {})
    assert len(got) == 2


async def test_an_event_on_a_topic_never_joined_is_unmatched(world: World) -> None:
    """checklist 63"""
    client = await world.connect()
    await client.send("1", "1", "story:x", "record", {"body": "x"})
    await client.expect_reply(None, "1", "story:x", "error", {"reason": "unmatched topic"})
    await client.send(None, "2", "story:x", "record")
    await client.expect_reply(None, "2", "story:x", "error", {"reason": "unmatched topic"})
    assert world.endpoint.handled == []


async def test_heartbeats_are_answered_and_other_events_on_their_topic_are_unmatched(world: World) -> None:
    """checklist 108: the reply has no join_ref, even when the request had one"""
    client = await world.connect()
    await client.send(None, "1", "phoenix", "heartbeat")
    await client.expect_reply(None, "1", "phoenix")
    await client.send("9", None, "phoenix", "heartbeat")
    await client.expect_reply(None, None, "phoenix")
    await client.send(None, "2", "phoenix", "other")
    await client.expect_reply(None, "2", "phoenix", "error", {"reason": "unmatched topic"})


@pytest.mark.parametrize("event", ["nosuchevent", "phx_reply", "phx_close", "phx_error", ""])
async def test_an_event_without_a_handler_is_refused_and_the_channel_lives(
    world: World, event: str, caplog: pytest.LogCaptureFixture
) -> None:
    """checklist 112, where we differ on purpose: in Phoenix the channel crashes"""
    client = await world.connect()
    await client.join("room:lobby", "1")
    await client.send("1", "2", "room:lobby", event)
    await client.expect_reply("1", "2", "room:lobby", "error", {"reason": "unhandled event"})
    await client.send("1", "3", "room:lobby", "echo", {"alive": True})
    await client.expect_reply("1", "3", "room:lobby", "ok", {"alive": True})
    assert f"RoomChannel on 'room:lobby' has no handler for {event!r}; add @on({event!r}) or handle_in" in caplog.text


async def test_a_push_that_is_no_map_crashes_in_version_2_and_is_sent_in_version_1(world: World) -> None:
    """checklist 112"""
    client = await world.connect()
    await client.join("room:lobby", "1")
    await client.send("1", "2", "room:lobby", "push_me", "str")
    if client.vsn == V1:
        await client.expect("1", None, "room:lobby", "pushed", "str")
    else:
        await client.expect("1", "1", "room:lobby", "phx_error", {"reason": "channel_crash"})


async def test_a_broadcast_that_is_no_map_crashes_its_sender_where_version_2_listens(world: World) -> None:
    """checklist 112"""
    one, two = await world.connect(), await world.connect()
    await one.join("room:lobby", "1")
    await two.join("room:lobby", "1")
    await one.send("1", "2", "room:lobby", "shout", "str")
    if one.vsn == V1:
        await two.expect(None, None, "room:lobby", "shout", "str")
        await one.quiet()
    else:
        await one.expect("1", "1", "room:lobby", "phx_error", {"reason": "channel_crash"})
        await two.quiet()


async def test_a_client_that_reads_late_misses_nothing(world: World) -> None:
    client = await world.connect()
    await client.join("room:lobby", "1")
    for n in range(300):
        world.endpoint.broadcast("room:lobby", "e", {"n": n})
    for n in range(300):
        await client.expect(None, None, "room:lobby", "e", {"n": n})


async def test_the_events_of_one_channel_are_handled_in_order_and_those_of_two_side_by_side(world: World) -> None:
    client = await world.connect()
    await client.join("story:a", "1")
    await client.join("story:b", "2")
    await client.send("1", "3", "story:a", "wait", {"n": 1})
    await client.send("1", "4", "story:a", "record", {"n": 2})
    await client.send("2", "5", "story:b", "record", {"n": 3})
    await client.expect_reply("2", "5", "story:b")
    assert world.endpoint.handled == [("story:b", {"n": 3})]
    world.endpoint.gate.set()
    await client.expect_reply("1", "3", "story:a", "ok", {"n": 1})
    await client.expect_reply("1", "4", "story:a")
    assert world.endpoint.handled == [("story:b", {"n": 3}), ("story:a", {"n": 2})]


async def test_broadcasts_from_other_threads_reach_clients(world: World) -> None:
    import threading

    client = await world.connect()
    await client.join("room:lobby", "1")
    thread = threading.Thread(target=world.endpoint.broadcast, args=("room:lobby", "e", {"from": "a thread"}))
    thread.start()
    await client.expect(None, None, "room:lobby", "e", {"from": "a thread"})
    await until(lambda: not thread.is_alive())
    thread.join()


async def test_a_binary_push_gets_a_binary_push_and_a_binary_reply(ws_world_v2: World) -> None:
    """checklist 73"""
    client = await ws_world_v2.connect()
    await client.join("story:x", "12")
    await client.send_raw(b"\x00\x02\x03\x07\x04" + b"12" + b"123" + b"story:x" + b"both" + b"\x00\xff")
    # A server's push has no ref; a reply has the ref, and its status in the place of the event.
    assert await client.receive_raw() == b"\x00\x02\x07\x04" + b"12" + b"story:x" + b"both" + b"\x00\xff"
    assert await client.receive_raw() == b"\x01\x02\x03\x07\x02" + b"12" + b"123" + b"story:x" + b"ok" + b"\x00\xff"
    await client.quiet()
