"""A set of presences is as large as what it holds, whatever came and went."""

import gc
import sys
import time
from typing import Any

import pytest

from broadwing.core.presence.participant import Participant, Periods
from broadwing.core.presence.replica import Replica
from broadwing.core.presence.wire import decode_message, encode_message

PERIODS = Periods(max_silent_periods=10, down_period=30.0, permdown_period=1_200.0, clock_sample_periods=2)
PRESENT, PAIRS, PAIRS_PER_TICK = 1_000, 1_000_000, 1_000


def size_of(*roots: Any) -> int:
    """Bytes of everything that is reached from some objects."""
    seen: dict[int, int] = {}
    todo = list(roots)
    while todo:
        value = todo.pop()
        if id(value) not in seen and not isinstance(value, (type, type(sys), type(size_of))):
            seen[id(value)] = sys.getsizeof(value)
            todo += gc.get_referents(value)
            if hasattr(value, "__struct_fields__"):  # its fields are not shown to the collector
                todo += [getattr(value, name) for name in value.__struct_fields__]
    return sum(seen.values())


@pytest.mark.slow
def test_a_million_joins_and_leaves_later_nothing_has_grown() -> None:
    one, other = (Participant(Replica(name, 1), PERIODS, (100, 1_000, 10_000)) for name in "ab")
    for number in range(PRESENT):
        one.join("room:1", str(number), f"user{number}", {"phx_ref": f"{number:016}"})

    def tick(now: float) -> None:
        for sender, receiver in ((one, other), (other, one)):
            for outgoing in sender.tick(now).outgoing:
                receiver.receive(decode_message(*encode_message(outgoing.message)), now)

    def pairs(count: int) -> None:
        for number in range(count):
            owner = str(PRESENT + number % 7)
            one.join("room:1", owner, "guest", {"phx_ref": "GOrJrE29GZvOhQGx"})
            if number % PAIRS_PER_TICK == 0:
                tick(float(number))  # so that some are seen by the other one, and are removed again
            one.leave("room:1", owner, "guest")

    pairs(20 * PAIRS_PER_TICK)
    tick(0.0)
    before = [size_of(one), size_of(other)]
    begun = time.perf_counter()
    pairs(PAIRS)
    tick(0.0)
    took = time.perf_counter() - begun
    after = [size_of(one), size_of(other)]
    print(f"{PAIRS:,} pairs in {took:.1f} s; bytes before {before}, after {after}")
    assert len(one.state) == len(other.state) == PRESENT
    for was, now in zip(before, after, strict=True):
        # The generations hold up to their bounds, more or less; nothing else changes.
        assert now < was + 200_000
        assert now < 3_000_000
