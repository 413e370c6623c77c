"""Channels under test, without a network: `ChannelTest` for coroutines, `channel_test` for plain functions."""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeAlias
from urllib.parse import urlencode

from broadwing.channel import Channel
from broadwing.connection import Connection
from broadwing.core.messages import Broadcast
from broadwing.core.params import parse_query
from broadwing.core.version import negotiate
from broadwing.endpoint import Endpoint
from broadwing.exceptions import ConfigurationError
from broadwing.mounts import SERIALIZERS, SocketMount
from broadwing.pubsub.pubsub import Subscription
from broadwing.socket import Socket
from broadwing.testing.client import _EMPTY, ClientChannel, ClientSocket
from broadwing.testing.failures import ErrorLog, Wanted
from broadwing.testing.inbox import Inbox, Received
from broadwing.testing.line import Line
from broadwing.testing.patterns import ANY, shown
from broadwing.testing.threads import HandlerThreads, close_databases_of_django

Target: TypeAlias = Endpoint | type[Socket] | type[Channel]
"""What is tested: an endpoint, or a socket or channel class that gets an endpoint of its own."""

Wire: TypeAlias = Literal["1.0.0", "2.0.0"]

_SECRET: Final = "a secret for tests, of enough characters"  # noqa: S105 - of an endpoint that lives for one test
# How long an endpoint may take to stop; what it waits for itself takes 5 s at most.
_MOST_TO_STOP: Final = 10.0


