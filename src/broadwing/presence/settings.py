"""What a tracker may be told, and what contradicts itself."""

from collections.abc import Sequence
from typing import NamedTuple

from broadwing.core.presence.participant import Periods
from broadwing.exceptions import ConfigurationError


class Settings(NamedTuple):
    """Options of a tracker, checked; they are explained there."""

    shards: int
    broadcast_period: float
    periods: Periods
    max_delta_sizes: tuple[int, ...]


def checked(
    shards: int,
    broadcast_period: float,
    max_silent_periods: int,
    down_period: float | None,
    permdown_period: float,
    clock_sample_periods: int,
    max_delta_sizes: Sequence[int],
) -> Settings:
    """See that options fit together.

    Raises:
        ConfigurationError: They do not.
    """
    for option, value in (
        ("shards", shards),
        ("max_silent_periods", max_silent_periods),
        ("clock_sample_periods", clock_sample_periods),
    ):
        if value < 1:
            raise ConfigurationError(f"{option} must be at least 1, got {value!r}")
    if broadcast_period <= 0:
        raise ConfigurationError(f"broadcast_period is seconds, more than 0, got {broadcast_period!r}")
    if down_period is None:
        down_period = broadcast_period * max_silent_periods * 2
    if down_period < 2 * broadcast_period:
        raise ConfigurationError(
            f"down_period must be at least twice as large as the broadcast_period, got {down_period!r} and {broadcast_period!r}"
        )
    if permdown_period <= down_period:
        raise ConfigurationError(
            f"permdown_period must be larger than the down_period, got {permdown_period!r} and {down_period!r}"
        )
    sizes = tuple(max_delta_sizes)
    if not sizes or sizes != tuple(sorted(sizes)) or sizes[0] < 1:
        raise ConfigurationError(f"max_delta_sizes are numbers from small to large, got {max_delta_sizes!r}")
    periods = Periods(max_silent_periods, down_period, permdown_period, clock_sample_periods)
    return Settings(shards, broadcast_period, periods, sizes)
