"""One story over every transport and both wire versions."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from tests.support.app import MOUNTS, Ground, make_endpoint
from tests.support.client import (
    V1,
    V2,
    Client,
    Refused,
    WebSocketClient,
    address,
    open_longpoll,
    open_websocket,
)
from tests.support.server import ASGI, LEAN, Served, serve

LONGPOLL = "longpoll"
TRANSPORTS = (LEAN, ASGI, LONGPOLL)


class World:
    """A served endpoint and the way to connect to it.

    Attributes:
        endpoint: The endpoint.
        served: Its server.
        transport: `lean`, `asgi` or `longpoll`.
        vsn: The wire version that clients speak unless they say otherwise.
    """

    def __init__(self, endpoint: Ground, served: Served, transport: str, vsn: str) -> None:
        self.endpoint = endpoint
        self.served = served
        self.transport = transport
        self.vsn = vsn
        self.clients: list[Client] = []
        self._mounted = {"/socket"}

    @property
    def is_websocket(self) -> bool:
        """Whether clients connect a WebSocket."""
        return self.transport != LONGPOLL

    async def connect(
        self,
        mount: str = "/socket",
        *,
        vsn: str | None = None,
        headers: dict[str, str] | None = None,
        path: str | None = None,
        subprotocols: list[Subprotocol] | None = None,
        **params: Any,
    ) -> Client:
        """Connect a client.

        Raises:
            Refused: The server does not want to.
        """
        version = vsn or self.vsn
        self._mount(mount)
        tail = path or ("/websocket" if self.is_websocket else "/longpoll")
        client: Client
        if self.is_websocket:
            try:
                url = self.served.url(address(mount + tail, version, params))
                client = await open_websocket(url, version, headers, subprotocols=subprotocols)
            except InvalidStatus as error:
                raise Refused(error.response.status_code, bytes(error.response.body or b"")) from None
        else:
            url = self.served.url(address(mount + tail, version, params), "http")
            client = await open_longpoll(url, version, headers)
        self.clients.append(client)
        return client

    def _mount(self, path: str) -> None:
        template = "/users/:user_id/socket" if path.startswith("/users/") else path
        if template in MOUNTS and template not in self._mounted:
            self._mounted.add(template)
            socket, options = MOUNTS[template]
            self.endpoint.socket(template, socket, **options)

    async def connect_websocket(self, mount: str = "/socket", **options: Any) -> WebSocketClient:
        """Connect a client whose frames the test wants to see."""
        client = await self.connect(mount, **options)
        assert isinstance(client, WebSocketClient)
        return client


async def _world(transport: str, vsn: str) -> AsyncIterator[World]:
    endpoint = make_endpoint()
    async with serve(endpoint, LEAN if transport == LONGPOLL else transport) as served:
        world = World(endpoint, served, transport, vsn)
        yield world
        endpoint.gate.set()  # what still waits for it may end
        for client in world.clients:
            await client.close()


def _matrix(transports: tuple[str, ...], versions: tuple[str, ...]) -> list[Any]:
    return [pytest.param((t, v), id=f"{t}-{v}") for t in transports for v in versions]


@pytest.fixture(params=_matrix(TRANSPORTS, (V1, V2)))
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """Every transport and both wire versions."""
    async for each in _world(*request.param):
        yield each


@pytest.fixture(params=_matrix((LEAN, ASGI), (V1, V2)))
async def ws_world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """Every WebSocket transport and both wire versions."""
    async for each in _world(*request.param):
        yield each


@pytest.fixture(params=_matrix((LEAN, ASGI), (V2,)))
async def ws_world_v2(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """Every WebSocket transport, for what does not depend on the wire version, or is in 2.0.0 alone."""
    async for each in _world(*request.param):
        yield each
