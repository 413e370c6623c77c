"""The methods that an application's class defines for us: refused when the class is looked at, not when one is called."""

import inspect
from typing import Any

from broadwing.exceptions import ConfigurationError


def method_of(cls: type, name: str, *arguments: str) -> Any:
    """Find a class's method, and see that it could be called as it will be.

    Args:
        cls: The class.
        name: The method's name.
        *arguments: What it will be called with, besides `self`, by the names that the error gives them.

    Returns:
        The plain function.

    Raises:
        ConfigurationError: It is no method, or could not be called with these arguments.
    """
    method = inspect.getattr_static(cls, name)
    try:
        if not inspect.isfunction(method):
            raise TypeError(f"it is a {type(method).__name__}")
        inspect.signature(method).bind("self", *arguments)
    except TypeError as error:
        accepted = ", ".join(("self", *arguments))
        raise ConfigurationError(
            f"{cls.__name__}.{name} cannot be called: {error}; expected a method that takes ({accepted})"
        ) from error
    return method
