"""The chat example on several workers or nodes, with what its page does not need: who serves a client, and a word to all.

BUS names the bus; without it the workers of one command have their own.
"""

import os
from typing import Any

from broadwing import Channel, Endpoint, Ok, Presence, on
from examples.chat import app


class Office(Channel):
    """`office`: whoever runs the place."""

    async def join(self, params: Any) -> dict[str, int]:
        """Open to all."""
        return {"pid": os.getpid()}

    @on("announce")
    async def announce(self, payload: dict[str, Any]) -> Ok:
        """Tell everybody, on every node, from outside of their rooms."""
        self.endpoint.broadcast("room:lobby", "announcement", payload)
        return Ok()

    @on("expel")
    async def expel(self, payload: dict[str, Any]) -> Ok:
        """End all connections of a user, on every node."""
        self.endpoint.broadcast(f"users_socket:{payload['user']}", "disconnect", {})
        return Ok()


class NodeSocket(app.UserSocket):
    """A page's connection, or the office's."""

    channels = {**app.UserSocket.channels, "office": Office}  # noqa: RUF012 - typed as ClassVar in Socket


async def pid(scope: Any, receive: Any, send: Any) -> None:
    """Answer every other request with the process that serves it."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % os.getpid()})


endpoint = Endpoint(app=pid, secret_key_base=app.SECRET, pubsub=os.environ.get("BUS"))
app.presence = Presence(endpoint, broadcast_period=0.2, down_period=5.0)
endpoint.socket("/socket", NodeSocket, longpoll=True, auth_token=True)
