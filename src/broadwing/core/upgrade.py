"""The server's half of the WebSocket handshake: RFC 6455 section 4.2, subprotocols and the token they may carry."""

import binascii
import hashlib
import json
import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import NamedTuple

from broadwing.core.quoting import MOST_SHOWN, quoted
from broadwing.core.request import Request
from broadwing.exceptions import ConfigurationError, LocalProtocolError

Headers = Sequence[tuple[bytes, bytes]]

# Browsers can set no header on a WebSocket but this one, so Phoenix clients hide their token among the subprotocols.
AUTH_TOKEN_PREFIX = "base64url.bearer.phx."  # noqa: S105 - a prefix, not a token
# What such a client offers beside the token, because a browser fails the connection unless one of its offers is taken.
PHOENIX = "phoenix"

# Goes with every answer of `check`: section 4.4 has the server name the version it speaks when it refuses another.
VERSION_HEADERS: Headers = ((b"sec-websocket-version", b"13"),)

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# 16 bytes are 22 digits of 6 bits and two of padding (section 4.2.1 item 5).
_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")
# The standard alphabet, whatever the prefix says: clients make it with `btoa`.
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_CHECKED = frozenset({b"host", b"connection", b"upgrade", b"sec-websocket-key", b"sec-websocket-version"})
_REASONS = {status.value: status.phrase for status in HTTPStatus}
_UNSAFE = re.compile(rb"[\r\n\x00]")


def check(request: Request) -> tuple[int, bytes] | None:
    """Look whether a request is a WebSocket handshake (section 4.2.1).

    Returns:
        `None` when it is, otherwise status and body of the answer; `VERSION_HEADERS` belong to it.
    """
    if request.method != "GET":
        return 400, b""
    # What browsers send, every header once, is seen at a glance; everything else is looked at below.
    once = dict(request.headers)
    if (
        len(once) == len(request.headers)
        and once.get(b"upgrade") == b"websocket"
        and once.get(b"connection") == b"Upgrade"
        and once.get(b"sec-websocket-version") == b"13"
        and b"host" in once
        and _KEY.fullmatch(once.get(b"sec-websocket-key", b""))
    ):
        return None
    found: dict[bytes, list[bytes]] = {}
    for name, value in request.headers:
        if name in _CHECKED:
            found.setdefault(name, []).append(value)
    if b"host" not in found:
        return 400, b"'host' header is absent"
    for header, needed in ((b"connection", b"upgrade"), (b"upgrade", b"websocket")):
        values = found.get(header, [])
        if not _contains(values, needed):
            return 400, b"'%b' header must contain '%b', got %b" % (header, needed, _shown(values))
    keys = found.get(b"sec-websocket-key", [])
    if not keys:
        return 400, b"'sec-websocket-key' header is absent"
    versions = found.get(b"sec-websocket-version", [])
    if versions != [b"13"]:
        return 400, b"'sec-websocket-version' header must equal '13', got %b" % _shown(versions)
    # Sections 4.2.1 item 5 and 11.3.1: one value, 16 bytes. A client that fails here is no WebSocket client.
    if len(keys) != 1 or not _KEY.fullmatch(keys[0]):
        return 400, b"'sec-websocket-key' header must be 16 bytes in base64, got %b" % _shown(keys)
    return None


def _contains(values: list[bytes], needed: bytes) -> bool:
    for value in values:
        # Most clients send the one token; only other values, such as "keep-alive, Upgrade", are taken apart.
        lower = value.lower()
        if lower == needed or needed in [part.strip(b" \t") for part in lower.split(b",")]:
            return True
    return False


def _shown(values: list[bytes]) -> bytes:
    # Bounded, because the answer should not grow with what provoked it.
    return json.dumps([value[:MOST_SHOWN].decode("latin-1") for value in values[:10]]).encode()


def accept_key(key: bytes) -> bytes:
    """Return the `Sec-WebSocket-Accept` that answers `key` (section 4.2.2 item 5.4)."""
    digest = hashlib.sha1(key + _GUID, usedforsecurity=False).digest()
    return binascii.b2a_base64(digest, newline=False)


def response(
    request: Request, subprotocol: str | None = None, extensions: str | None = None, headers: Headers = ()
) -> bytes:
    """Write the answer that opens the connection.

    Args:
        request: A request that `check` found nothing wrong with.
        subprotocol: The one chosen, if any.
        extensions: Value of `Sec-WebSocket-Extensions`, if any was negotiated.
        headers: More headers, names in lower case.

    Returns:
        Status line and headers, complete; frames follow.

    Raises:
        LocalProtocolError: A header holds a line end.
    """
    key = request.header(b"sec-websocket-key")
    assert key is not None
    head = [
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ",
        accept_key(key),
    ]
    if subprotocol is not None:
        head.append(_line(b"sec-websocket-protocol", subprotocol.encode("latin-1")))
    if extensions is not None:
        head.append(_line(b"sec-websocket-extensions", extensions.encode("latin-1")))
    for name, value in headers:
        head.append(_line(name, value))
    head.append(b"\r\n\r\n")
    return b"".join(head)


