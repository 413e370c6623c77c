"""The application that is measured: one room, a broadcast and an echo."""

from typing import Any

from broadwing import Channel, Endpoint, Ok, Socket, on


class RoomChannel(Channel):
    """Broadcasts `new_msg`, echoes `echo`."""

    async def join(self, params: Any) -> None:
        """Open to all."""

    @on("new_msg")
    async def new_msg(self, payload: dict[str, Any]) -> None:
        """Send it to everybody in the room."""
        self.broadcast("new_msg", {"body": payload["body"]})

    @on("echo")
    async def echo(self, payload: Any) -> Ok:
        """Send it back."""
        return Ok(payload)


class BenchSocket(Socket):
    """Anybody may connect."""

    # What is measured is not how fast a terminal takes log lines; the yardstick writes none either.
    log = None
    log_join = None
    channels = {"room:*": RoomChannel}  # noqa: RUF012 - typed as ClassVar in Socket


endpoint = Endpoint(check_origin=False)
endpoint.socket("/socket", BenchSocket)
