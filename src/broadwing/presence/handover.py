"""Plain functions that may be called from any thread: the loop's does the work, any other waits for it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from threading import get_ident
from typing import Any, Final, TypeVar

from broadwing.exceptions import LocalProtocolError

# Seconds that another thread waits: for a loop that is held up, and not for ever.
PATIENCE: Final = 60.0

_T = TypeVar("_T")


class Handover:
    """Has functions called in one loop.

    Args:
        whose: What the errors call it.
    """

    def __init__(self, whose: str) -> None:
        self._whose = whose
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0

    def settle(self) -> asyncio.AbstractEventLoop:
        """Make the running loop the one; returns it."""
        self._loop = asyncio.get_running_loop()
        self._thread = get_ident()
        return self._loop

    @property
    def has_ended(self) -> bool:
        """Whether the loop is closed, so that nothing will run in it any more."""
        return self._loop is not None and self._loop.is_closed()

    def call(self, function: Callable[..., _T], *args: Any) -> _T:
        """Call a function in the loop and return what it does: at once in the loop's thread, and before there is a loop.

        Raises:
            LocalProtocolError: The loop has ended.
            TimeoutError: The loop was held up for a minute.
        """
        loop = self._loop
        if loop is None or get_ident() == self._thread:
            return function(*args)
        done: Future[_T] = Future()

        def call() -> None:
            try:
                done.set_result(function(*args))
            except BaseException as error:  # it belongs to whoever waits for it
                done.set_exception(error)

        try:
            loop.call_soon_threadsafe(call)
        except RuntimeError as error:  # closed
            raise LocalProtocolError(f"the loop that {self._whose} was started in has ended") from error
        return done.result(PATIENCE)
