"""The endpoint: mounts sockets, is the ASGI application, owns what all connections share."""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from broadwing.bus import PubSub
from broadwing.channel_runner import ChannelRunner
from broadwing.core.messages import Broadcast
from broadwing.core.origin import OriginCheck
from broadwing.core.params import compile_path
from broadwing.core.serializer import Serializer
from broadwing.drain import drain
from broadwing.exceptions import ConfigurationError, MissingSecret
from broadwing.fastlane import Fastlane, Lane
from broadwing.mounts import SocketMount
from broadwing.pubsub.health import Health
from broadwing.pubsub.pubsub import Subscription
from broadwing.raw import RawSocket
from broadwing.raw_connection import RawMount, RawRunner
from broadwing.socket import Socket
from broadwing.statistics import Statistics
from broadwing.telemetry import PUBSUB_HEALTH, ParameterFilter, emit
from broadwing.transports.asgi import AsgiLine, Receive, Scope, Send, refuse_plain_http
from broadwing.transports.base import Format
from broadwing.transports.health import HealthRoutes
from broadwing.transports.lifespan import not_found, own_path, serve_lifespan
from broadwing.transports.longpoll import LongPollEntrance
from broadwing.transports.options import DrainOptions, LongPollOptions, WebSocketOptions, options
from broadwing.transports.static import ClientFiles
from broadwing.transports.websocket_entrance import WebSocketEntrance
from broadwing.types import Service, Unsubscribe

logger = logging.getLogger("broadwing.endpoint")

_E = TypeVar("_E", WebSocketEntrance, LongPollEntrance)


