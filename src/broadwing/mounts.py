"""What is mounted at an endpoint's paths: a socket with its channel routes, resolved once."""

import inspect
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from broadwing import journal
from broadwing.channel import Channel
from broadwing.connection import Connection
from broadwing.core.json_v1 import JsonV1
from broadwing.core.json_v2 import JsonV2
from broadwing.core.serializer import Serializer
from broadwing.core.topics import Routes
from broadwing.core.version import DEFAULT_VERSION, negotiate
from broadwing.exceptions import ConfigurationError, ConnectError, TokenError
from broadwing.handlers import Handler, HandlerTable, run_in_thread
from broadwing.methods import method_of
from broadwing.prompt import never_waits
from broadwing.socket import Socket
from broadwing.types import ConnectInfo, Params

if TYPE_CHECKING:
    from broadwing.endpoint import Endpoint

logger = logging.getLogger("broadwing.socket")

SERIALIZERS: tuple[tuple[str, Serializer], ...] = (("~> 1.0.0", JsonV1()), ("~> 2.0.0", JsonV2()))
# What clients really send, without parsing it anew for each of them.
_USUAL = {vsn: negotiate(vsn, SERIALIZERS) for vsn in ("1.0.0", "2.0.0")}


class ChannelRoute(NamedTuple):
    """Where a topic leads.

    Attributes:
        channel: The class.
        name: Its name, for logs.
        table: Its handlers.
        catch_all: Its `handle_in`, when it has its own.
        terminate: Its `terminate`, when it has its own; if not, an idle channel ends without a task.
        ends_at_once: Whether ending one of its channels is sure not to wait.
        info: Its `handle_info`.
        intercepted: Events it intercepts.
        assigns: What its channels start with besides the socket's.
    """

    channel: type[Channel]
    name: str
    table: HandlerTable
    catch_all: Handler | None
    terminate: Handler | None
    ends_at_once: bool
    info: Handler
    intercepted: frozenset[str]
    assigns: Mapping[str, Any]


def channel_route(target: Any, pattern: str) -> ChannelRoute:
    """Resolve one entry of `Socket.channels`.

    Raises:
        ConfigurationError: It is not a channel class with its own `join`, or one of its methods takes the wrong arguments.
    """
    channel, assigns = target if isinstance(target, tuple) and len(target) == 2 else (target, {})
    if not (isinstance(channel, type) and issubclass(channel, Channel) and isinstance(assigns, Mapping)):
        raise ConfigurationError(
            f"the route {pattern!r} leads to {target!r}; expected a subclass of Channel, or (subclass, assigns)"
        )
    if channel.join is Channel.join:
        raise ConfigurationError(
            f"{channel.__name__} has no join of its own, so anybody could join {pattern!r}; "
            "define `async def join(self, params)` and raise JoinError to refuse"
        )
    table = HandlerTable(channel)
    own_in = channel.handle_in is not Channel.handle_in
    own_terminate = channel.terminate is not Channel.terminate
    terminate = _method(channel, "terminate", "reason") if own_terminate else None
    return ChannelRoute(
        channel,
        channel.__name__,
        table,
        _method(channel, "handle_in", "event", "payload") if own_in else None,
        terminate,
        terminate is None or terminate.is_prompt,
        _method(channel, "handle_info", "message"),
        frozenset(table.intercepts),
        assigns,
    )


def _method(channel: type[Channel], name: str, *arguments: str) -> Handler:
    return Handler(method_of(channel, name, *arguments), Any, takes_payload=True, is_direct=False)


class SocketMount:
    """A socket class mounted at a path; the host that transports ask.

    Attributes:
        name: The class's name, for logs.
        routes: Its channel routes.
        max_channels: Topics one connection may have joined at once.
    """

    def __init__(self, endpoint: "Endpoint", socket: type[Socket], **overrides: Any) -> None:
        self.endpoint = endpoint
        self.socket = socket
        self.name = socket.__name__
        connect = method_of(socket, "connect", "params", "info")
        self._connect_is_async = inspect.iscoroutinefunction(connect)
        self._prompt_connect = connect if never_waits(connect) else None
        if inspect.iscoroutinefunction(method_of(socket, "id")):
            raise ConfigurationError(
                f"{self.name}.id is async; expected a plain def, as the name is known after connect"
            )
        if not isinstance(socket.channels, Mapping):
            raise ConfigurationError(
                f'{self.name}.channels is {socket.channels!r}; expected a mapping such as {{"room:*": RoomChannel}}'
            )
        self.routes = Routes((pattern, channel_route(target, pattern)) for pattern, target in socket.channels.items())
        self.max_channels = int(socket.max_channels_per_transport)
        self.log: int | None = overrides.get("log", socket.log)
        self.log_join: int | None = overrides.get("log_join", socket.log_join)
        self.log_handle_in: int | None = overrides.get("log_handle_in", socket.log_handle_in)

    @property
    def connects_at_once(self) -> bool:
        """Whether the socket's own `connect` has nothing to wait for, and the endpoint has started."""
        # Looked at anew, as tests like to put another one in its place.
        return self.socket.connect is self._prompt_connect and self.endpoint.is_serving

    async def connect(self, transport: str, params: Mapping[str, Any], info: ConnectInfo) -> Connection:
        """Negotiate the wire version and ask the application.

        Raises:
            VersionError: No serializer for the client's `vsn`.
            ConnectError: The application refused.
        """
        started = journal.clock()
        if not self.endpoint.is_serving:
            await self.endpoint.start()
        if self.endpoint.is_draining:
            raise ConnectError("the server is about to stop")
        vsn = params.get("vsn", DEFAULT_VERSION)
        serializer = _USUAL.get(vsn) if type(vsn) is str else None
        if serializer is None:
            serializer = negotiate(vsn, SERIALIZERS)
        socket = self.socket(self.endpoint, transport)
        ok = False
        try:
            await self._ask(socket, dict(params), info)
            ok = True
        finally:
            journal.connected(self, transport, serializer, params, info, started, ok)
        return Connection(self, socket, serializer)

    async def _ask(self, socket: Socket, params: Params, info: ConnectInfo) -> None:
        connect: Any = socket.connect
        try:
            result = await (connect(params, info) if self._connect_is_async else run_in_thread(connect, params, info))
        except TokenError as error:
            raise ConnectError(error) from error
        if result is not None:
            # Where another framework's habit is to return False for a refusal, this must not let everybody in.
            logger.error(
                "%s.connect returned %r; expected None. Raise ConnectError(reason) to refuse a client. The connection is refused",
                self.name,
                result,
            )
            raise ConnectError("connect returned a value")
        self._check_id(socket)

    def socket_id(self, socket: Socket) -> str | None:
        """The socket's name, checked when it connected."""
        return socket.id()

    def _check_id(self, socket: Socket) -> None:
        name = socket.id()
        if name is not None and not isinstance(name, str):
            logger.warning(
                "%s.id() returned %r; expected a string such as 'users_socket:42', or None. The connection is refused",
                self.name,
                name,
            )
            raise ConnectError("id is not a string")
