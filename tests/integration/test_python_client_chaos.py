"""Hundreds of Python clients through restarts of their server and cuts of their network, in the middle of what they say.

The server broadcasts what a client pushes, and acknowledges it after that. What is held at the end:

- every client is joined;
- no client ever got a message twice, whether it was acknowledged or not;
- every acknowledged message came exactly once to every client that was *then joined*: in one and the same join from before the push
  until after its acknowledgement, which implies one life of the server. Of joins that ended later, only those count that
  heard something the server said after the message: a cut may lose what is on its way, also what is already acknowledged
  to somebody else.

`BROADWING_CHAOS_CLIENTS` says how many clients there are; 500 by default.
"""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvloop

from broadwing.client import Channel, ClientError, Socket, connect
from tests.support.background import TIMEOUT
from tests.support.loopback import HOST
from tests.support.relay import Relay
from tests.support.restart import RestartableServer

CLIENTS = int(os.environ.get("BROADWING_CHAOS_CLIENTS", "500"))
RESTARTS = 10
PER_TOPIC = 50
TALKERS = 2  # per topic

PATIENCE = 4 * TIMEOUT


@dataclass
class Join:
    """One join of one client, from the server's yes to its loss.

    Attributes:
        life: Of the server.
        since: When it began.
        until: When it was lost, if it was.
        heard: Ids of messages, as often as they came.
        last: Highest number heard; the server counts all that it broadcasts.
    """

    life: str
    since: float
    until: float | None = None
    heard: Counter[str] = field(default_factory=Counter)
    last: int = 0


@dataclass
class Said:
    """A message that was acknowledged."""

    id: str
    topic: str
    pushed: float
    acknowledged: float
    life: str
    number: int


class Member:
    """A client, and what became of it."""

    def __init__(self, url: str, topic: str) -> None:
        self.joins: list[Join] = []
        self.socket: Socket = connect(url, timeout=TIMEOUT, open_timeout=TIMEOUT, proxy=None)
        self.channel: Channel = self.socket.channel(topic)
        self.channel.on_join(lambda response: self.joins.append(Join(response["life"], time.monotonic())))
        self.channel.on_error(self.lost)
        self.channel.on("said", self.hear)

    def lost(self, _: Any) -> None:
        """The channel is out of its topic; the second time in a row changes nothing."""
        if self.joins and self.joins[-1].until is None:
            self.joins[-1].until = time.monotonic()

    def hear(self, payload: dict[str, Any]) -> None:
        """A message comes."""
        join = self.joins[-1]
        assert payload["life"] == join.life
        join.heard[payload["id"]] += 1
        join.last = max(join.last, payload["number"])


class Chaos:
    """All members, and what they said."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.said: list[Said] = []
        self.lost = 0
        self.members = [Member(url, f"chaos:{number // PER_TOPIC}") for number in range(CLIENTS)]

    async def begin(self) -> None:
        """Everybody connects and joins."""
        await asyncio.gather(*(member.socket.connect(0) for member in self.members))
        await asyncio.gather(*(member.channel.join(PATIENCE) for member in self.members))

    async def talk(self, member: Member, name: str, until: Callable[[], bool]) -> None:
        """Say something again and again, and note what was acknowledged."""
        number = 0
        while not until():
            number += 1
            if not member.channel.is_joined:
                await asyncio.sleep(0.02)
                continue
            await self.say(member, f"{name}:{number}")
            await asyncio.sleep(0.4 * random.random())

    async def say(self, member: Member, name: str) -> bool:
        """Push once."""
        pushed = time.monotonic()
        try:
            reply = await member.channel.push("say", {"id": name}, timeout=2.0)
        except ClientError:
            self.lost += 1
            return False
        now = time.monotonic()
        self.said.append(Said(name, member.channel.topic, pushed, now, reply["life"], reply["number"]))
        return True

    async def all_joined(self) -> None:
        """Wait until everybody is."""
        async with asyncio.timeout(PATIENCE):
            while not all(member.channel.is_joined for member in self.members):
                await asyncio.sleep(0.02)

    def judge(self) -> Counter[str]:
        """Hold what was heard against what was said.

        Raises:
            AssertionError: A message was lost, or came twice.
        """
        figures: Counter[str] = Counter(acknowledged=len(self.said), unanswered=self.lost)
        for member in self.members:
            everything: Counter[str] = Counter()
            for join in member.joins:
                everything += join.heard
            assert [name for name, times in everything.items() if times > 1] == []
            figures["deliveries"] += everything.total()
            figures["joins"] += len(member.joins)
        for said in self.said:
            for member in self.members:
                if member.channel.topic != said.topic:
                    continue
                for join in member.joins:
                    if join.since > said.pushed or (join.until is not None and join.until < said.acknowledged):
                        continue  # not joined all the time
                    assert join.life == said.life
                    if join.until is not None and join.last < said.number:
                        figures["cut off on the way"] += 1
                        continue
                    assert join.heard[said.id] == 1, (said, join)
                    figures["owed and delivered"] += 1
        return figures


async def _live(server: RestartableServer) -> Counter[str]:
    relay = Relay(server.port, HOST)
    await relay.start()
    chaos = Chaos(f"ws://127.0.0.1:{relay.port}/socket")
    over = False
    try:
        await chaos.begin()
        talkers = [
            asyncio.create_task(chaos.talk(member, str(index), lambda: over))
            for index, member in enumerate(chaos.members)
            if index % PER_TOPIC < TALKERS
        ]
        for turn in range(RESTARTS):
            await chaos.all_joined()
            await asyncio.sleep(0.2)  # to let them talk; the outage comes whatever they are at
            if turn % 2:
                relay.cut()
                await asyncio.sleep(0.1)
            if turn % 5 == 4:
                await relay.refuse()  # the network is away, and comes back with the server
            await asyncio.to_thread(server.stop if turn % 5 == 3 else server.kill)
            await asyncio.to_thread(server.start)
            if turn % 5 == 4:
                await relay.start()
        over = True
        await asyncio.gather(*talkers)
        await chaos.all_joined()
        # At the end everybody hears everything.
        last = await asyncio.gather(
            *(chaos.say(member, f"last {index}") for index, member in enumerate(chaos.members) if index % 10 == 0)
        )
        assert all(last)
        expected = {said.id for said in chaos.said if said.id.startswith("last")}
        async with asyncio.timeout(PATIENCE):
            while not all(
                {said.id for said in chaos.said if said.id in expected and said.topic == member.channel.topic}
                <= set(member.joins[-1].heard)
                for member in chaos.members
            ):
                await asyncio.sleep(0.02)
        assert all(member.channel.is_joined for member in chaos.members)
        return chaos.judge()
    finally:
        over = True
        await asyncio.gather(*(member.socket.close() for member in chaos.members))
        await relay.refuse()


@pytest.mark.slow
@pytest.mark.timeout(600)  # ten storms of 500 connects, on whatever machine
def test_clients_outlive_restarts_and_cuts_and_get_what_was_acknowledged_exactly_once() -> None:
    began = time.monotonic()
    with (
        RestartableServer("tests.support.chaos_app:endpoint") as server,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        figures = runner.run(_live(server))
    print(f"\n{CLIENTS} clients, {RESTARTS} restarts, {time.monotonic() - began:.1f} s: {dict(figures)}")
    assert figures["joins"] >= CLIENTS * (RESTARTS + 1)
    # So that the above was about something: most of what was owed was not cut off.
    assert figures["acknowledged"] > RESTARTS
    assert figures["owed and delivered"] > 10 * CLIENTS
    assert figures["owed and delivered"] > figures["cut off on the way"]
