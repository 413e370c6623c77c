"""What the browser gets before it connects: the page's files, and a token for a name.

Plain ASGI, to need nothing besides Broadwing; in FastAPI or Django this would be a template and a route.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

STATIC = Path(__file__).parent / "static"
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/chat.css": ("chat.css", "text/css; charset=utf-8"),
    "/chat.js": ("chat.js", "text/javascript; charset=utf-8"),
    "/view.js": ("view.js", "text/javascript; charset=utf-8"),
    "/favicon.svg": ("favicon.svg", "image/svg+xml"),
}
HEADERS = {
    # Nothing from anywhere else, nothing inline: markup that got into a message could still run no script.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}
MOST_BODY_BYTES = 1_000


class Login(msgspec.Struct):
    """What the page posts: a name with something to be seen in it."""

    name: Annotated[str, msgspec.Meta(max_length=24, pattern=r"\S")]


class Page:
    """The application behind the endpoint: it gets every request that is not for a socket.

    Args:
        log_in: From a name to a token.
    """

    def __init__(self, log_in: Callable[[str], str]) -> None:
        self.log_in = log_in

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "lifespan":
            return  # nothing to start or stop here; the endpoint sees to itself
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})  # sockets are the endpoint's, at other paths
        elif scope["path"] == "/login" and scope["method"] == "POST":
            await self._give_token(receive, send)
        elif scope["path"] in FILES and scope["method"] in ("GET", "HEAD"):
            name, kind = FILES[scope["path"]]
            # Read for every request, so that what is changed shows as soon as the page is loaded again.
            data = await asyncio.to_thread((STATIC / name).read_bytes)
            await _answer(send, 200, kind, data, is_head=scope["method"] == "HEAD")
        else:
            await _answer(send, 404, "text/plain; charset=utf-8", b"There is nothing here.")

    async def _give_token(self, receive: Receive, send: Send) -> None:
        try:
            login = msgspec.json.decode(await _body(receive), type=Login)
        except msgspec.DecodeError as error:
            await _answer(send, 422, "application/json", msgspec.json.encode({"message": str(error)}))
            return
        name = " ".join(login.name.split())
        await _answer(send, 200, "application/json", msgspec.json.encode({"name": name, "token": self.log_in(name)}))


async def _body(receive: Receive) -> bytes:
    body = b""
    more = True
    while more and len(body) <= MOST_BODY_BYTES:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    return body if len(body) <= MOST_BODY_BYTES else b""  # no name is as long as that


async def _answer(send: Send, status: int, kind: str, body: bytes, *, is_head: bool = False) -> None:
    headers = {**HEADERS, "content-type": kind, "content-length": str(len(body))}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": b"" if is_head else body})
