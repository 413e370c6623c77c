"""What a transport has still to send."""

import asyncio
from collections import deque

from broadwing.core.client.effects import Push
from broadwing.core.client.wire import Encoded


class Outbox:
    """Messages in order, without those whose sender has given up."""

    def __init__(self) -> None:
        self._queue: deque[tuple[Push, Encoded]] = deque()
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._emptied.set()

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, push: Push, data: Encoded) -> None:
        """Add a message."""
        self._queue.append((push, data))
        self._filled.set()
        self._emptied.clear()

    def live(self) -> "deque[Encoded]":
        """All that is to be sent; those who gave up are gone afterwards."""
        self._queue = deque(entry for entry in self._queue if not entry[0].done)
        return deque(data for _, data in self._queue)

    def sent(self, count: int) -> None:
        """The first `count` are on their way."""
        for _ in range(count):
            self._queue.popleft()

    def settled(self) -> None:
        """What was on its way has arrived; if there is no more, `wait_empty` returns."""
        if not self._queue:
            self._filled.clear()
            self._emptied.set()

    async def next(self) -> Encoded:
        """Take the first message, when there is one."""
        while True:
            await self._filled.wait()
            while self._queue:
                push, data = self._queue.popleft()
                if not push.done:
                    return data
            self.settled()

    async def wait_filled(self) -> None:
        """Wait until there is something to send."""
        await self._filled.wait()

    async def wait_empty(self) -> None:
        """Wait until everything was sent."""
        await self._emptied.wait()
