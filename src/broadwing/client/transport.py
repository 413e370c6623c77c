"""What the client and its transports know of each other."""

import ssl
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from broadwing.core.client.effects import Push
from broadwing.core.client.wire import Encoded

CLOSE_TIMEOUT: Final = 1.5
"""Seconds that the rest of what waits, and then the farewell, may take; a dead network never answers."""

ProxyOption: TypeAlias = str | bool | None
"""`True` for what the environment says, a URL, or `None` for none."""


@dataclass(frozen=True, slots=True)
class Dial:
    """What a connection is made with.

    Attributes:
        url: With all parameters; may hold secrets.
        vsn: The wire version.
        token: The auth token, if there is one.
        headers: Further headers of the requests.
        ssl: For wss and https; `None` for Python's defaults.
        proxy: How to get there.
        open_timeout: Seconds that opening may take.
        request_timeout: Seconds that one request of long polling may take.
        max_message_bytes: Largest message accepted.
    """

    url: str
    vsn: str
    token: str | None
    headers: Mapping[str, str]
    ssl: ssl.SSLContext | None
    proxy: ProxyOption
    open_timeout: float
    request_timeout: float
    max_message_bytes: int


class Transport(Protocol):
    """An open connection.

    Attributes:
        code: The close code, once it is over; 1006 where there was none.
        reason: Why it ended.
    """

    code: int
    reason: str

    @property
    def backlog(self) -> int:
        """Messages that were given to `send` and are not on their way."""
        ...

    def send(self, push: Push, data: Encoded) -> None:
        """Send, in order and without waiting; skipped when `push.done` before its turn comes."""
        ...

    def messages(self) -> AsyncGenerator[Encoded, None]:
        """What arrives, until the connection is over."""
        ...

    async def close(self, code: int, reason: str) -> Any:
        """Send what waits, say farewell; takes twice `CLOSE_TIMEOUT` at most."""
        ...
