"""Methods that a subclass may have: found when it is made, called whether they are `async def` or plain `def`."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from broadwing.exceptions import ConfigurationError


def overrides(cls: type, base: type, name: str, *arguments: str) -> bool:
    """Whether a class has a method of its own in the place of its base's.

    Raises:
        ConfigurationError: It could not be called with these arguments.
    """
    hook = inspect.getattr_static(cls, name)
    try:
        if not inspect.isfunction(hook):
            raise TypeError(f"it is a {type(hook).__name__}")
        inspect.signature(hook).bind("self", *arguments)
    except TypeError as error:
        accepted = ", ".join(("self", *arguments))
        raise ConfigurationError(
            f"{cls.__name__}.{name} cannot be called: {error}; expected a method that takes ({accepted})"
        ) from error
    return hook is not inspect.getattr_static(base, name)


async def call(hook: Callable[..., Any], *args: Any) -> Any:
    """Await an `async def`; call a plain `def` in a thread, so that it may block."""
    if inspect.iscoroutinefunction(hook):
        return await hook(*args)
    return await asyncio.to_thread(hook, *args)
