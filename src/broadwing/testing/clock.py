"""Time that jumps: where an event loop would wait for nothing but time, the time is there at once.

`asyncio.sleep(3600)`, `asyncio.timeout` and `loop.call_later` take no time at all, and a busy machine makes no timeout pass
earlier. Only the loop's time is virtual: `time.time()` and `time.monotonic()` stay what they are.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from broadwing.exceptions import ConfigurationError

# The loop's own end of the pipe that wakes it from other threads.
_OWN_FILES: Final = 1


class Deadlock(Exception):
    """Everything waits for something that nothing can bring about any more."""


class VirtualClock:
    """The time of one event loop.

    It stands still while anything runs. It jumps to the next timer when the loop has nothing to do. It passes as in real life
    while a thread of the loop is at work or a file is open that the loop watches, because then there is no telling whether
    anything will come of it; `advance` jumps all the same.

    Args:
        patience: Seconds, real ones, that a loop may wait without a timer for other threads; then `Deadlock` is raised.

    Attributes:
        jumped: Seconds that were skipped so far.

    Source: trio `trio/testing/_mock_clock.py`, the idea.
    """

    def __init__(self, *, patience: float = 10.0) -> None:
        self.patience = patience
        self.jumped = 0.0
        self._now = 0.0
        self._loop: Any = None
        self._selector: Any = None
        self._run_in_executor: Any = None
        self._at_work = 0
        self._held = 0
        self._jump_until = 0.0

    def time(self) -> float:
        """Seconds, on the loop's own scale."""
        return self._now

    async def advance(self, seconds: float) -> None:
        """Let time pass, with all that falls due in it, whatever else the loop watches.

        Cancellation: stops where it is.
        """
        if self._loop is None:
            raise ConfigurationError(
                "advance was called on a clock that is in no loop; use `with clock.installed():` or the fixture broadwing_clock"
            )
        self._jump_until = max(self._jump_until, self._now + seconds)
        await asyncio.sleep(seconds)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let time pass as in real life within a `with` block, e.g. while a thread works that the loop knows nothing of."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    @contextlib.contextmanager
    def installed(self, loop: asyncio.AbstractEventLoop | None = None) -> Iterator["VirtualClock"]:
        """Be the time of a loop, by default the running one, within a `with` block.

        Raises:
            ConfigurationError: The loop is none of asyncio's own with a selector (uvloop has its time in C), or the clock is in use.
        """
        self.install(loop or asyncio.get_running_loop())
        try:
            yield self
        finally:
            self.uninstall()

    def install(self, loop: asyncio.AbstractEventLoop) -> None:
        """Be the time of `loop` from now on; see `installed`."""
        if not isinstance(loop, asyncio.SelectorEventLoop):
            raise ConfigurationError(
                f"virtual time cannot be put into a {type(loop).__module__}.{type(loop).__name__}; accepted is asyncio's own "
                "SelectorEventLoop. Set the tests' event loop policy or loop factory to asyncio's, or do without virtual time"
            )
        if self._loop is not None:
            raise ConfigurationError("this clock is in a loop already; make one VirtualClock for each loop")
        inner: Any = loop
        self._loop, self._now = inner, inner.time()
        self._selector, inner._selector = inner._selector, _Selector(self, inner._selector)
        self._run_in_executor, inner.run_in_executor = inner.run_in_executor, self._work
        inner.time = self.time

    def uninstall(self) -> None:
        """Let the loop's time pass as in real life again; it goes on from where it is. Without a loop it is a no-op."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        loop._selector = self._selector
        loop.run_in_executor = self._run_in_executor
        ahead = self._now - time.monotonic()
        loop.time = lambda: time.monotonic() + ahead
        self._selector = self._run_in_executor = None

    def _work(self, executor: Any, function: Callable[..., Any], *args: Any) -> Any:
        future = self._run_in_executor(executor, function, *args)
        self._at_work += 1
        future.add_done_callback(self._worked)
        return future

    def _worked(self, _: object) -> None:
        self._at_work -= 1

    def select(self, selector: Any, timeout: float | None) -> Any:
        """What the loop calls to wait for files, for at most `timeout` seconds."""
        events = selector.select(0)
        if events or (timeout is not None and timeout <= 0):
            return events
        real = self._at_work > 0 or self._held > 0 or len(selector.get_map()) > _OWN_FILES
        if timeout is None:
            events = selector.select(None if real else self.patience)
            if not events and not real:
                tasks = "\n  ".join(sorted(map(_where, asyncio.all_tasks(self._loop))))
                raise Deadlock(
                    f"nothing has happened for {self.patience} s, and in virtual time nothing can: no timer runs, no thread "
                    f"works, no file is open. These wait:\n  {tasks}"
                )
            return events
        if not real or self._now < self._jump_until:
            step = min(timeout, self._jump_until - self._now) if real else timeout
            self._now += step
            self.jumped += step
            return events
        started = time.monotonic()
        events = selector.select(timeout)
        self._now += min(timeout, time.monotonic() - started)
        return events


def _where(task: "asyncio.Task[Any]") -> str:
    """A task, and the line in which it waits."""
    coroutine: Any = task.get_coro()
    inner = coroutine
    while hasattr(inner, "cr_await"):
        coroutine, inner = inner, inner.cr_await
    frame = getattr(coroutine, "cr_frame", None)
    line = f" ({frame.f_code.co_filename}:{frame.f_lineno})" if frame is not None else ""
    return f"{task.get_name()} in {getattr(coroutine, '__qualname__', coroutine)}{line}"


class _Selector:
    """A loop's selector, asked by way of the clock."""

    def __init__(self, clock: VirtualClock, selector: Any) -> None:
        self._clock = clock
        self._selector = selector

    def select(self, timeout: float | None = None) -> Any:
        return self._clock.select(self._selector, timeout)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._selector, name)
