"""The ASGI side that is not about connections: start and stop, own path, and the answer for nobody's requests."""

import logging
from typing import Any, Protocol

from broadwing.transports.asgi import Receive, Scope, Send

logger = logging.getLogger("broadwing.endpoint")


class Lifecycle(Protocol):
    """What starts and stops with the server."""

    app: Any

    async def start(self) -> None:
        """Begin."""
        ...

    async def settle(self) -> None:
        """Let what is under way end; the wrapped application is still there."""
        ...

    async def stop(self) -> None:
        """End."""
        ...


async def serve_lifespan(endpoint: Lifecycle, scope: Scope, receive: Receive, send: Send) -> None:
    """Start before the wrapped application and stop after it."""
    await endpoint.start()
    told = asked = False

    async def send_and_stop(message: Any) -> None:
        nonlocal told
        told = True
        if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed", "lifespan.startup.failed"):
            await endpoint.stop()
        await send(message)

    async def settle_and_receive() -> Any:
        nonlocal asked
        asked = True
        message = await receive()
        if message["type"] == "lifespan.shutdown":
            await endpoint.settle()
        return message

    if endpoint.app is not None:
        try:
            await endpoint.app(scope, settle_and_receive, send_and_stop)
        except (
            Exception
        ):  # as the specification has it: an application that knows no lifespan raises, and is served without
            if told:
                raise
            logger.debug("the wrapped application has no lifespan", exc_info=True)
        if told:
            return
        if asked:  # it has taken the startup message and left the answer to us
            await send({"type": "lifespan.startup.complete"})
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await endpoint.stop()
            await send({"type": "lifespan.shutdown.complete"})
            return


def own_path(scope: Scope) -> str:
    """The path below where this application is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :] or "/"
    return path


async def not_found(scope: Scope, send: Send) -> None:
    """Answer 404."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})
    elif scope["type"] == "http":
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"9")]
        await send({"type": "http.response.start", "status": 404, "headers": headers})
        await send({"type": "http.response.body", "body": b"Not Found"})
