"""The client for scripts, without a loop of one's own: the same calls, blocking.

    from broadwing.client.sync import connect

    with connect("ws://localhost:4000/socket") as socket:
        channel = socket.join("room:lobby")
        print(channel.push("echo", {"body": "hi"}))
        for message in channel:
            print(message.event, message.payload)

A thread of each socket runs the loop in which the asyncio client lives; here nothing is done but to ask it. Calls may come
from any thread. Callbacks run in that thread of the loop: they must not block, and must not call what is here.
"""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from broadwing.client import channel as aio
from broadwing.client import socket as aio_socket
from broadwing.client.errors import ChannelClosed
from broadwing.client.listeners import Remove
from broadwing.client.payloads import Message
from broadwing.core.client.effects import ChannelStatus, Status
from broadwing.exceptions import LocalProtocolError

T = TypeVar("T")


class _Loop:
    """A loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="broadwing client", daemon=True)
        self._thread.start()

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there, and wait for what it returns; an interrupted wait cancels it."""
        if threading.current_thread() is self._thread or not self._thread.is_alive():
            coroutine.close()
            where = "from one of its callbacks" if self._thread.is_alive() else "after its close()"
            raise LocalProtocolError(f"a client of broadwing.client.sync was asked to wait {where}")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:  # Ctrl-C, mostly
            future.cancel()
            raise

    def call(self, function: Callable[[], T]) -> T:
        """Call a function there."""

        async def call() -> T:
            return function()

        return self.wait(call())

    def stop(self) -> None:
        """End the thread; idempotent."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.get_loop().run_forever()


class Channel:
    """A topic, as `broadwing.client.Channel`; its calls wait."""

    def __init__(self, loop: _Loop, channel: aio.Channel) -> None:
        self._loop = loop
        self._channel = channel
        self.topic = channel.topic

    def __repr__(self) -> str:
        return repr(self._channel)

    @property
    def status(self) -> ChannelStatus:
        """`joining`, `joined`, `errored` while it waits to be joined again, or `closed`."""
        return self._channel.status

    @property
    def response(self) -> Any:
        """What the server said to the last join."""
        return self._channel.response

    @property
    def dropped(self) -> int:
        """Messages that were lost because they were not read in time."""
        return self._channel.dropped

    def join(self, timeout: float | None = None) -> Any:
        """Join the topic; see `broadwing.client.Channel.join`."""
        return self._loop.wait(self._channel.join(timeout))

    @overload
    def push(self, event: str, payload: Any = None, *, timeout: float | None = None, reply_type: type[T]) -> T: ...
    @overload
    def push(self, event: str, payload: Any = None, *, timeout: float | None = None, reply_type: Any = None) -> Any: ...
    def push(self, event: str, payload: Any = None, *, timeout: float | None = None, reply_type: Any = None) -> Any:
        """Push an event and wait for its reply; see `broadwing.client.Channel.push`."""
        return self._loop.wait(self._channel.push(event, payload, timeout=timeout, reply_type=reply_type))

    def send(self, event: str, payload: Any = None, *, timeout: float | None = None) -> None:
        """Push an event without waiting for its reply; see `broadwing.client.Channel.send`."""
        self._loop.call(lambda: self._channel.send(event, payload, timeout=timeout))

    def leave(self, timeout: float | None = None) -> Any:
        """Leave the topic; see `broadwing.client.Channel.leave`."""
        return self._loop.wait(self._channel.leave(timeout))

    def receive(self, timeout: float | None = None) -> Message:
        """Wait for the next push or broadcast; see `broadwing.client.Channel.receive`."""
        return self._loop.wait(self._channel.receive(timeout))

    def __iter__(self) -> Iterator[Message]:
        """Pushes and broadcasts as they come, until the channel is closed."""
        while True:
            try:
                yield self.receive()
            except ChannelClosed:
                return

    def on(self, event: str, callback: Callable[[Any], object], *, type: Any = None) -> Remove:
        """Call back, in the loop's thread, for every push or broadcast of an event; see `broadwing.client.Channel.on`."""
        return self._removing(self._loop.call(lambda: self._channel.on(event, callback, type=type)))

    def on_join(self, callback: Callable[[Any], object]) -> Remove:
        """Call back, in the loop's thread, with the server's response after every join."""
        return self._removing(self._loop.call(lambda: self._channel.on_join(callback)))

    def on_error(self, callback: Callable[[Any], object]) -> Remove:
        """Call back, in the loop's thread, with the reason when the channel is lost."""
        return self._removing(self._loop.call(lambda: self._channel.on_error(callback)))

    def on_close(self, callback: Callable[[], object]) -> Remove:
        """Call back, in the loop's thread, when the channel is closed for good."""
        return self._removing(self._loop.call(lambda: self._channel.on_close(callback)))

    def _removing(self, remove: Remove) -> Remove:
        return lambda: self._loop.call(remove)


class Socket:
    """A connection, as `broadwing.client.Socket` with the same options; its calls wait."""

    def __init__(self, url: str, **options: Any) -> None:
        self._loop = _Loop()
        try:
            self._socket = self._loop.call(lambda: aio_socket.Socket(url, **options))
        except BaseException:
            self._loop.stop()
            raise

    def __repr__(self) -> str:
        return repr(self._socket)

    def __enter__(self) -> Self:
        try:
            self.connect()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def status(self) -> Status:
        """`connecting`, `open`, `waiting` before the next attempt, or `closed`."""
        return self._socket.status

    @property
    def transport(self) -> str:
        """The kind of connection in use: "websocket" or "longpoll"."""
        return self._socket.transport

    def connect(self, timeout: float | None = None) -> None:
        """Connect; `with` does it. See `broadwing.client.Socket.connect`."""
        self._loop.wait(self._socket.connect(timeout))

    def disconnect(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection until the next `connect`; channels stay."""
        self._loop.wait(self._socket.disconnect(code, reason))

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close all channels, the connection and the thread; `with` does it. Idempotent."""
        try:
            self._loop.wait(self._socket.close(code, reason))
        except (LocalProtocolError, concurrent.futures.CancelledError):
            return  # closed already
        self._loop.stop()

    def ping(self) -> float | None:
        """Measure the seconds to the server and back."""
        return self._loop.wait(self._socket.ping())

    def channel(self, topic: str, params: Any = None) -> Channel:
        """Make a channel without joining it, so that callbacks can be set that miss nothing."""
        return Channel(self._loop, self._loop.call(lambda: self._socket.channel(topic, params)))

    def join(self, topic: str, params: Any = None, *, timeout: float | None = None) -> Channel:
        """Join a topic; see `broadwing.client.Socket.join`."""
        return Channel(self._loop, self._loop.wait(self._socket.join(topic, params, timeout=timeout)))


connect = Socket
"""`with connect(url, ...) as socket:`; see `Socket`."""
