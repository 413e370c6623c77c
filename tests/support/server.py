"""Servers in the test's own loop, on a free port."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import hypercorn.asyncio
import hypercorn.config
import uvicorn

from broadwing.serving import Server
from broadwing.transports.uvicorn_arrival import Arrival
from broadwing.transports.websocket_uvicorn import Gate, WebSocketProtocol
from tests.support.background import TIMEOUT
from tests.support.loopback import HOST

LEAN, ASGI, WSPROTO, HYPERCORN = "lean", "asgi", "wsproto", "hypercorn"

_UVICORN: dict[str, dict[str, Any]] = {
    # As `broadwing serve` sets it up.
    LEAN: {"http": Arrival, "ws": WebSocketProtocol},
    # As a user of uvicorn sets it up by hand: uvicorn writes the request down again, and the lean path reads it.
    "lean-ws-only": {"http": "h11", "ws": WebSocketProtocol},
    ASGI: {"ws": "websockets-sansio"},
    WSPROTO: {"ws": "wsproto"},
}


@dataclass
class Served:
    """An application being served.

    Attributes:
        port: Where, on `HOST`.
        server: uvicorn's server, where it is uvicorn.
    """

    port: int
    server: uvicorn.Server | None = None
    stopped: bool = field(default=False)

    def url(self, path: str, scheme: str = "ws") -> str:
        """The address of `path`."""
        return f"{scheme}://{HOST}:{self.port}{path}"

    async def shut_down(self) -> None:
        """Stop as at SIGTERM."""
        assert self.server is not None
        self.stopped = True
        await self.server.shutdown()


@contextlib.asynccontextmanager
async def serve(app: Any, kind: str = LEAN, **options: Any) -> AsyncIterator[Served]:
    """Serve `app` for the length of a `with` block.

    Args:
        app: The application, usually an `Endpoint`.
        kind: One of `LEAN`, `ASGI`, `WSPROTO`, `HYPERCORN` or `lean-ws-only`.
        **options: Settings of `uvicorn.Config`.
    """
    serving = _hypercorn(app) if kind == HYPERCORN else _uvicorn(app, kind, **options)
    async with serving as served:
        yield served


@contextlib.asynccontextmanager
async def _uvicorn(app: Any, kind: str, **options: Any) -> AsyncIterator[Served]:
    settings = {"host": HOST, "log_config": None, "lifespan": "on", "timeout_graceful_shutdown": 10}
    config = uvicorn.Config(app, port=0, **{**settings, **_UVICORN[kind], **options})
    config.load()
    server = Server(config) if kind.startswith(LEAN) else uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    # Past Server.startup: what it does to the garbage collector is for the life of a process, not of one test.
    await uvicorn.Server.startup(server)
    served = Served(server.servers[0].sockets[0].getsockname()[1], server)
    try:
        yield served
    finally:
        if not served.stopped:
            await _stop(server)


async def _stop(server: uvicorn.Server) -> None:
    """Stop without the 0.1 s that uvicorn always waits: the clients are gone already."""
    for listener in server.servers:
        listener.close()
    await server.lifespan.shutdown()
    async with asyncio.timeout(TIMEOUT):
        while any(not isinstance(connection, Gate) for connection in server.server_state.connections):
            await asyncio.sleep(0.005)
    for listener in server.servers:
        await listener.wait_closed()


@contextlib.asynccontextmanager
async def _hypercorn(app: Any) -> AsyncIterator[Served]:
    listener = socket.socket()
    listener.bind((HOST, 0))
    listener.listen()
    served = Served(listener.getsockname()[1])
    config = hypercorn.config.Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.accesslog = None
    config.errorlog = None
    config.graceful_timeout = 5.0
    stop = asyncio.Event()
    task = asyncio.get_running_loop().create_task(hypercorn.asyncio.serve(app, config, shutdown_trigger=stop.wait))
    try:
        yield served
    finally:
        stop.set()
        await task


async def until(condition: Any, timeout: float = TIMEOUT) -> None:
    """Wait until `condition()` is true; the test fails when it does not become so."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.002)
