"""What an application writes for each kind of connection: a `Socket`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from broadwing.types import Assigner, ConnectInfo, Params

if TYPE_CHECKING:
    from broadwing.channel import Channel
    from broadwing.endpoint import Endpoint

Routes = Mapping[str, "type[Channel] | tuple[type[Channel], Mapping[str, Any]]"]


class Socket:
    """One client's connection: who it is, and which channels it may join.

    Attributes:
        channels: Topic pattern to channel class, or to `(class, assigns)` where every channel joined over the route
            starts with these assigns. A pattern is a topic, or a prefix ending in `*`; the first match wins.
        max_channels_per_transport: Topics one connection may have joined at once.
        log: `logging` level of the connect line, or `None`.
        log_join: Level of the join line, or `None`.
        log_handle_in: Level of the line for each event handled, or `None`.

    Source: Phoenix `lib/phoenix/socket.ex`.
    """

    channels: ClassVar[Routes] = {}
    max_channels_per_transport: ClassVar[int] = 100
    log: ClassVar[int | None] = 20
    log_join: ClassVar[int | None] = 20
    log_handle_in: ClassVar[int | None] = 10

    __slots__ = ("_assigns", "_transport", "endpoint")

    def __init__(self, endpoint: "Endpoint", transport: str) -> None:
        self.endpoint = endpoint
        self._transport = transport
        self._assigns: dict[str, Any] | None = None

    async def connect(self, params: Params, info: ConnectInfo) -> None:
        """Authorise the connection.

        Args:
            params: The query parameters, nested as Plug nests them.
            info: What the mount's `connect_info` asked for.

        Raises:
            ConnectError: To refuse; so does any `TokenError`. The client gets what the mount's `error_handler` answers,
                403 by default. Any other exception is logged and answered with 500.
        """

    def id(self) -> str | None:
        """Name the connection, e.g. `users_socket:42`, so that it can be ended from anywhere.

        Broadcasting the event `disconnect` on this topic ends every connection of that name. `None`: it has no name.
        """
        return None

    @property
    def assigns(self) -> dict[str, Any]:
        """Values that every channel of this connection starts with, as `connect` left them."""
        if self._assigns is None:
            self._assigns = {}
        return self._assigns

    @property
    def assigns_or_empty(self) -> Mapping[str, Any]:
        """The assigns without making a dict for connections that have none."""
        return self._assigns or _EMPTY

    def assign(self, values: Mapping[str, Any] | Assigner | None = None, **more: Any) -> None:
        """Merge values into `assigns`.

        Args:
            values: What to merge, or a function that is called with the assigns and returns it.
            **more: Further values; they win.
        """
        self.assigns.update((values(self.assigns) if callable(values) else values) or {}, **more)

    @property
    def transport(self) -> str:
        """`websocket` or `longpoll`."""
        return self._transport


_EMPTY: Mapping[str, Any] = {}
