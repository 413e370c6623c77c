"""`python -m bench.presence`: what presences cost, by their number, in one process and without a bus."""

import argparse
import asyncio
import time
import tracemalloc
from collections.abc import Callable, Sequence

from broadwing import PubSub, Tracker
from broadwing.core.presence.participant import Participant, Periods
from broadwing.core.presence.replica import Replica
from broadwing.core.presence.wire import Heartbeat, Transfer, TransferRequest, decode_message, encode_message

TOPIC = "room:1"
ROWS = (
    ("track", "µs"),
    ("update", "µs"),
    ("untrack", "µs"),
    ("get_by_key", "µs"),
    ("list", "ms"),
    ("a full state, its bytes", "kB"),
    ("written", "ms"),
    ("read", "ms"),
    ("merged", "ms"),
    ("a join as heartbeat, its bytes", "B"),
    ("merged", "µs"),
    ("memory per presence", "B"),
)


def best(act: Callable[[], object], times: int) -> float:
    """Seconds that one of some calls takes in the best of five rounds."""
    rounds = []
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(times):
            act()
        rounds.append((time.perf_counter() - begun) / times)
    return min(rounds)


def fill(tracker: Tracker, present: int) -> None:
    """Track so many, each with a meta of two fields besides its ref."""
    for number in range(present):
        tracker.track(number, TOPIC, f"user:{number}", {"online_at": 1_700_000_000 + number, "status": "available"})


async def memory_per_presence(present: int) -> float:
    """Bytes of Python's memory that each takes."""
    async with PubSub("local://") as pubsub, Tracker(pubsub) as tracker:
        tracemalloc.start()
        fill(tracker, present)
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return taken / present


async def measure(present: int) -> list[float]:
    """The figures of `ROWS` with so many presences on one topic."""
    async with PubSub("local://") as pubsub, Tracker(pubsub) as tracker:
        fill(tracker, present)
        owner = iter(range(present, 10 * present + 100_000))
        meta = {"online_at": 1_700_000_000, "status": "available"}
        tracked: list[int] = []

        def track() -> None:
            tracked.append(next(owner))
            tracker.track(tracked[-1], TOPIC, f"user:{tracked[-1]}", meta)

        figures = [best(track, 500) * 1e6]
        figures.append(best(lambda: tracker.update(0, TOPIC, "user:0", meta), 500) * 1e6)
        figures.append(best(lambda: tracker.untrack(tracked.pop()), 500) * 1e6)
        figures.append(best(lambda: tracker.get_by_key(TOPIC, "user:7"), 500) * 1e6)
        figures.append(best(lambda: tracker.list(TOPIC), 3) * 1e3)
        figures += transfers(tracker._shards[0].participant)
    return [*figures, await memory_per_presence(present)]


def transfers(full: Participant) -> list[float]:
    """What another node costs: the rows from "a full state" to the last but one."""
    request = TransferRequest(Replica("b", 1), 1, {full.replica: 0})
    answer = full.receive(request, 0.0).outgoing[0].message
    event, data = encode_message(answer)
    read = decode_message(event, data)
    assert isinstance(read, Transfer)
    others = []

    def merge() -> None:
        other = Participant(Replica("b", 1), Periods(10, 30.0, 1200.0, 2), (100, 1_000, 10_000))
        other.receive(Heartbeat(full.replica, {}), 0.0)
        other.receive(read, 0.0)
        others.append(other)

    figures = [len(data) / 1e3, best(lambda: encode_message(answer), 1) * 1e3]
    figures += [best(lambda: decode_message(event, data), 1) * 1e3, best(merge, 1) * 1e3]
    full.state.take_delta()
    heartbeats = []
    for number in range(500):
        full.join(TOPIC, f"x{number}", f"late:{number}", {"phx_ref": "GOrJrE29GZvOhQGx", "status": "available"})
        heartbeats.append(Heartbeat(full.replica, full.state.clocks(), full.state.take_delta()))
    size = len(encode_message(heartbeats[0])[1])
    due = iter(heartbeats)
    one = best(lambda: others[-1].receive(next(due), 0.0), 100)
    return [*figures, size, one * 1e6]


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.presence", description=__doc__)
    parser.add_argument("present", type=int, nargs="*", help="how many are present (100 1000 10000)")
    counts = parser.parse_args(words).present or [100, 1_000, 10_000]
    columns = [asyncio.run(measure(count)) for count in counts]
    print("| | " + " | ".join(f"{count:,} present" for count in counts) + " |")
    print("|---|" + "---|" * len(counts))
    for (name, unit), figures in zip(ROWS, zip(*columns, strict=True), strict=True):
        print(f"| {name} | " + " | ".join(f"{figure:,.4g} {unit}" for figure in figures) + " |")


if __name__ == "__main__":
    main()
