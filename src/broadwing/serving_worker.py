"""A worker process: serves on the socket that its supervisor gave it."""

import asyncio
import os
import signal
import socket
from typing import Any

import uvicorn

from broadwing.serving import Process, configure
from broadwing.supervisor import CANNOT_START, LIFELINE_FD, READY_FD, SOCKET_FD, WORKER


def is_worker() -> bool:
    """Whether this process was started by a supervisor."""
    return WORKER in os.environ


def serve_worker(app: Any, **options: Any) -> int:
    """Serve on the inherited socket until SIGTERM, or until the supervisor is gone.

    Args:
        app: The application, or an import string `module:attribute`.
        **options: Further settings of `uvicorn.Config`.

    Returns:
        Exit code, as for `broadwing.serving.serve`.
    """
    server = _Worker(configure(app, **options))
    with socket.socket(fileno=int(os.environ[SOCKET_FD])) as listener:
        try:
            server.run(sockets=[listener])
        except SystemExit:  # uvicorn's way to say that the application did not start
            return CANNOT_START
    if not server.started:
        return CANNOT_START
    return 1 if server.force_exit else 0


class _Worker(Process):
    """A server that tells its supervisor when it listens, and stops when the supervisor does."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config, lambda address: None)

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        ready = int(os.environ[READY_FD])
        os.write(ready, b"1")
        os.close(ready)
        # The other end is held by the supervisor alone and nothing is ever written: readable means that it died.
        lifeline = int(os.environ[LIFELINE_FD])
        loop = asyncio.get_running_loop()

        def orphaned() -> None:
            loop.remove_reader(lifeline)
            self.handle_exit(signal.SIGTERM, None)

        loop.add_reader(lifeline, orphaned)
