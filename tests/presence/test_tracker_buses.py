"""One story of three trackers over every bus: what they list is the same, whoever comes, changes, dies and goes."""

import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from broadwing.pubsub.adapters import adapter_for
from tests.support.brokers import Broker
from tests.support.trackers import Node, until

# More than NATS takes in one message, so that transfers go in parts.
MANY, LONG = 1_500, "x" * 1_000


@pytest.fixture(params=["zmq", "redis", "nats"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A bus that is this test's own."""
    if request.param == "zmq":
        with tempfile.TemporaryDirectory(prefix="bw") as directory:  # paths of sockets have to be short
            yield f"zmq+ipc://{directory}/bus"
        return
    broker: Broker = request.getfixturevalue(f"{request.param}_broker")
    broker.ensure()
    yield f"{request.param}://127.0.0.1:{broker.port}?prefix={uuid.uuid4().hex}"


@asynccontextmanager
async def running(url: str, name: str, **options: Any) -> AsyncIterator[Node]:
    node = Node(adapter_for(url, node_name=name), {"broadcast_period": 0.05, "down_period": 3.0, **options})
    await node.start()
    try:
        yield node
    finally:
        await node.stop()


async def all_list(keys: list[str], *nodes: Node) -> None:
    for node in nodes:
        await until(lambda: node.keys() == sorted(keys), lambda: len(node.keys()))  # noqa: B023 - awaited before the next
        await until(lambda: {key for _, key, _ in node.present} == set(keys))  # noqa: B023


@pytest.mark.slow
async def test_all_nodes_come_to_the_same_list(url: str) -> None:
    async with AsyncExitStack() as stack, running(url, "a") as one:
        other = await stack.enter_async_context(running(url, "b", permdown_on_shutdown=False))
        for number in range(MANY):
            one.tracker.track(number, "lobby", f"a{number}", {"text": LONG})
        other.tracker.track("owner", "lobby", "bob", {})
        keys = [*(f"a{number}" for number in range(MANY)), "bob"]
        await all_list(keys, one, other)

        async with running(url, "c") as third:  # which is sent all of it
            await all_list(keys, third)
            third.tracker.track("owner", "lobby", "carol", {})
            one.tracker.untrack(7)
            one.tracker.update(8, "lobby", "a8", {"text": "short"})
            keys = [*(key for key in keys if key != "a7"), "carol"]
            await all_list(keys, one, other, third)
            for node in (other, third):
                await until(lambda: node.tracker.get_by_key("lobby", "a8")[0]["text"] == "short")  # noqa: B023

            await stack.aclose()  # b is gone without a word
            await until(lambda: one.changes[-1] == ("b", "down"))
            keys.remove("bob")
            await all_list(keys, one, third)
            async with running(url, "b") as again:
                again.tracker.track("owner", "lobby", "ben", {})
                await all_list([*keys, "ben"], one, third, again)
            await all_list(keys, one, third)  # it said goodbye
        keys.remove("carol")
        await all_list(keys, one)
        assert one.tracker.replicas == {}
