"""The `connect_info` option: what of its request a connection gets to see."""

from collections.abc import Callable, Coroutine, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias, runtime_checkable

from broadwing.core.request import Request
from broadwing.exceptions import ConfigurationError
from broadwing.types import ConnectInfo


@runtime_checkable
class SessionSource(Protocol):
    """Reads the session that another part of the application keeps in a cookie."""

    def load(
        self, secret_key_base: str | None, cookie_header: str | None, csrf_token: str | None, *, check_csrf: bool
    ) -> Mapping[str, Any] | None:
        """Return the session, or `None` when it is missing, forged, or its CSRF token does not fit."""
        ...


SessionOption: TypeAlias = SessionSource | Callable[[Request], Mapping[str, Any] | None]
ConnectInfoOption: TypeAlias = Iterable[str] | Mapping[str, Any]
ConnectInfoBuilder: TypeAlias = Callable[[Request, Mapping[str, Any], str | None], ConnectInfo]
"""Called with the request, its parameters and the token its subprotocols or headers carried."""

_Part: TypeAlias = Callable[[Request, Mapping[str, Any], str | None], Any]

_NOTHING: ConnectInfo = MappingProxyType({})


def _peer_data(request: Request, params: Mapping[str, Any], token: str | None) -> dict[str, Any]:
    address, port = request.client or (None, None)
    return {"address": address, "port": port, "ssl_cert": request.peer_cert}


def _uri(request: Request, params: Mapping[str, Any], token: str | None) -> dict[str, Any]:
    return {
        "scheme": request.scheme,
        "host": request.host,
        "port": request.port,
        "path": request.path,
        "query": request.query.decode("utf-8", "replace"),
    }


def _user_agent(request: Request, params: Mapping[str, Any], token: str | None) -> str | None:
    value = request.header(b"user-agent")
    return None if value is None else value.decode("latin-1")


def _auth_token(request: Request, params: Mapping[str, Any], token: str | None) -> str | None:
    return token


def _headers(*prefixes: bytes) -> _Part:
    # latin-1 loses nothing: the application can encode it back and decode what it knows to be there.
    def part(request: Request, params: Mapping[str, Any], token: str | None) -> list[tuple[str, str]]:
        return [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in request.headers
            if name.startswith(prefixes)
        ]

    return part


def _trace_context(request: Request, params: Mapping[str, Any], token: str | None) -> list[tuple[str, str]]:
    return [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in request.headers
        if name in (b"traceparent", b"tracestate")
    ]


_PARTS: dict[str, _Part] = {
    "peer_data": _peer_data,
    "trace_context_headers": _trace_context,
    "x_headers": _headers(b"x-"),
    "uri": _uri,
    "user_agent": _user_agent,
    "sec_websocket_headers": _headers(b"sec-websocket-"),
    "auth_token": _auth_token,
}

NAMES = (*_PARTS, "session")
"""What can be asked for by name."""


def compile_connect_info(
    spec: ConnectInfoOption = (),
    *,
    auth_token: bool = False,
    session: SessionOption | None = None,
    secret_key_base: str | None = None,
    check_csrf: bool = True,
) -> ConnectInfoBuilder:
    """Prepare a mount's `connect_info` option.

    Args:
        spec: Names out of `NAMES`; or a mapping, where a name is asked for with `True` (and not with `False`),
            `"session"` may say how to read it, and every other key is passed on with its value.
        auth_token: Whether the mount takes a token when a client connects; the key is then always there.
        session: How to read the session when `spec` asks for it without saying how: an object with
            `load(secret_key_base, cookie_header, csrf_token, *, check_csrf)`, or a plain function of the request.
        secret_key_base: The endpoint's secret, handed to `load`.
        check_csrf: Whether the session needs the CSRF token that belongs to it, sent as the parameter `_csrf_token`.

    Returns:
        A function of the request, its parameters and its token. When nothing is asked for, it returns one shared
        mapping that cannot be written to; otherwise a fresh one with exactly the keys asked for.

    Raises:
        ConfigurationError: A name is unknown, or there is no way to read the session.

    Source: phoenix `lib/phoenix/socket/transport.ex`, load_config and connect_info.
    """
    parts: dict[str, _Part] = {}
    custom: dict[str, Any] = {}
    for name, value in _pairs(spec):
        if value is False and name in NAMES:
            continue
        if name == "session":
            source = session if value is True else value
            parts[name] = _session(source, secret_key_base, check_csrf)
        elif name not in _PARTS:
            custom[name] = value
        elif value is True:
            parts[name] = _PARTS[name]
        else:
            raise ConfigurationError(
                f"connect_info key {name!r} has a meaning of its own: got the value {value!r}; accepted are True and "
                "False, or another key for a value of yours"
            )
    if auth_token:
        parts["auth_token"] = _auth_token
    if not parts and not custom:
        return lambda request, params, token: _NOTHING
    items = tuple(parts.items())

    def build(request: Request, params: Mapping[str, Any], token: str | None) -> ConnectInfo:
        info = custom.copy()
        for name, part in items:
            info[name] = part(request, params, token)
        return info

    return build


def _pairs(spec: object) -> Iterable[tuple[str, Any]]:
    if isinstance(spec, Mapping):
        for key in spec:
            if not isinstance(key, str):
                raise ConfigurationError(f"connect_info keys are strings: got {key!r}; write {str(key)!r}")
        return spec.items()
    if not isinstance(spec, (list, tuple, set, frozenset)):
        raise ConfigurationError(
            f"connect_info expects a list of names or a mapping: got {spec!r}; "
            f'write for example ["peer_data", "uri"] or {{"uri": True, "region": "eu"}}'
        )
    for name in spec:
        if name not in NAMES:
            raise ConfigurationError(
                f"connect_info does not know {name!r}; accepted are {', '.join(NAMES)}; "
                'values of your own are passed on from a mapping, as in {"uri": True, "region": "eu"}'
            )
    return [(name, True) for name in spec]


def _session(source: object, secret_key_base: str | None, check_csrf: bool) -> _Part:
    if isinstance(source, SessionSource):
        load = source.load

        def part(request: Request, params: Mapping[str, Any], token: str | None) -> Mapping[str, Any] | None:
            # HTTP/2 may split the cookies over several headers (RFC 9113 section 8.2.3).
            cookies = request.header_all(b"cookie")
            csrf_token = params.get("_csrf_token")
            return load(
                secret_key_base,
                b"; ".join(cookies).decode("latin-1") if cookies else None,
                csrf_token if isinstance(csrf_token, str) else None,
                check_csrf=check_csrf,
            )

        return part
    if not callable(source):
        raise ConfigurationError(
            f"connect_info asks for the session, but there is no way to read it: got {source!r}; accepted are an object "
            "with load(secret_key_base, cookie_header, csrf_token, *, check_csrf) and a function of the request; "
            'pass it as {"session": ...}'
        )
    function = source

    def call(request: Request, params: Mapping[str, Any], token: str | None) -> Mapping[str, Any] | None:
        session = function(request)
        if session is None or isinstance(session, Mapping):
            return session
        if isinstance(session, Coroutine):
            session.close()
        raise ConfigurationError(
            f"the session function {function!r} returned {type(session).__name__!r}; expected a mapping or None "
            "from a plain function, not an async one"
        )

    return call
