"""Callbacks of one kind."""

from collections.abc import Callable
from typing import Any, TypeAlias

Remove: TypeAlias = Callable[[], None]
"""Removes a callback; calling it again does nothing."""


class Listeners:
    """Functions that are all called, whatever one of them raises or removes.

    Args:
        report: Gets what they raise.
    """

    __slots__ = ("_callbacks", "_report")

    def __init__(self, report: Callable[[Exception], None]) -> None:
        self._callbacks: dict[object, Callable[..., object]] = {}
        self._report = report

    def add(self, callback: Callable[..., object]) -> Remove:
        """Add one; the same function may be added twice."""
        key = object()
        self._callbacks[key] = callback

        def remove() -> None:
            self._callbacks.pop(key, None)

        return remove

    def __call__(self, *values: Any) -> None:
        for callback in list(self._callbacks.values()):
            try:
                callback(*values)
            except Exception as error:  # an application's function may raise anything, and others wait behind it
                self._report(error)
