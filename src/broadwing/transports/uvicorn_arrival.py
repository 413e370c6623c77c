"""What `broadwing serve` gives a new connection: a WebSocket line that reads its own request, or makes way for HTTP.

A client that opens a WebSocket sends a small GET in one piece. For it uvicorn would make its HTTP protocol, a parser, a flow
control and a scope, and give all of them up again for the line; changing the protocol of a transport then makes the loop
take its socket out of epoll and put it back. An arrival is the line from the beginning. Whatever it does not know at a
glance goes to uvicorn's HTTP protocol with its first bytes, and plain HTTP is none the worse for it.
"""

import asyncio
from typing import Any, Final
from urllib.parse import unquote

from uvicorn.config import Config
from uvicorn.protocols.utils import is_ssl
from uvicorn.server import ServerState

from broadwing.core.head import read_upgrade
from broadwing.transports.uvicorn_http import HttpProtocol
from broadwing.transports.websocket import DONE, WebSocketLine
from broadwing.transports.websocket_uvicorn import house_of, make_request

_NOTHING: Any = None


class Arrival(WebSocketLine):
    """A connection whose first bytes decide what it is; given to uvicorn as its HTTP protocol.

    Attributes:
        transport: The asyncio transport, under the name that uvicorn's protocols have for it.
    """

    __slots__ = ("_uvicorn",)

    # What the server's watch over slow requests wants to know of a connection that has sent nothing yet.
    in_head: Final = True
    is_receiving: Final = True
    requests: Final = 0
    received: Final = 0

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(_NOTHING, _NOTHING)
        # Held until the first bytes have come; what is None from then on costs an open connection a pointer.
        self._uvicorn: tuple[Config, ServerState, dict[str, Any], Any] | None = (
            config,
            server_state,
            app_state,
            _loop,
        )

    @property
    def transport(self) -> asyncio.Transport:
        """The asyncio transport."""
        return self.sink

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the request among uvicorn's connections, which it closes when it stops."""
        assert self._uvicorn is not None  # made for this connection
        self.sink = transport  # type: ignore[assignment] # a stream's transport
        _connections(self._uvicorn[1]).add(self)

    def shutdown(self) -> None:
        """The server stops, and nothing has been asked."""
        self.sink.close()

    def _arrive(self, data: bytes) -> None:
        given = self._uvicorn
        assert given is not None  # until the first bytes have come
        config, state, _, _ = given
        head = read_upgrade(data)
        if head is not None:
            raw_path, _, query = head.target.partition(b"?")
            path = raw_path.decode("latin-1")
            if "%" in path:
                path = unquote(path)
            reception = house_of(state, config).reception
            found = reception.websocket_entrance(path) if reception is not None else None
            if found is not None:
                self._uvicorn = None
                _connections(state).discard(self)
                self._entrance = found[0]
                scheme = "https" if is_ssl(self.sink) else "http"
                self.handshake(make_request(self.sink, config, "GET", path, query, head.headers, scheme), found[1])
                if head.end < len(data):
                    self.data_received(data[head.end :])
                return
        self._make_way(data)

    def _make_way(self, data: bytes) -> None:
        assert self._uvicorn is not None  # nobody else has been given the connection
        config, state, app_state, loop = self._uvicorn
        transport = self.sink
        self._state = DONE
        self._uvicorn = None
        self.sink = _NOTHING
        _connections(state).discard(self)
        http = HttpProtocol(config, state, app_state, loop)
        http.connection_made(transport)
        transport.set_protocol(http)
        http.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The line is down."""
        given, self._uvicorn = self._uvicorn, None
        if given is None:
            super().connection_lost(exc)
        else:
            _connections(given[1]).discard(self)
            self._state = DONE


def _connections(state: ServerState) -> set[Any]:
    # uvicorn names its own classes there; what it asks of a member is `shutdown`.
    return state.connections
