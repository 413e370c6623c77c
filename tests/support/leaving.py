"""An application that is told to stop while it has things to do; the environment says how it is to be drained."""

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from broadwing import Channel, Endpoint, RawSocket, Socket, on

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")


def say(*words: object) -> None:
    """Tell the test."""
    print(*words, flush=True)


class RoomChannel(Channel):
    """`room:*`."""

    async def join(self, params: Any) -> None:
        """Open to all."""

    @on("work")
    async def work(self) -> None:
        """Take half a second."""
        say("work begun")
        await asyncio.sleep(0.5)
        say("work done")

    @on("block")
    def block(self) -> None:
        """Hold a thread for a minute."""
        say("block begun")
        time.sleep(60)

    async def terminate(self, reason: Any) -> None:
        """Say why."""
        say("terminate", self.topic, reason)


class RoomSocket(Socket):
    """Anybody may connect."""

    channels = {"room:*": RoomChannel}  # noqa: RUF012 - typed as ClassVar in Socket


class EchoSocket(RawSocket):
    """Without channels."""

    async def handle_in(self, data: str | bytes) -> str | bytes:
        """Send it back."""
        return data

    async def terminate(self, reason: Any) -> None:
        """Say why."""
        say("terminate raw", reason)


async def hello(request: Request) -> PlainTextResponse:
    """Answer."""
    return PlainTextResponse("hello")


async def parrot(websocket: WebSocket) -> None:
    """The application's own WebSocket."""
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Say when."""
    say("application started")
    yield
    say("application stopped")


endpoint = Endpoint(
    Starlette(routes=[Route("/hello", hello), WebSocketRoute("/parrot", parrot)], lifespan=lifespan),
    check_origin=False,
)
endpoint.socket("/socket", RoomSocket, drainer=json.loads(os.environ.get("DRAINER", "true")))
endpoint.socket("/raw", EchoSocket)
