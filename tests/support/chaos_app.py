"""A server for tests/integration/test_python_client_chaos.py: acknowledges what it has broadcast, and numbers it."""

import itertools
import secrets
from typing import Any, ClassVar

from broadwing import Channel, Endpoint, Socket, on
from broadwing.socket import Routes

LIFE = secrets.token_hex(4)
_numbers = itertools.count(1)


class ChaosChannel(Channel):
    """`chaos:*`."""

    async def join(self, params: Any) -> Any:
        """Tell which life of the server this is."""
        return {"life": LIFE}

    @on("say")
    async def say(self, payload: dict[str, Any]) -> Any:
        """Broadcast, then acknowledge."""
        number = next(_numbers)
        self.broadcast("said", {"id": payload["id"], "life": LIFE, "number": number})
        return {"life": LIFE, "number": number}


class ChaosSocket(Socket):
    """Everybody may connect."""

    log = None
    channels: ClassVar[Routes] = {"chaos:*": ChaosChannel}


endpoint = Endpoint()
endpoint.socket("/socket", ChaosSocket)
