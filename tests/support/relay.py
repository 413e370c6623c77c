"""A line between a client and a server that can be measured, cut and held."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Relay:
    """Passes bytes on, in both directions.

    Args:
        server_port: Where the server listens.
        server_host: And on which address of the loopback net.

    Attributes:
        port: Where it listens.
        opened: Connections so far.
        lines: Connections now.
        to_client: Bytes that came from the server.
        to_server: Bytes that came from clients.
    """

    def __init__(self, server_port: int, server_host: str = "127.0.0.1") -> None:
        self.port = 0
        self.opened = 0
        self.lines: set[asyncio.StreamWriter] = set()
        self.to_client = 0
        self.to_server = 0
        self._server_port = server_port
        self._server_host = server_host
        self._open = asyncio.Event()
        self._open.set()
        self._to_server: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Cut all lines and refuse new ones; `start` ends it."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self.cut()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def cut(self) -> None:
        """End all lines without a farewell."""
        for line in list(self.lines):
            line.transport.abort()

    def reset(self) -> None:
        """End all lines as a kernel does that knows nothing of them."""
        for line in (*self.lines, *self._to_server):
            line.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            line.transport.abort()

    def hold(self) -> None:
        """Pass nothing on any more; the lines stay."""
        self._open.clear()

    def go_on(self) -> None:
        """Pass on what was held."""
        self._open.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.opened += 1
        self.lines.add(writer)
        try:
            from_server, to_server = await asyncio.open_connection(self._server_host, self._server_port)
            self._to_server.add(to_server)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._pass(reader, to_server, True))
                    both.create_task(self._pass(from_server, writer, False))
            finally:
                self._to_server.discard(to_server)
                to_server.transport.abort()
        except* OSError:
            pass
        finally:
            writer.transport.abort()
            self.lines.discard(writer)
            self._tasks.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_from_client: bool) -> None:
        while data := await reader.read(65_536):
            await self._open.wait()
            if is_from_client:
                self.to_server += len(data)
            else:
                self.to_client += len(data)
            if writer.transport.is_closing():
                break  # cut off while this was read; uvloop raises at a write then
            writer.write(data)
            await writer.drain()
        raise ConnectionError("one side has closed")


class WithoutWebSockets(Relay):
    """A proxy that does not let WebSockets through.

    Args:
        server_port: Where the server listens.
        is_silent: Whether it keeps what is refused open without a word, as some firewalls do, in the place of cutting it off.

    Attributes:
        upgrades: Requests for a WebSocket so far.
    """

    def __init__(self, server_port: int, is_silent: bool) -> None:
        super().__init__(server_port)
        self.upgrades = 0
        self._is_silent = is_silent

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_from_client: bool) -> None:
        if is_from_client:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:  # a browser opens lines that it then has no use for
                raise ConnectionError("nothing was asked for") from None
            if b"\r\nupgrade: websocket\r\n" in head.lower():
                self.upgrades += 1
                if self._is_silent:
                    await reader.read()
                raise ConnectionError("no WebSockets here")
            writer.write(head)
        await super()._pass(reader, writer, is_from_client)


@asynccontextmanager
async def relay(server_port: int, server_host: str = "127.0.0.1") -> AsyncIterator[Relay]:
    """A relay to a server on this machine."""
    made = Relay(server_port, server_host)
    await made.start()
    try:
        yield made
    finally:
        made.go_on()
        await made.refuse()
