"""Keeping a connection to a broker alive: one session after the other, with growing pauses between those that fail."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

logger = logging.getLogger("broadwing.pubsub")

# The first attempt follows soon: most losses are a connection that something on the way has closed. 2 s: a hundred nodes that
# look for a broker then cost it a hundred handshakes a second, two from each.
FIRST_DELAY: Final = 0.05
LONGEST_DELAY: Final = 2.0
# A session that lasted this long was a good one; the pauses begin anew. Shorter ones may be refused right after the handshake.
GOOD_SESSION: Final = 5.0

START_TIMEOUT: Final = 2.0
"""Seconds that the start of a node waits for a broker. One that is down is known at once; one that is paused is not waited for."""
CONNECT_TIMEOUT: Final = 5.0
"""Seconds for a handshake, after which the broker counts as paused."""
CONFIRM_TIMEOUT: Final = 10.0
"""Seconds until every subscription of a new connection is confirmed. Redis takes 50,000 in less than one."""
PING_INTERVAL: Final = 5.0
"""Seconds after which an unanswered PING ends a connection."""
STOP_TIMEOUT: Final = 2.0
"""Seconds for what was published to reach the broker when a node leaves."""


def delays() -> Iterator[float]:
    """Pauses in seconds, doubling up to the longest, each between half and one and a half of its value.

    The chance keeps nodes that lost a broker together from coming back together.
    """
    delay = FIRST_DELAY
    while True:
        yield delay * random.uniform(0.5, 1.5)  # noqa: S311 - spreads load, hides nothing
        delay = min(delay * 2, LONGEST_DELAY)


class Life:
    """Runs sessions until it is stopped.

    Args:
        name: What the log calls the connection.
        session: Connects, calls `up`, and works until the connection ends, which it tells by raising. It closes what it
            opened however it ends.
        changed: Called when `is_up` changes, and after every session.

    Attributes:
        is_up: Whether a session runs and has called `up`.
    """

    def __init__(self, name: str, session: Callable[[], Awaitable[None]], changed: Callable[[], None]) -> None:
        self._name = name
        self._session = session
        self._changed = changed
        self._task: asyncio.Task[None] | None = None
        self._since: float | None = None
        self._said: str | None = None
        self._settled = asyncio.Event()
        self.is_up = False

    def start(self) -> None:
        """Begin the first session."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def settled(self) -> None:
        """Wait until a session works or the first one has failed."""
        await self._settled.wait()

    async def stop(self) -> None:
        """End the session; idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    async def renew(self) -> None:
        """Replace the session by a new one at once. One that was stopped stays so."""
        if self._task is not None:
            await self.stop()
            self.start()

    def up(self) -> None:
        """The session works now; called by it."""
        if not self.is_up:
            self.is_up = True
            self._settled.set()
            self._since = asyncio.get_running_loop().time()
            if self._said is not None:
                logger.info("%s is connected again", self._name)
                self._said = None
            self._changed()

    async def _run(self) -> None:
        pauses = delays()
        while True:
            try:
                await self._session()
                error: BaseException = ConnectionError("the connection was closed")
            except Exception as caught:  # whatever a session dies of, a bug included, the next one follows
                error = caught
            finally:
                since, self._since, self.is_up = self._since, None, False
                self._settled.set()
                self._changed()
            if since is not None and asyncio.get_running_loop().time() - since >= GOOD_SESSION:
                pauses = delays()
            self._say(error)
            await asyncio.sleep(next(pauses))

    def _say(self, error: BaseException) -> None:
        """Log why it ended, once for each reason: an outage is one line, not one for every attempt."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        text = str(error) or type(error).__name__
        if text != self._said:
            self._said = text
            expected = isinstance(error, OSError) or type(error).__module__.partition(".")[0] in ("redis", "nats")
            logger.warning("%s: %s; trying again", self._name, text, exc_info=None if expected else error)
