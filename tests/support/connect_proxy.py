"""The least of an HTTP proxy: CONNECT, and then bytes in both directions."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tests.support.loopback import HOST


class ConnectProxy:
    """A proxy.

    Attributes:
        port: Where it listens, on `HOST`.
        asked: What it was asked to connect to, in order.
    """

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """For the environment."""
        return f"http://{HOST}:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
            if method != "CONNECT":
                writer.write(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
                return
            self.asked.append(target)
            host, _, port = target.rpartition(":")
            from_server, to_server = await asyncio.open_connection(host, int(port))
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(_pass(reader, to_server))
                    both.create_task(_pass(from_server, writer))
            finally:
                to_server.transport.abort()
        except* (OSError, EOFError):
            pass
        finally:
            writer.close()

    async def end(self) -> None:
        """End all connections."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    raise EOFError


@contextlib.asynccontextmanager
async def connect_proxy() -> AsyncIterator[ConnectProxy]:
    """A proxy for the length of a `with` block."""
    proxy = ConnectProxy()
    server = await asyncio.start_server(proxy.serve, HOST, 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.end()