def refusal(status: int, body: bytes = b"", headers: Headers = ()) -> bytes:
    """Write an HTTP/1.1 response that ends the connection.

    Args:
        status: HTTP status.
        body: Body, plain text unless `headers` say otherwise.
        headers: More headers, names in lower case; those that frame the message are written here.

    Returns:
        The whole response.

    Raises:
        LocalProtocolError: A header holds a line end.
    """
    given = {name for name, _ in headers}
    head = [b"HTTP/1.1 %d %b" % (status, _REASONS.get(status, "").encode())]
    head.append(_line(b"content-length", b"%d" % len(body)))
    head.append(_line(b"connection", b"close"))
    if body and b"content-type" not in given:
        # The text may quote the request; a browser must not guess that it is HTML.
        head.append(_line(b"content-type", b"text/plain; charset=utf-8"))
    if b"cache-control" not in given:
        head.append(_line(b"cache-control", b"max-age=0, private, must-revalidate"))
    for name, value in headers:
        if name not in (b"content-length", b"connection", b"transfer-encoding"):
            head.append(_line(name, value))
    head.append(b"\r\n\r\n")
    return b"".join([*head, body])


def _line(name: bytes, value: bytes) -> bytes:
    line = b"%b: %b" % (name, value)
    # Response splitting (CWE-113): an error_handler may well echo what the client sent.
    if _UNSAFE.search(line):
        raise LocalProtocolError(
            f"a response header holds a line end or a NUL: got {quoted(line.decode('latin-1'))}; "
            "percent-encode such text or leave the header out"
        )
    return b"\r\n" + line


class Subprotocol(NamedTuple):
    """What became of the subprotocols that a client offered.

    Attributes:
        chosen: The one to answer with, or `None` to answer with none.
        auth_token: The token found among them, or `None`.
        status: HTTP status to refuse the request with, or `None` to go on.
    """

    chosen: str | None = None
    auth_token: str | None = None
    status: int | None = None


_NONE = Subprotocol()
_NOT_COMMON = Subprotocol(status=403)
_NOT_DECODABLE = Subprotocol(status=400)


def compile_subprotocols(option: object) -> tuple[str, ...] | None:
    """Check a mount's `subprotocols` option.

    Args:
        option: Names in the server's order of preference, or `None` not to care.

    Raises:
        ConfigurationError: It is not a list of names.
    """
    if option is None:
        return None
    if not isinstance(option, (list, tuple)) or not all(isinstance(name, str) and name for name in option):
        raise ConfigurationError(
            f"subprotocols expects a list of names or None: got {option!r}; "
            f"write {[option] if isinstance(option, str) and option else ['mqtt', 'sip']!r}"
        )
    return tuple(option)


def negotiate_subprotocol(
    offered: Sequence[str], configured: Sequence[str] | None, auth_token: bool = False
) -> Subprotocol:
    """Choose a subprotocol and take the token from among those offered.

    Args:
        offered: Elements of `Sec-WebSocket-Protocol` in the client's order; empty when it sent none.
        configured: The mount's subprotocols in the server's order, or `None` to ignore what is offered.
        auth_token: Whether the mount takes a token this way. `phoenix` is then one of its subprotocols, the first.

    Returns:
        The outcome. With a token, the rest of the offer counts as if the token had not been there; more than one
        token is none. A token that is not base64 of UTF-8 is refused with 400, no common subprotocol with 403.

    Source: phoenix `lib/phoenix/transports/websocket.ex`, `lib/phoenix/socket/transport.ex` check_subprotocols.
    """
    if not offered:
        return _NONE
    token = None
    if auth_token:
        bearers = [name for name in offered if name.startswith(AUTH_TOKEN_PREFIX)]
        if len(bearers) == 1:
            token = _decode_token(bearers[0][len(AUTH_TOKEN_PREFIX) :])
            if token is None:
                return _NOT_DECODABLE
            offered = [name for name in offered if not name.startswith(AUTH_TOKEN_PREFIX)]
            if not offered:
                return Subprotocol(None, token)
        configured = (PHOENIX, *(configured or ()))
    elif configured is None:
        return _NONE
    for name in configured:
        if name in offered:
            return Subprotocol(name, token)
    return _NOT_COMMON


def _decode_token(encoded: str) -> str | None:
    if not _BASE64.fullmatch(encoded):
        return None
    digits = encoded.rstrip("=")
    # Padding may be left out, but if it is there it must be right. One digit over is part of a byte.
    if len(digits) % 4 == 1 or (len(digits) != len(encoded) and len(encoded) % 4):
        return None
    try:
        return binascii.a2b_base64(digits + "=" * (-len(digits) % 4)).decode()
    except UnicodeDecodeError:
        return None


def subprotocol_message(offered: Sequence[str], configured: Sequence[str] | None, auth_token: bool = False) -> str:
    """Write the log text for a client whose subprotocols were refused; a token among them is not shown."""
    names = [
        f"{AUTH_TOKEN_PREFIX}[FILTERED]" if name.startswith(AUTH_TOKEN_PREFIX) else name[:MOST_SHOWN]
        for name in offered[:10]
    ]
    accepted = [*([PHOENIX] if auth_token else []), *(configured or ())]
    return (
        "Refused a connection because of its subprotocols.\n"
        f"  Subprotocols of the request: {json.dumps(names)}\n"
        f"  Configured supported subprotocols: {json.dumps(accepted)}\n"
        "Either add one of the first to the mount's subprotocols=[...], or correct what the client passes to WebSocket()."
    )
