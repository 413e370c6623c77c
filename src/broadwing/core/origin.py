"""The `check_origin` policy: which web pages may open a connection.

Browsers let any page open a WebSocket to any host and send the user's cookies along (cross-site WebSocket hijacking,
RFC 6455 section 10.2). The `Origin` header, which a page cannot forge, is what tells ours from theirs.
"""

import re
from collections.abc import Callable, Coroutine, Sequence
from typing import NamedTuple, TypeAlias
from urllib.parse import SplitResult, urlsplit

from broadwing.core.quoting import unquoted
from broadwing.core.request import Request
from broadwing.exceptions import ConfigurationError

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}

# A page opened at http://127.0.0.1:4000 is the same machine as one at http://localhost:4000: nobody else can serve it.
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

# Printable ASCII, all that an origin is made of (RFC 6454 section 6.2). urlsplit would silently drop tabs and the like.
_PRINTABLE = re.compile(rb"[!-~]*")
# After user and password. urlsplit takes [::1].evil.test for ::1 before Python 3.11.8, so the shape is checked here.
_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:]*))(?::[0-9]*)?")


class Origin(SplitResult):
    """A request's origin, as `check_origin` functions get it: a `urllib.parse.SplitResult` that knows its request.

    Attributes:
        request: The request it came with, for policies that look at the host or path too.
    """

    request: Request


OriginCheck: TypeAlias = bool | str | Sequence[str] | Callable[[Origin], bool]
"""What a mount may say: `True`, `False`, `"conn"`, a list of origins, or a function."""


class _Parsed(NamedTuple):
    scheme: str
    host: str
    port: int | None
    parts: SplitResult


class _Allowed(NamedTuple):
    scheme: str
    host: str
    suffix: str
    port: int | None


def compile_check(option: OriginCheck, *, host: str | None = "localhost") -> Callable[[Request], bool]:
    """Prepare a mount's origin policy.

    A request without `Origin` is always accepted: it comes from no browser.

    Args:
        option: What is accepted.

            - `True`: the endpoint's own host, with any scheme and port. For `localhost`, the default, also 127.0.0.1
              and [::1].
            - `False`: everything.
            - `"conn"`: the scheme, host and port the request itself was sent to.
            - a list: origins such as `"https://example.com"` (port 443), `"//example.com"` (any scheme and port),
              `"//example.com:4000"`, and `"https://*.example.com"` for the host and its subdomains.
            - a function: called with the `Origin`, returns whether it is accepted. It alone may accept origins
              without a host, such as `null`.
        host: The endpoint's host, for `True`; `None` accepts every origin that has a host.

    Returns:
        A function that tells whether a request may go on.

    Raises:
        ConfigurationError: The option is none of these, or an entry of the list has no host.

    Source: phoenix `lib/phoenix/socket/transport.ex`, check_origin.
    """
    if option is False:
        return lambda request: True
    if option is True:
        return _host_check(host)
    if option == "conn":
        return _conn_check
    if isinstance(option, (list, tuple)):
        return _list_check([_parse_entry(entry) for entry in option])
    if callable(option):
        return _function_check(option)
    raise ConfigurationError(
        f'check_origin expects True, False, "conn", a list of origins or a function: got {option!r}; '
        'write for example ["https://example.com", "//another.com:888", "//*.other.com"]'
    )


def _parse(origin: bytes) -> _Parsed | None:
    if not _PRINTABLE.fullmatch(origin):
        return None
    try:
        parts = urlsplit(origin.decode("ascii"))
        port = parts.port  # raises too: the port may be no number, or one that does not exist
    except ValueError:
        return None
    authority = _AUTHORITY.fullmatch(parts.netloc.rpartition("@")[2])
    if authority is None:
        return None
    if port is None:
        port = _DEFAULT_PORTS.get(parts.scheme)
    # `hostname` would fold the case; origins are compared as they are, and browsers send them in lower case.
    return _Parsed(parts.scheme, authority[1] or authority[2], port, parts)


