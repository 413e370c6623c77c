"""An endpoint with a page that does nothing but import the client: what it does there is said by the test."""

from typing import Any

from broadwing import Channel, Endpoint, Reply, Socket, on

PAGE = b"""\
<!doctype html>
<html lang="en">
<title>A page</title>
<link rel="icon" href="data:,">
<script type="module">
  import * as broadwing from "/broadwing/broadwing.js"
  globalThis.broadwing = broadwing
</script>
"""


class PageChannel(Channel):
    """`room:*`."""

    async def join(self, params: Any) -> None:
        """Let everybody in."""

    @on("echo")
    async def echo(self, payload: Any) -> Any:
        """Reply with what came."""
        return Reply(payload)

    @on("say")
    async def say(self, payload: Any) -> None:
        """Tell everybody."""
        self.broadcast("said", payload)


class PageSocket(Socket):
    """The socket of the page."""

    channels = {"room:*": PageChannel}  # noqa: RUF012 - as applications write it


async def pages(scope: Any, receive: Any, send: Any) -> None:
    """The page, at every path."""
    if scope["type"] == "lifespan":
        for phase in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{phase}"
            await send({"type": f"lifespan.{phase}.complete"})
        return
    headers = [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", b"%d" % len(PAGE))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": PAGE})


# Pages come through relays, at ports of their own.
endpoint = Endpoint(app=pages, check_origin=False, secret_key_base="a secret for tests, and for nothing else")
endpoint.socket("/socket", PageSocket, longpoll=True)
