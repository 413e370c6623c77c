"""Connections of the load client: they join a topic, then count what comes.

The client has to be quicker than any server it measures. So a message costs it one read, one look at two bytes and one
search for a mark; no JSON is decoded once a topic is joined, and the garbage collector rests.
"""

import asyncio
import contextlib
import gc
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from bench.frames import CLOSE, PING, PONG, TEXT, Cutter, masked

HOST: Final = "127.0.0.1"
# Handshakes in flight while a scenario connects: enough to keep a server busy, fewer than the smallest backlog in use.
CONNECTING: Final = 64
# A server from which nothing comes for so long has stalled, in seconds.
PATIENCE: Final = 10.0
# The sample key of RFC 6455 section 1.3, and what has to answer it.
SAMPLE_KEY, SAMPLE_ACCEPT = b"dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

Progress = Callable[[str], None]


class LoadError(Exception):
    """The server did not do what a scenario needs."""


@dataclass(frozen=True)
class Target:
    """The server to be measured.

    Attributes:
        port: Where it listens on 127.0.0.1.
        path: Of the socket, without query.
        certfile: The certificate to trust, when it speaks TLS.
        server_seconds: Processor time it has used so far; `None` where that cannot be told.
        server_kb: Memory it uses, likewise.
    """

    port: int
    path: str = "/socket/websocket"
    certfile: str | None = None
    server_seconds: Callable[[], float] | None = None
    server_kb: Callable[[], float] | None = None

    def request(self) -> bytes:
        """Write the handshake (RFC 6455 section 4.1); its origin is the server's own."""
        authority = f"{HOST}:{self.port}"
        origin = f"{'https' if self.certfile else 'http'}://{authority}"
        return (
            f"GET {self.path}?vsn=2.0.0 HTTP/1.1\r\nHost: {authority}\r\nOrigin: {origin}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {SAMPLE_KEY.decode()}\r\n\r\n"
        ).encode()

    def tls(self) -> ssl.SSLContext | None:
        """Make the context to connect with."""
        return ssl.create_default_context(cafile=self.certfile) if self.certfile else None


@lru_cache(maxsize=16)  # `churn` joins the same topic thousands of times
def join_frame(topic: str) -> bytes:
    """Return the frame of a join."""
    return masked(json.dumps(["1", "1", topic, "phx_join", {}], separators=(",", ":")).encode())


def push_frame(topic: str, event: str, body: str) -> bytes:
    """Return the frame of a message on a topic that was joined with `join_frame`."""
    return masked(json.dumps(["1", "2", topic, event, {"body": body}], separators=(",", ":")).encode())


def is_accepted(head: bytes) -> bool:
    """Whether the head of an answer opens the connection (RFC 6455 section 4.2.2)."""
    return head.startswith(b"HTTP/1.1 101") and SAMPLE_ACCEPT in head


def is_joined(payload: bytes) -> bool:
    """Whether a text message is the reply that lets a client in.

    Raises:
        LoadError: It is a reply that does not.
    """
    if b'"phx_reply"' not in payload:
        return False
    # As most servers write it; other ways to write the same are decoded.
    if b'"status":"ok"' not in payload and json.loads(payload)[4]["status"] != "ok":
        raise LoadError(f"a join was answered with {payload[:200]!r}; expected a phx_reply with status ok")
    return True


class Line(asyncio.Protocol):
    """One connection that joins one topic; subclasses say what happens then.

    Attributes:
        joined: Done once the topic is joined, and `None` from then on.
    """

    __slots__ = ("_cutter", "_head", "_topic", "_whole", "crew", "joined", "transport")

    def __init__(self, crew: "Crew", topic: str) -> None:
        self.crew = crew
        self.joined: asyncio.Future[None] | None = crew.loop.create_future()
        self.transport: asyncio.Transport | None = None
        self._topic = topic
        self._head: bytes | None = b""
        self._cutter = Cutter()
        # Whether bytes go on as they come: joined, and no part of a frame left over from before.
        self._whole = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self.transport = transport  # type: ignore[assignment] # a stream's transport reads and writes
        self.send(self.crew.request)

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        # Nearly always they are one short text frame. It goes on with its head, which no mark can be part of.
        if self._whole and data[0] == 0x81 and data[1] == len(data) - 2:
            self.message(data)
        else:
            try:
                self._take(data)
            except (
                LoadError,
                ValueError,
                LookupError,
                TypeError,
            ) as error:  # what a server may send instead of a reply
                self.fail(str(error) or repr(error))

    def message(self, data: bytes) -> None:
        """Take a text message of the joined topic; the frame's head may stand before it."""

    def send(self, data: bytes) -> None:
        """Write."""
        assert self.transport is not None  # nothing is sent before the line is up
        self.transport.write(data)

    def _take(self, data: bytes) -> None:
        if self._head is not None:
            head, end, data = (self._head + data).partition(b"\r\n\r\n")
            self._head = None if end else head
            if not end:
                return
            if not is_accepted(head):
                raise LoadError(f"the handshake was answered with {head[:200]!r}; expected 101 and the accept key")
            self.send(join_frame(self._topic))
        for opcode, payload in self._cutter.cut(data):
            if opcode == TEXT:
                if self.joined is None:
                    self.message(payload)
                elif is_joined(payload):
                    if not self.joined.done():
                        self.joined.set_result(None)
                    self.joined = None
            elif opcode == PING:
                self.send(masked(payload, PONG))
            elif opcode == CLOSE:
                raise LoadError(f"the server closed a connection with code {int.from_bytes(payload[:2], 'big')}")
        self._whole = self.joined is None and not self._cutter.rest

    def fail(self, reason: str) -> None:
        """End the scenario with an error: what this line saw must not happen."""
        self.crew.fail(reason)

    def connection_lost(self, exc: Exception | None) -> None:
        """The line is down; if the crew has not ended it, the server has."""
        self.crew.lost(self, exc)


