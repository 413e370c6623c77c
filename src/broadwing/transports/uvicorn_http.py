"""uvicorn's HTTP protocol with a shorter way to the lean WebSocket path, used by `broadwing serve`.

uvicorn writes the request that it has parsed down again and gives it to the `ws=` class to parse once more; and the
HTTP protocol it leaves behind refers to itself through its parser, so that only the garbage collector frees it. Going
straight from the parsed request to the line saves a sixth of the cost of a connect.
"""

from typing import Any
from urllib.parse import unquote

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from broadwing.transports.websocket import WebSocketLine
from broadwing.transports.websocket_uvicorn import house_of, make_request


class HttpProtocol(HttpToolsProtocol):
    """Serves upgrades for mounted sockets from the request as it was parsed."""

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection to a line, or to uvicorn's way of doing it."""
        raw_path, _, query = self.url.partition(b"?")
        path = raw_path.decode("latin-1")
        if "%" in path:
            path = unquote(path)
        house = house_of(self.server_state, self.config)
        found = house.reception.websocket_entrance(path) if house.reception is not None else None
        if found is None:
            super().handle_websocket_upgrade()
            return
        self.connections.discard(self)
        entrance, variables = found
        transport = self.transport
        line = WebSocketLine(transport, entrance)
        transport.set_protocol(line)
        request = make_request(
            transport, self.config, self.scope["method"], path, query, self.headers, self.scheme or "http", self.client
        )
        line.handshake(request, variables)
        self._let_go()

    def _let_go(self) -> None:
        nothing: Any = None
        self.parser = self.scope = self.headers = self.flow = self.transport = nothing
