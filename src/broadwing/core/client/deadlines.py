"""What is to happen later: deadlines by key, earliest first."""

import heapq
from collections.abc import Callable, Hashable, Iterator
from itertools import count
from typing import TypeAlias

Action: TypeAlias = Callable[[float], None]
"""Called with the time when its deadline has passed."""


class Deadlines:
    """Deadlines without a clock: whoever has one asks for `next` and calls `run`.

    Setting and cancelling cost a dictionary entry; what was cancelled leaves the heap later.
    """

    __slots__ = ("_actions", "_heap", "_numbers")

    def __init__(self) -> None:
        self._actions: dict[Hashable, tuple[int, Action]] = {}
        self._heap: list[tuple[float, int, Hashable]] = []
        self._numbers = count()

    def set(self, key: Hashable, when: float, action: Action) -> None:
        """Call `action` at `when`; a deadline that `key` had before is forgotten."""
        number = next(self._numbers)
        self._actions[key] = (number, action)
        heapq.heappush(self._heap, (when, number, key))
        if len(self._heap) > 64 + 2 * len(self._actions):  # mostly pushes that were answered in time
            self._heap = [entry for entry in self._heap if self._is_set(entry)]
            heapq.heapify(self._heap)

    def cancel(self, key: Hashable) -> None:
        """Forget the deadline of `key`, if it has one."""
        self._actions.pop(key, None)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._actions

    def next(self) -> float | None:
        """When `run` has something to do next; `None` for never."""
        while self._heap and not self._is_set(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def run(self, now: float) -> None:
        """Call what is due, in the order of the deadlines."""
        for action in self._due(now):
            action(now)

    def _due(self, now: float) -> Iterator[Action]:
        while (when := self.next()) is not None and when <= now:
            key = heapq.heappop(self._heap)[2]
            yield self._actions.pop(key)[1]

    def _is_set(self, entry: tuple[float, int, Hashable]) -> bool:
        action = self._actions.get(entry[2])
        return action is not None and action[0] == entry[1]
