"""The bus of one process: there are no other nodes."""

import uuid
from collections.abc import Awaitable, Callable

from broadwing.pubsub.adapter import Receive


class LocalAdapter:
    """An adapter without other nodes; everything is local delivery, which is PubSub's own work."""

    is_alone = True
    is_up = True

    def __init__(self, node_name: str | None = None) -> None:
        self.node_name = node_name or f"local-{uuid.uuid4().hex[:12]}"
        self._receive: Receive | None = None

    async def start(self, receive: Receive, changed: Callable[[], None]) -> None:
        """Remember where messages to oneself go."""
        self._receive = receive

    async def stop(self) -> None:
        """Forget it."""
        self._receive = None

    async def flush(self) -> None:
        """There is nobody to send to."""

    async def reconnect(self) -> None:
        """There is nothing to reconnect to."""

    def subscribe(self, topic: str) -> Awaitable[None] | None:
        """Nothing to tell anybody."""
        return None

    def unsubscribe(self, topic: str) -> None:
        """Nothing to tell anybody."""

    def publish(self, topic: str, data: bytes) -> None:
        """There is nobody to send to."""

    def publish_to(self, node: str, topic: str, data: bytes) -> None:
        """Deliver to this node when it is the one named."""
        if node == self.node_name and self._receive is not None:
            self._receive(topic, data)
