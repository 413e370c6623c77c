"""One connection to Redis: redis-py's, with its handshake and its hiredis parser, and an end that does not wait.

redis-py's own `PubSub` and pools are not used: they resubscribe and reconnect behind the caller's back, take a connection per
publisher at a time, and end no connection to a server that has stopped reading.
"""

import asyncio
import contextlib
import re
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Connection, SSLConnection
from redis.exceptions import RedisError

from broadwing.pubsub.broker_life import CONNECT_TIMEOUT
from broadwing.pubsub.broker_url import BrokerURL, Host


@dataclass(frozen=True, slots=True)
class Access:
    """How servers let this node in.

    Attributes:
        options: What redis-py's connections are made with, besides the address.
        tls: Whether they are `SSLConnection`s.
    """

    options: dict[str, Any]
    tls: bool

    @staticmethod
    def of(url: BrokerURL, node_name: str, db: int, *, prefix: str = "") -> "Access":
        """Read it from a URL; `prefix` stands before the options that name credentials.

        Raises:
            ConfigurationError: Certificates cannot be read.
        """
        username, password = url.username, url.password
        if prefix:
            username, password = url.options.get(f"{prefix}username"), url.options.get(f"{prefix}password")
        options: dict[str, Any] = {
            "username": username,
            "password": password,
            "db": db,
            # Redis takes a name of printable characters without spaces; CLIENT LIST shows it.
            "client_name": "broadwing:" + re.sub("[^!-~]", "_", node_name),
            # RESP2: what arrives on a subscribed connection are plain lists, which hiredis builds without Python's help.
            "protocol": 2,
            # Reading waits as long as nothing is said; silence is judged by PING (Link) and the canary.
            "socket_timeout": None,
            "socket_connect_timeout": CONNECT_TIMEOUT,
        }
        tls = url.scheme.partition("+")[0] in ("rediss", "valkeys")
        if tls:
            url.tls()  # for its complaints
            verify = url.options.get("tls_verify", "full")
            options |= {
                "ssl_ca_certs": url.options.get("tls_ca"),
                "ssl_certfile": url.options.get("tls_cert"),
                # redis-py up to 7.0 ignores a certificate without a key, though one file may hold both.
                "ssl_keyfile": url.options.get("tls_key", url.options.get("tls_cert")),
                "ssl_cert_reqs": "none" if verify == "none" else "required",
                "ssl_check_hostname": verify == "full",
            }
        return Access(options, tls)


class Line:
    """A connection to one server.

    Args:
        host: The server.
        access: How it lets this node in.
    """

    def __init__(self, host: Host, access: Access) -> None:
        kind = SSLConnection if access.tls else Connection
        self._connection = kind(host=host.host, port=host.port, **access.options)
        self._transport: asyncio.WriteTransport | None = None
        self.read = self._connection.read_response
        """Wait for one answer or message. Raises ResponseError for an answer that is an error."""

    async def open(self) -> None:
        """Connect and be let in.

        Raises:
            RedisError: The server is not there, or refuses.
        """
        await self._connection.connect()  # type: ignore[no-untyped-call]
        writer = self._connection._writer  # redis-py has no way to end a connection whose server does not read
        assert writer is not None
        self._transport = writer.transport

    async def send(self, data: bytes) -> None:
        """Send commands; returns when most of them have left this process."""
        await self._connection.send_packed_command(data, check_health=False)

    async def ask(self, *command: str) -> Any:
        """Send one command and wait for its answer."""
        await self._connection.send_command(*command, check_health=False)
        return await self.read()

    async def close(self) -> None:
        """End the connection now; what has not left this process is lost."""
        if self._transport is not None:
            self._transport.abort()
        with contextlib.suppress(RedisError, OSError):  # it is gone either way
            await self._connection.disconnect()


def command(*parts: bytes) -> bytes:
    """A command as Redis reads it. redis-py's packing takes three times as long."""
    if len(parts) == 3:  # PUBLISH, the only one that is frequent
        name, channel, data = parts
        return b"*3\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (
            len(name),
            name,
            len(channel),
            channel,
            len(data),
            data,
        )
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
