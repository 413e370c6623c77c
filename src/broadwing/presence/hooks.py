"""Methods that a subclass may have: found when it is made, called whether they are `async def` or plain `def`."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from broadwing.methods import method_of


def overrides(cls: type, base: type, name: str, *arguments: str) -> bool:
    """Whether a class has a method of its own in the place of its base's.

    Raises:
        ConfigurationError: It could not be called with these arguments.
    """
    return method_of(cls, name, *arguments) is not inspect.getattr_static(base, name)


async def call(hook: Callable[..., Any], *args: Any) -> Any:
    """Await an `async def`; call a plain `def` in a thread, so that it may block."""
    if inspect.iscoroutinefunction(hook):
        return await hook(*args)
    return await asyncio.to_thread(hook, *args)
