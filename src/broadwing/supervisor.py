"""Several worker processes behind one port, kept alive: what `broadwing serve --workers N` does.

The supervisor owns the sockets and hands each worker its own, bound to the same port (SO_REUSEPORT), so that the kernel
spreads connections evenly; where there is no such balancing, all share one. Because the supervisor keeps the socket of a
worker that died, clients that connect meanwhile wait for its successor instead of being refused.
"""

import asyncio
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Final

from broadwing.types import BUS_VARIABLE

logger = logging.getLogger("broadwing.supervisor")

# Environment of a worker: its number, its listening socket, where to say that it is ready, and a pipe that ends
# with the supervisor, so that no worker outlives it.
WORKER: Final = "BROADWING_WORKER"
SOCKET_FD: Final = "BROADWING_SOCKET_FD"
READY_FD: Final = "BROADWING_READY_FD"
LIFELINE_FD: Final = "BROADWING_LIFELINE_FD"

# A worker that dies is replaced at once; one that keeps dying within FRAGILE seconds waits longer each time.
FRAGILE: Final = 5.0
BACKOFF: Final = (0.0, 0.25, 0.5, 1.0, 2.0, 5.0)
# Exit code of a worker whose application cannot be loaded or started.
CANNOT_START: Final = 3


class Supervisor:
    """Runs and replaces workers until it is told to stop.

    Args:
        command: The command line of a worker.
        workers: How many.
        host: Address to listen on.
        port: Port to listen on; 0 chooses a free one.
        announce: Called with host and port once all workers listen.
    """

    def __init__(
        self, command: Sequence[str], workers: int, host: str, port: int, announce: Callable[[str, int], None]
    ) -> None:
        self._command = list(command)
        self._count = workers
        self._sockets = bind(host, port, workers)
        self._announce = announce
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._stopping = asyncio.Event()
        self._signals = 0
        self._ready: set[int] = set()
        self._announced = False
        self._failed = False
        self._lifeline = os.pipe()
        self._bus = tempfile.mkdtemp(prefix="broadwing-")

    async def run(self) -> int:
        """Run the workers until SIGINT or SIGTERM.

        Returns:
            0 when all ended as told, 3 when they could not start, else 1.
        """
        loop = asyncio.get_running_loop()
        for sig in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(sig, self._told, sig)
        try:
            codes = await asyncio.gather(*(self._keep(index) for index in range(self._count)))
        finally:
            for sig in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(sig)
            self._release()
        if self._failed:
            return CANNOT_START
        return 0 if not any(codes) else 1

    async def _keep(self, index: int) -> int:
        """Run worker `index`, again and again; returns the last exit code once it is time to stop."""
        deaths = 0
        while True:
            started = asyncio.get_running_loop().time()
            code = await self._run_once(index)
            if self._stopping.is_set():
                return code
            if code == CANNOT_START and not self._announced:
                self._failed = True
                self._told(signal.SIGTERM)
                return code
            deaths = deaths + 1 if asyncio.get_running_loop().time() - started < FRAGILE else 0
            pause = BACKOFF[min(deaths, len(BACKOFF) - 1)]
            logger.error("worker %d ended with %d and is replaced in %s s", index, code, pause)
            try:
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
                return code
            except TimeoutError:
                continue

    async def _run_once(self, index: int) -> int:
        reader, writer = os.pipe()
        listener = self._sockets[index % len(self._sockets)]
        fds = (listener.fileno(), writer, self._lifeline[0])
        env = {
            **os.environ,
            WORKER: str(index),
            SOCKET_FD: str(fds[0]),
            READY_FD: str(fds[1]),
            LIFELINE_FD: str(fds[2]),
            BUS_VARIABLE: os.environ.get(BUS_VARIABLE, f"zmq+ipc://{self._bus}"),
        }
        try:
            process = await asyncio.create_subprocess_exec(*self._command, env=env, pass_fds=fds)
        finally:
            os.close(writer)
        self._processes[index] = process
        loop = asyncio.get_running_loop()
        loop.add_reader(reader, self._heard, index, reader)
        try:
            if self._stopping.is_set():
                process.send_signal(signal.SIGTERM)
            return await process.wait()
        finally:
            loop.remove_reader(reader)
            os.close(reader)
            self._processes.pop(index, None)

    def _heard(self, index: int, reader: int) -> None:
        asyncio.get_running_loop().remove_reader(reader)
        if os.read(reader, 1) != b"1":
            return  # it ended without having been ready
        self._ready.add(index)
        if not self._announced and len(self._ready) == self._count:
            self._announced = True
            host, port = self._sockets[0].getsockname()[:2]
            self._announce(host, port)

    def _told(self, sig: signal.Signals) -> None:
        self._signals += 1
        self._stopping.set()
        # Closed here first: a socket that only the supervisor still holds would let clients wait for nobody.
        for listener in self._sockets:
            listener.close()
        for process in self._processes.values():
            process.send_signal(signal.SIGKILL if self._signals > 2 else signal.SIGTERM)

    def _release(self) -> None:
        for listener in self._sockets:
            listener.close()
        for fd in self._lifeline:
            os.close(fd)
        shutil.rmtree(self._bus, ignore_errors=True)


def bind(host: str, port: int, workers: int) -> list[socket.socket]:
    """Bind one socket for each worker where the kernel balances between them, else one for all.

    Raises:
        OSError: The address is taken, or not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    balanced = sys.platform.startswith("linux")
    sockets: list[socket.socket] = []
    try:
        for _ in range(workers if balanced else 1):
            listener = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if balanced:
                if len(sockets) == 1 and port:
                    _must_be_free(family, host, port)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind((host, port))
            port = listener.getsockname()[1]
            listener.set_inheritable(True)
    except BaseException:
        for listener in sockets:
            listener.close()
        raise
    return sockets


def _must_be_free(family: int, host: str, port: int) -> None:
    # With SO_REUSEPORT alone a second server of the same user would silently share the port with the first.
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def supervise(
    command: Sequence[str], *, workers: int, host: str, port: int, announce: Callable[[str, int], None]
) -> int:
    """Run `workers` processes of `command` behind one port until SIGINT or SIGTERM; see `Supervisor`.

    Returns:
        Exit code: 0 when all stopped as told, 3 when they could not start, else 1.
    """

    async def main() -> int:
        return await Supervisor(command, workers, host, port, announce).run()

    return asyncio.run(main())
