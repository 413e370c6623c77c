"""One whole story on each event loop and every way to serve, with a room that is written to in slices."""

import asyncio
from collections.abc import Callable

import pytest
import uvloop

from broadwing.core.topics import TRACKERS
from tests.integration.conftest import World
from tests.support.app import make_endpoint
from tests.support.client import V1, V2
from tests.support.server import ASGI, HYPERCORN, LEAN, WSPROTO, serve, until

MEMBERS, SLICE = 120, 40


async def story(kind: str) -> None:
    """Join, push, reply, broadcast to many, leave, disconnect, close, drain."""
    endpoint = make_endpoint()
    endpoint.fastlane.slice = SLICE
    async with serve(endpoint, kind) as served:
        world = World(endpoint, served, kind, V2)
        members = [await world.connect(vsn=V1 if n % 2 else V2, user_id=str(n % 10)) for n in range(MEMBERS)]
        for member in members:
            await member.join("room:lobby", "1")
        sender = members[0]
        await sender.send("1", "2", "room:lobby", "new_msg", {"n": 1})
        await sender.send("1", "3", "room:lobby", "echo", {"after": True})
        await sender.send("1", "4", "room:lobby", "shout", {"n": 2})
        await sender.expect(None, None, "room:lobby", "new_msg", {"n": 1})
        await sender.expect_reply("1", "3", "room:lobby", "ok", {"after": True})
        for member in members[1:]:
            await member.expect(None, None, "room:lobby", "new_msg", {"n": 1})
            await member.expect(None, None, "room:lobby", "shout", {"n": 2})
        await sender.send("1", "5", "room:lobby", "phx_leave")
        await sender.expect_reply("1", "5", "room:lobby")
        await sender.expect("1", "1", "room:lobby", "phx_close")
        await members[1].close()
        endpoint.broadcast("users_socket:2", "disconnect", {})
        assert await members[2].ended() == 1001
        await until(lambda: len(endpoint.terminated) == 2 + MEMBERS // 10)
        await asyncio.gather(endpoint.drain(), *(_sent_away(world, n) for n in (0, 3, 4)))
        assert len(endpoint.terminated) == MEMBERS
        left = [topic for topic in endpoint.pubsub.registry.topics if not topic.startswith(TRACKERS)]
        assert left == []
        for member in members:
            await member.close()


async def _sent_away(world: World, n: int) -> None:
    assert await world.clients[n].ended() == 1012


@pytest.mark.parametrize("kind", [LEAN, "lean-ws-only", ASGI, WSPROTO, HYPERCORN])
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_room_of_many_on_every_loop_and_server(kind: str, loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(story(kind))
