"""One channel of one client: its mailbox, the order of its messages, and what its handlers return."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from broadwing import journal
from broadwing.actor import Actor
from broadwing.channel_life import (
    CLOSED,
    ENDING,
    JOINED,
    JOINING,
    LEFT,
    STAYING,
    WAITING,
    AtEnd,
    end,
    is_superseded,
    join,
    leave,
)
from broadwing.channel_results import answer, stop_of
from broadwing.core.codec import body
from broadwing.core.messages import Broadcast, Message
from broadwing.decoders import InvalidPayload
from broadwing.exceptions import LocalProtocolError
from broadwing.fastlane import Lane
from broadwing.handlers import Handler, run_in_thread
from broadwing.payloads import decode_payload
from broadwing.prompt import finish
from broadwing.returns import Stop, is_graceful
from broadwing.socket_ref import SocketRef

if TYPE_CHECKING:
    from broadwing.connection import Connection
    from broadwing.mounts import ChannelRoute
    from broadwing.pubsub.pubsub import Subscription
    from broadwing.transports.base import Transport

logger = logging.getLogger("broadwing.channel")

# Kinds of mailbox items: tuples whose first member is one of these.
_JOIN, _EVENT, _REFUSED, _OUT, _INFO, _LEAVE, _STOP = range(7)

# Broadcasts and `handle_info` messages that may wait for one channel. A client's own events are bounded per
# connection by not reading on; these cannot be, so the channel that falls behind is ended with phx_error.
MAX_MAILBOX = 10_000


class ChannelRunner(Actor):
    """Drives one channel of one connection.

    Attributes:
        topic: The topic; the registry's own string once joined.
        join_ref: What replies and pushes carry: the join's `join_ref`, or its `ref` when that was null.
        client_ref: The join's `join_ref`, null or not: what `phx_close` and `phx_error` carry.
        route: The route that led here: class, handlers, assigns.
        status: Where in its life it is; see `channel_life`.
        going: Whether the client wants it to end; see `channel_life`.
    """

    __slots__ = (
        "channel",
        "client_ref",
        "connection",
        "going",
        "join_ref",
        "lane",
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
        self.client_ref = message.join_ref
        self.join_ref = message.join_ref if message.join_ref is not None else message.ref
        self.lane: Lane | None = None
        self.ref: Any = None
        self.status = JOINING
        self.going = STAYING
        self.subscriptions: list[Subscription | AtEnd] | None = None
        self.channel = route.channel(self)

    @property
    def transport(self) -> "Transport | None":
        """The client's line."""
        return self.connection.transport

    # Called by the connection.

    def start(self, message: Message, params: Any, predecessor: "ChannelRunner | None", size: int) -> None:
        """Begin the join, once `predecessor` has made way; everything else that comes waits behind it."""
        item = (_JOIN, message, params, predecessor, size)
        if predecessor is not None:
            self.status = WAITING
            self._post(item)
        elif self.route.table.join.is_prompt and self.connection.endpoint.bus.is_alone:
            self._do_at_once(item)
            self._linger_if_cut_off()
        else:
            self._post(item)

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
                self._post_counted((_REFUSED, event, message.ref, _UNHANDLED, size))
                return
        try:
            payload = decode_payload(handler, message.payload)
        except InvalidPayload as refused:
            self._post_counted((_REFUSED, event, message.ref, refused.response, size))
            return
        if self._task is None and handler.is_prompt and self.route.ends_at_once and self.status == JOINED:
            self._handle_at_once(event, message.ref, payload, handler)
        else:
            self._post_counted((_EVENT, event, message.ref, payload, handler, size))

    def _post_counted(self, item: Any) -> None:
        self.connection.take(item[-1])
        self._post(item)

    def _handle_at_once(self, event: str, ref: Any, payload: Any, handler: Handler) -> None:
        """Handle an event that is sure not to wait, and that has nothing to wait for: the usual way, and the shortest."""
        self._begin_at_once()
        self.ref = ref
        try:
            started = journal.clock() if journal.watches_events(self.connection.mount) else 0.0
            result = finish(self._call_event(handler, event, payload))
            if started:
                journal.handled_in(self, event, payload, ref, started)
            if result is not None:
                if isinstance(result, Stop):
                    finish(self._stop_with_reply(ref, result))
                else:
                    answer(self, ref, result)
        except (Exception, asyncio.CancelledError) as error:  # it ends this channel and no other
            finish(self._crash(error))
        finally:
            self.ref = None
            self._end_at_once()
            self._linger_if_cut_off()

    def _linger_if_cut_off(self) -> None:
        # The line may have gone down while something was done at once, with more to do.
        if self._task is not None and self.connection.is_closed:
            self.connection.endpoint.linger(self)

    def receive_broadcast(self, message: Broadcast) -> None:
        """Take a broadcast that this channel's class intercepts."""
        self._post_bounded((_OUT, message))

    def leave(self, message: Message, size: int) -> None:
        """End at the client's wish, after what waits."""
        self.going = LEFT
        self._post_counted((_LEAVE, message.join_ref, message.ref, size))

    def transport_closed(self, reason: Any) -> None:
        """End because the line is down: what waits is still handled, but nothing is written any more."""
        self.detach()
        if self._task is None and self.route.terminate is None:
            self.status = CLOSED
            self.let_go()
            return
        self._post((_STOP, reason, True))

    # Called by `channel_life`.

    def attach(self) -> None:
        """Subscribe to the topic: from now on the client gets its broadcasts."""
        connection = self.connection
        transport = connection.transport
        assert transport is not None  # nothing is joined before the line is up
        self.lane = connection.endpoint.lane(connection.serializer, transport.format, self.route.intercepted)
        subscribers, _ = connection.endpoint.bus.attach(self.topic, self, transport.sink, self.lane)
        self.topic = subscribers.topic

    def detach(self) -> None:
        """End all subscriptions."""
        if self.lane is not None:
            self.connection.endpoint.bus.detach(self.topic, self, self.lane)
            self.lane = None
        subscriptions, self.subscriptions = self.subscriptions, None
        for subscription in subscriptions or ():
            subscription.cancel()

    def let_go(self) -> None:
        """Forget the application's object, which refers back here: without the cycle nothing waits for the garbage collector."""
        nothing: Any = None
        self.channel = nothing

    def interrupt(self, reason: Any) -> None:
        """Cancel what is being handled, and end before anything else is."""
        task = self.task
        self._post_first((_STOP, reason, True))
        if task is not None:
            task.cancel()

    @property
    def is_over(self) -> bool:
        """See `Channel.is_over`."""
        return self.status >= ENDING or self.connection.is_closed

    def at_end(self, callback: Callable[[], object]) -> None:
        """See `Channel.at_end`."""
        if self.is_over:
            callback()
        else:
            self._hold(AtEnd(callback))

    def _hold(self, held: "Subscription | AtEnd") -> None:
        if self.subscriptions is None:
            self.subscriptions = []
        self.subscriptions.append(held)

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
        encoded = body(payload)
        if not encoded.is_map and not encoded.binary:
            # Here rather than at the delivery, which from another thread happens when the caller has gone on.
            self.connection.serializer.broadcast(self.topic, event, encoded)
        self.connection.endpoint.bus.broadcast(self.topic, Broadcast(self.topic, event, encoded), sender)

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
        self.connection.endpoint.run_in_loop(self._subscribe, topic)

    def _subscribe(self, topic: str) -> None:
        if self.status >= ENDING:
            return  # nobody would end it any more
        self._hold(self.connection.endpoint.bus.subscribe(topic, lambda message: self._post_bounded((_INFO, message))))

    def unsubscribe(self, topic: str) -> None:
        """See `Channel.unsubscribe`."""
        self.connection.endpoint.run_in_loop(self._unsubscribe, topic)

    def _unsubscribe(self, topic: str) -> None:
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
        if self.status >= ENDING:
            return
        if self.pending >= MAX_MAILBOX:
            mailbox = self._mailbox
            assert mailbox is not None  # as something waits
            if mailbox[0][0] == _STOP:
                return  # it has been told already
            self.connection.endpoint.statistics.mailbox_overflows += 1
            logger.error(
                "%s on %r has %d messages waiting and is ended: it handles them more slowly than they come",
                self.route.name,
                self.topic,
                self.pending,
            )
            answered = [waiting for waiting in mailbox if waiting[0] not in (_OUT, _INFO)]
            mailbox.clear()
            mailbox.extend(((_STOP, ("error", "mailbox overflow"), False), *answered))
            return
        self._post(item)

    async def _process(self, item: Any) -> None:
        kind = item[0]
        if kind == _EVENT:
            _, event, ref, payload, handler, size = item
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
                            answer(self, ref, result)
                else:
                    self._unmatched(ref)
            except (Exception, asyncio.CancelledError) as error:  # it ends this channel and no other
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
                await join(self, *item[1:-1])
            finally:
                self.connection.release(item[-1])
        elif kind == _LEAVE:
            try:
                await leave(self, item[1], item[2])
            finally:
                self.connection.release(item[-1])
        elif self.status == JOINED:
            if kind == _STOP:
                await self._stopped(item[1], silent=item[2])
            elif kind == _OUT:
                await self._handle(self._handle_out, item[1])
            else:
                await self._handle(self._handle_info, item[1])

    async def _handle(self, step: Callable[..., Awaitable[None]], *args: Any) -> None:
        try:
            await step(*args)
        except (Exception, asyncio.CancelledError) as error:  # it ends this channel and no other
            await self._crash(error)

    async def _crash(self, error: BaseException) -> None:
        if not is_superseded(self, error):
            logger.exception("%s on %r crashed; its client is told phx_error", self.route.name, self.topic)
            await end(self, ("error", error))

    async def _stopped(self, reason: Any, *, silent: bool = False) -> None:
        if not is_graceful(reason):
            logger.error("%s on %r stopped: %r; its client is told phx_error", self.route.name, self.topic, reason)
        await end(self, reason, silent=silent)

    async def _stop_with_reply(self, ref: Any, stop: Stop) -> None:
        if stop.reply is not None:
            answer(self, ref, stop.reply)
        await self._stopped(stop.reason)

    def _call_event(self, handler: Handler, event: str, payload: Any) -> Coroutine[Any, Any, Any]:
        if handler.is_direct:
            return handler.function(self.channel, payload)  # type: ignore[no-any-return] # a coroutine function
        if handler is self.route.catch_all:
            return self.call(handler, event, payload)
        return self.call(handler, payload) if handler.takes_payload else self.call(handler)

    async def call(self, handler: Handler, *args: Any) -> Any:
        """Call one of the channel's methods, a plain `def` in a thread."""
        if handler.is_async:
            return await handler.function(self.channel, *args)
        return await run_in_thread(handler.function, self.channel, *args)

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
        await self._stop_if_told(await self.call(handler, *((payload,) if handler.takes_payload else ())))

    async def _handle_info(self, message: Any) -> None:
        await self._stop_if_told(await self.call(self.route.info, message))

    async def _stop_if_told(self, result: Any) -> None:
        stop = stop_of(self, result)
        if stop is not None:
            await self._stopped(stop.reason)

    def _unmatched(self, ref: Any) -> None:
        connection = self.connection
        connection.send(self.topic, connection.serializer.reply(None, ref, self.topic, "error", UNMATCHED))

    def _must_have_joined(self, what: str) -> None:
        if self.status <= JOINING:
            raise LocalProtocolError(
                f"push, reply and broadcast can only be called after the socket has finished joining; {what} was called in join "
                f"of {self.route.name}. Use self.send_info(message) in join and {what} in handle_info"
            )


UNMATCHED: Mapping[str, str] = {"reason": "unmatched topic"}
_UNHANDLED: dict[str, Any] = {"reason": "unhandled event"}