class Endpoint:
    """Where clients connect: an ASGI application that serves sockets and passes everything else on.

    Args:
        app: The application that gets all requests that are not for a mounted socket; without one they get 404.
        secret_key_base: At least 20 characters, the same on all nodes; needed for tokens and long polling.
        pubsub: How nodes reach each other: a URL, see `broadwing.pubsub.adapters`, or a `PubSub` with settings of its own, which the
            endpoint starts and stops unless it was started before. By default a process is alone, and the workers of one
            `broadwing serve --workers N` have a bus of their own.
        host: The host that web pages of this site are served from, for `check_origin=True`.
        check_origin: Which web pages may connect; see `broadwing.core.origin`. Mounts may say otherwise.
        filter_parameters: What is kept out of logs: substrings of keys, or a `ParameterFilter`.
        client_path: Where the JavaScript client is served: pages import `/broadwing/broadwing.js`; `None` serves none.
        health_path: Below which probes are answered: `/live` while the loop turns, `/ready` while it should be sent clients;
            `None` answers none.

    Attributes:
        pubsub: Topics and who listens to them.
        bus: The engine of `pubsub`, for connections.
        statistics: Counters of what should be rare.
    """

    def __init__(
        self,
        app: Any = None,
        *,
        secret_key_base: str | None = None,
        pubsub: str | PubSub | None = None,
        host: str | None = "localhost",
        check_origin: OriginCheck = True,
        filter_parameters: Sequence[str] | ParameterFilter = ("password", "token"),
        client_path: str | None = "/broadwing",
        health_path: str | None = "/broadwing/health",
    ) -> None:
        self.app = app
        self._secret_key_base = secret_key_base
        self.host = host
        self.check_origin = check_origin
        self.filter_parameters = (
            filter_parameters if isinstance(filter_parameters, ParameterFilter) else ParameterFilter(filter_parameters)
        )
        self.statistics = Statistics()
        self.fastlane = Fastlane()
        self.pubsub = pubsub if isinstance(pubsub, PubSub) else PubSub(pubsub or None)
        self.bus = self.pubsub.engine
        self.bus.serve(self.fastlane.dispatch)
        self.bus.on_health(self._tell_health)
        self.is_draining = False
        self._health = HealthRoutes(health_path) if health_path is not None else None
        self._client = ClientFiles(client_path) if client_path is not None else None
        self._websockets: list[tuple[WebSocketEntrance, DrainOptions | None]] = []
        self._longpolls: list[tuple[LongPollEntrance, DrainOptions | None]] = []
        self._lanes: dict[tuple[Serializer, Format, frozenset[str]], Lane] = {}
        self._lingering: set[ChannelRunner | RawRunner] = set()
        self._services: list[Service] = []
        self._has_started_bus = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._starting: asyncio.Task[None] | None = None
        self._drained: asyncio.Task[None] | None = None

    @property
    def secret_key_base(self) -> str:
        """The secret that tokens and sessions are made with.

        Raises:
            MissingSecret: None was configured.
        """
        if self._secret_key_base is None:
            raise MissingSecret(
                "no :secret_key_base configuration found in Endpoint; pass Endpoint(secret_key_base=...) a secret of at least "
                "20 characters, the same on all nodes, e.g. from an environment variable"
            )
        return self._secret_key_base

    # Mounting.

    def socket(
        self,
        path: str,
        socket: type[Socket] | type[RawSocket],
        *,
        websocket: bool | WebSocketOptions | Mapping[str, Any] = True,
        longpoll: bool | LongPollOptions | Mapping[str, Any] = False,
        drainer: bool | DrainOptions | Mapping[str, Any] | Callable[[], bool | DrainOptions | Mapping[str, Any]] = True,
        auth_token: bool = False,
        **log: int | None,
    ) -> None:
        """Mount a socket.

        Args:
            path: Where; clients connect to `path + "/websocket"` or `path + "/longpoll"`. May hold `:name` segments, which
                become connect parameters.
            socket: A `Socket` or `RawSocket` class. The same class may be mounted several times.
            websocket: `True`, `False`, a mapping or `WebSocketOptions`.
            longpoll: `True`, `False`, a mapping or `LongPollOptions`.
            drainer: `False` closes all connections at once on shutdown; else how they are drained, or a function that returns it.
            auth_token: Take the client's `authToken` and give it to `connect` as `info["auth_token"]`.
            **log: `log`, `log_join` and `log_handle_in` override the class's levels.

        Raises:
            ConfigurationError: An option or a channel route is wrong.
            MissingSecret: `longpoll` is on and the endpoint has no `secret_key_base`.
        """
        is_raw = issubclass(socket, RawSocket)
        unknown = sorted(set(log) - (set() if is_raw else {"log", "log_join", "log_handle_in"}))
        if unknown:
            raise ConfigurationError(f"unknown keys {unknown} for socket({path!r}, ...)")
        mount = RawMount(self, socket) if issubclass(socket, RawSocket) else SocketMount(self, socket, **log)
        draining = options(DrainOptions, drainer() if callable(drainer) else drainer)
        common: dict[str, Any] = {
            "check_origin": self.check_origin,
            "url_host": self.host,
            "auth_token": auth_token,
            "secret_key_base": self._secret_key_base,
        }
        websockets = options(WebSocketOptions, websocket)
        if websockets is not None:
            at = compile_path(path.rstrip("/") + websockets.path)
            self._websockets.append((WebSocketEntrance(mount, at, websockets, **common), draining))
        polls = options(LongPollOptions, longpoll)
        if polls is not None:
            at = compile_path(path.rstrip("/") + polls.path)
            self._longpolls.append((LongPollEntrance(mount, at, polls, pubsub=self.bus, **common), draining))

    def websocket_entrance(self, path: str) -> tuple[WebSocketEntrance, dict[str, str]] | None:
        """Find what is mounted for WebSockets at `path`."""
        return _entrance(self._websockets, path)

    def longpoll_entrance(self, path: str) -> tuple[LongPollEntrance, dict[str, str]] | None:
        """Find what is mounted for long polling at `path`."""
        return _entrance(self._longpolls, path)

    def attach(self, service: Service) -> None:
        """Start and stop something with this endpoint: after its bus, and before it. A `Presence` attaches itself.

        Raises:
            ConfigurationError: The endpoint has started; whoever has connected would have missed it.
        """
        if self._loop is not None:
            raise ConfigurationError(
                f"{type(service).__name__} was attached to an endpoint that has started; make it beside the endpoint, at import"
            )
        self._services.append(service)

    # Sending.

    def broadcast(self, topic: str, event: str, payload: Any) -> None:
        """Send an event to everybody on `topic`, on every node. Callable from any thread.

        Args:
            topic: The topic, exactly.
            event: The event's name.
            payload: A mapping or annotated object, or `bytes` for a binary frame; encoded once.

        Raises:
            LocalProtocolError: The payload has no JSON form.
            PubSubUnavailable: The bus cannot take it; nobody got it.

        Delivery: at most once, in order per publisher and topic. Cancellation: not a switch point.
        """
        self.pubsub.broadcast(topic, event, payload)

    def broadcast_from(self, sender: Subscription, topic: str, event: str, payload: Any) -> None:
        """Like `broadcast`, but not to the subscription `sender`."""
        self.pubsub.broadcast_from(sender, topic, event, payload)

    def local_broadcast(self, topic: str, event: str, payload: Any) -> None:
        """Like `broadcast`, on this node only."""
        self.pubsub.local_broadcast(topic, event, payload)

    def local_broadcast_from(self, sender: Subscription, topic: str, event: str, payload: Any) -> None:
        """Like `broadcast_from`, on this node only."""
        self.pubsub.local_broadcast_from(sender, topic, event, payload)

    def subscribe(self, topic: str, callback: Callable[[Broadcast], object]) -> Subscription:
        """Call `callback` with every `Broadcast` on `topic`, in the loop, until the subscription is cancelled.

        See `PubSub.subscribe`; for an asynchronous iterator, `endpoint.pubsub.listen(topic)`.
        """
        return self.pubsub.subscribe(topic, callback)

    # Health.

    @property
    def health(self) -> Health:
        """How the bus is; see `PubSub.health`."""
        return self.pubsub.health

    def on_health(self, observer: Callable[[Health], object]) -> Unsubscribe:
        """Call `observer` with the new `Health` of the bus whenever it changes, in the loop; the returned function ends it."""
        return self.pubsub.on_health(observer)

    @property
    def unready(self) -> str | None:
        """Why no clients should be sent here: `starting`, `draining`, `stopped`, `bus down` or `bus deaf`; `None`: they should."""
        if self.is_draining:
            return "stopped" if self._loop is None else "draining"
        if self._loop is None or self._starting is not None or not self.bus.is_started:
            return "starting"
        return None if self.health is Health.UP else f"bus {self.health.value}"

    def _tell_health(self, health: Health) -> None:
        emit(PUBSUB_HEALTH, {}, {"endpoint": self, "health": health})

    # For connections.

    def lane(self, serializer: Serializer, format_: Format, intercepts: frozenset[str]) -> Lane:
        """The one lane of this combination."""
        key = (serializer, format_, intercepts)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(serializer, format_, intercepts)
        return lane

    def run_in_loop(self, function: Callable[..., object], *args: Any) -> None:
        """Call now when in the loop's thread, else soon."""
        if self._loop is None or threading.get_ident() == self._thread:
            function(*args)
        else:
            self._loop.call_soon_threadsafe(function, *args)

    def linger(self, runner: "ChannelRunner | RawRunner") -> None:
        """Hold on to a channel or raw socket that still works although its connection is gone."""
        task = runner.task
        if task is not None:
            self._lingering.add(runner)
            task.add_done_callback(lambda _: self._lingering.discard(runner))

    # Life-cycle.

    @property
    def is_started(self) -> bool:
        """Whether it serves in the running loop, or is about to."""
        # Asked at every connect: of two running loops in one thread there can be none, and `get_running_loop` calls the kernel.
        loop = self._loop
        return loop is not None and threading.get_ident() == self._thread and loop.is_running()

    @property
    def is_serving(self) -> bool:
        """Whether it has started, with all that is attached to it."""
        return self._starting is None and self.is_started

    async def start(self) -> None:
        """Begin to serve; called by the lifespan, or by the first connection where there is none. Idempotent.

        Whoever calls it while it is at work waits as well. Cancellation: ends the waiting and nothing else.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # the first time, after a stop, or in another loop, as tests have it
            self._loop = loop
            self._thread = threading.get_ident()
            self._drained = None
            self._set_draining(False)
            self._starting = loop.create_task(self._start())
        if self._starting is not None:
            await asyncio.shield(self._starting)

    async def _start(self) -> None:
        try:
            if self._has_started_bus or not self.bus.is_started:
                self._has_started_bus = True
                await self.bus.start()
            for service in self._services:
                await service.start()
        except BaseException:
            self._loop = None  # so that the next one tries again
            raise
        finally:
            self._starting = None

    async def drain(self) -> None:
        """Send all connections away as the mounts' `drainer` says; returns when they are gone. Idempotent."""
        if self._drained is None:
            self._set_draining(True)
            self._drained = asyncio.get_running_loop().create_task(self._drain())
        await asyncio.shield(self._drained)

    def abort(self) -> None:
        """End all WebSocket connections at once, without a word; the last resort when the server has to stop now."""
        for entrance, _ in self._websockets:
            entrance.abort()

    def _set_draining(self, is_draining: bool) -> None:
        self.is_draining = is_draining
        for entrance, _ in self._entrances:
            entrance.is_draining = is_draining

    @property
    def _entrances(self) -> "list[tuple[WebSocketEntrance | LongPollEntrance, DrainOptions | None]]":
        return [*self._websockets, *self._longpolls]

    async def _drain(self) -> None:
        self.fastlane.flush()
        at_once = DrainOptions(batch_size=1_000_000_000, shutdown=5.0)
        await asyncio.gather(
            *(
                drain(
                    entrance.host.name,
                    self,
                    list(entrance.sweeper.members),
                    lambda entrance=entrance: len(entrance.sweeper.members),
                    settings or at_once,
                )
                for entrance, settings in self._entrances
            )
        )

    async def settle(self) -> None:
        """Drain, and wait for handlers that are still at work; what they use of the application is there until then."""
        await self.drain()
        for polls, _ in self._longpolls:
            await polls.stop()
        tasks = {task for runner in self._lingering if (task := runner.task) is not None}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=5.0)
            for task in late:
                task.cancel()
            if late:
                logger.warning("%d handler(s) were still at work when the server stopped and were cancelled", len(late))
                await asyncio.wait(late)

    async def stop(self) -> None:
        """Settle, and leave the bus."""
        if self._starting is not None:
            await asyncio.wait((self._starting,))
        await self.settle()
        for entrance, _ in self._websockets:
            entrance.sweeper.stop()
        for service in reversed(self._services):
            await service.stop()
        if self._has_started_bus:
            self._has_started_bus = False
            await self.pubsub.stop()
        self._loop = None

    # ASGI.

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "lifespan":
            await serve_lifespan(self, scope, receive, send)
            return
        path = own_path(scope)
        if scope["type"] == "http" and self._health is not None and self._health.has(path):
            await self._health.serve(scope, path, send, self)
            return
        await self.start()
        if scope["type"] == "websocket":
            found = self.websocket_entrance(path)
            if found is not None:
                await AsgiLine(found[0], send).run(scope, path, found[1], receive)
                return
        elif scope["type"] == "http" and await self._serve_http(scope, path, receive, send):
            return
        if self.app is not None:
            await self.app(scope, receive, send)
        else:
            await not_found(scope, send)

    async def _serve_http(self, scope: Scope, path: str, receive: Receive, send: Send) -> bool:
        found = self.websocket_entrance(path)
        if found is not None:
            await refuse_plain_http(found[0], found[1], scope, path, send)
            return True
        polled = self.longpoll_entrance(path)
        if polled is not None:
            await polled[0].serve(scope, path, polled[1], receive, send)
            return True
        return self._client is not None and await self._client.serve(scope, path, send)


def _entrance(mounted: list[tuple[_E, DrainOptions | None]], path: str) -> tuple[_E, dict[str, str]] | None:
    for entrance, _ in mounted:
        variables = entrance.pattern.match(path)
        if variables is not None:
            return entrance, variables
    return None
