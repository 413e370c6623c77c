"""Who holds presences: channels, and anything else that can be told apart."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable


@runtime_checkable
class ChannelLike(Protocol):
    """What a presence has to know of a channel."""

    def __hash__(self) -> int: ...

    @property
    def topic(self) -> str:
        """Where it is."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or its client is gone."""
        ...

    def at_end(self, callback: Callable[[], object]) -> None:
        """Call `callback` when that is so."""
        ...
