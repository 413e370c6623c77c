"""Messages of a channel that wait to be read: bounded, with a named policy."""

import asyncio
import logging
from collections import deque
from typing import Final, Literal

from broadwing.client.payloads import Message
from broadwing.exceptions import ConfigurationError

Overflow = Literal["drop_oldest", "drop_newest", "end"]
"""What happens to a message for which there is no room: it takes the place of the oldest, is lost itself, or ends the reading."""

OVERFLOWS: Final = ("drop_oldest", "drop_newest", "end")

logger = logging.getLogger("broadwing.client")


class Inbox:
    """The queue of one channel.

    Args:
        topic: The channel's topic, for the log.
        limit: Most messages that wait.
        overflow: What happens beyond that.

    Attributes:
        dropped: Messages that were lost because they were not read in time.
    """

    def __init__(self, topic: str, limit: int, overflow: Overflow) -> None:
        if overflow not in OVERFLOWS or limit < 1:
            raise ConfigurationError(
                f"max_queue={limit!r}, overflow={overflow!r}; accepted are a max_queue of 1 or more and {', '.join(OVERFLOWS)}"
            )
        self.dropped = 0
        self._topic = topic
        self._limit = limit
        self._overflow = overflow
        self._queue: deque[Message] = deque()
        self._changed = asyncio.Event()
        self._is_over = False
        self._error: Exception | None = None
        self._is_read = False

    def put(self, message: Message) -> None:
        """Take a message."""
        if self._is_over:
            return
        if len(self._queue) >= self._limit:
            self.dropped += 1
            # Whoever uses callbacks alone never reads, and loses nothing.
            if self._is_read and (self.dropped == 1 or self.dropped % 1000 == 0):
                logger.warning(
                    "the messages of %r are not read in time: %d lost so far (overflow=%r, max_queue=%d)",
                    self._topic,
                    self.dropped,
                    self._overflow,
                    self._limit,
                )
            if self._overflow == "end" and self._is_read:
                self.end()
            if self._overflow != "drop_oldest":
                return
            self._queue.popleft()
        self._queue.append(message)
        self._changed.set()

    async def get(self) -> Message:
        """The next message, when there is one.

        Raises:
            StopAsyncIteration: There will be none.

        Cancellation: loses nothing.
        """
        self._is_read = True
        while not self._queue:
            if self._is_over:
                raise self._error or StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._queue.popleft()

    def end(self, error: Exception | None = None) -> None:
        """Let readers have what has arrived, and then this error, or the end."""
        self._is_over = True
        self._error = error
        self._changed.set()

    def reopen(self) -> None:
        """There may be messages again."""
        self._is_over = False
        self._error = None
