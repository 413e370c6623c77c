"""Coroutine functions that never wait, and running them without a task.

Most handlers of a channel are `async def` and await nothing: they look at the payload, broadcast, reply. A task for such a
one costs more than the handler; see docs/decisions/0004.
"""

import dis
import inspect
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any, TypeVar

T = TypeVar("T")

# What the compiler makes of `await`, `async for` and `async with`; a coroutine gives way nowhere else.
_WAITING = frozenset({"GET_AWAITABLE", "GET_AITER", "GET_ANEXT", "BEFORE_ASYNC_WITH", "SEND"})


def never_waits(function: Callable[..., Any]) -> bool:
    """Tell whether a function is `async def` and has no `await`, `async for` or `async with` in it.

    Only the function itself is looked at: one that a decorator wrapped awaits what it wraps, so it counts as waiting.
    """
    code = getattr(function, "__code__", None)
    if code is None or not inspect.iscoroutinefunction(function):
        return False
    return all(instruction.opname not in _WAITING for instruction in dis.get_instructions(code))


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that does not wait, to its end, with context variables of its own as a task would have them.

    Returns:
        What it returns.

    Raises:
        RuntimeError: It waits after all.
        Exception: What it raises.
    """
    try:
        copy_context().run(coroutine.send, None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return] # of the coroutine's own type
    coroutine.close()
    raise RuntimeError(f"{coroutine!r} was run without a task and waits; it has to be run in one")
