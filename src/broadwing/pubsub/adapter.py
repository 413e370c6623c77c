"""What a bus between nodes has to supply: bytes in, bytes out, interest in topics, health."""

from collections.abc import Awaitable, Callable
from typing import Protocol

Receive = Callable[[str, bytes], None]
"""Called in the loop with a topic and the bytes that a node published on it."""


class Adapter(Protocol):
    """A bus between nodes; all methods are called in the loop.

    Guarantees: what one node publishes on one topic arrives in order and at most once; a node does not receive what it
    published itself, except by `publish_to` its own name; once the awaitable of `subscribe` is done, everything published
    after it arrives. Connections and subscriptions are restored by themselves after an outage; nothing is promised of
    messages published during one. No method blocks or waits.
    """

    node_name: str  # unique on the bus
    is_alone: bool  # there can be no other node, so that nothing need be encoded for one
    is_up: bool  # as far as the adapter knows; a deaf connection is found by PubSub's canary

    async def start(self, receive: Receive, changed: Callable[[], None]) -> None:
        """Begin to connect; call `changed` whenever `is_up` changes. Raises only for a configuration that can never work."""
        ...

    async def stop(self) -> None:
        """Send what was published, disconnect, end every task; idempotent."""
        ...

    async def reconnect(self) -> None:
        """Drop the connections and make new ones, subscriptions included: this node was found deaf."""
        ...

    async def flush(self) -> None:
        """Wait until the bus has all that was published. Raises PubSubUnavailable when it is away or the connection breaks."""
        ...

    def subscribe(self, topic: str) -> Awaitable[None] | None:
        """Somebody here listens to `topic` now; perhaps before `start`. Await it for the bus's confirmation; `None`: none is needed."""
        ...

    def unsubscribe(self, topic: str) -> None:
        """Nobody here listens to `topic` any more."""
        ...

    def publish(self, topic: str, data: bytes) -> None:
        """Send to all other nodes that listen. Raises PubSubUnavailable when the bus is down or its queue is full."""
        ...

    def publish_to(self, node: str, topic: str, data: bytes) -> None:
        """Send to one node through the bus, itself included; an unknown node is a no-op. Raises as `publish`."""
        ...
