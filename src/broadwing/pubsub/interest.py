"""Telling the bus which topics somebody here listens to, and waiting until it knows."""

import asyncio
import logging
from collections.abc import Awaitable, Generator
from typing import Any

from broadwing.pubsub.adapter import Adapter

logger = logging.getLogger("broadwing.pubsub")


class Interest:
    """Topics this node wants from the bus, each with the confirmation that is still awaited.

    Args:
        adapter: The bus.
        timeout: Seconds to wait for a confirmation. After it, and while the bus is down, things go on without:
            local delivery works, and the adapter subscribes when it can.
    """

    def __init__(self, adapter: Adapter, timeout: float) -> None:
        self._adapter = adapter
        self._timeout = timeout
        self._begun = False
        self._wanted: dict[str, int] = {}
        self._confirming: dict[str, asyncio.Future[None]] = {}

    def begin(self) -> None:
        """Tell the bus from now on, and of what was wanted before there was a loop."""
        if not self._begun:
            self._begun = True
            for topic in self._wanted:
                self._ask(topic)

    def add(self, topic: str) -> Awaitable[None] | None:
        """Want `topic` once more.

        Returns:
            What to await until the bus knows; `None`: it does, or need not.
        """
        count = self._wanted.get(topic, 0)
        self._wanted[topic] = count + 1
        if count == 0 and self._begun:
            self._ask(topic)
        waiting = self._confirming.get(topic)
        return _Confirmation(self, topic, waiting) if waiting is not None else None

    def remove(self, topic: str) -> None:
        """Want `topic` once less; the last one ends it."""
        count = self._wanted.get(topic, 0)
        if count > 1:
            self._wanted[topic] = count - 1
        elif count == 1:
            del self._wanted[topic]
            if self._begun:
                self._adapter.unsubscribe(topic)

    async def confirmed(self, topic: str) -> None:
        """Wait for a topic's confirmation, if one is awaited."""
        confirmation = self._confirming.get(topic)
        if confirmation is not None:
            await self.wait(topic, confirmation)

    def _ask(self, topic: str) -> None:
        ready = self._adapter.subscribe(topic)
        if ready is not None:
            future = self._confirming[topic] = asyncio.ensure_future(ready)
            future.add_done_callback(lambda done: self._confirmed(topic, done))

    def _confirmed(self, topic: str, done: asyncio.Future[None]) -> None:
        if self._confirming.get(topic) is done:
            del self._confirming[topic]
        if not done.cancelled() and done.exception() is not None:
            logger.warning("the bus did not confirm the subscription to %r: %s", topic, done.exception())

    async def wait(self, topic: str, confirmation: asyncio.Future[None]) -> None:
        """Wait until the bus has confirmed a subscription, is down, or takes too long."""
        if not self._adapter.is_up:
            return
        done, _ = await asyncio.wait((confirmation,), timeout=self._timeout)
        if not done:
            logger.warning("the bus did not confirm the subscription to %r within %s s; going on", topic, self._timeout)


class _Confirmation:
    """Awaitable, but harmless when nobody awaits it, as a coroutine would not be."""

    __slots__ = ("_confirmation", "_interest", "_topic")

    def __init__(self, interest: Interest, topic: str, confirmation: asyncio.Future[None]) -> None:
        self._interest = interest
        self._topic = topic
        self._confirmation = confirmation

    def __await__(self) -> Generator[Any, None, None]:
        return self._interest.wait(self._topic, self._confirmation).__await__()
