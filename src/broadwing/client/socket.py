"""The client: carries out what its automaton (`core.client.state`) wants done."""

import asyncio
import contextlib
import logging
import random
import ssl as tls
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from broadwing.client.channel import Channel, refuse_coroutine
from broadwing.client.errors import BufferFull, ConnectFailed, Disconnected
from broadwing.client.inbox import Inbox, Overflow
from broadwing.client.lines import Asked, Lines, Way
from broadwing.client.listeners import Listeners, Remove
from broadwing.client.payloads import Message
from broadwing.client.transport import ProxyOption
from broadwing.core.client import backoff, effects
from broadwing.core.client.address import check_url
from broadwing.core.client.effects import ERROR, LONGPOLL, TIMEOUT, WEBSOCKET, ChannelState, Push, Status
from broadwing.core.client.state import NORMAL, ClientOptions, ClientState
from broadwing.core.client.wire import V2, VERSIONS, Encoded, decode_message, encode_message
from broadwing.exceptions import BroadwingError, ConfigurationError, InvalidMessage

logger: Final = logging.getLogger("broadwing.client")


def _reconnect_after(tries: int) -> float:
    return backoff.reconnect_after(tries, random.random())  # noqa: S311 - spreads load, guards nothing


class Socket:
    """A connection to a server of Phoenix Channels, kept up across failures, and the channels that share it.

    Made by `connect(url, ...)`; entering it as `async with` connects, leaving it closes it and all its channels. It belongs to
    the event loop it was made in, and is not safe to use from other threads; for those there is `broadwing.client.sync`.

    Args:
        url: The socket's mount: `ws://localhost:4000/socket`. Also wss, http and https.
        params: Connect parameters, or a function that returns them, plain or async, called at every connect.
        auth_token: A token that travels outside of the URL, or a function like that of `params`.
        vsn: Wire version, "2.0.0" or "1.0.0".
        transport: "websocket" or "longpoll".
        longpoll_fallback: Seconds that a WebSocket may take to open, and again to answer, before long polling takes its place;
            also when it is refused. `None` stays with WebSockets.
        timeout: Seconds that joins and pushes wait for their answer.
        open_timeout: Seconds that one attempt to connect may take.
        heartbeat_interval: Seconds between two signs of life; a WebSocket that stays silent for one more is dead.
        reconnect_after: Seconds before try number n, counted from 1, to connect again.
        rejoin_after: The same for joins.
        ssl: For wss and https; Python's defaults otherwise.
        proxy: `True` follows the environment (`HTTPS_PROXY`, `NO_PROXY`, …), a URL names one, `None` goes straight.
        headers: Further headers of the requests.
        max_message_bytes: Largest message accepted; a larger one ends the WebSocket.
        max_queue: Most messages of one channel that wait to be read.
        overflow: What happens beyond it: "drop_oldest", "drop_newest" or "end".
        max_pending: Most pushes that may wait to be sent or answered.
        on_exception: Gets what callbacks raise; logged by default.

    Attributes:
        url: The URL of the mount.
        vsn: The wire version.
        timeout: Seconds that joins and pushes wait.
        last_error: Why the last attempt to connect failed.

    Raises:
        ConfigurationError: An option has a value that is not accepted.
    """

    def __init__(
        self,
        url: str,
        *,
        params: Asked = None,
        auth_token: Asked = None,
        vsn: str = V2,
        transport: str = WEBSOCKET,
        longpoll_fallback: float | None = None,
        timeout: float = 10.0,
        open_timeout: float = 10.0,
        heartbeat_interval: float = 30.0,
        reconnect_after: backoff.RetryAfter = _reconnect_after,
        rejoin_after: backoff.RetryAfter = backoff.rejoin_after,
        ssl: tls.SSLContext | None = None,
        proxy: ProxyOption = True,
        headers: Mapping[str, str] | None = None,
        max_message_bytes: int = 16_777_216,
        max_queue: int = 1_000,
        overflow: Overflow = "drop_oldest",
        max_pending: int = 10_000,
        on_exception: Callable[[Exception], object] | None = None,
    ) -> None:
        if vsn not in VERSIONS:
            raise ConfigurationError(f"vsn={vsn!r}; accepted are {', '.join(VERSIONS)}")
        if transport not in (WEBSOCKET, LONGPOLL):
            raise ConfigurationError(f"transport={transport!r}; accepted are {WEBSOCKET!r} and {LONGPOLL!r}")
        self.url = check_url(url)
        self.vsn = vsn
        self.timeout = timeout
        self.last_error: BaseException | None = None
        self._open_timeout = open_timeout
        self._max_queue = max_queue
        self._overflow = overflow
        self._max_pending = max_pending
        self._on_exception = on_exception
        self._state = ClientState(
            ClientOptions(reconnect_after, rejoin_after, heartbeat_interval, transport, longpoll_fallback)
        )
        self._channels: dict[ChannelState, Channel] = {}
        self._futures: dict[Push, asyncio.Future[tuple[str, Any]]] = {}
        self._pings: dict[str, asyncio.Future[float | None]] = {}
        self._lines = Lines(
            Way(
                url=self.url,
                vsn=vsn,
                params=params,
                auth_token=auth_token,
                headers=dict(headers or {}),
                ssl=ssl,
                proxy=proxy,
                open_timeout=open_timeout,
                request_timeout=20.0,  # the server answers an idle poll after 10
                max_message_bytes=max_message_bytes,
            ),
            self,
        )
        self._opening: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_acting = False
        self._opened, self._closed, self._failed, self._heard = (Listeners(self._report) for _ in range(4))

    def __repr__(self) -> str:
        return f"<Socket {self._where} {self.status}>"

    @property
    def status(self) -> Status:
        """`connecting`, `open`, `waiting` before the next attempt, or `closed`."""
        return self._state.status

    @property
    def is_connected(self) -> bool:
        """Whether the connection is open."""
        return self._state.status is Status.OPEN

    @property
    def transport(self) -> str:
        """The kind of connection in use: "websocket" or "longpoll"."""
        return self._state.kind

    @property
    def latency(self) -> float | None:
        """Seconds that the last heartbeat or ping took there and back."""
        return self._state.latency

    @property
    def _where(self) -> str:
        parts = urlsplit(self.url)  # without a password or parameters, so that it may be logged
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    # The connection.

    async def connect(self, timeout: float | None = None) -> None:
        """Connect, and wait until the connection is open. Once it is, it is kept up until `disconnect` or `close`.

        While nobody listens it is tried again; when the server refuses with an HTTP status of 400 to 499, it is not.

        Args:
            timeout: Seconds for all attempts together; `open_timeout` by default. 0 does not wait: joins then wait by themselves.

        Raises:
            ConnectFailed: There was no connection in time. No further attempt is made.

        Cancellation: ends the attempts.
        """
        seconds = self._open_timeout if timeout is None else timeout
        with self._acting() as (state, now):
            state.connect(now)
        if self.is_connected or seconds == 0:
            return
        if self._opening is None:
            self._opening = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds):
                await asyncio.shield(self._opening)
        except BaseException as error:
            self._opening = None
            await self.disconnect()
            if isinstance(error, TimeoutError):
                why = f": {self.last_error}" if self.last_error else ""
                status = getattr(self.last_error, "status", None)
                raise ConnectFailed(f"no connection to {self._where} within {seconds:g} s{why}", status) from (
                    self.last_error or error
                )
            raise

    async def disconnect(self, code: int = NORMAL, reason: str = "") -> None:
        """Close the connection; nothing connects again until `connect`. Channels stay, and join again then."""
        with self._acting() as (state, _):
            state.disconnect(code, reason)
        await self._lines.wait_closed()

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close all channels and the connection; `async with` does it. Idempotent.

        What was sent before has a moment to leave. Whoever waits for an answer gets `ChannelClosed`.
        """
        with self._acting() as (state, _):
            state.close(code, reason)
        await self._lines.wait_closed()

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def ping(self) -> float | None:
        """Measure the seconds to the server and back; `None` when there is no connection, or it is lost before the answer."""
        with self._acting() as (state, now):
            ref = state.ping(now)
            if ref is None:
                return None
            future: asyncio.Future[float | None] = asyncio.get_running_loop().create_future()
            self._pings[ref] = future
        return await future

    # Channels.

    def channel(self, topic: str, params: Any = None) -> Channel:
        """Make a channel without joining it, so that callbacks can be set that miss nothing.

        Args:
            topic: The topic.
            params: Payload of the join, or a plain function that returns it, called at every join.
        """
        return Channel(self, topic, params, Inbox(topic, self._max_queue, self._overflow))

    async def join(self, topic: str, params: Any = None, *, timeout: float | None = None) -> Channel:
        """Join a topic. A channel of this socket that has the same topic is left.

        Args:
            topic: The topic.
            params: As in `channel`.
            timeout: Seconds; the socket's by default.

        Raises:
            JoinError: The server refused; `error.response` says why.
            JoinTimeout: There was no answer in time.

        Cancellation: leaves nothing behind.
        """
        channel = self.channel(topic, params)
        await channel.join(timeout)
        return channel

    # Callbacks.

    def on_open(self, callback: Callable[[], object]) -> Remove:
        """Call back whenever a connection is open; returns a function that removes the callback."""
        refuse_coroutine(callback, "socket.on_open(...)")
        return self._opened.add(callback)

    def on_close(self, callback: Callable[[int, str], object]) -> Remove:
        """Call back with the close code and reason whenever a connection was lost or closed."""
        refuse_coroutine(callback, "socket.on_close(...)")
        return self._closed.add(callback)

    def on_error(self, callback: Callable[[BaseException], object]) -> Remove:
        """Call back with the exception whenever an attempt to connect has failed."""
        refuse_coroutine(callback, "socket.on_error(...)")
        return self._failed.add(callback)

    def on_message(self, callback: Callable[[Message], object]) -> Remove:
        """Call back with every message, replies too, after the channels saw it."""
        refuse_coroutine(callback, "socket.on_message(...)")
        return self._heard.add(callback)

    # What channels ask for.

    @contextlib.contextmanager
    def _acting(self) -> Iterator[tuple[ClientState, float]]:
        """Hands out the automaton and the time, and carries out what it wants done."""
        loop = asyncio.get_running_loop()
        try:
            yield self._state, loop.time()
        finally:
            self._carry_out()
            self._set_timer(loop)

    def _push(self, channel: ChannelState, push: Push) -> "asyncio.Future[tuple[str, Any]]":
        if max(self._state.channels.waiting, self._lines.backlog) >= self._max_pending:
            raise BufferFull(
                f"{push.event!r} on {push.topic!r} was not pushed: {self._max_pending} messages wait already (max_pending)"
            )
        with self._acting() as (state, now):
            state.channels.push(channel, push, now)
            return self._future(push)

    def _future(self, push: Push) -> "asyncio.Future[tuple[str, Any]]":
        future: asyncio.Future[tuple[str, Any]] = asyncio.get_running_loop().create_future()
        if push.wants_reply:
            self._futures[push] = future
        return future

    def _withdraw(self, channel: ChannelState, push: Push) -> None:
        self._futures.pop(push, None)
        with self._acting() as (state, _):
            state.channels.withdraw(channel, push)

    def _report(self, error: Exception) -> None:
        if self._on_exception is None:
            logger.error("a callback failed: %s", error, exc_info=error)
            return
        try:
            self._on_exception(error)
        except Exception:  # it is the application's, and nobody is left to report to
            logger.exception("on_exception failed")

    # What the automaton wants.

    def _carry_out(self) -> None:
        if self._is_acting:
            return  # called back from below: whoever is at work takes it up
        self._is_acting = True
        try:
            while self._state.effects:
                self._perform(self._state.effects.popleft())
        finally:
            self._is_acting = False

    def _perform(self, effect: effects.Effect) -> None:
        match effect:
            case effects.Deliver(channel, message):
                self._channels[channel]._deliver(message)
            case effects.Send(push):
                self._send(push)
            case effects.Settled(push, status, response):
                self._settle(push, status, response)
            case effects.Joined(channel, response, _):
                self._channels[channel]._joined(response)
            case effects.Refused(channel, status, response):
                self._channels[channel]._settle_join(ERROR if status == ERROR else TIMEOUT, response)
            case effects.Errored(channel, reason):
                self._channels[channel]._errored(reason)
            case effects.Ended(channel, _):
                self._ended(channel)
            case effects.Open(generation, kind):
                self._lines.open(generation, kind)
            case effects.Close(generation, code, reason):
                self._lines.release()
                self._lines.close(generation, code, reason)
            case effects.Connected():
                self._connected()
            case effects.Disconnected(code, reason, again):
                self._disconnected(code, reason, again)
            case effects.Ponged(ref, seconds):
                future = self._pings.pop(ref, None)
                if future is not None and not future.done():
                    future.set_result(seconds)

    def _send(self, push: Push) -> None:
        try:
            payload = push.payload() if callable(push.payload) else push.payload
            data = encode_message(self.vsn, push.join_ref, push.ref, push.topic, push.event, payload)
        except Exception as error:  # the application's function that makes the parameters of a join may raise anything
            self._report(error)  # the join will time out, and be tried again
            return
        self._lines.send(push, data)

    def _settle(self, push: Push, status: str, response: Any) -> None:
        future = self._futures.pop(push, None)
        if future is not None and not future.done():
            future.set_result((status, response))

    def _ended(self, channel: ChannelState) -> None:
        ended = self._channels.pop(channel, None)
        if ended is not None:
            ended._ended()

    def _connected(self) -> None:
        self.last_error = None
        if self._opening is not None and not self._opening.done():
            self._opening.set_result(None)
        self._opening = None
        for channel in self._channels.values():
            channel._inbox.reopen()
        self._opened()

    def _disconnected(self, code: int, reason: str, again: bool) -> None:
        self._lines.release()
        if not again:
            for channel in list(self._channels.values()):
                channel._inbox.end(Disconnected(code, reason))
        self._closed(code, reason)

    # What connections tell.

    def _line_opened(self, generation: int) -> None:
        with self._acting() as (state, now):
            state.opened(generation, now)

    def _line_failed(self, generation: int, error: Exception) -> None:
        self.last_error = error
        logger.debug("no connection to %s: %r", self._where, error)
        self._failed(error)
        with self._acting() as (state, now):
            state.failed(generation, now)
        refused = isinstance(error, BroadwingError) and 400 <= (getattr(error, "status", None) or 0) < 500
        if refused and self.status is Status.WAITING and self._opening is not None and not self._opening.done():
            self._opening.set_exception(error)

    def _line_received(self, generation: int, data: Encoded) -> None:
        try:
            message = decode_message(self.vsn, data)
        except InvalidMessage as error:
            logger.warning("%s; it is ignored", error)
            return
        with self._acting() as (state, now):
            counts = state.received(generation, message, now)
        if counts:
            self._heard(Message(message.join_ref, message.ref, message.topic, message.event, message.payload))

    def _line_closed(self, generation: int, code: int, reason: str) -> None:
        with self._acting() as (state, now):
            state.closed(generation, code, reason, now)

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        when = self._state.next_deadline()
        if self._timer is not None:
            if when is not None and self._timer.when() <= when:
                return  # it comes early, and looks again
            self._timer.cancel()
        self._timer = None if when is None else loop.call_at(when, self._tick)

    def _tick(self) -> None:
        self._timer = None
        with self._acting() as (state, now):
            state.tick(now)
