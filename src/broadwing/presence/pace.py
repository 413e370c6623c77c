"""Time as a node lives it: it stands still while the node does."""

from broadwing.types import Clock


class Pace:
    """Seconds in which this node could have heard others.

    A loop that stood still, because its process was stopped, its machine asleep or a call in it too long, finds on waking that everybody
    has been silent for as long, with what they said still to be read. So time goes on by no more than a little from one tick to the next.

    Args:
        clock: Seconds that never go back; the wall clock will not do.
        most: Seconds by which time goes on between two ticks at most.
    """

    def __init__(self, clock: Clock, most: float) -> None:
        self._clock = clock
        self._most = most
        self._ticked = clock()
        self._now = 0.0

    def now(self) -> float:
        """The time."""
        return self._now + min(self._clock() - self._ticked, self._most)

    def tick(self) -> float:
        """Go on; returns for how many seconds this node stood still."""
        stood = self._clock() - self._ticked - self._most
        self._now = self.now()
        self._ticked = self._clock()
        return max(stood, 0.0)
