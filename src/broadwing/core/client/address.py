"""Where a client connects: URLs with their parameters, and the subprotocols that carry a token."""

import base64
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlsplit, urlunsplit

from broadwing.core.client.effects import LONGPOLL, WEBSOCKET
from broadwing.exceptions import ConfigurationError

_SCHEMES: Final = {"ws": ("ws", "http"), "http": ("ws", "http"), "wss": ("wss", "https"), "https": ("wss", "https")}
_BEARER: Final = "base64url.bearer.phx."


def check_url(url: str) -> str:
    """Return the URL of a socket's mount, without a transport's segment at its end.

    Raises:
        ConfigurationError: It is no URL that a client can connect to.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise ConfigurationError(
            f"cannot connect to {url!r}; give the URL of a socket's mount, such as ws://localhost:4000/socket (ws, wss, http or https)"
        )
    path = parts.path.rstrip("/").removesuffix(f"/{WEBSOCKET}").removesuffix(f"/{LONGPOLL}")
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def connection_url(url: str, kind: str, params: Mapping[str, Any], vsn: str) -> str:
    """The URL of one connection.

    Args:
        url: The mount's.
        kind: `WEBSOCKET` or `LONGPOLL`.
        params: Connect parameters; nested ones become `a[b]=1`, lists `a[]=1`, and `None` is left out.
        vsn: The wire version.
    """
    parts = urlsplit(url)
    scheme = _SCHEMES[parts.scheme][kind == LONGPOLL]
    pairs = [f"{quote(name, safe='[]')}={quote(value, safe='')}" for name, value in _pairs(params)]
    query = "&".join([*([parts.query] if parts.query else []), *pairs, f"vsn={quote(vsn)}"])
    return urlunsplit((scheme, parts.netloc, f"{parts.path}/{kind}", query, ""))


def token_subprotocols(token: str) -> list[str]:
    """The subprotocols that a WebSocket offers to carry an auth token; the alphabet is that of standard Base64."""
    return ["phoenix", _BEARER + base64.b64encode(token.encode()).decode().rstrip("=")]


def _pairs(params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in params.items():
        yield from _flatten(str(name), value)


def _flatten(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flatten(f"{name}[{key}]", inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _flatten(f"{name}[]", inner)
    elif isinstance(value, bool):
        yield name, "true" if value else "false"
    elif value is not None:
        yield name, str(value)
