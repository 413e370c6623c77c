"""What an application writes for each kind of topic: a `Channel`."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from broadwing.types import Assigner

if TYPE_CHECKING:
    from broadwing.channel_runner import ChannelRunner
    from broadwing.endpoint import Endpoint
    from broadwing.socket import Socket
    from broadwing.socket_ref import SocketRef


class Channel:
    """One client on one topic.

    An instance lives from the join to the leave; its methods run one at a time, in the order in which the messages came.
    Different channels of one connection run side by side. A handler that raises ends its own channel and nothing else:
    the client sees `phx_error` and rejoins.

    Every subclass defines `join`; a class without its own cannot be mounted, so that no topic is open by accident.

    Source: Phoenix `lib/phoenix/channel.ex`.
    """

    __slots__ = ("_assigns", "_runner")

    def __init__(self, runner: "ChannelRunner") -> None:
        self._runner = runner
        assigns = {**runner.connection.socket.assigns_or_empty, **runner.route.assigns}
        self._assigns: dict[str, Any] | None = assigns or None

    # What applications override.

    async def join(self, params: Any) -> Any:
        """Authorise the client; every channel class defines its own.

        Args:
            params: The payload of the join, any JSON value, or what the annotation says.

        Returns:
            `None` for an empty ok reply, a mapping or annotated object, or `Reply` / `Ok` with any JSON value.

        Raises:
            JoinError: To refuse; its response is what the client gets. Any other exception is logged with its
                traceback and the client gets `{"reason": "join crashed"}`.
        """
        raise AssertionError("a channel class without its own join cannot be mounted")

    async def handle_in(self, event: str, payload: Any) -> Any:
        """Take events that no `@on` handler takes.

        Returns:
            As `@on` handlers: `None` for no reply, a mapping or annotated object for an ok reply, `Ok`, `Error`, `Reply` or
            `Stop`.

        Not overridden, the client gets the error reply `{"reason": "unhandled event"}` and a warning is logged.
        """
        raise AssertionError("called only when overridden")

    async def handle_info(self, message: Any) -> Any:
        """Take what is not a client's event: `send_info` messages, and `Broadcast`s of topics subscribed by hand.

        Returns:
            `None`, or `Stop` to end the channel.
        """
        self._runner.unexpected_info(message)

    async def terminate(self, reason: Any) -> None:
        """Clean up; called once, whatever ended the channel.

        Args:
            reason: `("shutdown", "left")`, `("shutdown", "closed")`, `("shutdown", "disconnected")`,
                `("shutdown", "draining")`, `("shutdown", "duplicate_join")`, what `Stop` or `stop()` gave, or
                `("error", exception)`.
        """

    # What applications use.

    @property
    def topic(self) -> str:
        """The topic as the client joined it."""
        return self._runner.topic

    @property
    def socket(self) -> "Socket":
        """The connection this channel belongs to, as `connect` left it."""
        return self._runner.connection.socket

    @property
    def endpoint(self) -> "Endpoint":
        """The endpoint that serves this channel."""
        return self._runner.connection.endpoint

    @property
    def join_ref(self) -> Any:
        """The client's ref of this join."""
        return self._runner.join_ref

    @property
    def assigns(self) -> dict[str, Any]:
        """This channel's own values: a copy of the socket's at the time of the join, plus those of its route."""
        if self._assigns is None:
            self._assigns = {}
        return self._assigns

    def assign(self, values: Mapping[str, Any] | Assigner | None = None, **more: Any) -> None:
        """Merge values into `assigns`.

        Args:
            values: What to merge, or a function that is called with the assigns and returns it.
            **more: Further values; they win.
        """
        self.assigns.update((values(self.assigns) if callable(values) else values) or {}, **more)

    def push(self, event: str, payload: Any) -> None:
        """Send an event to this client alone. Callable from any thread.

        Args:
            event: The event's name.
            payload: A mapping or annotated object, or `bytes` for a binary frame.

        Raises:
            LocalProtocolError: Called before the join is done, or the payload is not a map (2.0.0) or binary (1.0.0).

        Delivery: at most once, in order. Cancellation: not a switch point.
        """
        self._runner.push(event, payload)

    def broadcast(self, event: str, payload: Any) -> None:
        """Send an event to everybody on this topic, on every node, this client included. Callable from any thread.

        Args:
            event: The event's name.
            payload: A mapping or annotated object, or `bytes` for a binary frame; encoded once.

        Raises:
            LocalProtocolError: Called before the join is done, or the payload is not a map.
            PubSubUnavailable: The bus cannot take it; nobody got it.

        Delivery: at most once, in order per publisher and topic. Cancellation: not a switch point.
        """
        self._runner.broadcast(event, payload, None)

    def broadcast_from(self, event: str, payload: Any) -> None:
        """Send an event to everybody on this topic but this channel. As `broadcast` otherwise."""
        self._runner.broadcast(event, payload, self._runner)

    def socket_ref(self) -> "SocketRef":
        """Keep the current message's ref, to reply to it later, from anywhere.

        Raises:
            LocalProtocolError: No message with a ref is being handled.
        """
        return self._runner.socket_ref()

    def reply(self, ref: "SocketRef", payload: Any = None, *, status: str = "ok") -> None:
        """Reply to a message whose ref was kept with `socket_ref`. Callable from any thread.

        Args:
            ref: What `socket_ref()` gave; several replies to one ref are sent as they come.
            payload: Any JSON value, an annotated object, `bytes`, or a `Reply`, whose status then counts.
            status: `ok`, `error`, or a name of your own.
        """
        ref.reply(payload, status=status)

    def send_info(self, message: Any) -> None:
        """Put a message into this channel's own mailbox; `handle_info` gets it after all that waits there.

        It may be called in `join`, for what has to happen right after it. Callable from any thread.
        """
        self._runner.send_info(message)

    def subscribe(self, topic: str) -> None:
        """Also listen to another topic; its broadcasts come to `handle_info`. Ends with the channel.

        Subscribing twice delivers twice. A channel that subscribes to its own topic gets its broadcasts here as
        well as on the client's line.
        """
        self._runner.subscribe(topic)

    def unsubscribe(self, topic: str) -> None:
        """End all of this channel's own subscriptions to `topic`; an unknown topic is a no-op."""
        self._runner.unsubscribe(topic)

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or its client is gone, so that nothing that is pushed arrives."""
        return self._runner.is_over

    def at_end(self, callback: Callable[[], object]) -> None:
        """Call `callback` in the loop when this channel ends, whatever ends it, or as soon as its client is gone.

        That is before `terminate`, and does not wait for a handler that is at work. It must neither block nor raise. Called in
        the loop; of a channel that is over it is called at once.
        """
        self._runner.at_end(callback)

    def stop(self, reason: Any = "normal") -> None:
        """End this channel after what waits in its mailbox. Callable from any thread.

        Args:
            reason: As for `Stop`.
        """
        self._runner.stop(reason)
