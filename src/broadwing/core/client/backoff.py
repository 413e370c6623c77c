"""How long a client waits before it tries again. All times are in seconds."""

from collections.abc import Callable
from typing import Final, TypeAlias

RetryAfter: TypeAlias = Callable[[int], float]
"""Seconds to wait before try number `tries`, counted from 1."""

_RECONNECT: Final = (0.05, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1.0, 2.0)
_RECONNECT_MOST: Final = 5.0
_REJOIN: Final = (1.0, 2.0, 5.0)
_REJOIN_MOST: Final = 10.0


def reconnect_after(tries: int, chance: float) -> float:
    """Seconds before a lost connection is made again: 50 to 100 % of a growing delay.

    When a server restarts, all of its clients lose their connection in the same millisecond; the random half keeps them
    from coming back in one. The JavaScript client waits as long.

    Args:
        tries: Counted from 1.
        chance: A random number from 0 to 1.
    """
    longest = _RECONNECT[tries - 1] if tries <= len(_RECONNECT) else _RECONNECT_MOST
    return longest * (1 + chance) / 2


def rejoin_after(tries: int) -> float:
    """Seconds before a channel that failed is joined again.

    Args:
        tries: Counted from 1.
    """
    return _REJOIN[tries - 1] if tries <= len(_REJOIN) else _REJOIN_MOST
