"""Servers in a thread of their own, on the loop that production uses, and clients that block: one for a whole module."""

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import uvicorn
import uvloop

from broadwing.serving import Server, configure
from tests.support.loopback import HOST

T = TypeVar("T")

LEAN, LEAN_BEHIND_H11, PLAIN_ASGI = "lean", "lean behind h11", "asgi"
TIMEOUT = 30.0
"""Most seconds anything a test waits for may take. Only a test that fails takes them, so they are many."""


class Background:
    """An application being served.

    Attributes:
        port: Where, on `HOST`.
        server: uvicorn's server.
        loop: Its loop.
    """

    def __init__(self, server: uvicorn.Server, scheme: str, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self.scheme = scheme
        self.loop = loop
        self.port = 0
        self.tasks_left: list[str] = []
        self._thread = threading.Thread(target=self._run, name="server")

    def start(self) -> None:
        """Begin, and return once it listens."""
        self._thread.start()
        until(lambda: self.server.started or not self._thread.is_alive())
        assert self.server.started, "the server did not start"
        self.port = self.server.servers[0].sockets[0].getsockname()[1]

    def stop(self, seconds: float = TIMEOUT) -> None:
        """Stop as at SIGTERM."""
        self.server.should_exit = True
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "the server did not stop"

    def url(self, path: str, scheme: str = "ws") -> str:
        """The address of `path`."""
        return f"{scheme}{self.scheme}://{HOST}:{self.port}{path}"

    def run(self, function: Callable[[], T]) -> T:
        """Call something in the server's loop."""
        done: list[T] = []
        event = threading.Event()

        def call() -> None:
            done.append(function())
            event.set()

        self.loop.call_soon_threadsafe(call)
        assert event.wait(TIMEOUT), "the server's loop did not come round"
        return done[0]

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        await self.server.serve()
        await asyncio.sleep(0)
        self.tasks_left = [repr(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()]


@contextlib.contextmanager
def background(
    app: Any,
    kind: str = LEAN,
    *,
    request_timeout: float = 15.0,
    new_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop,
    **options: Any,
) -> Iterator[Background]:
    """Serve `app` for the length of a `with` block.

    Args:
        app: The application, usually an `Endpoint`.
        kind: `LEAN`: as `broadwing serve` does; `LEAN_BEHIND_H11`: with uvicorn's own HTTP before the lean path, as with
            `uvicorn.run(endpoint, ws=WebSocketProtocol)`; `PLAIN_ASGI`: uvicorn with its own WebSockets.
        request_timeout: As `Server` has it.
        new_loop: Makes the loop.
        **options: Settings of `uvicorn.Config`.
    """
    settings = {"host": HOST, "port": 0, "log_config": None, "lifespan": "on", **options}
    server: uvicorn.Server
    if kind != PLAIN_ASGI:
        config = configure(app, **({"http": "h11"} if kind == LEAN_BEHIND_H11 else {}), **settings)
        server = Server(config, request_timeout)
    else:
        config = uvicorn.Config(app, ws="websockets-sansio", ws_ping_interval=None, **settings)
        server = uvicorn.Server(config)
    served = Background(server, "s" if config.ssl_certfile else "", new_loop())
    served.start()
    try:
        yield served
    finally:
        if served._thread.is_alive():
            served.stop()


def until(condition: Callable[[], object], seconds: float = TIMEOUT) -> None:
    """Wait until `condition()` is true; the test fails when it does not become so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


def dial(port: int, *, tls: ssl.SSLContext | None = None, receive_buffer: int | None = None) -> socket.socket:
    """Open a connection.

    Args:
        port: Where, on `HOST`.
        tls: Speak TLS.
        receive_buffer: Size of the kernel's buffer for what the client has not read; small for slow readers.
    """
    line = socket.socket()
    line.settimeout(TIMEOUT)
    if receive_buffer is not None:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        line.connect((HOST, port))
    except OSError:
        line.close()
        raise
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return tls.wrap_socket(line, server_hostname="localhost") if tls is not None else line
