"""Where uvicorn hands over upgrade requests: `uvicorn.run(endpoint, ws=WebSocketProtocol)`."""

import asyncio
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, Final
from urllib.parse import unquote
from weakref import WeakKeyDictionary

from uvicorn.config import Config
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.utils import get_remote_addr, is_ssl
from uvicorn.server import ServerState

from broadwing.core.authority import split_authority
from broadwing.core.request import Address, Request
from broadwing.transports.base import Reception
from broadwing.transports.websocket import WebSocketLine

# Request line and headers. Browsers keep no more than some 10 kB of cookies for a site; proxies stop at 8 to 64 kB.
MAX_HEAD_BYTES: Final = 131_072


class Gate:
    """Stands in uvicorn's set of connections for all lean ones, so that it waits for them when it stops."""

    def __init__(self, reception: Reception, connections: set[Any]) -> None:
        self._reception = reception
        self._connections = connections
        self._draining: asyncio.Task[None] | None = None
        connections.add(self)

    def shutdown(self) -> None:
        """Drain; uvicorn stops once this is no longer in its set."""
        if self._draining is None:
            self._draining = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        try:
            await self._reception.drain()
        finally:
            self._connections.discard(self)


class House:
    """What all protocols of one server share."""

    __slots__ = ("fallback", "gate", "reception")

    def __init__(self, config: Config, state: ServerState) -> None:
        self.reception = find_reception(config.loaded_app)
        self.gate = Gate(self.reception, state.connections) if self.reception is not None else None
        self.fallback = _fallback()


_houses: "WeakKeyDictionary[ServerState, House]" = WeakKeyDictionary()


def house_of(state: ServerState, config: Config) -> House:
    """The house of one server, built at its first upgrade."""
    house = _houses.get(state)
    if house is None:
        house = _houses[state] = House(config, state)
    return house


def find_reception(app: Any) -> Reception | None:
    """Find the endpoint in an application that uvicorn, a middleware or several have wrapped."""
    # uvicorn and middlewares wrap the application; by custom what is inside is called `app`.
    for _ in range(32):
        if hasattr(app, "websocket_entrance"):
            return app  # type: ignore[no-any-return] # the attribute is the contract
        app = getattr(app, "app", None)
        if app is None:
            return None
    return None


def _fallback() -> Any:
    from uvicorn.protocols.websockets.auto import AutoWebSocketsProtocol

    return AutoWebSocketsProtocol


class WebSocketProtocol(asyncio.Protocol):
    """Serves upgrades for mounted sockets itself and leaves all others to uvicorn."""

    __slots__ = ("_app_state", "_config", "_head", "_line", "_other", "_state", "_transport")

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any] | None = None, _loop: Any = None
    ) -> None:
        self._config: Config | None = config
        self._state: ServerState | None = server_state
        self._app_state = app_state
        self._line: WebSocketLine | None = None
        self._other: asyncio.Protocol | None = None
        self._head: bytes | None = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport; the request follows."""
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment] # uvloop's transports register as asyncio's

    def data_received(self, data: bytes) -> None:
        """Pass on to the line, or read the request."""
        line = self._line
        if line is not None:
            line.data_received(data)
        elif self._other is not None:
            self._other.data_received(data)
        else:
            self._read_head(data)

    def _read_head(self, data: bytes) -> None:
        assert self._head is not None
        assert self._config is not None
        assert self._state is not None
        assert self._transport is not None
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            if len(self._head) > MAX_HEAD_BYTES:
                self._transport.abort()
            return
        house = house_of(self._state, self._config)
        head, rest = self._head[:end], self._head[end + 4 :]
        start, *lines = head.split(b"\r\n")
        method, target, _ = start.split(b" ", 2)
        raw_path, _, query = target.partition(b"?")
        path = raw_path.decode("latin-1")
        if "%" in path:
            path = unquote(path)
        found = house.reception.websocket_entrance(path) if house.reception is not None else None
        if found is None:
            self._hand_over(house.fallback)
            return
        headers = [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
        entrance, variables = found
        self._line = WebSocketLine(self._transport, entrance)
        scheme = "https" if is_ssl(self._transport) else "http"
        request = make_request(self._transport, self._config, method.decode("latin-1"), path, query, headers, scheme)
        self._head = self._config = self._state = self._app_state = None
        self._line.handshake(request, variables)
        if rest:
            self._line.data_received(rest)

    def _hand_over(self, fallback: Any) -> None:
        assert self._transport is not None
        assert self._head is not None
        if fallback is None:
            self._transport.write(b"HTTP/1.1 501 Not Implemented\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            self._transport.close()
            return
        other = fallback(config=self._config, server_state=self._state, app_state=self._app_state)
        other.connection_made(self._transport)
        # uvicorn sets this protocol after data_received returns, so the other one takes the transport over a turn later;
        # what comes in between is passed on.
        self._other = other
        head, self._head = self._head, None
        other.data_received(head)
        asyncio.get_running_loop().call_soon(self._transport.set_protocol, other)

    def pause_writing(self) -> None:
        """Pass on."""
        target = self._line or self._other
        if target is not None:
            target.pause_writing()

    def resume_writing(self) -> None:
        """Pass on."""
        target = self._line or self._other
        if target is not None:
            target.resume_writing()

    def eof_received(self) -> bool | None:
        """Let the transport close itself; a client that half-closes wants nothing more."""
        return self._other.eof_received() if self._other is not None else None

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on, and let go of everything."""
        line, self._line = self._line, None
        if line is not None:
            line.connection_lost(exc)
        elif self._other is not None:
            self._other.connection_lost(exc)
        self._transport = None


def make_request(
    transport: asyncio.Transport,
    config: Config,
    method: str,
    path: str,
    query: bytes,
    headers: list[tuple[bytes, bytes]],
    scheme: str,
) -> Request:
    """Put together what the mount wants to know of a request that uvicorn has parsed."""
    authority = b""
    forwarded = False
    for name, value in headers:
        if name == b"host":
            authority = value
        elif name.startswith(b"x-forwarded-"):
            forwarded = True
    cert = None
    if scheme == "https":
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        cert = tls.getpeercert(binary_form=True) if tls is not None else None
    client: Address | Callable[[], Address | None] | None = partial(get_remote_addr, transport)
    if forwarded and config.proxy_headers:
        scheme, client = _behind_proxy(config.forwarded_allow_ips, scheme, get_remote_addr(transport), headers)
    host, port = split_authority(authority, scheme)
    return Request(method, scheme, host, port, path, query, headers, client, cert)


def _behind_proxy(
    trusted: Any, scheme: str, client: Address | None, headers: list[tuple[bytes, bytes]]
) -> tuple[str, Address | None]:
    """Let uvicorn's own middleware decide what forwarded headers are worth."""
    scope: dict[str, Any] = {"type": "http", "scheme": scheme, "client": client, "headers": headers}
    seen: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope)

    middleware = ProxyHeadersMiddleware(app, trusted_hosts=trusted)
    coroutine = middleware(scope, None, None)  # type: ignore[arg-type] # nothing is received or sent
    try:
        coroutine.send(None)  # runs through at once: there is nothing in it to wait for
    except StopIteration:
        pass
    else:
        coroutine.close()
    return "https" if seen.get("scheme", scheme) in ("https", "wss") else "http", seen.get("client", client)
