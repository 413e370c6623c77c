"""Numbers out of measurements."""

import math
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

Figures: TypeAlias = dict[str, float]
"""What one scenario found out, by the names in bench/README.md."""


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of `values` that is not below `share` of them (the nearest rank); 0 when there are none.

    Args:
        values: In any order.
        share: Between 0 and 1.
    """
    if not values:
        return 0.0
    # Rounded first: 0.07 * 100 is a little more than 7 in floating point, and the rank would be 8.
    rank = max(1, math.ceil(round(share * len(values), 6)))
    return sorted(values)[rank - 1]


class Stretch:
    """The part of a scenario that counts: its time, and the processor time of server and load client in it.

    Args:
        server_seconds: Processor time of the server so far; `None` where it cannot be told.
    """

    def __init__(self, server_seconds: Callable[[], float] | None) -> None:
        self._server_seconds = server_seconds
        self._server = server_seconds() if server_seconds is not None else 0.0
        self._client = time.process_time()
        self.start = time.perf_counter()

    def end(self, units: int) -> Figures:
        """Return what so many deliveries, replies or connects took.

        Returns:
            `rate` per second, `seconds`, `client` and `server` as shares of one core, `cpu_us` of the server per unit.
        """
        seconds = time.perf_counter() - self.start
        figures = {
            "rate": units / seconds,
            "seconds": seconds,
            "client": (time.process_time() - self._client) / seconds,
        }
        if self._server_seconds is not None:
            spent = self._server_seconds() - self._server
            figures |= {"server": spent / seconds, "cpu_us": spent * 1e6 / max(units, 1)}
        return figures


def latencies(seconds: Sequence[float]) -> Figures:
    """Return the median and the 99th percentile in milliseconds."""
    return {"p50_ms": percentile(seconds, 0.5) * 1e3, "p99_ms": percentile(seconds, 0.99) * 1e3}
