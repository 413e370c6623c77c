"""One topic of a client, as applications use it."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from broadwing.client.errors import ChannelClosed, JoinError, JoinTimeout, PushError, PushTimeout
from broadwing.client.inbox import Inbox
from broadwing.client.listeners import Listeners, Remove
from broadwing.client.payloads import Message, converted, encoded
from broadwing.core.client.effects import CLOSED, OK, TIMEOUT, ChannelState, ChannelStatus, Push
from broadwing.core.client.effects import Message as Incoming
from broadwing.core.codec import Body
from broadwing.exceptions import ConfigurationError

if TYPE_CHECKING:
    from broadwing.client.socket import Socket

T = TypeVar("T")


class Channel:
    """A topic: joined once, and from then on joined again by itself whenever the connection or the channel was lost.

    Made by `socket.join(topic, params)`, or by `socket.channel(topic, params)` when there are callbacks to be set before the join.
    `async for message in channel` reads what the server pushes and broadcasts; it ends when the channel is closed.

    Attributes:
        topic: The topic.
        response: What the server said to the last join.
    """

    def __init__(self, socket: "Socket", topic: str, params: Any, inbox: Inbox) -> None:
        self.topic = topic
        self.response: Any = None
        self._socket = socket
        self._params = params
        self._inbox = inbox
        self._state = ChannelState(topic, self._join_payload)
        self._listeners: dict[str, Listeners] = {}
        self._on_join, self._on_error, self._on_close = (Listeners(socket._report) for _ in range(3))
        self._join: asyncio.Future[tuple[str, Any]] | None = None

    def __repr__(self) -> str:
        return f"<Channel {self.topic!r} {self.status}>"

    @property
    def status(self) -> ChannelStatus:
        """`joining`, `joined`, `errored` while it waits to be joined again, or `closed`."""
        return self._state.status

    @property
    def is_joined(self) -> bool:
        """Whether the server has let it in."""
        return self._state.status is ChannelStatus.JOINED

    @property
    def join_ref(self) -> str | None:
        """Number of the present join; another one after every rejoin."""
        return self._state.join_ref

    @property
    def dropped(self) -> int:
        """Messages that were lost because they were not read in time."""
        return self._inbox.dropped

    async def join(self, timeout: float | None = None) -> Any:
        """Join the topic, once; waits for the connection if there is none.

        Args:
            timeout: Seconds until it is given up; later rejoins may take as long each.

        Returns:
            What the server said.

        Raises:
            JoinError: The server refused.
            JoinTimeout: There was no answer in time.
            ChannelClosed: The channel or the client was closed before.
            LocalProtocolError: It was joined before.

        After an error the channel is closed. Cancellation: leaves nothing behind.
        """
        seconds = self._socket.timeout if timeout is None else timeout
        self._join_payload()  # raises here, rather than where nobody waits
        future = asyncio.get_running_loop().create_future()
        with self._socket._acting() as (state, now):
            state.channels.join(self._state, seconds, now)
            self._join = future
            self._socket._channels[self._state] = self
        try:
            status, response = await future
        except asyncio.CancelledError:
            self._leave(seconds)
            raise
        if status == OK:
            return response
        if status == TIMEOUT:
            raise JoinTimeout(self.topic, seconds, self._socket.last_error)
        if status == CLOSED:
            raise ChannelClosed(self.topic, "phx_join")
        raise JoinError(self.topic, response)

    @overload
    async def push(
        self, event: str, payload: Any = None, *, timeout: float | None = None, reply_type: type[T]
    ) -> T: ...
    @overload
    async def push(
        self, event: str, payload: Any = None, *, timeout: float | None = None, reply_type: Any = None
    ) -> Any: ...
    async def push(
        self, event: str, payload: Any = None, *, timeout: float | None = None, reply_type: Any = None
    ) -> Any:
        """Push an event and wait for its reply. For events that the server does not reply to there is `send`.

        While the channel is not joined the push waits; it is sent when the channel is, unless the timeout ends before. Once it is
        sent the timeout runs anew.

        Args:
            event: Event name.
            payload: Anything with a JSON form, or bytes for a binary frame; an empty object by default.
            timeout: Seconds; the socket's by default.
            reply_type: What the reply is to be: a msgspec.Struct, dataclass, TypedDict, pydantic model or type of JSON.

        Returns:
            The reply's response: a JSON value, `bytes`, or an instance of `reply_type`.

        Raises:
            PushError: The status of the reply is not "ok".
            PushTimeout: There was no reply in time.
            PayloadMisfit: The reply is no `reply_type`.
            ChannelClosed: The channel or the client was closed before.
            BufferFull: Too much waits already.
            LocalProtocolError: The channel was not joined before, or the payload has no JSON form.

        Delivery: at most once. Cancellation: what is not sent yet is not sent, a reply that comes later is ignored.
        """
        push = self._make(event, payload, timeout, wants_reply=True)
        future = self._socket._push(self._state, push)
        try:
            status, response = await future
        except asyncio.CancelledError:
            self._socket._withdraw(self._state, push)
            raise
        if status == OK:
            what = f"the reply to {event!r} on {self.topic!r}"
            return response if reply_type is None else converted(response, reply_type, what)
        if status == TIMEOUT and response is None:
            raise PushTimeout(self.topic, event, push.timeout or 0, push.ref is not None)
        if status == CLOSED and response is None:
            raise ChannelClosed(self.topic, event)
        raise PushError(self.topic, event, status, response)

    def send(self, event: str, payload: Any = None, *, timeout: float | None = None) -> None:
        """Push an event without waiting, neither for its reply nor for its sending.

        While the channel is not joined it waits for that, and is dropped when the timeout ends before.

        Args:
            event: Event name.
            payload: As in `push`.
            timeout: Seconds; the socket's by default.

        Raises:
            BufferFull: Too much waits already.
            LocalProtocolError: The channel was not joined before, or the payload has no JSON form.
        """
        self._socket._push(self._state, self._make(event, payload, timeout, wants_reply=False)).cancel()

    async def leave(self, timeout: float | None = None) -> Any:
        """Leave the topic. The channel is closed at once; this then waits until the server has confirmed it.

        Returns:
            What the server said; `None` when there was nothing to leave, or no answer in time.
        """
        push = self._leave(self._socket.timeout if timeout is None else timeout)
        if push is None:
            return None
        _, response = await self._socket._future(push)
        return response

    # What arrives.

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        """The next message; see `receive`."""
        return await self._inbox.get()

    async def receive(self, timeout: float | None = None) -> Message:
        """Wait for the next push or broadcast.

        Args:
            timeout: Seconds; for ever by default.

        Raises:
            TimeoutError: None came in time.
            ChannelClosed: None will come: the channel is closed.
            Disconnected: The server closed the connection for good.

        Cancellation: loses nothing.
        """
        async with asyncio.timeout(timeout):
            try:
                return await self._inbox.get()
            except StopAsyncIteration:
                raise ChannelClosed(self.topic, "receive") from None

    def on(self, event: str, callback: Callable[[Any], object], *, type: Any = None) -> Remove:
        """Call back for every push or broadcast of an event, besides handing it to readers.

        Args:
            event: Event name.
            callback: A plain function; gets the payload. To await something, read with `async for`, or start a task.
            type: What the payload is to be, as `reply_type` of `push`. A misfit is reported as an exception of the callback.

        Returns:
            A function that removes the callback.

        Raises:
            ConfigurationError: The callback is a coroutine function.
        """
        refuse_coroutine(callback, f"channel.on({event!r}, ...)")

        def deliver(message: Message) -> None:
            callback(message.payload if type is None else message.decode(type))

        return self._listeners.setdefault(event, Listeners(self._socket._report)).add(deliver)

    def on_join(self, callback: Callable[[Any], object]) -> Remove:
        """Call back with the server's response after every join: the first, and those after a loss."""
        refuse_coroutine(callback, "channel.on_join(...)")
        return self._on_join.add(callback)

    def on_error(self, callback: Callable[[Any], object]) -> Remove:
        """Call back with the reason when the channel is lost; it will be joined again."""
        refuse_coroutine(callback, "channel.on_error(...)")
        return self._on_error.add(callback)

    def on_close(self, callback: Callable[[], object]) -> Remove:
        """Call back when the channel is closed for good: left, closed by the server, or with the socket."""
        refuse_coroutine(callback, "channel.on_close(...)")
        return self._on_close.add(callback)

    # What the socket tells.

    def _deliver(self, incoming: Incoming) -> None:
        message = Message(incoming.join_ref, incoming.ref, incoming.topic, incoming.event, incoming.payload)
        listeners = self._listeners.get(incoming.event)
        if listeners is not None:
            listeners(message)
        self._inbox.put(message)

    def _joined(self, response: Any) -> None:
        self.response = response
        self._settle_join(OK, response)
        self._on_join(response)

    def _errored(self, reason: Any) -> None:
        self._on_error(reason)

    def _ended(self) -> None:
        self._settle_join(CLOSED, None)
        self._inbox.end()
        self._on_close()

    def _settle_join(self, status: str, response: Any) -> None:
        future, self._join = self._join, None
        if future is not None and not future.done():
            future.set_result((status, response))

    # What it tells the socket.

    def _make(self, event: str, payload: Any, timeout: float | None, *, wants_reply: bool) -> Push:
        body = encoded(self.topic, event, payload, self._socket.vsn)
        return Push(self.topic, event, body, self._socket.timeout if timeout is None else timeout, wants_reply)

    def _leave(self, timeout: float) -> Push | None:
        with self._socket._acting() as (state, now):
            return state.channels.leave(self._state, timeout, now)

    def _join_payload(self) -> Body:
        params = self._params() if callable(self._params) else self._params
        return encoded(self.topic, "phx_join", params, self._socket.vsn)


def refuse_coroutine(callback: Callable[..., object], where: str) -> None:
    """Judge a callback.

    Raises:
        ConfigurationError: It is a coroutine function, which nobody would await.
    """
    if asyncio.iscoroutinefunction(callback):
        raise ConfigurationError(
            f"{where} got the coroutine function {callback.__qualname__}; callbacks are plain functions: read with `async "
            "for message in channel`, or start a task of your own"
        )
