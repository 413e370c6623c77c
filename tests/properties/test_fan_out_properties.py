"""Whatever is said, to however many, and whoever goes meanwhile: each client sees each topic's messages in the order they were sent.

The oracle is a list for each client and topic: what was said there while the client was there.
"""

import asyncio
from collections import defaultdict
from typing import Any, ClassVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from broadwing import Channel, Endpoint, Socket, fastlane
from broadwing.socket import Routes
from tests.support.client import V2, decode
from tests.support.memory import MemoryLine, line

CLIENTS = range(4)
# Two clients are on both topics, so that what is due to one topic can meet what waits for the other.
ROOMS = {"room:a": (0, 1, 2), "room:b": (1, 2, 3)}

clients = st.sampled_from(CLIENTS)
topics = st.sampled_from(sorted(ROOMS))
said = st.one_of(
    st.tuples(st.just("broadcast"), topics),
    st.tuples(st.just("broadcast from"), topics, clients),
    st.tuples(st.just("push"), topics, clients),
)
turns = st.tuples(st.just("turn"))
slices = st.tuples(st.just("slice"), st.integers(1, 4))
ends = st.tuples(st.sampled_from(("close", "lose")), clients)
# Much is said, so that something waits for most of what else happens.
steps = st.one_of(said, said, said, turns, slices, ends)


class Room(Channel):
    """Lets everybody in."""

    async def join(self, params: Any) -> None:
        """Yes."""


class User(Socket):
    """Everybody."""

    channels: ClassVar[Routes] = {"room:*": Room}


class House:
    """Clients in rooms, and what each of them has to hear.

    Attributes:
        said: By client and topic, the numbers that were sent there.
        gone: Clients that are no longer there, with how much they had been written when they went.
    """

    def __init__(self, endpoint: Endpoint, lines: list[MemoryLine]) -> None:
        self.endpoint = endpoint
        self.lines = lines
        self.said: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
        self.gone: dict[int, int] = {}

    @classmethod
    async def open(cls) -> "House":
        endpoint = Endpoint()
        endpoint.fastlane.slice = 3
        lines = [await line(User, endpoint=endpoint) for _ in CLIENTS]
        for topic, members in ROOMS.items():
            for client in members:
                await lines[client].join(topic, topic)
        return cls(endpoint, lines)

    def channel(self, client: int, topic: str) -> Channel | None:
        runners = [runner for runner in self.lines[client].connection.runners if runner.topic == topic]
        return runners[0].channel if runners else None

    def say(self, number: int, topic: str, listeners: tuple[int, ...]) -> None:
        for client in listeners:
            if client not in self.gone:
                self.said[client, topic].append(number)

    async def do(self, number: int, what: str, *args: Any) -> None:
        if what == "broadcast":
            (topic,) = args
            self.say(number, topic, ROOMS[topic])
            self.endpoint.broadcast(topic, "said", {"n": number})
        elif what == "turn":
            await asyncio.sleep(0)
        elif what == "slice":
            (self.endpoint.fastlane.slice,) = args
        elif what in ("close", "lose"):
            (client,) = args
            self.go(client, says_so=what == "close")
        else:
            topic, client = args
            channel = self.channel(client, topic)
            if channel is None:
                return
            if what == "push":
                self.say(number, topic, (client,))
                channel.push("said", {"n": number})
            else:
                self.say(number, topic, tuple(other for other in ROOMS[topic] if other != client))
                channel.broadcast_from("said", {"n": number})

    def go(self, client: int, *, says_so: bool) -> None:
        if client in self.gone:
            return
        sliced = set(self.endpoint.fastlane.pending)
        if says_so:
            self.lines[client].close(1000)
            for topic in ROOMS.keys() - sliced:
                assert self.heard(client, topic) == self.said[client, topic], "was owed before the close"
        else:
            self.lines[client].connection.closed(("shutdown", "closed"))
        self.gone[client] = len(self.lines[client].written)

    async def settle(self) -> None:
        while self.endpoint.fastlane.due or self.endpoint.fastlane.pending:
            await asyncio.sleep(0)

    def heard(self, client: int, topic: str) -> list[int]:
        messages = [decode(V2, data.decode()) for _, data in self.lines[client].written]
        return [message.payload["n"] for message in messages if message.topic == topic and message.event == "said"]


@given(st.lists(steps, min_size=12, max_size=60), st.integers(3, 30), st.integers(1, 4))
@settings(max_examples=300)
@example([("broadcast", "room:a"), ("slice", 1), ("broadcast", "room:a")], 30, 4)
@example([("slice", 1), ("broadcast", "room:b"), ("slice", 4), ("broadcast", "room:a"), ("close", 1)], 30, 4)
def test_each_client_sees_each_topic_in_order_and_nothing_after_its_end(
    what: list[tuple[Any, ...]], most_due: int, most_waiting: int
) -> None:
    async def live() -> None:
        house = await House.open()
        for number, step in enumerate(what):
            await house.do(number, *step)
        await house.settle()
        for client, each in enumerate(house.lines):
            if client in house.gone:
                assert len(each.written) == house.gone[client], "written to after its end"
            for topic in ROOMS:
                heard, said = house.heard(client, topic), house.said[client, topic]
                assert heard == (said[: len(heard)] if client in house.gone else said)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fastlane, "MAX_DUE", most_due)
        patch.setattr(fastlane, "MAX_WAITING", most_waiting)
        patch.setattr(fastlane, "SLICE_MIN", 1)
        asyncio.run(live())
