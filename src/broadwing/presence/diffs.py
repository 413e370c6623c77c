"""Tells the clients on this node who has come and gone: one topic after the other, in order, and never too often.

What a diff costs is a frame for each client on the topic, whoever caused it. So after each diff a topic rests in proportion to
its clients, and what changes meanwhile goes out as one diff; see docs/decisions for the figures.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from broadwing.core.codec import body
from broadwing.core.messages import Broadcast
from broadwing.core.presence.payloads import Diff, Presences, Unsent
from broadwing.exceptions import LocalProtocolError
from broadwing.pubsub.pubsub import PubSub

logger = logging.getLogger("broadwing.presence")

DIFF_EVENT: Final = "presence_diff"

# A rest that is shorter is none: timers cost more than it saves.
SHORTEST_REST: Final = 0.005
# The longest in seconds, however many there are: how old news from other nodes is by the time it arrives, too.
LONGEST_REST: Final = 1.5

Prepare = Callable[[str, Diff], Awaitable[Diff]]
"""Makes of what has changed on a topic what its clients are sent."""

Follow = Callable[[str, Diff], Awaitable[None]]
"""Is told of each diff after its clients."""


class _Topic:
    __slots__ = ("is_waiting", "rest", "unsent")

    def __init__(self) -> None:
        self.unsent = Unsent()
        self.is_waiting = False  # for its turn
        self.rest: asyncio.TimerHandle | None = None


class Diffs:
    """The diffs of one presence.

    Args:
        pubsub: Who the clients are, and how to reach them.
        rate: Frames of diffs per second and topic beyond which changes are put together; 0: never, each goes out at once.
        timeout: Seconds that `prepare` and `follow` may take for one diff.
        prepare: See there; `None`: clients are sent what has changed, as it is.
        follow: See there.
    """

    def __init__(
        self,
        pubsub: PubSub,
        *,
        rate: float,
        timeout: float,
        prepare: Prepare | None = None,
        follow: Follow | None = None,
    ) -> None:
        self._pubsub = pubsub
        self._rate = rate
        self._timeout = timeout
        self._prepare = prepare
        self._follow = follow
        self._topics: dict[str, _Topic] = {}
        self._turns: deque[str] = deque()
        self._is_due = False
        self._worker: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Topics that have something to tell, or rest."""
        return len(self._topics)

    def add(self, changes: Mapping[str, tuple[Presences, Presences]]) -> None:
        """Take who came and who went, by topic. Called in the loop; does not wait."""
        for name, (joins, leaves) in changes.items():
            topic = self._topics.get(name)
            if topic is None:
                topic = self._topics[name] = _Topic()
            topic.unsent.add(joins, leaves)
            if not topic.is_waiting and topic.rest is None:
                self._queue(name, topic)

    def before_list(self, name: str) -> None:
        """Somebody is about to be given a list of a topic: what has changed goes out before it, unless the topic rests."""
        topic = self._topics.get(name)
        if topic is None:
            return
        if topic.is_waiting and self._is_plain:
            self._turns.remove(name)
            self._tell(name, topic)
        else:
            topic.unsent.was_listed()

    async def stop(self) -> None:
        """Send nothing more."""
        for topic in self._topics.values():
            if topic.rest is not None:
                topic.rest.cancel()
        self._topics.clear()
        self._turns.clear()
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait((self._worker,))
            self._worker = None

    @property
    def _is_plain(self) -> bool:
        return self._prepare is None and self._follow is None

    def _queue(self, name: str, topic: _Topic) -> None:
        topic.is_waiting = True
        self._turns.append(name)
        # Soon and not now: what changes in one turn of the loop goes out together, and after the reply to what caused it.
        if not self._is_plain:
            if self._worker is None or self._worker.done():
                self._worker = asyncio.get_running_loop().create_task(self._work())
        elif not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._take_turns)

    def _take_turns(self) -> None:
        self._is_due = False
        while self._turns:
            name = self._turns.popleft()
            self._tell(name, self._topics[name])

    def _tell(self, name: str, topic: _Topic) -> None:
        topic.is_waiting = False
        if topic.unsent:
            self._send(name, topic.unsent.take())
            self._rest(name, topic)
        else:
            del self._topics[name]

    async def _work(self) -> None:
        """Tell topic after topic while there are any; what changes on one of them meanwhile waits as one diff."""
        while self._turns:
            name = self._turns.popleft()
            topic = self._topics[name]
            topic.is_waiting = False
            if not topic.unsent:
                del self._topics[name]
                continue
            topic.is_waiting = True  # nobody else is to begin with it
            changed = topic.unsent.take()
            if self._follow is not None or self._pubsub.registry.count(name):
                await self._inform(name, changed)
            topic.is_waiting = False
            self._rest(name, topic)

    async def _inform(self, name: str, changed: Diff) -> None:
        if self._prepare is not None:
            try:
                async with asyncio.timeout(self._timeout):
                    changed = await self._prepare(name, changed)
            except Exception:  # who came and went has to be told all the same, or the list would be wrong from then on
                logger.exception("fetch for the diff of %r failed; it is sent with the metas alone", name)
        self._send(name, changed)
        if self._follow is not None:
            try:
                async with asyncio.timeout(self._timeout):
                    await self._follow(name, changed)
            except Exception:  # the application's fault, of which the next diff knows nothing
                logger.exception("handle_metas for the diff of %r failed", name)

    def _send(self, name: str, changed: Diff) -> None:
        if name not in self._pubsub.registry.topics:
            return
        try:
            payload = body({"joins": changed.joins, "leaves": changed.leaves})
        except LocalProtocolError:  # only fetch can have put such a thing there
            logger.exception("the diff of %r has no JSON form and is not sent", name)
            return
        self._pubsub.local_broadcast(name, Broadcast(name, DIFF_EVENT, payload))

    def _rest(self, name: str, topic: _Topic) -> None:
        seconds = self._pubsub.registry.count(name) / self._rate if self._rate else 0.0
        if seconds >= SHORTEST_REST:
            topic.rest = asyncio.get_running_loop().call_later(min(seconds, LONGEST_REST), self._rested, name, topic)
        else:
            self._go_on(name, topic)

    def _rested(self, name: str, topic: _Topic) -> None:
        topic.rest = None
        self._go_on(name, topic)

    def _go_on(self, name: str, topic: _Topic) -> None:
        if topic.unsent:
            self._queue(name, topic)
        else:
            del self._topics[name]
