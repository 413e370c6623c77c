"""A Redis Cluster: one link to each server that has slots, and every channel on the link of its slot."""

import asyncio
import contextlib
import logging
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Final

from redis.crc import key_slot

from broadwing.exceptions import PubSubUnavailable
from broadwing.pubsub.broker import Waiter
from broadwing.pubsub.broker_life import Life
from broadwing.pubsub.broker_url import Host
from broadwing.pubsub.redis_line import Access
from broadwing.pubsub.redis_link import Link
from broadwing.pubsub.redis_places import slots

logger = logging.getLogger("broadwing.pubsub")

# Servers learn of a moved slot one after the other; asking again at once would hear the old answer.
_PAUSE: Final = 0.1
# A server is missing: a replica takes its slots within seconds, and nobody tells.
_PAUSE_WHILE_DOWN: Final = 0.5


class Cluster:
    """Links to all servers, following the slots as they move.

    With sharded pub/sub a message goes to one server, and from there to the nodes that listen, instead of to every server.

    Args:
        seeds: Servers to ask first.
        access: How they let this node in.
        link: Makes a link to a server.
        changed: Called when `is_up` may have changed.
    """

    def __init__(
        self, seeds: Sequence[Host], access: Access, link: Callable[[Host], Link], changed: Callable[[], None]
    ) -> None:
        self._seeds = tuple(seeds)
        self._access = access
        self._link = link
        self._changed = changed
        self._life = Life(f"redis cluster at {', '.join(map(str, seeds))}", self._follow, changed)
        self._links: dict[Host, Link] = {}
        self._starts: list[int] = []
        self._owners: list[tuple[int, Link]] = []
        self._stale = asyncio.Event()
        self._unplaced: dict[bytes, Waiter] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def is_up(self) -> bool:
        """Whether every server with slots is reached: a message to a part of the topics only would be one lost."""
        return bool(self._links) and all(link.is_up for link in self._links.values())

    def start(self) -> None:
        """Begin to look for the servers."""
        self._life.start()

    async def settled(self) -> None:
        """Wait until all servers are connected or could not be."""
        await self._life.settled()
        for link in list(self._links.values()):
            await link.settled()

    async def stop(self) -> None:
        """Disconnect now."""
        await self._life.stop()
        links, self._links = list(self._links.values()), {}
        self._starts, self._owners = [], []
        await asyncio.gather(*(link.stop() for link in links), *self._leaving)

    async def renew(self) -> None:
        """Make new connections, to the servers of now."""
        await asyncio.gather(self._life.renew(), *(link.renew() for link in list(self._links.values())))

    async def flush(self) -> None:
        """Wait until all servers have answered everything that was published so far.

        Raises:
            PubSubUnavailable: One of them is away, or its connection broke; the others have been waited for.
        """
        if not self._links:
            raise PubSubUnavailable("no server of the cluster is connected")
        results = await asyncio.gather(*(link.flush() for link in self._links.values()), return_exceptions=True)
        for result in results:
            if result is not None:
                raise result

    def subscribe(self, channel: bytes, waiter: Waiter) -> None:
        """Listen to a channel, where its slot is."""
        link = self._owner(channel)
        if link is None:
            self._unplaced[channel] = waiter
        else:
            link.subscribe(channel, waiter)

    def unsubscribe(self, channel: bytes) -> None:
        """Do not listen to it any more, wherever it is."""
        self._unplaced.pop(channel, None)
        for link in self._links.values():
            link.unsubscribe(channel)

    def publish(self, channel: bytes, data: bytes) -> None:
        """Send a message to where its slot is.

        Raises:
            PubSubUnavailable: That server is away, or too much waits for it.
        """
        link = self._owner(channel)
        if link is None:
            raise PubSubUnavailable("no server of the cluster has this channel's slot, so the message was not sent")
        link.publish(channel, data)

    def link_changed(self) -> None:
        """A link came, went, or could not be made: a failover perhaps."""
        if not self.is_up:
            self._stale.set()
        self._changed()

    def moved(self, link: Link, channel: bytes | None) -> None:
        """A server does not have a slot that it was taken to have."""
        if channel is not None:
            self._unplaced[channel] = link.channels.pop(channel, None)
        self._stale.set()

    def _owner(self, channel: bytes) -> Link | None:
        slot = key_slot(channel)
        at = bisect_right(self._starts, slot) - 1
        if at < 0:
            return None
        last, link = self._owners[at]
        return link if slot <= last else None

    async def _follow(self) -> None:
        while True:
            self._stale.clear()
            self._place(await slots((*self._links, *self._seeds), self._access))
            self._life.up()
            await asyncio.sleep(_PAUSE)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if self.is_up else _PAUSE_WHILE_DOWN):
                    await self._stale.wait()

    def _place(self, found: list[tuple[int, int, Host]]) -> None:
        """Make links to new servers, end those to old ones, and put every channel where it belongs now."""
        for host in {host for _, _, host in found} - set(self._links):
            self._links[host] = self._link(host)
            self._links[host].start()
        found.sort(key=lambda entry: entry[0])
        self._starts = [first for first, _, _ in found]
        self._owners = [(last, self._links[host]) for _, last, host in found]
        for host in set(self._links) - {host for _, _, host in found}:
            old = self._links.pop(host)
            self._unplaced.update(old.channels)
            old.channels.clear()
            leaving = asyncio.get_running_loop().create_task(old.stop())
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
        for link in self._links.values():
            for channel in [channel for channel in link.channels if self._owner(channel) is not link]:
                self._unplaced[channel] = link.channels[channel]
                link.unsubscribe(channel)
        unplaced, self._unplaced = self._unplaced, {}
        for channel, waiter in unplaced.items():
            self.subscribe(channel, waiter)
        self._changed()
