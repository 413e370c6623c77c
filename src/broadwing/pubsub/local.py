"""The bus of one process: there are no other nodes."""

import uuid
from collections.abc import Awaitable

from broadwing.pubsub.adapter import Receive


class LocalAdapter:
    """An adapter without other nodes; everything is local delivery, which is PubSub's own work."""

    is_alone = True

    def __init__(self) -> None:
        self.node_name = f"local-{uuid.uuid4().hex[:12]}"
        self._receive: Receive | None = None

    async def start(self, receive: Receive) -> None:
        """Remember where messages to oneself go."""
        self._receive = receive

    async def stop(self) -> None:
        """Forget it."""
        self._receive = None

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
