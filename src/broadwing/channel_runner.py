"""One joined channel: its mailbox, the order of its messages, and what happens when a handler fails."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from broadwing import journal
from broadwing.actor import Actor, is_cancelled
from broadwing.core.codec import body
from broadwing.core.messages import Broadcast, Message
from broadwing.core.serializer import Encoded
from broadwing.exceptions import JoinError, LocalProtocolError
from broadwing.fastlane import Lane
from broadwing.handlers import Handler, InvalidPayload
from broadwing.payloads import decode_payload, is_annotated
from broadwing.returns import Ok, Reply, Stop, is_graceful
from broadwing.socket_ref import SocketRef

if TYPE_CHECKING:
    from broadwing.connection import Connection
    from broadwing.mounts import ChannelRoute
    from broadwing.pubsub.pubsub import Subscription
    from broadwing.transports.base import Transport

logger = logging.getLogger("broadwing.channel")

JOINING, JOINED, CLOSED = 0, 1, 2

# Kinds of mailbox items: tuples whose first member is one of these.
_JOIN, _EVENT, _REFUSED, _OUT, _INFO, _LEAVE, _STOP = range(7)

# Broadcasts and `handle_info` messages that may wait for one channel. A client's own events are bounded per
# connection by not reading on; these cannot be, so the channel that falls behind is ended with phx_error.
MAX_MAILBOX = 10_000
# How long a channel that makes way for a new join of its topic may take to end, in seconds (Phoenix: `shutdown`).
SHUTDOWN_GRACE = 5.0


class ChannelRunner(Actor):
    """Drives one channel of one connection.

    Attributes:
        topic: The topic; the registry's own string once joined.
        join_ref: What replies and pushes carry: the join's `join_ref`, or its `ref` when that was null.
        route: The route that led here: class, handlers, assigns.
    """

    __slots__ = (
        "channel",
        "connection",
        "join_ref",
        "lane",
        "leaving",
        "ref",
        "route",
        "status",
        "subscriptions",
        "topic",
    )

    def __init__(self, connection: "Connection", route: "ChannelRoute", message: Message) -> None:
        super().__init__()
        self.connection = connection
        self.route = route
        self.topic: str = message.topic
        self.join_ref = message.join_ref if message.join_ref is not None else message.ref
        self.lane: Lane | None = None
        self.ref: Any = None
        self.status = JOINING
        self.leaving = False
        self.subscriptions: list[Subscription] | None = None
        self.channel = route.channel(self)

    @property
    def transport(self) -> "Transport | None":
        """The client's line."""
        return self.connection.transport

    @property
    def task(self) -> "asyncio.Task[None] | None":
        """The task that handles a message, if there is one."""
        return self._task

    # Called by the connection.

    def start(self, message: Message, predecessor: "ChannelRunner | None", predecessor_ref: Any, size: int) -> None:
        """Begin the join; everything else that comes waits behind it.

        Raises:
            InvalidMessage: The payload is not JSON after all.
        """
        handler = self.route.table.join
        params: Any = None
        if handler.takes_payload:
            try:
                params = decode_payload(handler, message.payload)
            except InvalidPayload as refused:
                params = refused
        self._post((_JOIN, message, params, predecessor, predecessor_ref, size))

    def receive(self, message: Message, size: int) -> None:
        """Take an event of the client.

        Raises:
            InvalidMessage: The payload is not JSON after all.
        """
        event = message.event
        table = self.route.table
        handler = table.events.get(event) if type(event) is str else None
        if handler is None:
            handler = self.route.catch_all
            if handler is None or type(event) is not str:
                self._post((_REFUSED, event, message.ref, _UNHANDLED, size))
                return
        try:
            payload = decode_payload(handler, message.payload)
        except InvalidPayload as refused:
            self._post((_REFUSED, event, message.ref, refused.response, size))
            return
        self._post((_EVENT, event, message.ref, payload, size, handler))

    def receive_broadcast(self, message: Broadcast) -> None:
        """Take a broadcast that this channel's class intercepts."""
        self._post_bounded((_OUT, message))

    def leave(self, ref: Any, size: int) -> None:
        """End at the client's wish, after what waits."""
        self.leaving = True
        self._post((_LEAVE, ref, size))

    def transport_closed(self, reason: Any) -> None:
        """End because the line is down: what waits is still handled, but nothing is written any more."""
        self._unsubscribe_all()
        if self._task is None and self.route.terminate is None:
            self.status = CLOSED
            return
        self._post((_STOP, reason, True))

    # Called by the channel, from any thread.

    def push(self, event: str, payload: Any) -> None:
        """See `Channel.push`."""
        self._must_have_joined("push")
        connection = self.connection
        encoded = connection.serializer.push(self.join_ref, self.topic, event, body(payload))
        connection.endpoint.run_in_loop(connection.send, self.topic, encoded)

    def broadcast(self, event: str, payload: Any, sender: "ChannelRunner | None") -> None:
        """See `Channel.broadcast`."""
        self._must_have_joined("broadcast")
        self.connection.endpoint.pubsub.broadcast(self.topic, Broadcast(self.topic, event, body(payload)), sender)

    def send_reply(self, ref: Any, status: str, payload: Any) -> None:
        """See `SocketRef.reply`."""
        connection = self.connection
        encoded = connection.serializer.reply(self.join_ref, ref, self.topic, status, payload)
        connection.endpoint.run_in_loop(connection.send, self.topic, encoded)

    def send_info(self, message: Any) -> None:
        """See `Channel.send_info`."""
        self.connection.endpoint.run_in_loop(self._post_bounded, (_INFO, message))

    def stop(self, reason: Any) -> None:
        """See `Channel.stop`."""
        self.connection.endpoint.run_in_loop(self._post, (_STOP, reason, False))

    def socket_ref(self) -> SocketRef:
        """See `Channel.socket_ref`."""
        if self.status != JOINED or self.ref is None:
            raise LocalProtocolError(
                "socket refs can only be generated for a socket that has joined with a push ref; call socket_ref() in the "
                "handler of a message that carries a ref"
            )
        return SocketRef(self, self.ref)

    def subscribe(self, topic: str) -> None:
        """See `Channel.subscribe`."""
        if self.subscriptions is None:
            self.subscriptions = []
        self.subscriptions.append(
            self.connection.endpoint.pubsub.subscribe(topic, lambda message: self._post_bounded((_INFO, message)))
        )

    def unsubscribe(self, topic: str) -> None:
        """See `Channel.unsubscribe`."""
        for subscription in self.subscriptions or ():
            if subscription.topic == topic:
                subscription.cancel()
        self.subscriptions = [s for s in self.subscriptions or () if s.topic != topic] or None

    def unexpected_info(self, message: Any) -> None:
        """Say that `handle_info` is not there for what came."""
        logger.warning(
            "%s on %r received unexpected message in handle_info: %.200r", self.route.name, self.topic, message
        )

    # The mailbox.

    def _post_bounded(self, item: Any) -> None:
        if self.status == CLOSED:
            return
        if self.pending >= MAX_MAILBOX:
            self.connection.endpoint.statistics.mailbox_overflows += 1
            logger.error(
                "%s on %r has %d messages waiting and is ended: it handles them more slowly than they come",
                self.route.name,
                self.topic,
                self.pending,
            )
            mailbox = self._mailbox
            assert mailbox is not None  # as something waits
            answered = [waiting for waiting in mailbox if waiting[0] not in (_OUT, _INFO)]
            mailbox.clear()
            mailbox.extend(((_STOP, ("error", "mailbox overflow"), False), *answered))
            return
        self._post(item)

    async def _process(self, item: Any) -> None:
        kind = item[0]
        if kind == _EVENT:
            _, event, ref, payload, size, handler = item
            try:
                if self.status == JOINED:
                    self.ref = ref
                    # Not a step of its own: every coroutine between the task and the handler costs 0.3 µs a message.
                    started = journal.clock() if journal.watches_events(self.connection.mount) else 0.0
                    result = await self._call_event(handler, event, payload)
                    if started:
                        journal.handled_in(self, event, payload, ref, started)
                    if result is not None:
                        if isinstance(result, Stop):
                            await self._stop_with_reply(ref, result)
                        else:
                            self._answer(ref, result)
                else:
                    self._unmatched(ref)
            except (
                Exception,
                asyncio.CancelledError,
            ) as error:  # what a handler raises ends its own channel and no other
                if is_cancelled(error):
                    raise
                await self._crash(error)
            finally:
                self.ref = None
                self.connection.release(size)
        elif kind == _REFUSED:
            _, event, ref, response, size = item
            if self.status == JOINED:
                if response is _UNHANDLED:
                    logger.warning(
                        "%s on %r has no handler for %r; add @on(%r) or handle_in",
                        self.route.name,
                        self.topic,
                        event,
                        event,
                    )
                self.send_reply(ref, "error", response)
            else:
                self._unmatched(ref)
            self.connection.release(size)
        elif kind == _JOIN:
            try:
                await self._join(*item[1:-1])
            finally:
                self.connection.release(item[-1])
        elif kind == _LEAVE:
            try:
                await self._leave(item[1])
            finally:
                self.connection.release(item[2])
        elif self.status == JOINED:
            if kind == _STOP:
                await self._end(item[1], silent=item[2])
            elif kind == _OUT:
                await self._handle(self._handle_out, item[1])
            else:
                await self._handle(self._handle_info, item[1])

    async def _handle(self, step: Callable[..., Awaitable[None]], *args: Any) -> None:
        try:
            await step(*args)
        except (Exception, asyncio.CancelledError) as error:  # what a handler raises ends its own channel and no other
            if is_cancelled(error):
                raise
            await self._crash(error)

    async def _crash(self, error: BaseException) -> None:
        logger.exception("%s on %r crashed; its client is told phx_error", self.route.name, self.topic)
        await self._end(("error", error))

    async def _stop_with_reply(self, ref: Any, stop: Stop) -> None:
        if stop.reply is not None:
            self._answer(ref, stop.reply)
        await self._end(stop.reason)

    def _call_event(self, handler: Handler, event: str, payload: Any) -> Awaitable[Any]:
        if handler.is_direct:
            return handler.function(self.channel, payload)  # type: ignore[no-any-return] # a coroutine function
        if handler is self.route.catch_all:
            return self._call(handler, event, payload)
        return self._call(handler, payload) if handler.takes_payload else self._call(handler)

    async def _call(self, handler: Handler, *args: Any) -> Any:
        if handler.is_async:
            return await handler.function(self.channel, *args)
        return await asyncio.to_thread(handler.function, self.channel, *args)

    async def _handle_out(self, message: Broadcast) -> None:
        handler = self.route.table.intercepts[message.event]
        try:
            if message.body.binary:
                payload = decode_payload(handler, message.body.data)
            else:
                payload = handler.decode(msgspec.Raw(message.body.data))
        except InvalidPayload as refused:
            raise LocalProtocolError(
                f"the broadcast of {message.event!r} on {message.topic!r} does not fit {handler.function.__qualname__}: {refused}"
            ) from refused
        await self._stop_if_told(await self._call(handler, *((payload,) if handler.takes_payload else ())))

    async def _handle_info(self, message: Any) -> None:
        await self._stop_if_told(await self._call(self.route.info, message))

    async def _stop_if_told(self, result: Any) -> None:
        if isinstance(result, Stop):
            await self._end(result.reason)
        elif result is not None:
            raise LocalProtocolError(
                f"handle_out or handle_info of {self.route.name} returned {type(result).__name__!r}; expected None or Stop(reason)"
            )

    def _answer(self, ref: Any, result: Any) -> None:
        if isinstance(result, Reply):
            self.send_reply(ref, result.status, result.payload)
        elif type(result) is dict or isinstance(result, bytes | Mapping | msgspec.Struct) or is_annotated(result):
            self.send_reply(ref, "ok", result)
        else:
            raise LocalProtocolError(
                f"a handler of {self.route.name} returned {type(result).__name__!r}; expected None, a mapping, an annotated object, "
                "bytes, Ok(...), Error(...), Reply(payload, status) or Stop(reason)"
            )

    async def _join(
        self, message: Message, params: Any, predecessor: "ChannelRunner | None", predecessor_ref: Any
    ) -> None:
        connection, serializer = self.connection, self.connection.serializer
        must_close = ok = False
        started = journal.clock()
        try:
            if predecessor is not None:
                must_close = await predecessor.make_way()
                started = journal.clock()
            try:
                reply = await self._call_join(params)
                ok = reply.status == "ok"
            except JoinError as refused:
                reply = Reply(refused.response, "error")
            encoded = serializer.reply(message.join_ref, message.ref, self.topic, reply.status, reply.payload)
            if ok and not connection.is_closed:
                ready = self._subscribe()
                if ready is not None:
                    await ready
        except (Exception, asyncio.CancelledError) as error:  # whatever join raises refuses this join and nothing else
            ok = False
            cancelled = is_cancelled(error)
            if not cancelled:
                logger.exception("%s on %r: join crashed", self.route.name, self.topic)
            elif predecessor is not None and predecessor.status != CLOSED:
                # The client joined yet again while the channel before this one was still ending; it ends all the same.
                must_close = await predecessor.make_way()
            reason = _SUPERSEDED if cancelled else _JOIN_CRASHED
            encoded = serializer.reply(message.join_ref, message.ref, self.topic, "error", reason)
            if cancelled:
                self._answer_join(encoded, ok, must_close, predecessor_ref)
                raise
        journal.joined(self, message.payload, started, ok)
        self._answer_join(encoded, ok, must_close, predecessor_ref)

    def _answer_join(self, encoded: Encoded, ok: bool, must_close: bool, predecessor_ref: Any) -> None:
        connection = self.connection
        self.status = JOINED if ok else CLOSED
        if not ok:
            connection.forget(self)
            self._unsubscribe_all()
        connection.send(self.topic, encoded)
        if must_close:
            closed = connection.serializer.message(predecessor_ref, predecessor_ref, self.topic, "phx_close", {})
            connection.send(self.topic, closed)

    async def _call_join(self, params: Any) -> Reply:
        if isinstance(params, InvalidPayload):
            return Reply(params.response, "error")
        handler = self.route.table.join
        result = await self._call(handler, *((params,) if handler.takes_payload else ()))
        return result if isinstance(result, Reply) else self._join_reply(result)

    def _join_reply(self, result: Any) -> Reply:
        if result is None:
            return Ok()
        if isinstance(result, Mapping | msgspec.Struct) or is_annotated(result):
            return Ok(result)
        raise LocalProtocolError(
            f"join of {self.route.name} returned {type(result).__name__!r}; expected None, a mapping, an annotated object or Ok(...); "
            "raise JoinError(response) to refuse"
        )

    async def _leave(self, ref: Any) -> None:
        if self.status != JOINED:
            connection = self.connection
            connection.send(self.topic, connection.serializer.reply(None, ref, self.topic, "ok", {}))
            return
        self.send_reply(ref, "ok", {})
        # The close comes before terminate here, and after it everywhere else, as in Phoenix.
        self._tell_end(("shutdown", "left"))
        await self._end(("shutdown", "left"), silent=True)

    async def make_way(self) -> bool:
        """End because the client joins the same topic anew; returns once it has.

        Returns:
            Whether the client still has to be told `phx_close` for this join, after the reply to the new one.
        """
        joined = self.status == JOINED
        task = self._task
        if task is not None and self.leaving and joined:
            await asyncio.wait((task,), timeout=SHUTDOWN_GRACE)
        must_close = self.status == JOINED
        task = self._task
        if task is not None:
            left = self._mailbox or ()
            task.cancel()
            await asyncio.wait((task,), timeout=SHUTDOWN_GRACE)
        else:
            left = ()
        if self.status == JOINED:
            self._unsubscribe_all()
            try:
                async with asyncio.timeout(SHUTDOWN_GRACE):
                    await self._terminate(("shutdown", "duplicate_join"))
            except TimeoutError:
                logger.error(
                    "terminate of %s on %r took more than %s s and was cancelled",
                    self.route.name,
                    self.topic,
                    SHUTDOWN_GRACE,
                )
        self.status = CLOSED
        for item in left:  # what waited gets its answer: the topic is not joined under that ref any more
            await self._process(item)
        return must_close

    async def _end(self, reason: Any, *, silent: bool = False) -> None:
        if self.status != JOINED:
            return
        self._unsubscribe_all()
        await self._terminate(reason)
        self.status = CLOSED
        if not silent:
            self._tell_end(reason)
        self.connection.forget(self)

    async def _terminate(self, reason: Any) -> None:
        if self.route.terminate is None:
            return
        try:
            await self._call(self.route.terminate, reason)
        except Exception:  # cleaning up must not keep the end from being told
            logger.exception("terminate of %s on %r raised", self.route.name, self.topic)

    def _tell_end(self, reason: Any) -> None:
        connection = self.connection
        ref = connection.transport_ref(self)
        if is_graceful(reason):
            connection.send(self.topic, connection.serializer.message(ref, ref, self.topic, "phx_close", {}))
        else:
            connection.send(self.topic, connection.serializer.message(ref, ref, self.topic, "phx_error", _CRASH))

    def _unmatched(self, ref: Any) -> None:
        connection = self.connection
        connection.send(self.topic, connection.serializer.reply(None, ref, self.topic, "error", UNMATCHED))

    def _subscribe(self) -> Awaitable[None] | None:
        connection = self.connection
        transport = connection.transport
        assert transport is not None  # nothing is joined before the line is up
        self.lane = connection.endpoint.lane(connection.serializer, transport.format, self.route.intercepted)
        subscribers, ready = connection.endpoint.pubsub.attach(self.topic, self, transport.sink, self.lane)
        self.topic = subscribers.topic
        return ready

    def _unsubscribe_all(self) -> None:
        if self.lane is not None:
            self.connection.endpoint.pubsub.detach(self.topic, self, self.lane)
            self.lane = None
        for subscription in self.subscriptions or ():
            subscription.cancel()
        self.subscriptions = None

    def _must_have_joined(self, what: str) -> None:
        if self.status == JOINING:
            raise LocalProtocolError(
                f"push, reply and broadcast can only be called after the socket has finished joining; {what} was called in join "
                f"of {self.route.name}. Use self.send_info(message) in join and {what} in handle_info"
            )


UNMATCHED: Mapping[str, str] = {"reason": "unmatched topic"}
_UNHANDLED: dict[str, Any] = {"reason": "unhandled event"}
_JOIN_CRASHED: Mapping[str, str] = {"reason": "join crashed"}
_CRASH: Mapping[str, str] = {"reason": "channel_crash"}
_SUPERSEDED: Mapping[str, str] = {"reason": "superseded by a newer join"}