class ChannelTest:
    """Clients of a server in this process, and what the test itself hears of its broadcasts.

        async with ChannelTest(endpoint) as test:
            channel = await test.subscribe_and_join("room:lobby")
            ref = channel.push("ping", {"n": 1})
            await channel.assert_reply(ref, "ok", {"n": 1})

    Everything that is sent goes through the serializer of the wire version, so that a payload that no client could be sent fails
    here too. Every wait has an end.

    Args:
        target: What is tested.
        wire: The version that the clients speak.
        timeout: Seconds, of the loop's time, that anything expected may take.
        refute_timeout: Seconds for which anything refuted is waited for.

    Attributes:
        endpoint: The endpoint.
        log: What Broadwing has logged as warnings and errors.

    Source: Phoenix `lib/phoenix/test/channel_test.ex`.
    """

    def __init__(
        self, target: Target, *, wire: Wire = "2.0.0", timeout: float = 1.0, refute_timeout: float = 0.1
    ) -> None:
        self.timeout = timeout
        self.refute_timeout = refute_timeout
        self.log = ErrorLog()
        self.endpoint, self._default = _resolve(target)
        self._wire = wire
        self._serializer = negotiate(wire, SERIALIZERS)
        self._sockets: list[ClientSocket] = []
        self._subscriptions: dict[str, Subscription] = {}
        self._broadcasts = Inbox()
        self._threads = HandlerThreads()
        self._owns_endpoint = False
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._threads.serve(self._loop)
        self.log.__enter__()
        try:
            if not self.endpoint.is_started:
                self._owns_endpoint = True
                self._keep_endpoint()
                await self.endpoint.start()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all clients, stop the endpoint unless it ran before, close the databases; again it is a no-op.

        Raises:
            AssertionError: Something of the application does not end.
        """
        loop, self._loop = self._loop, None
        if loop is None:
            return
        try:
            for socket in self._sockets:
                socket.line.close(1000)
            for socket in self._sockets:
                await socket.close()
        except AssertionError:
            self.endpoint._lingering.clear()  # it has been told of, and the endpoint would wait for it once more
            raise
        finally:
            for topic in list(self._subscriptions):
                self.unsubscribe(topic)
            try:
                if self._owns_endpoint:
                    async with asyncio.timeout(_MOST_TO_STOP):
                        await self.endpoint.stop()
                await close_databases_of_django()
            finally:
                if self._owns_endpoint:
                    vars(self.endpoint).pop("start", None)
                    vars(self.endpoint).pop("stop", None)
                self._threads.leave(loop)
                self.log.__exit__()

    # Clients.

    async def connect(
        self,
        params: Mapping[str, Any] | None = None,
        *,
        connect_info: Mapping[str, Any] | None = None,
        socket: type[Socket] | None = None,
        transport: str = "websocket",
    ) -> ClientSocket:
        """Connect a client, as it would over the network: `connect` and `id` of the socket class run.

        Args:
            params: The parameters of its URL. They become what a query makes of them, so all values arrive as text.
            connect_info: What `connect` gets as `info`, `auth_token` for one.
            socket: Which of the endpoint's socket classes, if there are several.
            transport: What `Socket.transport` shall say.

        Raises:
            ConnectError: The application refused. Anything else that `connect` raises comes out as it is.
        """
        mount = self._mount(socket)
        query = parse_query(urlencode(list(_pairs(params or {}))).encode())
        connection = await mount.connect(transport, {**query, "vsn": self._wire}, dict(connect_info or {}))
        return self._opened(connection, transport)

    async def socket(
        self,
        socket: type[Socket] | None = None,
        *,
        assigns: Mapping[str, Any] | None = None,
        id: str | None = None,  # noqa: A002 - the name that Socket has for it
        transport: str = "websocket",
    ) -> ClientSocket:
        """Have a client that is connected already, without a call of `connect` or `id`.

        Args:
            socket: Which of the endpoint's socket classes, if there are several.
            assigns: What `connect` would have assigned.
            id: What `id` would have returned.
            transport: What `Socket.transport` shall say.
        """
        mount = self._mount(socket)
        blank = mount.socket(self.endpoint, transport)
        blank.assign(assigns)
        return self._opened(Connection(_Named(mount, id), blank, self._serializer), transport)

    async def join(
        self,
        topic: str,
        payload: Any = _EMPTY,
        *,
        params: Mapping[str, Any] | None = None,
        connect_info: Mapping[str, Any] | None = None,
    ) -> ClientChannel:
        """Connect a new client and join a topic; see `connect` and `ClientSocket.join`."""
        __tracebackhide__ = True
        return await (await self.connect(params, connect_info=connect_info)).join(topic, payload)

    async def subscribe_and_join(
        self,
        topic: str,
        payload: Any = _EMPTY,
        *,
        params: Mapping[str, Any] | None = None,
        connect_info: Mapping[str, Any] | None = None,
    ) -> ClientChannel:
        """As `join`, with the test listening to the topic, for `assert_broadcast`."""
        __tracebackhide__ = True
        return await (await self.connect(params, connect_info=connect_info)).subscribe_and_join(topic, payload)

    # Broadcasts.

    def subscribe(self, topic: str) -> None:
        """Have the test listen to a topic; again it is a no-op."""
        if topic not in self._subscriptions:
            self._subscriptions[topic] = self.endpoint.subscribe(topic, self._heard)

    def unsubscribe(self, topic: str) -> None:
        """Listen no longer; without a subscription it is a no-op."""
        subscription = self._subscriptions.pop(topic, None)
        if subscription is not None:
            subscription.cancel()

    def is_subscribed(self, topic: str) -> bool:
        """Whether the test listens to a topic."""
        return topic in self._subscriptions

    def broadcast(self, topic: str, event: str, payload: Any) -> None:
        """Broadcast, as any part of the application might."""
        self.endpoint.broadcast(topic, event, payload)

    def broadcast_from(self, topic: str, event: str, payload: Any) -> None:
        """Broadcast to all but the test itself."""
        sender = self._subscriptions.get(topic)
        if sender is None:
            self.endpoint.broadcast(topic, event, payload)
        else:
            self.endpoint.broadcast_from(sender, topic, event, payload)

    async def assert_broadcast(
        self, event: str, payload: Any = ANY, *, topic: str | None = None, timeout: float | None = None
    ) -> Received:
        """Expect a broadcast on a topic that the test listens to, whoever made it.

        Args:
            event: The event's name.
            payload: A pattern, see `broadwing.testing.patterns`.
            topic: Which topic; by default any.
            timeout: Seconds that it may take; by default the test's.

        Raises:
            AssertionError: None fits.
            ConfigurationError: The test does not listen to the topic.
        """
        __tracebackhide__ = True
        wanted = self._broadcast("assert_broadcast", event, payload, topic)
        seconds = self.timeout if timeout is None else timeout
        message = await self._broadcasts.take(wanted.fits, seconds)
        if message is None:
            wanted.fail(f"nothing that fits was broadcast within {seconds:g} s", self._broadcasts.messages, self.log)
        return message

    async def refute_broadcast(
        self, event: str, payload: Any = ANY, *, topic: str | None = None, timeout: float | None = None
    ) -> None:
        """Expect that no such broadcast is made on a topic that the test listens to."""
        __tracebackhide__ = True
        wanted = self._broadcast("refute_broadcast", event, payload, topic)
        message = await self._broadcasts.take(wanted.fits, self.refute_timeout if timeout is None else timeout)
        if message is not None:
            wanted.fail("it was broadcast", [message], self.log)

    def _broadcast(self, name: str, event: str, payload: Any, topic: str | None) -> Wanted:
        if not (self._subscriptions if topic is None else self.is_subscribed(topic)):
            raise ConfigurationError(
                f"{name} was called for {'any topic' if topic is None else repr(topic)}, but the test listens to "
                f"{', '.join(map(repr, self._subscriptions)) or 'none'}; join with subscribe_and_join, or call subscribe(topic) first"
            )
        what = f"{name}({event!r})" if payload is ANY else f"{name}({event!r}, {shown(payload)})"
        return Wanted(what, lambda message: topic is None or message.topic == topic, event, payload)

    def _heard(self, message: Broadcast) -> None:
        self._broadcasts.put(Received(message.topic, message.event, message.payload))

    # Inside.

    def _mount(self, socket: type[Socket] | None) -> SocketMount:
        if self._loop is None:
            raise ConfigurationError(
                "a client was wanted of a ChannelTest that is not open; write `async with` before it"
            )
        wanted = socket or self._default
        mounts = {id(host): host for host in (entrance.host for entrance, _ in self.endpoint._entrances)}
        found = [host for host in mounts.values() if isinstance(host, SocketMount)]
        if wanted is not None:
            return next((mount for mount in found if mount.socket is wanted), None) or SocketMount(
                self.endpoint, wanted
            )
        if len({mount.socket for mount in found}) != 1:
            raise ConfigurationError(
                f"the endpoint has {len(found)} sockets: {', '.join(mount.name for mount in found) or 'none'}; say which one is "
                "meant, as in connect(socket=UserSocket)"
            )
        return found[0]

    def _opened(self, connection: Connection, transport: str) -> ClientSocket:
        socket = ClientSocket(self, Line(connection, transport, self._wire))
        self._sockets.append(socket)
        return socket

    def _keep_endpoint(self) -> None:
        """Let no other loop have the endpoint meanwhile: starlette's `TestClient` serves each request in one of its own."""
        endpoint, here = self.endpoint, self._loop

        async def start() -> None:
            if asyncio.get_running_loop() is here:
                await type(endpoint).start(endpoint)

        async def stop() -> None:
            if asyncio.get_running_loop() is here:
                await type(endpoint).stop(endpoint)

        vars(endpoint).update(start=start, stop=stop)


