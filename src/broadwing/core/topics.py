"""Topic patterns: exact, or a prefix that ends in `*`."""

from collections.abc import Iterable
from typing import Final, Generic, TypeVar

from broadwing.exceptions import ConfigurationError

T = TypeVar("T")

TRACKERS: Final = "phx_presence:"
"""What topics begin with on which trackers of different nodes speak to each other."""


def check_pattern(pattern: str) -> None:
    """Refuse a pattern that could never mean what it says.

    Raises:
        ConfigurationError: `*` stands anywhere but at the end.
    """
    if "*" in pattern[:-1]:
        raise ConfigurationError(
            f'channels using splat patterns must end with *: got {pattern!r}; accepted are an exact topic ("room:lobby"), '
            'a prefix ("room:*") and "*" for every topic'
        )


class Routes(Generic[T]):
    """Finds what a topic leads to; the first declared match wins."""

    __slots__ = ("_routes",)

    def __init__(self, routes: Iterable[tuple[str, T]]) -> None:
        self._routes: list[tuple[str, bool, T]] = []
        for pattern, target in routes:
            check_pattern(pattern)
            splat = pattern.endswith("*")
            self._routes.append((pattern.removesuffix("*"), splat, target))

    def match(self, topic: str) -> T | None:
        """Return the target of the first pattern that matches `topic`, or `None`.

        The nodes' own topics match none, "*" neither: a client that joined one would be sent everybody's presences.
        """
        if topic.startswith(TRACKERS):
            return None
        for text, splat, target in self._routes:
            if topic.startswith(text) if splat else topic == text:
                return target
        return None
