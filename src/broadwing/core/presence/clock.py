"""How much of each replica's history somebody knows, and who knows the most.

Every change of a replica has a number, its clock: 1, 2, 3 and so on without gaps. A context says for each replica up to which clock
everything is known. Source: phoenix_pubsub `lib/phoenix/tracker/clock.ex`.
"""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from broadwing.core.presence.replica import Replica

Context: TypeAlias = Mapping[Replica, int]
"""Replica to the last clock of it that is known, together with all before it. A replica that is missing is at 0."""

Clock: TypeAlias = tuple[Replica, Context]
"""A replica, and what it knows."""


def dominates(one: Context, other: Context) -> bool:
    """Whether `one` knows everything that `other` does; equal contexts dominate each other."""
    return all(one.get(replica, 0) >= clock for replica, clock in other.items())


def append_clock(clocks: list[Clock], clock: Clock) -> list[Clock]:
    """Add a clock to a set in which none knows everything that another does; returns the set that is left."""
    _, context = clock
    if any(dominates(other, context) for _, other in clocks):
        return clocks
    return [*(other for other in clocks if not dominates(context, other[1])), clock]


def sources(mine: Context, own: Replica, clocks: Iterable[Clock]) -> list[Replica]:
    """Whom to ask for what this replica has missed: as few as know all of it.

    Args:
        mine: What is known here; replicas that are not in it are nobody this replica has heard of, and are left aside.
        own: This replica, about which nobody knows more.
        clocks: What others say they know.

    Returns:
        Nobody, when nothing was missed.
    """
    best: list[Clock] = []
    for replica, context in clocks:
        news = {other: clock for other, clock in context.items() if other != own and clock > mine.get(other, clock)}
        if news:
            best = append_clock(best, (replica, news))
    return [replica for replica, _ in best]
