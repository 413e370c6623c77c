"""The application whose presence is measured: a room, and a desk from which people are sent in and out."""

import os
from typing import Any

from broadwing import Channel, Endpoint, Ok, Presence, Socket, on

# With `phx_ref` a meta of 86 bytes, an entry of 110: who, since when, and a word.
META = {"online_at": 1_700_000_000, "status": "available"}
ROOM = "room:0"


class RoomChannel(Channel):
    """Hears of who comes and goes; those who do are tracked on its behalf, or on that of their names."""

    async def join(self, params: Any) -> None:
        """Open to all."""

    @on("fill")
    async def fill(self, payload: dict[str, int]) -> Ok:
        """Have so many present."""
        for number in range(payload["body"]):
            presence.track(number, f"user:{number}", META, topic=ROOM)
        return Ok()

    @on("come")
    async def come(self, payload: dict[str, str]) -> None:
        """Have somebody come."""
        presence.track(payload["body"], payload["body"], META, topic=ROOM)

    @on("go")
    async def go(self, payload: dict[str, str]) -> None:
        """Have somebody go."""
        presence.untrack(payload["body"])

    @on("state")
    async def state(self) -> None:
        """Tell who is there, as a newcomer is told."""
        self.push("presence_state", await presence.list(self))


class PresentSocket(Socket):
    """Anybody may connect."""

    log = None
    log_join = None
    log_handle_in = None
    channels = {"room:*": RoomChannel, "desk": RoomChannel}  # noqa: RUF012 - typed as ClassVar in Socket


endpoint = Endpoint(check_origin=False)
endpoint.socket("/socket", PresentSocket)
presence = Presence(endpoint, diff_rate=float(os.environ.get("BENCH_DIFF_RATE", "10000")))
