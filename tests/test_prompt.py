"""Coroutine functions that never wait run without a task, and nobody can tell but by asking for one."""

import asyncio
import functools
from contextvars import ContextVar
from typing import Any

import pytest

from broadwing import Channel, Ok, Socket, on
from broadwing.prompt import finish, never_waits
from tests.support.memory import line


async def _nothing() -> None:
    pass


async def _computes(channel: Any, payload: Any) -> Any:
    return [payload for _ in range(3)]


async def _awaits() -> None:
    await asyncio.sleep(0)


async def _iterates(items: Any) -> None:
    async for _ in items:
        pass


async def _enters(manager: Any) -> None:
    async with manager:
        pass


async def _comprehends(items: Any) -> Any:
    return [item async for item in items]


async def _generates() -> Any:
    yield 1


@functools.wraps(_nothing)
async def _decorated(*args: Any) -> Any:
    return await _nothing(*args)


def _plain() -> None:
    pass


@pytest.mark.parametrize("function", [_nothing, _computes, Channel.join])
def test_a_coroutine_function_without_an_await_never_waits(function: Any) -> None:
    assert never_waits(function)


@pytest.mark.parametrize(
    "function",
    [_awaits, _iterates, _enters, _comprehends, _generates, _decorated, _plain, functools.partial(_nothing), print],
)
def test_everything_else_may_wait(function: Any) -> None:
    assert not never_waits(function)


def test_the_end_of_a_coroutine_is_its_value_or_its_error() -> None:
    async def fails() -> None:
        raise KeyError("x")

    assert finish(_computes(None, 1)) == [1, 1, 1]
    with pytest.raises(KeyError):
        finish(fails())


async def test_one_that_waits_after_all_is_told_of() -> None:
    with pytest.raises(RuntimeError, match="waits; it has to be run in one"):
        finish(_awaits())


_user: ContextVar[str] = ContextVar("user", default="nobody")


class RoomChannel(Channel):
    tasks: list[Any] = []  # noqa: RUF012 - of this test alone

    async def join(self, params: Any) -> None:
        self.tasks.append(asyncio.current_task())

    @on("prompt")
    async def prompt(self) -> Ok:
        self.tasks.append(asyncio.current_task())
        before = _user.get()
        _user.set("somebody")
        return Ok({"before": before})

    @on("waits")
    async def waits(self) -> Ok:
        async with asyncio.timeout(30):
            await asyncio.sleep(0)
        self.tasks.append(asyncio.current_task())
        return Ok()

    @on("raises")
    async def raises(self) -> None:
        raise ValueError("on purpose")


class UserSocket(Socket):
    channels = {"room:*": RoomChannel}  # noqa: RUF012 - typed as ClassVar in Socket


async def test_a_prompt_handler_has_no_task_and_one_that_waits_has_its_own() -> None:
    RoomChannel.tasks.clear()
    client = await line(UserSocket)
    await client.join("room:1")
    client.send_text("1", "2", "room:1", "prompt")
    client.send_text("1", "3", "room:1", "waits")
    client.send_text("1", "4", "room:1", "prompt")
    assert [message.ref for message in await client.next(3)] == ["2", "3", "4"]
    join, first, waiting, behind = RoomChannel.tasks
    assert join is first is asyncio.current_task()  # this test's own, which handed the messages in
    # The last one came while another was at work, and so waited for it in the mailbox.
    assert waiting is behind is not first


async def test_what_a_prompt_handler_does_to_context_variables_is_its_own() -> None:
    client = await line(UserSocket)
    await client.join("room:1")
    for ref in ("2", "3"):
        client.send_text("1", ref, "room:1", "prompt")
        (reply,) = await client.next(1)
        assert reply.payload == {"status": "ok", "response": {"before": "nobody"}}
    assert _user.get() == "nobody"


async def test_a_prompt_handler_that_raises_ends_its_own_channel(caplog: pytest.LogCaptureFixture) -> None:
    client = await line(UserSocket)
    await client.join("room:1", "1")
    await client.join("room:2", "2")
    client.send_text("1", "3", "room:1", "raises")
    client.send_text("2", "4", "room:2", "prompt")
    error, reply = await client.next(2)
    assert (error.event, error.topic, error.payload) == ("phx_error", "room:1", {"reason": "channel_crash"})
    assert (reply.event, reply.topic) == ("phx_reply", "room:2")
    assert "ValueError: on purpose" in caplog.text
