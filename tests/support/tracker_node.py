"""A node with a tracker in a process of its own, told what to do in lines of JSON.

    python -m tests.support.tracker_node URL NAME [--impatient] [--clock=SECONDS]

With --clock its wall clock is that much wrong. It answers as `tests.support.node` does:
{"do": "track", "prefix": …, "count": …}    {"tracked": how many}; keys are NAME-PREFIX-0 and so on, each with an owner of its own
{"do": "untrack", "prefix": …, "count": …}  {"untracked": how many}
{"do": "sees"}                              see `Seen`
{"do": "stop"}                              {"stopped": true}, and ends
"""

import asyncio
import hashlib
import json
import sys
import time
from collections import Counter
from typing import Any

from broadwing import PubSub, Tracker
from broadwing.core.messages import Broadcast
from broadwing.core.presence.wire import Heartbeat, decode_message
from broadwing.exceptions import EnvelopeError
from broadwing.presence.tracker import Diff
from broadwing.pubsub.adapters import adapter_for
from broadwing.pubsub.health import Health
from broadwing.pubsub.zmq import ZmqAdapter
from tests.support.node import hurry, say

DOWN_PERIOD = 4.0
TOPIC = "lobby"
MODULE = "tests.support.tracker_node"


class Seen:
    """What the node sees; "sees" tells it with what is listed.

    Attributes:
        joins: How many were reported, by the node that their keys are called after.
        leaves: The same.
        silence: Seconds between the last heartbeat of a node and the first of its leaves since it was up.
        heard_at: When the last heartbeat of each node came.
    """

    def __init__(self) -> None:
        self.joins: Counter[str] = Counter()
        self.leaves: Counter[str] = Counter()
        self.silence: dict[str, float] = {}
        self.heard_at: dict[str, float] = {}
        self.changes: list[tuple[str, str]] = []

    def take(self, diff: Diff) -> None:
        changes = diff[TOPIC]
        self.joins.update(node_of(key) for key, _ in changes.joins)
        for node in {node_of(key) for key, _ in changes.leaves}:
            self.silence[node] = time.monotonic() - self.heard_at.get(node, 0.0)
        self.leaves.update(node_of(key) for key, _ in changes.leaves)

    def hear(self, message: Broadcast) -> None:
        try:
            heard = decode_message(message.event, message.body.data)
        except EnvelopeError:
            return  # a part
        if isinstance(heard, Heartbeat):
            self.heard_at[heard.sender.name] = time.monotonic()


def node_of(key: str) -> str:
    return key.partition("-")[0]


def listed(tracker: Tracker) -> dict[str, Any]:
    presences = tracker.list(TOPIC)
    refs = sorted(f"{key} {meta['phx_ref']}" for key, meta in presences)
    return {
        "present": Counter(node_of(key) for key, _ in presences),
        "digest": hashlib.sha256("\n".join(refs).encode()).hexdigest(),
        "dirty": len(tracker.dirty_list(TOPIC)),
        "replicas": tracker.replicas,
    }


async def main(url: str, name: str, *words: str) -> None:
    """Be the node."""
    options = hurry() if "--impatient" in words else {}
    adapter = adapter_for(url, node_name=name)
    pubsub = PubSub(adapter, **options)
    seen = Seen()
    tracker = Tracker(
        pubsub,
        broadcast_period=0.2,
        max_silent_periods=2,
        down_period=DOWN_PERIOD,
        permdown_period=600.0,
        handle_diff=seen.take,
    )
    tracker.on_replica(lambda name, status: seen.changes.append((name, status)))
    await pubsub.start()
    await tracker.start()
    pubsub.subscribe("phx_presence:tracker_shard0", seen.hear)
    lines = asyncio.StreamReader(limit=2**26)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    say({"name": pubsub.node_name})
    while line := await lines.readline():
        match json.loads(line):
            case {"do": "track", "prefix": prefix, "count": number}:
                for index in range(number):
                    key = f"{name}-{prefix}-{index}"
                    tracker.track(key, TOPIC, key, {"at": index})
                say({"tracked": number})
            case {"do": "untrack", "prefix": prefix, "count": number}:
                for index in range(number):
                    tracker.untrack(f"{name}-{prefix}-{index}")
                say({"untracked": number})
            case {"do": "sees"}:
                peers = adapter.peers if isinstance(adapter, ZmqAdapter) else {}
                told = {"joins": seen.joins, "leaves": seen.leaves, "silence": seen.silence, "changes": seen.changes}
                say({"up": pubsub.health is Health.UP, "peers": peers, **told, **listed(tracker), "now": time.time()})
            case {"do": "stop"}:
                break
    await tracker.stop()
    await pubsub.stop()
    say({"stopped": True})


def be_wrong_by(seconds: float) -> None:
    """Set the wall clock of this process."""
    right, right_ns = time.time, time.time_ns
    time.time = lambda: right() + seconds
    time.time_ns = lambda: right_ns() + int(seconds * 1e9)


if __name__ == "__main__":
    for word in sys.argv[1:]:
        if word.startswith("--clock="):
            be_wrong_by(float(word.removeprefix("--clock=")))
    asyncio.run(main(*sys.argv[1:]))
