"""Messages that wait to be read, and what happens when they are not."""

import asyncio
import logging
from typing import Any

import pytest

from broadwing.client.inbox import Inbox, Overflow
from broadwing.client.payloads import Message
from broadwing.exceptions import ConfigurationError


def message(number: int) -> Message:
    """One with a number."""
    return Message(None, None, "t", "e", number)


async def all_of(inbox: Inbox) -> list[Any]:
    """Payloads until the end."""
    read = []
    try:
        while True:
            read.append((await inbox.get()).payload)
    except StopAsyncIteration:
        return read


@pytest.mark.parametrize(
    ("overflow", "left"), [("drop_oldest", [2, 3, 4]), ("drop_newest", [0, 1, 2]), ("end", [0, 1, 2])]
)
async def test_without_room_the_policy_decides(overflow: Overflow, left: list[int]) -> None:
    inbox = Inbox("t", 3, overflow)
    reader = asyncio.create_task(inbox.get())  # somebody reads, but not in time
    await asyncio.sleep(0)
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
    for number in range(5):
        inbox.put(message(number))
    inbox.end()
    assert await all_of(inbox) == left
    assert inbox.dropped == (1 if overflow == "end" else 2)


async def test_a_reader_that_is_too_slow_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    inbox = Inbox("room:busy", 1, "drop_oldest")
    with caplog.at_level(logging.WARNING, "broadwing.client"):
        for number in range(3):
            inbox.put(message(number))
        assert caplog.messages == []  # nobody has read so far: callbacks may be all there is
        await inbox.get()
        for number in range(2002):
            inbox.put(message(number))
    assert len(caplog.messages) == 2
    assert "room:busy" in caplog.messages[0]


async def test_the_end_comes_after_what_has_arrived() -> None:
    inbox = Inbox("t", 10, "drop_oldest")
    inbox.put(message(1))
    inbox.end(ValueError("over"))
    inbox.put(message(2))
    assert (await inbox.get()).payload == 1
    with pytest.raises(ValueError, match="over"):
        await inbox.get()
    inbox.reopen()
    inbox.put(message(3))
    assert (await inbox.get()).payload == 3


async def test_a_cancelled_reader_loses_nothing() -> None:
    inbox = Inbox("t", 10, "drop_oldest")
    reader = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)
    inbox.put(message(1))
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
    async with asyncio.timeout(5):
        assert (await inbox.get()).payload == 1


@pytest.mark.parametrize(("limit", "overflow"), [(0, "drop_oldest"), (1, "wait")])
def test_other_policies_are_refused(limit: int, overflow: Any) -> None:
    with pytest.raises(ConfigurationError, match="drop_newest"):
        Inbox("t", limit, overflow)