def _host_check(host: str | None) -> Callable[[Request], bool]:
    accepted = None if host is None else _LOOPBACK if host == "localhost" else frozenset({host.strip("[]")})

    def check(request: Request) -> bool:
        header = request.header(b"origin")
        if header is None:
            return True
        origin = _parse(header)
        return origin is not None and origin.host != "" and (accepted is None or origin.host in accepted)

    return check


def _conn_check(request: Request) -> bool:
    header = request.header(b"origin")
    if header is None:
        return True
    origin = _parse(header)
    if origin is None or not origin.host:
        return False
    return origin[:3] == (request.scheme, request.host.strip("[]"), request.port)


def _parse_entry(entry: object) -> _Allowed:
    parsed = _parse(entry.encode("utf-8", "surrogatepass")) if isinstance(entry, str) else None
    host = parsed.host if parsed is not None else ""
    suffix = host[1:] if host.startswith("*.") else ""
    host = host[2:] if suffix else host
    if parsed is None or not host or "*" in host:
        bare = parsed is not None and parsed.parts.path == entry != ""
        raise ConfigurationError(
            f"check_origin cannot use the entry {entry!r}: it is no origin with a host; accepted are "
            '"https://example.com", "//example.com", "//example.com:888" and "https://*.example.com", '
            "with names outside ASCII in their xn-- form"
            + (f'; write "//{entry}" for any scheme and port' if bare else "")
        )
    return _Allowed(parsed.scheme, host, suffix, parsed.port)


def _list_check(entries: list[_Allowed]) -> Callable[[Request], bool]:
    def check(request: Request) -> bool:
        header = request.header(b"origin")
        if header is None:
            return True
        origin = _parse(header)
        if origin is None or not origin.host:
            return False
        for scheme, host, suffix, port in entries:
            if (
                (origin.host == host or (suffix and origin.host.endswith(suffix)))
                and (not scheme or scheme == origin.scheme)
                and (port is None or port == origin.port)
            ):
                return True
        return False

    return check


def _function_check(function: Callable[[Origin], bool]) -> Callable[[Request], bool]:
    def check(request: Request) -> bool:
        header = request.header(b"origin")
        if header is None:
            return True
        parsed = _parse(header)
        if parsed is None:
            return False
        origin = Origin(*parsed.parts)
        origin.request = request
        accepted = function(origin)
        if isinstance(accepted, bool):
            return accepted
        # Truth would not do: a coroutine nobody awaited is true, and every page of the world would be let in.
        if isinstance(accepted, Coroutine):
            accepted.close()
        raise ConfigurationError(
            f"the check_origin function {function!r} returned {type(accepted).__name__!r}; expected True or False "
            "from a plain function, not an async one"
        )

    return check


def refusal_message(
    origin: bytes | None, option: OriginCheck, *, host: str | None = "localhost", request: Request | None = None
) -> str:
    """Write the log text for an origin that was refused.

    Args:
        origin: Value of the `Origin` header.
        option: The mount's `check_origin`.
        host: The endpoint's host.
        request: The refused request, to show what `"conn"` compared.
    """
    shown = unquoted((origin or b"").decode("latin-1"))
    if option is True:
        accepted = f"only pages served from the endpoint's own host are accepted, which is {host!r}"
        if host == "localhost":
            accepted += " (127.0.0.1 and [::1] count as the same)"
    elif option == "conn":
        accepted = "only pages of the scheme, host and port that the request itself was sent to are accepted"
        if request is not None:
            accepted += f", here {request.scheme}://{unquoted(request.host)}:{request.port}"
            accepted += " (behind a proxy that ends TLS, let the server read its forwarded headers)"
    elif isinstance(option, (list, tuple)):
        accepted = f"accepted are {', '.join(map(str, option)) or 'no pages at all'}"
    else:
        accepted = "the function given as check_origin did not accept it"
    return (
        "Refused a connection because of its origin.\n"
        f"  Origin of the request: {shown}\n"
        f"  Policy: {accepted}.\n"
        "If these are your own pages, either\n"
        "  1. set the endpoint's host to the one your users see, which is the right thing in production, or\n"
        '  2. list the origins: check_origin=["https://example.com", "//another.com:888", "//*.other.com"], '
        "for one mount or for the endpoint.\n"
        "If they are not, nothing needs doing: the connection was not opened."
    )
