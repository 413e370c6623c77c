"""What a node thinks of its bus while the bus, or the node itself, does not answer."""

import asyncio
import time

from broadwing.pubsub.health import Health
from broadwing.pubsub.pubsub import PubSub
from broadwing.testing.cluster import Plain
from tests.support.bus import MemoryAdapter, MemoryBus
from tests.support.mesh import until


async def test_a_loop_that_was_blocked_does_not_make_its_node_deaf() -> None:
    bus = MemoryBus(MemoryAdapter)
    pubsub = PubSub(bus.adapter(), codec=Plain(), canary_interval=0.0, canary_timeout=0.05)
    told: list[Health] = []
    await pubsub.start()
    pubsub.on_health(told.append)
    for _ in range(10):
        await asyncio.sleep(0.001)
        time.sleep(0.1)  # a canary is always in the air
    await pubsub.stop()
    assert told == []


async def test_a_new_connection_is_no_proof_that_a_deaf_node_hears() -> None:
    bus = MemoryBus(MemoryAdapter)
    pubsub = PubSub(bus.adapter(), codec=Plain(), canary_interval=0.01, canary_timeout=0.02)
    told: list[Health] = []
    await pubsub.start()
    pubsub.on_health(told.append)
    await bus.pause_bus()
    await until(lambda: told.count(Health.DEAF) >= 3)  # each time it reconnects
    assert Health.UP not in told
    await bus.resume_bus()
    await until(lambda: pubsub.health is Health.UP)
    await pubsub.stop()
