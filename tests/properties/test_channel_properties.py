"""Whatever a client does, in whatever order: every message is answered once, every channel ends once, nothing is left over."""

import asyncio
from collections import Counter
from typing import Any, ClassVar

from hypothesis import given
from hypothesis import strategies as st

from broadwing import Channel, Endpoint, JoinError, Ok, Socket, Stop, on
from broadwing.socket import Routes
from tests.support.memory import MemoryLine, line

TOPICS = ("room:a", "room:b")
ENDED: list[str] = []


class Room(Channel):
    """Does everything that can go wrong."""

    async def join(self, params: Any) -> None:
        """Take a while, refuse or crash, as the client wants it."""
        for _ in range(params.get("turns", 0)):
            await asyncio.sleep(0)
        if params.get("refuse"):
            raise JoinError()
        if params.get("crash"):
            raise RuntimeError("boom in join")

    async def terminate(self, reason: Any) -> None:
        """Take a while."""
        await asyncio.sleep(0)
        ENDED.append(self.topic)

    @on("echo")
    async def echo(self) -> Any:
        """Reply at once."""
        return Ok()

    @on("slow")
    async def slow(self) -> Any:
        """Reply after a while."""
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return Ok()

    @on("raise")
    async def raise_(self) -> None:
        """Crash."""
        raise RuntimeError("boom")

    @on("stop")
    async def stop_(self) -> Any:
        """End well."""
        return Stop()


class User(Socket):
    """Everybody."""

    channels: ClassVar[Routes] = {"room:*": Room}


JOINS: dict[str, dict[str, Any]] = {
    "join": {},
    "slow join": {"turns": 3},
    "refused join": {"turns": 1, "refuse": True},
    "crashing join": {"crash": True},
}
EVENTS = ("echo", "slow", "raise", "stop", "unknown")
ACTIONS = (*JOINS, *EVENTS, "leave", "turn")
# What a newer join of the topic may cut off in the middle, or what ends without a reply.
MAY_GO_UNANSWERED = {"slow", "raise", "stop"}

actions = st.lists(st.tuples(st.sampled_from(ACTIONS), st.sampled_from(TOPICS)), max_size=30)


async def act(client: MemoryLine, script: list[tuple[str, str]]) -> dict[str, str]:
    """Do what the script says; returns the action behind every ref."""
    sent: dict[str, str] = {}
    for n, (action, topic) in enumerate(script):
        ref = f"{n}"
        if action == "turn":
            await asyncio.sleep(0)
            continue
        sent[ref] = action
        if action in JOINS:
            client.send_text(ref, ref, topic, "phx_join", JOINS[action])
        else:
            client.send_text(None, ref, topic, "phx_leave" if action == "leave" else action)
    await client.settle()
    return sent


async def hold(script: list[tuple[str, str]]) -> None:
    ENDED.clear()
    endpoint = Endpoint()
    client = await line(User, endpoint=endpoint)
    sent = await act(client, script)
    received = client.take()
    replies = Counter(each.ref for each in received if each.event == "phx_reply")
    for ref, action in sent.items():
        assert replies[ref] <= 1, (action, received)
        assert replies[ref] == 1 or action in MAY_GO_UNANSWERED, (action, received)
    accepted = {
        each.ref: each.topic
        for each in received
        if each.event == "phx_reply" and sent[each.ref] in JOINS and each.payload["status"] == "ok"
    }
    ends = Counter(each.ref for each in received if each.event in ("phx_close", "phx_error"))
    assert set(ends.values()) <= {1}
    assert set(ends) <= set(accepted)
    joined = {ref: topic for ref, topic in accepted.items() if ref not in ends}
    # The last of each topic may be there still, and it alone.
    assert len(set(joined.values())) == len(joined)
    assert {runner.topic: runner.client_ref for runner in client.connection.runners} == {
        topic: ref for ref, topic in joined.items()
    }
    assert {topic: endpoint.pubsub.registry.count(topic) for topic in TOPICS} == {
        topic: int(topic in joined.values()) for topic in TOPICS
    }
    assert len(ENDED) == len(ends)
    assert (client.connection._queued, client.connection._queued_bytes) == (0, 0)
    client.close(1000)
    await client.settle()
    assert len(ENDED) == len(accepted)
    assert client.frames == []
    assert endpoint.pubsub.registry.topics == {}


@given(actions)
def test_every_message_is_answered_and_every_channel_ends_once(script: list[tuple[str, str]]) -> None:
    asyncio.run(hold(script))


async def cut_off(script: list[tuple[str, str]], after: int) -> None:
    ENDED.clear()
    endpoint = Endpoint()
    client = await line(User, endpoint=endpoint)
    for n, (action, topic) in enumerate(script):
        if action == "turn":
            await asyncio.sleep(0)
        elif action in JOINS:
            client.send_text(f"{n}", f"{n}", topic, "phx_join", JOINS[action])
        else:
            client.send_text(None, f"{n}", topic, "phx_leave" if action == "leave" else action)
    for _ in range(after):
        await asyncio.sleep(0)
    client.close(1000)
    client.take()
    await client.settle()
    await endpoint.stop()
    assert client.frames == []
    assert endpoint.pubsub.registry.topics == {}
    assert (client.connection._queued, client.connection._queued_bytes) == (0, 0)
    assert all(task is asyncio.current_task() for task in asyncio.all_tasks())


@given(actions, st.integers(0, 10))
def test_a_connection_that_is_cut_off_anywhere_leaves_nothing(script: list[tuple[str, str]], after: int) -> None:
    asyncio.run(cut_off(script, after))
