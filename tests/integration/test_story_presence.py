"""Presence, as clients see it over every transport and both wire versions. What is recorded of Phoenix: test_recording.py."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.integration.conftest import World
from tests.support.client import Client
from tests.support.server import until

TOPIC = "presence:story"
META = {"online_at": 1_700_000_000}


async def enter(world: World, user: str, topic: str = TOPIC, join_ref: str = "1") -> tuple[Client, str]:
    """Join as somebody who is told of, and see oneself; returns the client and its ref."""
    client = await world.connect()
    return client, await join(client, user, topic, join_ref)


async def join(client: Client, user: str, topic: str = TOPIC, join_ref: str = "1") -> str:
    """The same on a connection that is there."""
    await client.join(topic, join_ref, {"user_id": user})
    diff = await hear(client, "presence_diff", topic)
    state = await hear(client, "presence_state", topic)
    ref: str = diff["joins"][user]["metas"][0]["phx_ref"]
    assert diff == {"joins": {user: entry(ref)}, "leaves": {}}
    assert {**META, "phx_ref": ref} in state[user]["metas"]
    return ref


async def hear(client: Client, event: str, topic: str = TOPIC) -> Any:
    """The payload of the next message, which is this event."""
    message = await client.receive()
    assert (message.topic, message.event, message.ref) == (topic, event, None)
    return message.payload


def entry(ref: str, **more: Any) -> dict[str, Any]:
    """What is told of one key with one meta."""
    return {"metas": [{**META, **more, "phx_ref": ref}]}


def left(user: str, ref: str) -> dict[str, Any]:
    """The diff of somebody who has gone."""
    return {"joins": {}, "leaves": {user: entry(ref)}}


async def test_who_joins_sees_who_is_there_and_is_seen(world: World) -> None:
    """checklist 215, 217"""
    ada, ada_ref = await enter(world, "ada")
    grace = await world.connect()
    await grace.join(TOPIC, "7", {"user_id": "grace"})
    diff = await hear(grace, "presence_diff")
    grace_ref = diff["joins"]["grace"]["metas"][0]["phx_ref"]
    assert await hear(ada, "presence_diff") == diff == {"joins": {"grace": entry(grace_ref)}, "leaves": {}}
    await grace.expect("7", None, TOPIC, "presence_state", {"ada": entry(ada_ref), "grace": entry(grace_ref)})


async def test_two_tabs_of_one_user_are_one_key_with_two_metas(world: World) -> None:
    """checklist 216"""
    one, one_ref = await enter(world, "ada")
    other, other_ref = await enter(world, "ada")
    assert (await hear(one, "presence_diff"))["joins"] == {"ada": entry(other_ref)}
    await one.send("1", "2", TOPIC, "list")
    both = {"metas": [{**META, "phx_ref": one_ref}, {**META, "phx_ref": other_ref}]}
    await one.expect_reply("1", "2", TOPIC, response={"ada": both})
    await other.close()
    if world.is_websocket:
        assert await hear(one, "presence_diff") == left("ada", other_ref)


@pytest.mark.parametrize("name", ["__proto__", "constructor", "hasOwnProperty", "\u2028 <b>", "7"])
async def test_a_key_may_be_called_like_anything(world: World, name: str) -> None:
    ada, _ = await enter(world, "ada")
    odd = await world.connect()
    await odd.join(TOPIC, params={"user_id": name, "meta": {"__proto__": {"polluted": True}}})
    diff = await hear(odd, "presence_diff")
    assert list(diff["joins"]) == [name]
    assert diff["joins"][name]["metas"][0]["__proto__"] == {"polluted": True}
    assert await hear(ada, "presence_diff") == diff
    assert (await hear(odd, "presence_state"))[name] == diff["joins"][name]


async def leave(world: World, client: Client) -> None:
    await client.send("1", "9", TOPIC, "phx_leave")
    await client.expect_reply("1", "9", TOPIC)
    await client.expect("1", "1", TOPIC, "phx_close")
    await client.quiet()  # of its own leave a client hears nothing


async def stop(world: World, client: Client) -> None:
    await client.send("1", "9", TOPIC, "stop")
    await client.expect("1", "1", TOPIC, "phx_close")
    await client.quiet()


async def crash(world: World, client: Client) -> None:
    await client.send("1", "9", TOPIC, "raise")
    await client.expect("1", "1", TOPIC, "phx_error", {"reason": "channel_crash"})
    await client.quiet()


async def disconnect(world: World, client: Client) -> None:
    world.endpoint.broadcast("users_socket:somebody", "disconnect", {})
    await client.ended()


async def be_sent_away(world: World, client: Client) -> None:
    await client.send_raw("{oops")
    await client.ended()


ENDS = [leave, stop, crash, disconnect]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
async def test_whatever_ends_a_channel_ends_its_presences(
    world: World, end: Callable[[World, Client], Awaitable[None]]
) -> None:
    """checklist 217: the leave has the ref of the join"""
    ada, _ = await enter(world, "ada")
    grace = await world.connect(user_id="somebody")
    ref = await join(grace, "grace")
    await hear(ada, "presence_diff")
    await end(world, grace)
    assert await hear(ada, "presence_diff") == left("grace", ref)
    assert set(await world.endpoint.presence.list(TOPIC)) == {"ada"}
    await ada.quiet()


async def test_a_connection_that_dies_of_bad_input_takes_its_presences_along(ws_world: World) -> None:
    ada, _ = await enter(ws_world, "ada")
    grace, ref = await enter(ws_world, "grace")
    await hear(ada, "presence_diff")
    await be_sent_away(ws_world, grace)
    assert await hear(ada, "presence_diff") == left("grace", ref)


async def test_a_client_that_is_cut_off_leaves_although_its_handler_is_still_at_work(
    ws_world_v2: World, caplog: pytest.LogCaptureFixture
) -> None:
    world = ws_world_v2
    ada, _ = await enter(world, "ada")
    grace = await world.connect_websocket()
    ref = await join(grace, "grace")
    await hear(ada, "presence_diff")
    await grace.send("1", "2", TOPIC, "wait")
    await grace.send("1", "3", TOPIC, "also", {"key": "ghost"})
    await grace.send("1", "4", TOPIC, "update", {"typing": True})
    await grace.quiet()
    grace.connection.transport.abort()
    assert await hear(ada, "presence_diff") == left("grace", ref)
    world.endpoint.gate.set()  # what waits behind it is handled, and neither tracks anybody nor fails
    await until(lambda: (TOPIC, ("shutdown", "closed")) in world.endpoint.terminated)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert set(await world.endpoint.presence.list(TOPIC)) == {"ada"}
    await ada.quiet()


async def test_a_new_join_of_the_topic_is_another_presence(world: World) -> None:
    ada, _ = await enter(world, "ada")
    grace, ref = await enter(world, "grace")
    await hear(ada, "presence_diff")
    await grace.send("2", "2", TOPIC, "phx_join", {"user_id": "grace"})
    assert await hear(ada, "presence_diff") == left("grace", ref)
    joined = (await hear(ada, "presence_diff"))["joins"]["grace"]["metas"][0]["phx_ref"]
    assert joined != ref
    # The former channel ended before the new one joined, so its client is not told of its end as a leave.
    await grace.expect_reply("2", "2", TOPIC)
    await grace.expect("1", "1", TOPIC, "phx_close")
    assert (await hear(grace, "presence_diff"))["leaves"] == {}
    assert set(await hear(grace, "presence_state")) == {"ada", "grace"}


async def test_an_update_is_a_join_of_the_new_meta_and_a_leave_of_the_old_one(world: World) -> None:
    """checklist 220"""
    ada, ref = await enter(world, "ada")
    await ada.send("1", "2", TOPIC, "update", {"typing": True})
    await ada.expect_reply("1", "2", TOPIC)
    diff = await hear(ada, "presence_diff")
    new = diff["joins"]["ada"]["metas"][0]["phx_ref"]
    assert diff == {"joins": {"ada": entry(new, phx_ref_prev=ref, typing=True)}, "leaves": {"ada": entry(ref)}}
    await ada.send("1", "3", TOPIC, "list")
    await ada.expect_reply("1", "3", TOPIC, response={"ada": entry(new, phx_ref_prev=ref, typing=True)})


async def test_a_plain_def_updates_from_its_thread(world: World) -> None:
    ada, ref = await enter(world, "ada")
    await ada.send("1", "2", TOPIC, "update_in_a_thread", {"typing": True})
    messages = [await ada.receive() for _ in range(2)]  # the loop tells of it whenever it gets to it
    reply = next(message for message in messages if message.event == "phx_reply").payload["response"]
    diff = next(message for message in messages if message.event == "presence_diff").payload
    assert diff["joins"] == {"ada": entry(reply["phx_ref"], phx_ref_prev=ref, typing=True)}


async def test_untrack_is_told_to_all_and_may_be_repeated(world: World) -> None:
    """checklist 219"""
    ada, ref = await enter(world, "ada")
    for number in ("2", "3"):
        await ada.send("1", number, TOPIC, "untrack")
        await ada.expect_reply("1", number, TOPIC)
        if number == "2":
            assert await hear(ada, "presence_diff") == left("ada", ref)
    await ada.send("1", "4", TOPIC, "update", {})  # checklist 221: it is an error, which a handler may catch
    await ada.expect("1", "1", TOPIC, "phx_error", {"reason": "channel_crash"})


async def test_a_channel_may_hold_presences_elsewhere_which_end_with_it(world: World) -> None:
    ada, _ = await enter(world, "ada")
    grace, _ = await enter(world, "grace", "presence:other")
    await ada.send("1", "2", TOPIC, "also", {"key": 7, "topic": "presence:other"})
    joins = (await hear(grace, "presence_diff", "presence:other"))["joins"]
    ref = (await ada.receive()).payload["response"]["phx_ref"]
    assert joins == {"7": {"metas": [{"phx_ref": ref}]}}
    await leave(world, ada)
    assert await hear(grace, "presence_diff", "presence:other") == {"joins": {}, "leaves": joins}


async def test_a_drained_server_is_left_by_everybody(ws_world_v2: World) -> None:
    ada, _ = await enter(ws_world_v2, "ada")
    await ws_world_v2.endpoint.drain()
    assert await ada.ended() == 1012
    assert await ws_world_v2.endpoint.presence.list(TOPIC) == {}


async def test_a_diff_is_encoded_once_for_all_clients_of_a_version(
    ws_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = [(await enter(ws_world, f"user {number}"))[0] for number in range(3)]
    for number, client in enumerate(clients):
        for _ in range(2 - number):
            await hear(client, "presence_diff")
    encoded: list[Any] = []
    serializer = next(iter(ws_world.endpoint._lanes.values())).serializer
    original = type(serializer).broadcast

    def broadcast(*args: Any) -> Any:
        encoded.append(args[2])
        return original(*args)

    monkeypatch.setattr(type(serializer), "broadcast", broadcast)
    await clients[0].send("1", "2", TOPIC, "untrack")
    await clients[0].expect_reply("1", "2", TOPIC)
    for client in clients:
        await hear(client, "presence_diff")
    assert encoded == ["presence_diff"]


async def test_a_join_that_is_refused_leaves_nobody_behind(world: World) -> None:
    topic = "presence:tracks and refuses"
    client = await world.connect()
    await client.send("1", "1", topic, "phx_join", {"user_id": "ghost"})
    await client.expect_reply("1", "1", topic, "error", {"reason": "unauthorized"})
    assert await world.endpoint.presence.list(topic) == {}
