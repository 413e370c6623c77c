"""The connections of a client: makes them, reads them, ends them, each in a task of its own."""

import asyncio
import contextlib
import inspect
import ssl as tls
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from broadwing.client.longpoll import open_longpoll
from broadwing.client.transport import Dial, ProxyOption, Transport
from broadwing.client.websocket import open_websocket
from broadwing.core.client.address import connection_url
from broadwing.core.client.effects import WEBSOCKET, Push
from broadwing.core.client.wire import Encoded

Asked: TypeAlias = Any | Callable[[], Any] | Callable[[], Awaitable[Any]]
"""A value, or a function, plain or async, that is asked for it at every connect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How to get to the server; see `Socket`."""

    url: str
    vsn: str
    params: Asked
    auth_token: Asked
    headers: Mapping[str, str]
    ssl: tls.SSLContext | None
    proxy: ProxyOption
    open_timeout: float
    request_timeout: float
    max_message_bytes: int

    async def dial(self, kind: str) -> Dial:
        """What one connection is made with."""
        params = await _asked(self.params)
        return Dial(
            url=connection_url(self.url, kind, params or {}, self.vsn),
            vsn=self.vsn,
            token=await _asked(self.auth_token),
            headers=self.headers,
            ssl=self.ssl,
            proxy=self.proxy,
            open_timeout=self.open_timeout,
            request_timeout=self.request_timeout,
            max_message_bytes=self.max_message_bytes,
        )


class Owner(Protocol):
    """Who is told what becomes of connections."""

    def _line_opened(self, generation: int) -> None: ...

    def _line_failed(self, generation: int, error: Exception) -> None: ...

    def _line_received(self, generation: int, data: Encoded) -> None: ...

    def _line_closed(self, generation: int, code: int, reason: str) -> None: ...


@dataclass(slots=True, eq=False)
class _Line:
    """A connection, from the attempt to make it to its end."""

    task: asyncio.Task[None]
    transport: Transport | None = None


class Lines:
    """The connection in use, and those that are being made or ended.

    Args:
        way: How to get to the server.
        owner: Who is told.
    """

    def __init__(self, way: Way, owner: Owner) -> None:
        self._way = way
        self._owner = owner
        self._lines: dict[int, _Line] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._transport: Transport | None = None

    @property
    def backlog(self) -> int:
        """Messages that the connection in use has still to send."""
        return self._transport.backlog if self._transport is not None else 0

    def open(self, generation: int, kind: str) -> None:
        """Begin to make a connection."""
        task = asyncio.create_task(self._live(generation, kind), name=f"broadwing client: {kind} {generation}")
        self._lines[generation] = _Line(task)

    def send(self, push: Push, data: Encoded) -> None:
        """Send over the connection in use; without one it is lost."""
        if self._transport is not None:
            self._transport.send(push, data)

    def release(self) -> None:
        """There is no connection in use any more."""
        self._transport = None

    def close(self, generation: int, code: int, reason: str) -> None:
        """End a connection, or the attempt to make it; `wait_closed` waits for that."""
        line = self._lines.get(generation)
        if line is None:
            return
        if line.transport is None:
            line.task.cancel()
            task = self._lines.pop(generation).task
        else:
            task = asyncio.create_task(line.transport.close(code, reason), name="broadwing client: farewell")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def wait_closed(self) -> None:
        """Wait for the tasks of all connections; each is bounded."""
        while tasks := {*self._ending, *(line.task for line in self._lines.values())}:
            try:
                await asyncio.wait(tasks)
            except asyncio.CancelledError:
                for task in tasks:
                    task.cancel()
                raise

    async def _live(self, generation: int, kind: str) -> None:
        try:
            dial = await self._way.dial(kind)
            transport: Transport = await (open_websocket(dial) if kind == WEBSOCKET else open_longpoll(dial))
        except Exception as error:  # whatever keeps it from connecting, the application's functions too, may pass
            self._lines.pop(generation, None)
            self._owner._line_failed(generation, error)
            return
        self._lines[generation].transport = self._transport = transport
        try:
            self._owner._line_opened(generation)
            async with contextlib.aclosing(transport.messages()) as messages:
                async for data in messages:
                    self._owner._line_received(generation, data)
        finally:
            self._lines.pop(generation, None)
            if self._transport is transport:
                self._transport = None
        self._owner._line_closed(generation, transport.code, transport.reason)


async def _asked(value: Asked) -> Any:
    if not callable(value):
        return value
    answer = value()
    return await answer if inspect.isawaitable(answer) else answer
