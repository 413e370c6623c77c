"""An application that tells which process serves a client."""

import os
from typing import Any

from broadwing import Channel, Endpoint, Ok, Socket, on


class RoomChannel(Channel):
    """Broadcasts, and says where it lives."""

    async def join(self, params: Any) -> dict[str, int]:
        """Open to all."""
        return {"pid": os.getpid()}

    @on("say")
    async def say(self, payload: dict[str, Any]) -> Ok:
        """Send it to everybody, on every worker."""
        self.broadcast("said", payload)
        return Ok()

    @on("kick")
    async def kick(self, payload: dict[str, Any]) -> Ok:
        """End all connections of a user, on every worker."""
        self.endpoint.broadcast(f"users:{payload['user']}", "disconnect", {})
        return Ok()


class WorkersSocket(Socket):
    """Anybody may connect, under any name."""

    channels = {"room:*": RoomChannel}  # noqa: RUF012 - typed as ClassVar in Socket

    async def connect(self, params: dict[str, Any], info: Any) -> None:
        """Remember the name."""
        self.assign(user=params.get("user", "nobody"))

    def id(self) -> str:
        """Its name."""
        return f"users:{self.assigns['user']}"


endpoint = Endpoint(secret_key_base="workers" * 10, check_origin=False)
endpoint.socket("/socket", WorkersSocket, longpoll=True)
