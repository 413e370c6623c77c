"""Which answer of Redis belongs to which subscription: a link whose server is played by the test."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.exceptions import NoPermissionError, ResponseError

from broadwing.exceptions import PubSubUnavailable
from broadwing.pubsub.broker_url import Host
from broadwing.pubsub.redis_line import Access
from broadwing.pubsub.redis_link import Link
from broadwing.pubsub.redis_places import Fixed
from tests.support.background import TIMEOUT


class PlayedLine:
    """A connection whose other end is the test.

    Attributes:
        answers: What the server says next; an exception is an answer that is an error.
        sent: What the link has sent.
    """

    made: "list[PlayedLine]" = []  # noqa: RUF012 - emptied for each test

    def __init__(self, host: Host, access: Access) -> None:
        self.answers: asyncio.Queue[Any] = asyncio.Queue()
        self.sent = b""
        self.made.append(self)

    async def open(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    async def send(self, data: bytes) -> None:
        """Remember it."""
        self.sent += data

    async def read(self) -> Any:
        """The next answer."""
        answer = await self.answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer


class Stage:
    """A link, its listening connection, and what it reports."""

    def __init__(self) -> None:
        self.moved: list[bytes | None] = []
        self.link = Link(
            Fixed(Host("played", 1)),
            Access({}, False),
            receive=lambda channel, data: None,
            changed=lambda: None,
            moved=lambda link, channel: self.moved.append(channel),
            sharded=True,
            queue_bytes=1000,
            ping_interval=1000,
        )

    @property
    def server(self) -> PlayedLine:
        """The other end of the connection that listens."""
        return PlayedLine.made[-2]

    def subscribe(self, channel: bytes) -> asyncio.Future[None]:
        """Ask for a channel."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.link.subscribe(channel, waiter)
        return waiter

    async def say(self, *answers: Any) -> None:
        """Answer, and let the link hear it."""
        for answer in answers:
            self.server.answers.put_nowait(answer)
        while not self.server.answers.empty():
            await asyncio.sleep(0)
        await asyncio.sleep(0)


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """A link that is up."""
    PlayedLine.made.clear()
    monkeypatch.setattr("broadwing.pubsub.redis_link.Line", PlayedLine)
    made = Stage()
    made.link.start()
    await made.link.settled()
    assert made.link.is_up
    yield made
    await made.link.stop()


def ack(kind: bytes, channel: bytes) -> list[Any]:
    """An acknowledgement as RESP2 has it: the kind, the channel, how many channels there are now."""
    return [kind, channel, 1]


async def test_an_acknowledgement_confirms_the_subscription_it_answers_and_no_later_one(stage: Stage) -> None:
    first = stage.subscribe(b"a")
    stage.link.unsubscribe(b"a")
    second = stage.subscribe(b"a")
    await stage.say(ack(b"ssubscribe", b"a"))
    assert (first.done(), second.done()) == (True, False)
    await stage.say(ack(b"sunsubscribe", b"a"))
    assert not second.done()
    await stage.say(ack(b"ssubscribe", b"a"))
    assert second.done()
    assert stage.moved == []
    assert stage.server.sent.count(b"$10\r\nSSUBSCRIBE\r\n$1\r\na\r\n") == 2


async def test_an_error_refuses_the_subscription_it_answers_and_no_other(stage: Stage) -> None:
    waiters = [stage.subscribe(channel) for channel in (b"a", b"b", b"c")]
    await stage.say(ack(b"ssubscribe", b"a"), NoPermissionError("no right to it"), ack(b"ssubscribe", b"c"))
    assert all(waiter.done() for waiter in waiters)
    assert waiters[0].exception() is waiters[2].exception() is None
    assert isinstance(waiters[1].exception(), PubSubUnavailable)


async def test_a_subscription_that_is_elsewhere_goes_on_waiting(stage: Stage) -> None:
    waiter = stage.subscribe(b"a")
    await stage.say(ResponseError("MOVED 15495 127.0.0.1:7002"))
    assert stage.moved == [b"a"]
    assert not waiter.done()
    assert stage.link.channels[b"a"] is waiter


async def test_one_that_has_ended_meanwhile_is_not_looked_for_elsewhere(stage: Stage) -> None:
    stage.subscribe(b"a")
    stage.link.unsubscribe(b"a")
    await stage.say(ResponseError("MOVED 15495 127.0.0.1:7002"), ack(b"sunsubscribe", b"a"))
    assert stage.moved == []


async def test_a_server_that_ends_a_subscription_by_itself_has_lost_the_slot(stage: Stage) -> None:
    stage.subscribe(b"a")
    await stage.say(ack(b"ssubscribe", b"a"))
    waiter = stage.subscribe(b"b")
    await stage.say(ack(b"sunsubscribe", b"a"), ack(b"sunsubscribe", b"unknown"))
    assert stage.moved == [b"a"]
    await stage.say(ack(b"ssubscribe", b"b"))
    assert waiter.done()


async def test_a_message_that_is_elsewhere_is_told_of(stage: Stage) -> None:
    stage.link.publish(b"a", b"1")
    publisher = PlayedLine.made[-1]
    publisher.answers.put_nowait(b"PONG")
    publisher.answers.put_nowait(ResponseError("MOVED 15495 127.0.0.1:7002"))
    async with asyncio.timeout(TIMEOUT):
        await stage.link.flush()
    assert stage.moved == [None]


async def test_subscriptions_that_are_not_confirmed_after_a_loss_end_the_connection(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stage.subscribe(b"a")
    await stage.say(ack(b"ssubscribe", b"a"))
    monkeypatch.setattr("broadwing.pubsub.redis_link.CONFIRM_TIMEOUT", 0.05)
    stage.server.answers.put_nowait(ConnectionError("lost"))
    async with asyncio.timeout(TIMEOUT):
        while "not confirmed within 0.05 s" not in caplog.text:
            await asyncio.sleep(0.001)
        monkeypatch.setattr("broadwing.pubsub.redis_link.CONFIRM_TIMEOUT", 5.0)
        count = len(PlayedLine.made)
        while len(PlayedLine.made) < count + 2 or not stage.link.is_up:
            if b"SSUBSCRIBE" in stage.server.sent and stage.server.answers.empty():
                stage.server.answers.put_nowait(ack(b"ssubscribe", b"a"))
            await asyncio.sleep(0.001)
