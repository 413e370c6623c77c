"""Something that takes messages one at a time, and costs a task only while it has one."""

import asyncio
from asyncio import get_running_loop
from collections import deque
from typing import Any, Final

from broadwing.prompt import finish

# Stands in the place of the task while something is handled without one.
_AT_ONCE: Final[Any] = object()


class Actor:
    """One mailbox, worked off in order.

    Idle actors hold no task and no queue: the first message starts a task, which ends when the mailbox is empty. A task
    for every idle channel would cost 2 kB; a handler stepped without a task could not use `asyncio.timeout`.
    """

    __slots__ = ("__weakref__", "_mailbox", "_task")

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._mailbox: deque[Any] | None = None

    @property
    def task(self) -> "asyncio.Task[None] | None":
        """The task that handles a message, if there is one."""
        return self._task if self._task is not _AT_ONCE else None

    @property
    def pending(self) -> int:
        """Messages that wait behind the one being handled."""
        return len(self._mailbox) if self._mailbox else 0

    def _post(self, item: Any) -> None:
        """Put a message in; it is handled after all that came before it."""
        if self._task is None:
            self._task = get_running_loop().create_task(self._run(item))
        elif self._mailbox is None:
            self._mailbox = deque((item,))
        else:
            self._mailbox.append(item)

    def _do_at_once(self, item: Any) -> None:
        """Handle a message here and now: nothing is being handled, and what it leads to is sure not to wait."""
        self._begin_at_once()
        try:
            finish(self._process(item))
        finally:
            self._end_at_once()

    def _begin_at_once(self) -> None:
        self._task = _AT_ONCE

    def _end_at_once(self) -> None:
        mailbox = self._mailbox
        # What was posted meanwhile may wait.
        self._task = get_running_loop().create_task(self._run(mailbox.popleft())) if mailbox else None

    def _post_first(self, item: Any) -> None:
        """Put a message in that is handled before all that wait."""
        if self._task is None:
            self._post(item)
        elif self._mailbox is None:
            self._mailbox = deque((item,))
        else:
            self._mailbox.appendleft(item)

    async def _process(self, item: Any) -> None:
        """Handle one message; supplied by the subclass, which lets no error out."""
        raise AssertionError(f"{type(self).__name__} has no _process")

    async def _run(self, item: Any) -> None:
        try:
            while True:
                await self._process(item)
                mailbox = self._mailbox
                if not mailbox:
                    return
                item = mailbox.popleft()
        finally:
            self._task = self._mailbox = None


def is_cancelled(error: BaseException) -> bool:
    """Tell whether `error` means that the current task is being cancelled.

    A `CancelledError` may also come out of something that a handler awaited and that somebody else cancelled; then it is an
    error like any other, and the task must go on to tell of it.
    """
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