class _Named(SocketMount):
    """A mount whose sockets have the name that the test gave."""

    def __init__(self, mount: SocketMount, name: str | None) -> None:
        vars(self).update(vars(mount))
        self._given = name

    def socket_id(self, socket: Socket) -> str | None:
        return self._given


def _resolve(target: Any) -> tuple[Endpoint, type[Socket] | None]:
    if isinstance(target, Endpoint):
        return target, None
    if isinstance(target, type) and issubclass(target, Socket):
        socket = target
    elif isinstance(target, type) and issubclass(target, Channel):
        socket = type("TestSocket", (Socket,), {"channels": {"*": target}})
    else:
        raise ConfigurationError(
            f"a channel test was given {target!r}; expected an Endpoint, or a subclass of Socket or Channel"
        )
    endpoint = Endpoint(secret_key_base=_SECRET, pubsub="local://")
    endpoint.socket("/socket", socket)
    return endpoint, socket


def _pairs(params: Any, name: str = "") -> Any:
    """Parameters as phoenix.js writes them into a query."""
    for key, value in params.items() if isinstance(params, Mapping) else (("", each) for each in params):
        at = f"{name}[{key}]" if name else str(key)
        if isinstance(value, Mapping | list | tuple):
            yield from _pairs(value, at)
        elif isinstance(value, bool):
            yield at, str(value).lower()
        else:
            yield at, "null" if value is None else str(value)
