"""A relay in a thread of its own, for tests that block."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.background import TIMEOUT
from tests.support.relay import Relay


class BackgroundRelay:
    """The relay's methods, for callers that block.

    Args:
        relay: What runs.
        loop: Where it runs.
    """

    def __init__(self, relay: Relay, loop: asyncio.AbstractEventLoop) -> None:
        self.relay = relay
        self._loop = loop

    def url(self, path: str) -> str:
        """The address of `path` through the relay."""
        return f"http://127.0.0.1:{self.relay.port}{path}"

    def start(self) -> None:
        """Listen."""
        asyncio.run_coroutine_threadsafe(self.relay.start(), self._loop).result(TIMEOUT)

    def refuse(self) -> None:
        """Cut all lines and refuse new ones; `start` ends it."""
        asyncio.run_coroutine_threadsafe(self.relay.refuse(), self._loop).result(TIMEOUT)

    def cut(self) -> None:
        """End all lines without a farewell."""
        self._loop.call_soon_threadsafe(self.relay.cut)

    def hold(self) -> None:
        """Pass nothing on any more; the lines stay."""
        self._loop.call_soon_threadsafe(self.relay.hold)

    def go_on(self) -> None:
        """Pass on what was held."""
        self._loop.call_soon_threadsafe(self.relay.go_on)


@contextmanager
def background(relay: Relay) -> Iterator[BackgroundRelay]:
    """Run a relay for the length of a `with` block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="relay")
    thread.start()
    running = BackgroundRelay(relay, loop)
    try:
        running.start()
        yield running
        running.go_on()
        running.refuse()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(TIMEOUT)
        loop.close()
