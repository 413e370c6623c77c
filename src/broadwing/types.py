"""Aliases and small protocols that more than one room uses."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias

Json: TypeAlias = Any
"""Any JSON value: `None`, `bool`, `int`, `float`, `str`, `list` or `dict` with `str` keys."""

Params: TypeAlias = dict[str, Any]
"""What a client sent when it connected: nested by `a[b]=1` as Plug does."""

ConnectInfo: TypeAlias = Mapping[str, Any]
"""What the transport knows of a connection, by the names that the mount asked for."""

Assigner: TypeAlias = Callable[[dict[str, Any]], Mapping[str, Any]]
"""Makes values for `assign` out of the assigns as they are."""

Ref: TypeAlias = Any
"""A client's message reference: opaque, echoed as it came, usually a short string or null."""

Loggable: TypeAlias = int | None
"""A `logging` level, or `None` for silence."""


class Clock(Protocol):
    """Seconds that never go back, as `time.monotonic` gives them."""

    def __call__(self) -> float: ...


Unsubscribe: TypeAlias = Callable[[], None]


class Service(Protocol):
    """Something that runs while an endpoint does; see `Endpoint.attach`."""

    async def start(self) -> None:
        """Begin; the bus is there."""
        ...

    async def stop(self) -> None:
        """End; the bus is still there, and no client is."""
        ...


BUS_VARIABLE: Final = "BROADWING_BUS"
"""Environment variable with the URL of the bus that an endpoint joins when it is told of none."""
