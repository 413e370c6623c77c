"""The threads in which plain `def` handlers run during a test, and Django's connections to databases in them."""

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class HandlerThreads(ThreadPoolExecutor):
    """Closes the databases after each call, as Django does after each request.

    A connection that a thread keeps holds its database: the end of a test run, which removes that, would wait or fail.
    """

    def __init__(self) -> None:
        super().__init__(thread_name_prefix="broadwing-test")
        self._before: Any = None

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call `fn` in a thread."""
        return super().submit(lambda: _closing(fn, *args, **kwargs))

    def serve(self, loop: Any) -> None:
        """Be the loop's threads."""
        self._before = getattr(loop, "_default_executor", None)
        loop.set_default_executor(self)

    def leave(self, loop: Any) -> None:
        """Let the loop have what it had before."""
        try:
            loop._default_executor = self._before
        except AttributeError:
            return  # uvloop has it in C, and ends these threads with itself
        # Without waiting: a handler that hangs must not keep the test from failing.
        self.shutdown(wait=False, cancel_futures=True)


def _closing(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        return function(*args, **kwargs)
    finally:
        close_databases()


def close_databases() -> None:
    """Close this thread's connections to Django's databases, but for those in a transaction: it is a `TestCase`'s own."""
    db = sys.modules.get("django.db")
    if db is None:
        return
    for connection in db.connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


async def close_databases_of_django() -> None:
    """The same in the thread in which Django does what coroutines ask of it."""
    sync = sys.modules.get("asgiref.sync")
    if sync is not None and "django.db" in sys.modules:
        async with asyncio.timeout(5):
            await sync.sync_to_async(close_databases)()
