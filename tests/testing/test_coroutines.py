"""The test kit in coroutines: the same, awaited, in the test's own loop."""

import asyncio
import logging
import threading
from typing import Any

import httpx
import pytest
import uvloop

from broadwing import Channel, Endpoint, JoinError, Socket, on
from broadwing.testing import Capture, ChannelTest, VirtualClock


class RoomChannel(Channel):
    async def join(self, params: Any) -> None:
        """Refuse one topic."""
        if self.topic == "room:closed":
            raise JoinError({"reason": "closed"})

    @on("shout")
    async def shout(self, payload: Any) -> None:
        self.broadcast("shout", payload)

    @on("where")
    def where(self) -> dict[str, str]:
        return {"thread": threading.current_thread().name}


class UserSocket(Socket):
    channels = {"room:*": RoomChannel}


async def test_a_story_of_two_clients() -> None:
    async with ChannelTest(UserSocket, timeout=30) as test:
        ada = await test.subscribe_and_join("room:1")
        grace = await (await test.connect()).join("room:1")
        ref = ada.push("shout", {"body": "hi"})
        body = Capture(str)
        await grace.assert_push("shout", {"body": body})
        await ada.assert_broadcast("shout", {"body": body.value})
        await ada.refute_reply(ref)
        with pytest.raises(JoinError):
            await ada.socket.join("room:closed")
        await ada.assert_reply(ada.leave(), "ok")
        await ada.assert_closed()
        await grace.close()
        assert grace.socket.closed_with == 1000
        await ada.refute_broadcast("shout")


async def test_two_may_wait_at_once(broadwing_clock: VirtualClock) -> None:
    async with ChannelTest(UserSocket) as test:
        room = await test.join("room:1")
        first = asyncio.ensure_future(room.assert_push("shout", {"n": 1}))
        second = asyncio.ensure_future(room.assert_push("shout", {"n": 2}))
        await asyncio.sleep(0.5)
        test.broadcast("room:1", "shout", {"n": 2})
        test.broadcast("room:1", "shout", {"n": 1})
        assert [message.payload["n"] for message in await asyncio.gather(first, second)] == [1, 2]


async def test_an_endpoint_that_runs_already_is_left_running() -> None:
    endpoint = Endpoint()
    endpoint.socket("/socket", UserSocket)
    await endpoint.start()
    async with ChannelTest(endpoint) as test:
        await test.join("room:1")
    assert endpoint.is_started
    await endpoint.stop()


async def test_requests_are_answered_in_the_same_loop() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        endpoint.broadcast("room:1", "shout", {"path": scope["path"]})
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    endpoint = Endpoint(app=app)
    endpoint.socket("/socket", UserSocket)
    async with (
        ChannelTest(endpoint, timeout=30) as test,
        httpx.AsyncClient(transport=httpx.ASGITransport(endpoint), base_url="http://test") as http,
    ):
        room = await test.join("room:1")
        assert (await http.post("/news")).status_code == 204
        await room.assert_push("shout", {"path": "/news"})


def test_uvloop_works_in_real_time() -> None:
    async def main() -> None:
        async with ChannelTest(UserSocket, timeout=30) as test:
            room = await test.join("room:1")
            thread = await room.assert_reply(room.push("where"), "ok")
            assert thread["thread"].startswith("broadwing-test")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


async def test_a_loop_has_its_own_threads_back_afterwards() -> None:
    async with ChannelTest(UserSocket, timeout=30) as test:
        room = await test.join("room:1")
        await room.assert_reply(room.push("where"), "ok", lambda response: "broadwing-test" in response["thread"])
    assert "broadwing-test" not in await asyncio.to_thread(lambda: threading.current_thread().name)
    assert not any(type(handler).__name__ == "ErrorLog" for handler in logging.getLogger("broadwing").handlers)
