"""What a handler may return besides a mapping or nothing."""

from typing import Any


class Reply:
    """Reply with a status of your own, or with a payload that is not a mapping.

    Args:
        payload: Any JSON value, an annotated object, or `bytes` for a binary reply.
        status: What the client's `receive(status, ...)` waits for.
    """

    __slots__ = ("payload", "status")

    def __init__(self, payload: Any = None, status: str = "ok") -> None:
        self.payload: Any = {} if payload is None and type(self) is not Reply else payload
        self.status = status


class Ok(Reply):
    """Reply ok; `Ok()` is an empty acknowledgement."""

    __slots__ = ()

    def __init__(self, payload: Any = None) -> None:
        super().__init__(payload, "ok")


class Error(Reply):
    """Reply error, e.g. `Error({"reason": "too long"})`."""

    __slots__ = ()

    def __init__(self, payload: Any = None) -> None:
        super().__init__(payload, "error")


class Stop:
    """End the channel after this handler.

    Args:
        reason: `"normal"`, `"shutdown"` or a tuple `("shutdown", detail)` is a graceful end: the client sees `phx_close`.
            Anything else is an error: the client sees `phx_error` and rejoins.
        reply: What to answer first: a mapping or a `Reply`.
    """

    __slots__ = ("reason", "reply")

    def __init__(self, reason: Any = "normal", reply: Any = None) -> None:
        self.reason = reason
        self.reply = reply


def is_graceful(reason: Any) -> bool:
    """Tell whether a channel that ended for `reason` ended well (`phx_close`, no log) or badly (`phx_error`)."""
    return reason in ("normal", "shutdown") or (isinstance(reason, tuple) and reason[:1] == ("shutdown",))
