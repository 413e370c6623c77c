"""The life of other nodes as one node sees it: up, down for a while, gone for good.

    (unknown) --heard--> UP --silent for down_period--> DOWN --silent for permdown_period--> (unknown)
                          ^------------heard----------------/

A node that starts anew has the same name and another vsn; the incarnation before it is gone at once. `now` is handed in: seconds that
never go back, and that stand still while this node does, so that its own pause is not taken for the silence of all others.

Source: phoenix_pubsub `lib/phoenix/tracker/replica.ex`.
"""

import math
from enum import Enum
from typing import Final, NamedTuple


class Replica(NamedTuple):
    """One life of one node's tracker.

    Attributes:
        name: The node's name on the bus.
        vsn: A number that no other start of this node has; of no order.
    """

    name: str
    vsn: int


class Status(Enum):
    """What a node is to another one."""

    UP = "up"
    """It was heard of lately; its presences count."""
    DOWN = "down"
    """Silent for longer than `down_period`: its presences are kept, and are not listed."""
    PERMDOWN = "permdown"
    """Silent for longer than `permdown_period`, restarted, or it said goodbye: nothing of it is kept."""


class Change(NamedTuple):
    """What became of a replica."""

    status: Status
    replica: Replica


class _Known:
    __slots__ = ("heard_at", "replica", "status")

    def __init__(self, replica: Replica, now: float) -> None:
        self.replica = replica
        self.status = Status.UP
        self.heard_at = now


# Incarnations that are over, of which a message may still be on its way. They are few; this is a bound.
_MOST_OVER: Final = 1_000


class Replicas:
    """All other nodes that were heard of.

    Args:
        down_period: Seconds of silence after which a replica is down.
        permdown_period: Seconds of silence after which it is gone for good.
    """

    def __init__(self, down_period: float, permdown_period: float) -> None:
        self._down_period = down_period
        self._permdown_period = permdown_period
        self._known: dict[str, _Known] = {}
        self._over: dict[Replica, float] = {}

    @property
    def statuses(self) -> dict[str, Status]:
        """Names of nodes and what they are, `UP` or `DOWN`."""
        return {name: known.status for name, known in self._known.items()}

    def is_known(self, replica: Replica) -> bool:
        """Whether this incarnation is up or down."""
        known = self._known.get(replica.name)
        return known is not None and known.replica == replica

    def is_over(self, replica: Replica, now: float) -> bool:
        """Whether this incarnation is over, so that whatever comes of it was on its way for long and means nothing.

        One that said goodbye is over for good. One that was replaced is believed to live after all when it still speaks after
        `down_period`: the other one may have been what was on its way.
        """
        return now < self._over.get(replica, now)

    def heard(self, replica: Replica, now: float) -> list[Change]:
        """A replica has shown that it lives."""
        known = self._known.get(replica.name)
        if known is not None and known.replica == replica:
            known.heard_at = now
            if known.status is Status.UP:
                return []
            known.status = Status.UP
            return [Change(Status.UP, replica)]
        changes = []
        if known is not None:
            changes = _ended(known)
            self._end(known.replica, now + self._down_period)
        self._over.pop(replica, None)
        self._known[replica.name] = _Known(replica, now)
        return [*changes, Change(Status.UP, replica)]

    def left(self, replica: Replica) -> list[Change]:
        """A replica said goodbye."""
        changes = _ended(self._known.pop(replica.name)) if self.is_known(replica) else []
        self._end(replica, math.inf)
        return changes

    def _end(self, replica: Replica, until: float) -> None:
        self._over[replica] = until
        if len(self._over) > _MOST_OVER:
            del self._over[next(iter(self._over))]

    def check(self, now: float) -> list[Change]:
        """Find who has been silent for too long."""
        changes = []
        for known in list(self._known.values()):
            silence = now - known.heard_at
            if silence > self._permdown_period:
                # Not over: it may have stood still for all that time, and come back as it was.
                del self._known[known.replica.name]
                changes += _ended(known)
            elif silence > self._down_period and known.status is Status.UP:
                known.status = Status.DOWN
                changes.append(Change(Status.DOWN, known.replica))
        return changes


def _ended(known: _Known) -> list[Change]:
    down = [Change(Status.DOWN, known.replica)] if known.status is Status.UP else []
    return [*down, Change(Status.PERMDOWN, known.replica)]
