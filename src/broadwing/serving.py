"""Serving an application with uvicorn and the lean WebSocket path: what `broadwing serve` does."""

import asyncio
import contextlib
import copy
import gc
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import uvicorn
from uvicorn.config import LOGGING_CONFIG

from broadwing.transports.uvicorn_arrival import Arrival
from broadwing.transports.uvicorn_http import HttpProtocol
from broadwing.transports.websocket_uvicorn import WebSocketProtocol, find_reception

logger = logging.getLogger("broadwing.server")

# Handshakes that may wait to be accepted: with uvicorn's 2,048 a storm of 3,000 connects a second is reset, with this not.
BACKLOG: Final = 4_096
# A client that has not sent a whole request head after this many seconds is cut off (slow loris), and so is one whose body
# has come more slowly than MIN_RATE bytes a second by then.
REQUEST_TIMEOUT: Final = 15.0
MIN_RATE: Final = 500
# How long requests that are being answered may take to end once the connections are drained, in seconds.
GRACEFUL_SHUTDOWN: Final = 30
# A second signal ends the process after this long even if a handler blocks a thread that Python would wait for.
FORCED_EXIT: Final = 1.0


class Server(uvicorn.Server):
    """uvicorn's server with a paced farewell, a second signal that means it, and no patience for slow requests."""

    def __init__(self, config: uvicorn.Config, request_timeout: float = REQUEST_TIMEOUT) -> None:
        super().__init__(config)
        self._request_timeout = request_timeout
        self._unfinished: dict[Arrival | HttpProtocol, tuple[int, float]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Stop gracefully; at the second signal, at once."""
        if self.should_exit:
            self.force_exit = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._abort)
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle SIGINT and SIGTERM without raising them again at the end: having stopped as told is exit code 0."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {sig: signal.signal(sig, self.handle_exit) for sig in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)

    async def startup(self, sockets: Any = None) -> None:
        """Start."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Once a second, cut off who takes too long over a request."""
        if counter % 10 == 0 or self._request_timeout < 1:
            self._cut_off(asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    async def shutdown(self, sockets: Any = None) -> None:
        """Stop accepting, drain, then let uvicorn finish."""
        for server in self.servers:
            server.close()
        reception = find_reception(self.config.loaded_app)
        if reception is not None:
            draining = asyncio.ensure_future(reception.drain())
            while not draining.done() and not self.force_exit:
                await asyncio.wait((draining,), timeout=0.05)
            if not draining.done():
                draining.cancel()
        if self.force_exit:
            self._abort()  # once more: what has come since the signal
        await super().shutdown(sockets)

    def _abort(self) -> None:
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()
        reception = find_reception(self.config.loaded_app)
        if reception is not None:
            reception.abort()

    def _cut_off(self, now: float) -> None:
        unfinished: dict[Arrival | HttpProtocol, tuple[int, float]] = {}
        for connection in self.server_state.connections:
            if isinstance(connection, Arrival | HttpProtocol) and connection.is_receiving:
                request, since = self._unfinished.get(connection, (0, now))
                if request != connection.requests:  # another one than a second ago
                    since = now
                extra = 0 if connection.in_head else connection.received / MIN_RATE
                if now - since > self._request_timeout + extra:
                    connection.transport.abort()
                else:
                    unfinished[connection] = connection.requests, since
        self._unfinished = unfinished


def configure(app: Any, **options: Any) -> uvicorn.Config:
    """The settings of uvicorn that Broadwing is served with.

    Args:
        app: The application, usually an `Endpoint`, or an import string `module:attribute`.
        **options: Further settings of `uvicorn.Config`, e.g. `ssl_certfile`; they win.
    """
    level = str(options.get("log_level", "info")).upper()
    log_config = copy.deepcopy(LOGGING_CONFIG)
    log_config["loggers"]["broadwing"] = {"handlers": ["default"], "level": level, "propagate": False}
    settings: dict[str, Any] = {
        "log_config": log_config,
        "http": Arrival,
        "ws": WebSocketProtocol,
        "log_level": "info",
        "access_log": False,
        "backlog": BACKLOG,
        "timeout_graceful_shutdown": GRACEFUL_SHUTDOWN,
    }
    return uvicorn.Config(app, **{**settings, **options})


def serve(
    app: Any,
    *,
    host: str = "127.0.0.1",
    port: int = 4000,
    announce: Callable[[str], None] = print,
    **options: Any,
) -> int:
    """Serve an ASGI application until SIGINT or SIGTERM.

    Args:
        app: The application, usually an `Endpoint`, or an import string `module:attribute`.
        host: Address to listen on.
        port: Port to listen on; 0 chooses a free one.
        announce: Called with the address once the server listens.
        **options: Further settings of `uvicorn.Config`, e.g. `ssl_certfile`.

    Returns:
        Exit code: 0 when it stopped as told, 1 when a second signal cut that short, 3 when it could not start.
    """
    server = Process(configure(app, host=host, port=port, **options), announce)
    try:
        server.run()
    except KeyboardInterrupt:  # a second Ctrl-C, before the server could see it
        return 130
    if not server.started:
        return 3
    return 1 if server.force_exit else 0


class Process(Server):
    """A server that has its process to itself."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[str], None]) -> None:
        super().__init__(config)
        self._announce = announce

    def handle_exit(self, sig: int, frame: Any) -> None:
        super().handle_exit(sig, frame)
        if self.force_exit:
            last_resort = threading.Timer(FORCED_EXIT, os._exit, (1,))
            last_resort.daemon = True
            last_resort.start()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        # Everything imported lives as long as the process. Collections every 700 objects, the default, cost a tenth of the
        # time of a connect and find nothing: connections hold no cycles once they are closed.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)

    def _log_started_message(self, listeners: Any) -> None:
        super()._log_started_message(listeners)
        scheme = "https" if self.config.is_ssl else "http"
        host = self.config.host
        port = listeners[0].getsockname()[1]
        self._announce(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}")
