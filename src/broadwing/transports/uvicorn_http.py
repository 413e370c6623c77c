"""uvicorn's HTTP protocol with bounds, and a shorter way to the lean WebSocket path; used by `broadwing serve`.

uvicorn writes the request that it has parsed down again and gives it to the `ws=` class to parse once more; and the
HTTP protocol it leaves behind refers to itself through its parser, so that only the garbage collector frees it. Going
straight from the parsed request to the line saves a sixth of the cost of a connect. Nor does uvicorn bound the head of a
request: a client that never ends it could fill the memory.
"""

from collections import deque
from typing import Any
from urllib.parse import unquote
from weakref import WeakKeyDictionary

from httptools import HttpRequestParser
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState

from broadwing.core.upgrade import refusal
from broadwing.transports.websocket import WebSocketLine
from broadwing.transports.websocket_uvicorn import MAX_HEAD_BYTES, house_of, make_request

# What each connection has for itself; everything else that uvicorn sets up is the server's, or nothing yet.
_OWN = frozenset({"parser", "pipeline"})
_common: "WeakKeyDictionary[ServerState, dict[str, Any]]" = WeakKeyDictionary()


class HttpProtocol(HttpToolsProtocol):
    """Serves upgrades for mounted sockets from the request as it was parsed, and no heads without end.

    Attributes:
        in_head: Whether a request is awaited, or its head not complete.
        requests: How many have begun on this connection.
        received: Bytes of the current one's body so far.
    """

    in_head = True
    requests = 0
    received = 0
    url = b""
    _head_bytes = 0
    _upgrades = False

    @property
    def is_receiving(self) -> bool:
        """Whether the client owes the rest of a request, or a first one."""
        cycle: Any = self.cycle  # None before the first request, which uvicorn's annotation denies
        if cycle is None:
            return True
        if cycle.response_complete:
            return self.timeout_keep_alive_task is None
        return bool(cycle.more_body) and not self.flow.read_paused

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: Any = None) -> None:
        # uvicorn looks up two loggers and a dozen settings anew for each connection, which is a twentieth of a connect. They
        # are the same for all connections of a server, so all but the first copy what the first one found.
        common = _common.get(server_state)
        if common is None or common["config"] is not config or common["app_state"] is not app_state:
            super().__init__(config, server_state, app_state, _loop)
            _common[server_state] = {key: value for key, value in vars(self).items() if key not in _OWN}
        else:
            vars(self).update(common)
            self.parser = HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self.pipeline = deque()

    def connection_made(self, transport: Any) -> None:
        """Begin, without asking the kernel for this end's address, which only plain HTTP wants to know."""
        self.connections.add(self)
        self.transport = transport
        self.flow = FlowControl(transport)
        self.client = get_remote_addr(transport)
        self.scheme = "https" if is_ssl(transport) else "http"

    def data_received(self, data: bytes) -> None:
        """Pass on, and bound the head."""
        super().data_received(data)
        if self.in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                # RFC 6585 section 5, RFC 9110 section 15.5.15.
                self.transport.write(refusal(414 if len(self.url) > MAX_HEAD_BYTES // 2 else 431))
                self.transport.close()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self.in_head = True
        self.requests += 1

    def on_headers_complete(self) -> None:
        """Its head is complete."""
        self.in_head = False
        self._head_bytes = self.received = 0
        # Asked for three times a request by uvicorn, which walks the headers each time.
        self._upgrades = self.parser.should_upgrade() and super()._should_upgrade()
        if not self._upgrades:
            self.scope["server"] = get_local_addr(self.transport)
        super().on_headers_complete()

    def _should_upgrade(self) -> bool:
        return self._upgrades

    def on_body(self, body: bytes) -> None:
        """Some of its body has come."""
        self.received += len(body)
        super().on_body(body)

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
        cycle: Any = self.cycle
        if cycle is not None and not cycle.response_complete:
            # An upgrade behind a request that is still being answered: the two answers would run into one another.
            self.send_400_response("Upgrade before the answer to an earlier request.")
            return
        self.connections.discard(self)
        entrance, variables = found
        transport = self.transport
        line = WebSocketLine(transport, entrance)
        transport.set_protocol(line)
        request = make_request(
            transport, self.config, self.scope["method"], path, query, self.headers, self.scheme or "http"
        )
        line.handshake(request, variables)
        self._let_go()

    def _let_go(self) -> None:
        nothing: Any = None
        self.parser = self.scope = self.headers = self.flow = self.transport = nothing
