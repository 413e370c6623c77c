"""One connection to NATS: nats-py's, with its handshake, its ways to log in and its parser.

nats-py's subscriptions are not used, because each has a task and a queue (a topic here is often one user's). Nor is its
reconnecting: it gives up after some errors, and it cannot be told to hurry. So a `Line` is one connection, and its end is final.
What nats-py does not document and is relied upon is all in this module: `_process_msg`, `_process_op_err`, `_send_ping`,
`_connect_command`, `_server_info` and `_transport`.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from nats.aio.client import Client
from nats.aio.transport import TcpTransport
from nats.errors import Error

from broadwing.pubsub.broker_life import CONNECT_TIMEOUT
from broadwing.pubsub.broker_url import Host

# Far beyond a PING: what waits here is nats-py's own.
_PENDING_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Access:
    """How servers let this node in.

    Attributes:
        options: What nats-py's `connect` is called with.
        tls: How to trust them; `None`: without TLS.
    """

    options: dict[str, Any]
    tls: ssl.SSLContext | None


class Line(Client):
    """A connection to one server.

    Args:
        host: The server.
        access: How it lets this node in.
        receive: Called with the id of a subscription and the data of a message.
        complain: Called with what the server says to be wrong without ending the connection.
    """

    def __init__(
        self, host: Host, access: Access, receive: Callable[[int, bytes], None], complain: Callable[[str], None]
    ) -> None:
        super().__init__()
        self._host = host
        self._access = access
        self._hand_up = receive
        self._complain = complain
        self._reason = "the server closed the connection"
        self._is_open = False
        self._ended = asyncio.Event()
        self._gone = asyncio.Event()

    async def open(self) -> None:
        """Connect and be let in.

        Raises:
            ConnectionError: The server is not there, or refuses.
        """
        try:
            await self.connect(
                f"nats://{self._host}",
                tls=self._access.tls,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=int(CONNECT_TIMEOUT),
                pending_size=_PENDING_BYTES,
                error_cb=self._error,
                closed_cb=self._closed,
                **self._access.options,
            )
        except Error as error:
            # NoServersError alone does not say why; what nats-py reported before does.
            raise ConnectionError(self._reason) from error
        self._is_open = True

    async def _error(self, error: Exception) -> None:
        self._reason = str(error) or type(error).__name__
        if self._is_open and type(error) is Error:  # what the server said; its subclasses are nats-py's findings
            self._complain(self._reason)

    async def _closed(self) -> None:
        self._ended.set()
        self._gone.set()

    async def ended(self) -> None:
        """Wait for the end.

        Raises:
            ConnectionError: It has come, and why.
        """
        await self._ended.wait()
        raise ConnectionError(str(self.last_error or self._reason))

    async def send(self, data: bytes) -> None:
        """Send commands; returns when most of them have left this process.

        Raises:
            ConnectionError: The connection has ended.
        """
        transport = self._transport
        if transport is None or not self.is_connected:
            raise ConnectionError("the connection has ended")
        transport.write(data)
        await transport.drain()  # type: ignore[no-untyped-call]

    async def round_trip(self) -> None:
        """Wait until the server has done everything that was sent before: a PING and its PONG."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        await self._send_ping(answer)
        await asyncio.shield(answer)  # a PONG that comes later sets it, and stumbles over a cancelled one

    async def end(self) -> None:
        """End the connection now; what has not left this process is lost."""
        transport = self._transport
        if isinstance(transport, TcpTransport):
            # Closing alone would wait for a server that has stopped reading.
            for writer in (transport._io_writer, transport._bare_io_writer):
                if writer is not None:
                    writer.transport.abort()
        if self._is_open:  # else it has no tasks yet, and closing would wait for ever where a TLS handshake has failed
            with contextlib.suppress(Error, OSError, TimeoutError):  # it is gone either way
                async with asyncio.timeout(1):
                    await self.close()
                    await self._gone.wait()

    # What nats-py calls.

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        self._hand_up(sid, data)

    async def _process_op_err(self, e: Exception) -> None:
        # The connection is lost. What nats-py does then cancels the task it runs in before it calls anybody (2.9).
        self._reason = str(e) or type(e).__name__
        self._ended.set()

    def _connect_command(self) -> bytes:
        # The first thing that is sent, and it carries the credentials. nats-py encrypts only when the server asks for it, so
        # that somebody between could read them by not asking.
        if self._access.tls is not None and not self._server_info.get("tls_required"):
            raise Error("nats+tls:// is asked for, but the server does not offer TLS")
        return super()._connect_command()
