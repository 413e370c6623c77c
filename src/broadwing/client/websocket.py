"""A WebSocket as transport, on the `websockets` library."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from broadwing.client.errors import ConnectFailed
from broadwing.client.outbox import Outbox
from broadwing.client.transport import CLOSE_TIMEOUT, Dial
from broadwing.core.client.address import token_subprotocols
from broadwing.core.client.effects import Push
from broadwing.core.client.wire import Encoded

# At DEBUG the library writes whole requests, with the parameters and tokens in them, into the log.
_logger = logging.getLogger("broadwing.client.websocket")
_logger.setLevel(logging.INFO)


class WebSocketTransport:
    """An open WebSocket."""

    def __init__(self, connection: ClientConnection) -> None:
        self.code = 1006
        self.reason = ""
        self._connection = connection
        self._outbox = Outbox()
        self._writer = asyncio.create_task(self._write(), name="broadwing client: writer")

    @property
    def backlog(self) -> int:
        """Messages not on their way."""
        return len(self._outbox)

    def send(self, push: Push, data: Encoded) -> None:
        """Send, in order and without waiting."""
        self._outbox.put(push, data)

    async def messages(self) -> AsyncGenerator[Encoded, None]:
        """What arrives, until the connection is over."""
        connection = self._connection
        try:
            while True:
                yield await connection.recv()
        except ConnectionClosed as error:
            close = error.rcvd or error.sent  # what came, or why this side gave it up
            if close is not None:
                self.code, self.reason = int(close.code), close.reason
        finally:
            self._writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._writer

    async def close(self, code: int, reason: str) -> None:
        """Send what waits, say farewell."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await asyncio.wait(
                    [self._writer, waiting := asyncio.ensure_future(self._outbox.wait_empty())],
                    return_when=asyncio.FIRST_COMPLETED,
                )
        waiting.cancel()
        await self._connection.close(code, reason)

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self._connection.send(await self._outbox.next())


async def open_websocket(dial: Dial) -> WebSocketTransport:
    """Connect.

    Raises:
        ConnectFailed: The server answered, and refused.
        OSError, TimeoutError, WebSocketException: It could not be reached.
    """
    subprotocols = None if dial.token is None else [Subprotocol(name) for name in token_subprotocols(dial.token)]
    options: dict[str, Any] = {} if dial.ssl is None or dial.url.startswith("ws:") else {"ssl": dial.ssl}
    try:
        connection = await websocket(
            dial.url,
            subprotocols=subprotocols,
            additional_headers=dict(dial.headers),
            proxy=True if dial.proxy is True else dial.proxy or None,
            open_timeout=dial.open_timeout,
            ping_interval=None,  # the protocol has heartbeats of its own
            close_timeout=CLOSE_TIMEOUT,
            max_size=dial.max_message_bytes,
            logger=_logger,
            **options,
        )
    except InvalidStatus as error:
        status = error.response.status_code
        raise ConnectFailed(f"the server refused the WebSocket with HTTP status {status}", status) from error
    return WebSocketTransport(connection)
