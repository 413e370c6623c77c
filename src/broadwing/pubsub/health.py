"""Whether a node hears its bus: what the adapter says, and a canary that flies through the bus and comes back."""

import asyncio
import logging
from collections.abc import Callable
from enum import Enum
from typing import Final

from broadwing.exceptions import PubSubUnavailable
from broadwing.pubsub.adapter import Adapter

logger = logging.getLogger("broadwing.pubsub")

CANARY_TOPIC: Final = "broadwing:canary"


class Health(Enum):
    """How the bus is."""

    UP = "up"
    """Connected, and the last canary came back."""
    DOWN = "down"
    """Not connected; the adapter is trying."""
    DEAF = "deaf"
    """Connected as far as the adapter knows, but the canary did not come back; it is being reconnected."""


class Watch:
    """Supervises an adapter's listener.

    A listener that dies without an error leaves a node that looks well and hears nothing. So each node sends itself a
    canary through the bus every `interval` seconds; when it has not come back after `timeout`, the node is deaf: it says so,
    and reconnects.

    Args:
        adapter: What is watched.
        interval: Seconds between canaries.
        timeout: Seconds a canary may take.
        told: Called with the new health whenever it changes.
    """

    def __init__(self, adapter: Adapter, interval: float, timeout: float, told: Callable[[Health], None]) -> None:
        self._adapter = adapter
        self._interval = interval
        self._timeout = timeout
        self._told = told
        self._flight = 0
        self._landed = asyncio.Event()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._deaf = False
        self.health = Health.DOWN

    def start(self) -> None:
        """Begin to watch."""
        self.changed()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End the watch."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    def changed(self) -> None:
        """The adapter's `is_up` may have changed."""
        if not self._adapter.is_up:
            self._set(Health.DOWN)
        elif self.health is Health.DOWN:
            self._set(Health.DEAF if self._deaf else Health.UP)
        self._wake.set()

    def heard(self, data: bytes) -> None:
        """A canary came back."""
        if data == b"%d" % self._flight:
            self._landed.set()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            if not self._adapter.is_up:
                await self._wake.wait()
                continue
            if await self._fly():
                self._deaf = False
                self._set(Health.UP)
                await asyncio.sleep(self._interval)
            elif self._adapter.is_up:
                logger.error(
                    "node %s is deaf: what it sent itself through the bus did not come back within %s s; reconnecting",
                    self._adapter.node_name,
                    self._timeout,
                )
                self._deaf = True  # a new connection is no proof; only a canary is
                self._set(Health.DEAF)
                await self._adapter.reconnect()

    async def _fly(self) -> bool:
        loop = asyncio.get_running_loop()
        while True:
            self._flight += 1
            self._landed.clear()
            deadline = loop.time() + self._timeout
            try:
                self._adapter.publish_to(self._adapter.node_name, CANARY_TOPIC, b"%d" % self._flight)
                async with asyncio.timeout_at(deadline):
                    await self._landed.wait()
            except PubSubUnavailable:
                return False
            except TimeoutError:
                # When something else held the loop for that long, nobody has looked whether the canary is back. To reconnect
                # for that would lose messages, and help nobody.
                if loop.time() - deadline > self._timeout / 2:
                    continue
                return self._landed.is_set()
            return True

    def _set(self, health: Health) -> None:
        if health is not self.health:
            self.health = health
            logger.log(
                logging.INFO if health is Health.UP else logging.WARNING,
                "node %s: the bus is %s",
                self._adapter.node_name,
                health.value,
            )
            self._told(health)
