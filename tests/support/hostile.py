"""What hostile clients talk to: a room, a channel whose handlers wait for a gate, a channel whose join does."""

import asyncio
from typing import Any

import msgspec

from broadwing import Channel, Endpoint, Ok, Reply, Socket, on

ROOM = "/socket/websocket?vsn=2.0.0"
ROOM_V1 = "/socket/websocket?vsn=1.0.0"


class Point(msgspec.Struct):
    """A payload with a form."""

    x: int
    y: list[float]


class RoomChannel(Channel):
    """`room:*`: echoes, and broadcasts."""

    async def join(self, params: Any) -> None:
        """Open to all."""

    @on("echo")
    async def echo(self, payload: Any) -> Reply:
        """Send it back, null as well."""
        return Reply(payload)

    @on("point")
    async def point(self, payload: Point) -> dict[str, int]:
        """Take nothing but points."""
        return {"x": payload.x}

    @on("shout")
    async def shout(self, payload: Any) -> None:
        """Send it to everybody."""
        self.broadcast("shout", payload)


class GatedChannel(Channel):
    """`gated:*`: handlers wait for the gate; `gatedjoin:*`: so does the join."""

    gate: asyncio.Event
    """Made anew for every endpoint."""

    async def join(self, params: Any) -> None:
        """Open to all, in time."""
        if self.topic.startswith("gatedjoin:"):
            await type(self).gate.wait()

    @on("wait")
    async def wait(self, payload: Any) -> Ok:
        """Reply once the gate is open."""
        await type(self).gate.wait()
        return Ok()

    @on("step")
    async def step(self, payload: Any) -> None:
        """Take a little time."""
        await asyncio.sleep(0.002)


class HostSocket(Socket):
    """Anybody may connect."""

    channels = {"room:*": RoomChannel, "gated:*": GatedChannel, "gatedjoin:*": GatedChannel}  # noqa: RUF012 - a ClassVar
    log_join = None
    log_handle_in = None


def hostile_endpoint() -> Endpoint:
    """The endpoint: /socket as by default, /short and /brisk with short idle timeouts, /deflate with compression."""
    GatedChannel.gate = asyncio.Event()
    endpoint = Endpoint(check_origin=False)
    endpoint.socket("/socket", HostSocket)
    endpoint.socket("/short", HostSocket, websocket={"timeout": 0.5})
    endpoint.socket("/brisk", HostSocket, websocket={"timeout": 2.0})
    endpoint.socket("/deflate", HostSocket, websocket={"compress": True})
    return endpoint


endpoint = hostile_endpoint()
"""For servers in processes of their own."""