class Crew:
    """The connections of one scenario.

    Args:
        target: Where they connect to.
        progress: Told every two seconds how many have.
    """

    def __init__(self, target: Target, progress: Progress) -> None:
        self.loop = asyncio.get_running_loop()
        self.request = target.request()
        self._port = target.port
        self._tls = target.tls()
        self._progress = progress
        self._lines: set[Line] = set()
        self._failed: asyncio.Future[None] = self.loop.create_future()

    async def join(self, lines: Iterator[Line], total: int) -> None:
        """Connect and join with many.

        Raises:
            LoadError: One of them could not, or the server stalled.
        """
        count, told = 0, time.perf_counter()

        async def work() -> None:
            nonlocal count, told
            for line in lines:
                await self.connect(line)
                count += 1
                if time.perf_counter() - told > 2:
                    told = time.perf_counter()
                    self._progress(f"{count:,} of {total:,} connected")

        await self.work((work() for _ in range(CONNECTING)), "connecting and joining", lambda: count)

    async def connect(self, line: Line) -> None:
        """Connect and join with one.

        Raises:
            OSError: There is no connection to be had.
        """
        joined = line.joined
        assert joined is not None  # a line connects once
        self._lines.add(line)
        try:
            await self.loop.create_connection(
                lambda: line, HOST, self._port, ssl=self._tls, server_hostname=HOST if self._tls else None
            )
        except OSError:
            self._lines.discard(line)
            raise
        await joined

    async def work(self, workers: Iterator[Any], what: str, pulse: Callable[[], int]) -> None:
        """Run coroutines until all are done; see `until`."""
        gathered = asyncio.gather(*workers)
        try:
            await self.until(gathered, what, pulse)
        except OSError as error:
            raise LoadError(f"while {what} a connection to {HOST}:{self._port} failed: {error}") from error
        finally:
            gathered.cancel()
            await asyncio.gather(gathered, return_exceptions=True)

    async def until(self, done: asyncio.Future[Any], what: str, pulse: Callable[[], int]) -> None:
        """Wait for `done` as long as `pulse` changes and no line fails.

        Raises:
            LoadError: A line failed, or nothing came from the server for `PATIENCE` seconds.
        """
        before = pulse()
        while True:
            await asyncio.wait((done, self._failed), timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
            if self._failed.done():
                self._failed.result()
            if done.done():
                done.result()
                return
            now = pulse()
            if now == before:
                raise LoadError(
                    f"while {what} nothing came from the server for {PATIENCE:g} s, after {now:,} were done"
                )
            before = now

    def fail(self, reason: str) -> None:
        """End the scenario with an error."""
        if not self._failed.done():
            self._failed.set_exception(LoadError(reason))

    def lost(self, line: Line, error: Exception | None) -> None:
        """Take notice that a line is down."""
        if line in self._lines:
            self._lines.discard(line)
            self.fail(f"the server ended a connection: {error or 'end of stream'}")

    def drop(self, line: Line) -> None:
        """End a line on purpose."""
        self._lines.discard(line)
        if line.transport is not None:
            line.transport.abort()

    async def close(self) -> None:
        """End all lines."""
        for line in list(self._lines):
            self.drop(line)
        if self._failed.done():
            self._failed.exception()  # told already, or too late to be of interest
        await asyncio.sleep(0)  # the loop closes the sockets in its next turn


@contextlib.asynccontextmanager
async def crew(target: Target, progress: Progress) -> AsyncIterator[Crew]:
    """Have connections for one scenario, and no garbage collection, whose pauses would be taken for the server's."""
    members = Crew(target, progress)
    gc.collect()
    gc.disable()
    try:
        yield members
    finally:
        await members.close()
        gc.enable()
