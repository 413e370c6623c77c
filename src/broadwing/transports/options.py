"""What can be set for each transport of a mount. Durations are in seconds, sizes in bytes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeAlias, TypeVar

from broadwing.core.connect_info import ConnectInfoOption
from broadwing.core.origin import OriginCheck
from broadwing.exceptions import ConfigurationError

Answer: TypeAlias = tuple[int, str | bytes] | tuple[int, str | bytes, Mapping[str, str]]
"""Status and body of an HTTP answer, and headers if it needs any."""

ErrorHandler: TypeAlias = Callable[[Any], Answer]
"""Turns the reason of a `ConnectError` into the answer the client gets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketOptions:
    """Settings of a mount's WebSocket transport.

    Attributes:
        path: Appended to the mount's path.
        timeout: A client that sends nothing for this long is closed with 1002. Only its own traffic counts.
        max_frame_size: Largest frame accepted; a larger one is answered with 1009.
        max_message_size: Largest message accepted that comes in several frames, or inflated.
        max_buffer_bytes: Most that may wait for a client that does not read, besides the message being written; beyond
            it the client is closed with 4001.
        compress: Negotiate permessage-deflate, without context takeover.
        subprotocols: Accepted subprotocols in order of preference; a client that offers others only is refused.
        check_origin: Which web pages may connect; `None` takes the endpoint's.
        check_csrf: Whether the session in `connect_info` needs its CSRF token.
        connect_info: What `connect` is told of the request.
        error_handler: Answers clients that `connect` refused with a `ConnectError`; the default answers 403 with an empty body.
    """

    path: str = "/websocket"
    timeout: float = 60.0
    max_frame_size: int = 10_000_000
    max_message_size: int = 8_000_000
    max_buffer_bytes: int = 1_048_576
    compress: bool = False
    subprotocols: list[str] | None = None
    check_origin: OriginCheck | None = None
    check_csrf: bool = True
    connect_info: ConnectInfoOption = ()
    error_handler: ErrorHandler | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LongPollOptions:
    """Settings of a mount's long-poll transport.

    Attributes:
        path: Appended to the mount's path.
        window: How long a poll waits for a message. A session whose client has not polled for 1.5 windows ends.
        pubsub_timeout: How long another node may take to say that it holds a session.
        max_age: How long a session's token is good for.
        max_body_bytes: Largest body of a POST.
        max_buffer_bytes: Most that may wait for a client that does not poll; beyond it the session ends.
        check_origin: Which web pages may connect; `None` takes the endpoint's.
        check_csrf: Whether the session in `connect_info` needs its CSRF token.
        connect_info: What `connect` is told of the request.
    """

    path: str = "/longpoll"
    window: float = 10.0
    pubsub_timeout: float = 2.0
    max_age: float = 1_209_600
    max_body_bytes: int = 8_000_000
    max_buffer_bytes: int = 1_048_576
    check_origin: OriginCheck | None = None
    check_csrf: bool = True
    connect_info: ConnectInfoOption = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainOptions:
    """How connections are sent away when the server stops.

    Attributes:
        batch_size: Connections closed at once.
        batch_interval: Seconds between two batches.
        shutdown: Most seconds the whole may take; what is left then is closed at once.
    """

    batch_size: int = 10_000
    batch_interval: float = 2.0
    shutdown: float = 30.0


Options = TypeVar("Options", WebSocketOptions, LongPollOptions, DrainOptions)


def options(kind: type[Options], given: "bool | Options | Mapping[str, Any]") -> Options | None:
    """Read a mount's `websocket=`, `longpoll=` or `drainer=` argument.

    Args:
        kind: Which options.
        given: `True` for the defaults, `False` for none at all, a mapping, or the options themselves.

    Raises:
        ConfigurationError: A key is not an option, or the argument is something else.
    """
    if given is False:
        return None
    if given is True:
        return kind()
    if isinstance(given, kind):
        return given
    if isinstance(given, Mapping):
        names = [field.name for field in fields(kind)]
        unknown = sorted(set(given) - set(names))
        if unknown:
            raise ConfigurationError(f"unknown keys {unknown} in {kind.__name__}; accepted are {', '.join(names)}")
        return kind(**given)
    raise ConfigurationError(
        f"expected True, False, a mapping or {kind.__name__}(...), got {type(given).__name__}: {given!r}"
    )
