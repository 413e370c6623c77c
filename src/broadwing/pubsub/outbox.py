"""Messages on their way to the bus: put together per topic and loop turn, held while the bus is down, bounded."""

import asyncio
from typing import Final, Literal, TypeAlias

from broadwing.exceptions import PubSubUnavailable
from broadwing.pubsub.adapter import Adapter
from broadwing.pubsub.batch import pack

Policy: TypeAlias = Literal["queue", "raise"]
"""What publishing does while the bus is down: wait in a bounded queue, or raise `PubSubUnavailable` at once."""

# One bus message carries no more than this, unless it is one: about 300 messages of 200 bytes. Larger ones save nothing, hold
# a receiver's loop for longer than a millisecond, and meet a broker's limit (NATS: 1 MB).
MAX_BATCH_BYTES: Final = 65_536


class Outbox:
    """Collects what is published in one turn of the loop and hands it to the adapter.

    Args:
        adapter: The bus.
        policy: What to do while it is down.
        limit: Most messages that may wait.

    Attributes:
        waiting: Messages that wait now.
    """

    def __init__(self, adapter: Adapter, policy: Policy, limit: int) -> None:
        self._adapter = adapter
        self._policy = policy
        self._limit = limit
        self._topics: dict[str, list[bytes]] = {}
        self._scheduled = False
        self._flushes: list[asyncio.Future[None]] = []
        self.waiting = 0

    def check(self) -> None:
        """Raise now what `put` would raise.

        Raises:
            PubSubUnavailable: The bus is down and the policy is `raise`, or too much waits already.
        """
        if self._policy == "raise" and not self._adapter.is_up:
            raise PubSubUnavailable(
                "the bus is down, so the message was not sent to anybody; with on_unavailable='queue' it would wait"
            )
        if self.waiting >= self._limit:
            raise PubSubUnavailable(
                f"{self.waiting} messages wait for the bus already, so the message was not sent to anybody; "
                "queue_limit sets how many may wait"
            )

    def put(self, topic: str, data: bytes) -> None:
        """Take one message; called in the loop.

        Raises:
            PubSubUnavailable: As for `check`.
        """
        if self.waiting >= self._limit or not self._adapter.is_up:
            self.check()
        messages = self._topics.get(topic)
        if messages is None:
            self._topics[topic] = [data]
        else:
            messages.append(data)
        self.waiting += 1
        if not self._scheduled and self._adapter.is_up:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Hand everything to the adapter, or keep it when the bus is down; called again when it is up."""
        self._scheduled = False
        if not self._adapter.is_up:
            return
        topics, self._topics = self._topics, {}
        rest = iter(topics.items())
        for topic, messages in rest:
            sent = self._send(topic, messages)
            self.waiting -= sent
            if sent < len(messages):
                # It went down, or its own queue is full: what is left waits in its old order, before what came since.
                left = {topic: messages[sent:], **dict(rest)}
                for newer, more in self._topics.items():
                    left.setdefault(newer, []).extend(more)
                self._topics = left
                if self._adapter.is_up:
                    self._scheduled = True
                    asyncio.get_running_loop().call_later(0.01, self.flush)

        if self._flushes and not self.waiting:
            flushes, self._flushes = self._flushes, []
            for future in flushes:
                if not future.done():
                    future.set_result(None)

    async def emptied(self) -> None:
        """Wait until nothing waits here; while the bus is down, something may."""
        if self.waiting:
            future = asyncio.get_running_loop().create_future()
            self._flushes.append(future)
            await future

    def _send(self, topic: str, messages: list[bytes]) -> int:
        """Hand over one topic's messages; returns how many were taken."""
        sent = 0
        try:
            if sum(map(len, messages)) <= MAX_BATCH_BYTES:
                self._adapter.publish(topic, pack(messages))
                return len(messages)
            while sent < len(messages):
                count = _fitting(messages, sent)
                self._adapter.publish(topic, pack(messages[sent : sent + count]))
                sent += count
        except PubSubUnavailable:
            pass
        return sent


def _fitting(messages: list[bytes], start: int) -> int:
    size = 0
    for index in range(start, len(messages)):
        size += len(messages[index])
        if size > MAX_BATCH_BYTES:
            return max(index - start, 1)
    return len(messages) - start
