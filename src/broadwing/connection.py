"""One client with channels: reads its messages, drives the automaton, carries out what it says."""

import logging
from typing import TYPE_CHECKING, Any

from broadwing.channel_runner import UNMATCHED, ChannelRunner
from broadwing.core.close import CloseCode
from broadwing.core.messages import Broadcast, Message
from broadwing.core.serializer import Encoded, Serializer
from broadwing.core.socket_state import Route, SocketState
from broadwing.exceptions import InvalidMessage
from broadwing.intake import Intake
from broadwing.payloads import decode_params
from broadwing.transports.base import Transport

if TYPE_CHECKING:
    from broadwing.endpoint import Endpoint
    from broadwing.mounts import SocketMount
    from broadwing.pubsub.pubsub import Subscription
    from broadwing.socket import Socket

logger = logging.getLogger("broadwing.connection")

# What is kept of a join for as long as the channel lives must not be the peer's to choose freely.
MAX_TOPIC_BYTES, MAX_REF_BYTES = 1_024, 255


class Connection(Intake):
    """The handler behind a transport that carries channels.

    Attributes:
        socket: The application's object for this connection.
    """

    __slots__ = ("_id_subscription", "_state", "mount", "serializer", "socket")

    def __init__(self, mount: "SocketMount", socket: "Socket", serializer: Serializer) -> None:
        super().__init__()
        self.mount = mount
        self.socket = socket
        self.serializer = serializer
        self._state: SocketState[ChannelRunner] = SocketState()
        self._id_subscription: Subscription | None = None

    @property
    def endpoint(self) -> "Endpoint":
        """The endpoint that serves this connection."""
        return self.mount.endpoint

    @property
    def runners(self) -> list[ChannelRunner]:
        """The channels of this connection, joined or about to be."""
        return [runner for _, runner in self._state.joined.values()]

    # The handler contract.

    def opened(self, transport: Transport) -> None:
        """Remember the line, and listen for `disconnect` under the socket's id."""
        self.transport = transport
        name = self.mount.socket_id(self.socket)
        if name is not None:
            self._id_subscription = self.endpoint.bus.subscribe(name, self._on_id_broadcast)

    def received(self, opcode: int, data: bytes) -> None:
        """Take a whole message of the client."""
        try:
            message = self.serializer.decode(opcode, data)
            topic = message.topic
            route = self._state.route(message.join_ref, topic, message.event, self.mount.max_channels)
            if route is Route.FORWARD:
                self._state.joined[topic][1].receive(message, len(data))
            else:
                self._control(route, message, len(data))
        except InvalidMessage as error:
            # As text: the error knows its frames and they this connection, which a handler that keeps records would keep.
            logger.warning("%s: closing a connection with 1011: %s", self.mount.name, str(error))
            assert self.transport is not None  # a handler receives only between opened and closed
            self.transport.close(error.code)

    def control(self, opcode: int, payload: bytes) -> None:
        """Pings and pongs mean nothing to channels."""

    def closing(self) -> None:
        """Write what this turn of the loop still owes the client, before the line's own last word."""
        self.endpoint.fastlane.settle()

    def closed(self, reason: Any) -> None:
        """End all channels; their `terminate` gets `reason`."""
        self.is_closed = True
        self.count_end(reason)
        if self._id_subscription is not None:
            self._id_subscription.cancel()
            self._id_subscription = None
        fastlane = self.endpoint.fastlane
        if (fastlane.due or fastlane.pending) and self.transport is not None:
            fastlane.skip(self.transport.sink)
        runners = self.runners
        self._state.joined.clear()
        for runner in runners:
            runner.transport_closed(reason)
            self.endpoint.linger(runner)

    # For the channels.

    def send(self, topic: str, encoded: Encoded) -> None:
        """Write one message, behind what broadcasts still owe this client."""
        transport = self.transport
        if transport is None or self.is_closed:
            return
        fastlane = self.endpoint.fastlane
        if fastlane.due or (fastlane.pending and topic in fastlane.pending):
            fastlane.after(topic, transport, *encoded)
        else:
            transport.send(*encoded)

    def forget(self, runner: ChannelRunner) -> None:
        """A channel has ended; its topic is free again, unless a newer join has taken it already."""
        entry = self._state.joined.get(runner.topic)
        if entry is not None and entry[1] is runner:
            del self._state.joined[runner.topic]

    # What a message leads to.

    def _control(self, route: Route, message: Message, size: int) -> None:
        topic, ref = message.topic, message.ref
        if route is Route.HEARTBEAT:
            self._reply(None, ref, topic, "ok", {})
        elif route in (Route.JOIN, Route.REJOIN, Route.TOO_MANY):
            self._join(message, size, too_many=route is Route.TOO_MANY)
        elif route is Route.LEAVE:
            self._state.joined[topic][1].leave(message, size)
        elif route is Route.LEAVE_NOTHING:
            self._reply(message.join_ref, ref, topic, "ok", {})
        elif route is Route.UNMATCHED:
            self._reply(None, ref, topic, "error", UNMATCHED)

    def _join(self, message: Message, size: int, *, too_many: bool) -> None:
        topic = message.topic
        channel_route = self.mount.routes.match(topic) if type(topic) is str else None
        if channel_route is None:
            logger.warning("Ignoring unmatched topic %.200r in %s", topic, self.mount.name)
            self._reply(None, message.ref, topic, "error", UNMATCHED)
            return
        if too_many:
            cap = self.mount.max_channels
            logger.error("%s: a client tried to join %.200r beyond its %d channels", self.mount.name, topic, cap)
            self._reply(message.join_ref, message.ref, topic, "error", {"reason": "too many channels joined"})
            return
        if len(topic.encode()) > MAX_TOPIC_BYTES or _is_long(message.join_ref) or _is_long(message.ref):
            self._reply(message.join_ref, message.ref, topic, "error", {"reason": "topic or ref too long"})
            return
        try:
            runner = ChannelRunner(self, channel_route, message)
        except Exception:  # an application's own __init__ runs here
            logger.exception("%s on %r could not be made: join crashed", channel_route.name, topic)
            self._reply(message.join_ref, message.ref, topic, "error", {"reason": "join crashed"})
            return
        params = decode_params(channel_route.table.join, message.payload)
        _, predecessor = self._state.joined.get(topic, (None, None))
        self._state.joined[topic] = (message.join_ref, runner)
        self.take(size)
        runner.start(message, params, predecessor, size)

    def _reply(self, join_ref: Any, ref: Any, topic: Any, status: str, response: Any) -> None:
        assert self.transport is not None  # a handler receives only between opened and closed
        self.endpoint.fastlane.settle()
        self.transport.send(
            *self.serializer.message(join_ref, ref, topic, "phx_reply", {"response": response, "status": status})
        )

    def _on_id_broadcast(self, message: Broadcast) -> None:
        if message.event == "disconnect" and self.transport is not None:
            self.transport.close(CloseCode.GOING_AWAY)


def _is_long(ref: Any) -> bool:
    if ref is None or type(ref) is int or type(ref) is float or type(ref) is bool:
        return False
    return len(str(ref)) > MAX_REF_BYTES
