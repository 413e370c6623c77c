"""The threads in which plain `def` handlers run during a test, and Django's connections to databases in them."""

import asyncio
import contextlib
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class HandlerThreads(ThreadPoolExecutor):
    """Gives each call a thread of its own, which closes its databases at the end, as Django does after each request.

    A connection that a thread kept would hold its database, and the end of a test run, which removes that, would wait or fail.
    And a thread of a pool that never comes back would keep the process from ending, which these, being daemons, do not.
    """

    def __init__(self) -> None:
        super().__init__(max_workers=1)
        self._before: Any = None

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call `fn` in a thread."""
        future: Future[T] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                try:
                    result = fn(*args, **kwargs)
                finally:
                    close_databases()
            except BaseException as error:  # whatever it is, it is for whoever waits
                future.set_exception(error)
            else:
                future.set_result(result)

        threading.Thread(target=work, name="broadwing-test", daemon=True).start()
        return future

    def serve(self, loop: Any) -> None:
        """Make the loop's calls."""
        self._before = getattr(loop, "_default_executor", None)
        loop.set_default_executor(self)

    def leave(self, loop: Any) -> None:
        """Let the loop have what it had before."""
        with contextlib.suppress(AttributeError):  # uvloop has it in C; it keeps this one, which has nothing to end
            loop._default_executor = self._before


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
