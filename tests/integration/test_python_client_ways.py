"""How the Python client gets to its server: TLS, proxies of the environment, headers."""

from pathlib import Path
from typing import Any

import pytest

from broadwing.client import ConnectFailed, connect
from broadwing.core.client.effects import LONGPOLL, WEBSOCKET
from tests.support.app import make_endpoint
from tests.support.background import TIMEOUT
from tests.support.certificates import Certificates, make_certificates
from tests.support.connect_proxy import connect_proxy
from tests.support.loopback import HOST
from tests.support.server import serve

TRANSPORTS = pytest.mark.parametrize("transport", [WEBSOCKET, LONGPOLL])
VARIABLES = ("http_proxy", "https_proxy", "ws_proxy", "wss_proxy", "all_proxy", "no_proxy", "socks_proxy")


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """Of a server at localhost."""
    return make_certificates(tmp_path)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """One without a word on proxies."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@TRANSPORTS
async def test_tls_trusts_whom_the_context_trusts(certificates: Certificates, transport: str) -> None:
    tls: dict[str, Any] = {"ssl_certfile": str(certificates.server), "ssl_keyfile": str(certificates.server)}
    async with serve(make_endpoint(), host="127.0.0.1", **tls) as served:
        url = f"wss://localhost:{served.port}/socket"
        options: dict[str, Any] = {"transport": transport, "open_timeout": TIMEOUT, "proxy": None}
        async with connect(url, ssl=certificates.trusting(), **options) as socket:
            channel = await socket.join("room:lobby", timeout=TIMEOUT)
            assert await channel.push("echo", {"n": 1}, timeout=TIMEOUT) == {"n": 1}
        with pytest.raises(ConnectFailed, match=r"(?i)certificate verify failed"):
            await connect(url, **options).connect(0.5)


@TRANSPORTS
async def test_a_proxy_of_the_environment_is_used(
    certificates: Certificates, environment: pytest.MonkeyPatch, transport: str
) -> None:
    tls: dict[str, Any] = {"ssl_certfile": str(certificates.server), "ssl_keyfile": str(certificates.server)}
    async with connect_proxy() as proxy, serve(make_endpoint(), host="127.0.0.1", **tls) as served:
        environment.setenv("https_proxy", proxy.url)
        url = f"wss://localhost:{served.port}/socket"
        options: dict[str, Any] = {"ssl": certificates.trusting(), "transport": transport, "open_timeout": TIMEOUT}
        async with connect(url, **options) as socket:
            channel = await socket.join("room:lobby", timeout=TIMEOUT)
            assert await channel.push("echo", {"n": 1}, timeout=TIMEOUT) == {"n": 1}
        assert set(proxy.asked) == {f"localhost:{served.port}"}

        proxy.asked.clear()
        environment.setenv("no_proxy", "localhost")
        async with connect(url, **options) as socket:
            assert (await socket.join("room:lobby", timeout=TIMEOUT)).is_joined
        environment.delenv("no_proxy")
        async with connect(url, **options, proxy=None) as socket:
            assert (await socket.join("room:lobby", timeout=TIMEOUT)).is_joined
        assert proxy.asked == []

        environment.delenv("https_proxy")
        async with connect(url, **options, proxy=proxy.url) as socket:
            assert (await socket.join("room:lobby", timeout=TIMEOUT)).is_joined
        assert proxy.asked != []


async def test_a_websocket_without_tls_goes_through_the_proxy_too(environment: pytest.MonkeyPatch) -> None:
    async with connect_proxy() as proxy, serve(make_endpoint()) as served:
        environment.setenv("http_proxy", proxy.url)
        async with connect(served.url("/socket"), open_timeout=TIMEOUT) as socket:
            assert (await socket.join("room:lobby", timeout=TIMEOUT)).is_joined
        assert proxy.asked == [f"{HOST}:{served.port}"]


@TRANSPORTS
async def test_headers_are_sent_along(transport: str) -> None:
    endpoint = make_endpoint("/info")
    async with serve(endpoint) as served:
        headers = {"x-tenant": "blue"}
        url = served.url("/info")
        async with connect(url, headers=headers, transport=transport, open_timeout=TIMEOUT, proxy=None):
            ((_, info),) = endpoint.connected
    assert ("x-tenant", "blue") in [tuple(pair) for pair in info["x_headers"]]
