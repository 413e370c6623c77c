"""A raw socket that sends back what it gets: what the judges of RFC 6455 talk to."""

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

from broadwing import Endpoint, RawSocket
from broadwing.types import ConnectInfo, Params
from tests.support.background import LEAN, Background, background


class EchoSocket(RawSocket):
    """Text for text, bytes for bytes.

    Attributes:
        ended: Why sockets ended, by the parameter `name` that they connected with.
    """

    ended: ClassVar[dict[str, list[Any]]] = {}

    async def connect(self, params: Params, info: ConnectInfo) -> None:
        """Remember the name."""
        self.name = params.get("name")

    async def terminate(self, reason: Any) -> None:
        """Remember why."""
        if self.name is not None:
            self.ended.setdefault(self.name, []).append(reason)

    async def handle_in(self, data: str | bytes) -> str | bytes:
        """Send it back."""
        return data


ECHO, SMALL, DEFLATE = "/echo/websocket", "/small/websocket", "/deflate/websocket"


def echo_endpoint() -> Endpoint:
    """Echoes: as mounted by default, with small limits, with compression."""
    endpoint = Endpoint(check_origin=False)
    endpoint.socket("/echo", EchoSocket)
    endpoint.socket("/small", EchoSocket, websocket={"max_frame_size": 1_000, "max_message_size": 2_000})
    endpoint.socket("/deflate", EchoSocket, websocket={"compress": True, "max_message_size": 200_000})
    return endpoint


@contextlib.contextmanager
def echoes(kind: str = LEAN, **options: Any) -> Iterator[Background]:
    """Serve the echoes."""
    with background(echo_endpoint(), kind, **options) as served:
        yield served
