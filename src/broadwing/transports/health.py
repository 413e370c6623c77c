"""Probes over HTTP: is the process alive, and should it be sent clients? For load balancers and orchestrators."""

from typing import Final, Protocol

from broadwing.exceptions import ConfigurationError
from broadwing.transports.asgi import Scope, Send

_ALIVE: Final = b'{"status":"alive"}'
_READY: Final = b'{"status":"ready"}'


class Probed(Protocol):
    """Who is asked."""

    @property
    def unready(self) -> str | None:
        """Why it should not be sent clients, in words of its own; `None`: it should."""
        ...

    @property
    def is_draining(self) -> bool:
        """Whether it is about to stop, or has stopped."""
        ...

    @property
    def is_started(self) -> bool:
        """Whether it serves, or is about to."""
        ...

    async def start(self) -> None:
        """Begin to serve, unless it does."""
        ...


class HealthRoutes:
    """Answers `PATH/live` and `PATH/ready`.

    `live` is 200 for as long as the loop turns. `ready` is 200 while clients should be sent here, else 503 with one of a few
    fixed reasons. Nothing else is told: no name, address, version or number.

    Args:
        path: Below which the two are, e.g. `/broadwing/health`.

    Raises:
        ConfigurationError: The path does not begin with a slash.
    """

    def __init__(self, path: str) -> None:
        if not path.startswith("/"):
            raise ConfigurationError(
                f"health_path is {path!r}; expected a path such as '/broadwing/health', or None for no probes"
            )
        base = path.rstrip("/")
        self._live, self._ready = f"{base}/live", f"{base}/ready"

    def has(self, path: str) -> bool:
        """Whether a path is one of the two."""
        return path in (self._live, self._ready)

    async def serve(self, scope: Scope, path: str, send: Send, probed: Probed) -> None:
        """Answer."""
        if scope["method"] not in ("GET", "HEAD"):
            await _answer(send, 405, b"", (b"allow", b"GET, HEAD"))
            return
        status, body = 200, _ALIVE
        if path == self._ready:
            # Where no lifespan starts it, the first request does; and if that had to be a client, nobody would send one.
            if not probed.is_draining and not probed.is_started:
                await probed.start()
            reason = probed.unready
            status, body = (200, _READY) if reason is None else (503, b'{"status":"%b"}' % reason.encode())
        await _answer(send, status, body if scope["method"] == "GET" else b"", length=len(body))


async def _answer(
    send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes], length: int | None = None
) -> None:
    every = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % (len(body) if length is None else length)),
        (b"cache-control", b"no-store"),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": every})
    await send({"type": "http.response.body", "body": body})
