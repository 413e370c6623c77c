"""What a bus between nodes has to supply: bytes in, bytes out, interest in topics, health."""

from collections.abc import Awaitable, Callable
from typing import Protocol

Receive = Callable[[str, bytes], None]
"""Called in the loop with a topic and the bytes that another node published on it."""


class Adapter(Protocol):
    """A bus between nodes.

    Guarantees an adapter gives: what one node publishes on one topic arrives in order and at most once; a node
    never receives what it published itself; once the awaitable that `subscribe` returned is done, everything published
    after it arrives. It promises nothing about messages published while the bus is down.
    """

    @property
    def node_name(self) -> str:
        """This node's name, unique on the bus."""
        ...

    @property
    def is_alone(self) -> bool:
        """Whether there can be no other node, so that nothing need be encoded for one."""
        ...

    async def start(self, receive: Receive) -> None:
        """Connect, and from now on hand what other nodes publish to `receive`."""
        ...

    async def stop(self) -> None:
        """Disconnect; idempotent."""
        ...

    def subscribe(self, topic: str) -> Awaitable[None] | None:
        """Somebody here listens to `topic` now; `None` when there is nothing to wait for."""
        ...

    def unsubscribe(self, topic: str) -> None:
        """Nobody here listens to `topic` any more."""
        ...

    def publish(self, topic: str, data: bytes) -> None:
        """Send to all other nodes that listen; never waits.

        Raises:
            PubSubUnavailable: The bus is down and its queue is full.
        """
        ...

    def publish_to(self, node: str, topic: str, data: bytes) -> None:
        """Send to one node; an unknown node is a no-op.

        Raises:
            PubSubUnavailable: As for `publish`.
        """
        ...
