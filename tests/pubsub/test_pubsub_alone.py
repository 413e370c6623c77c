"""PubSub in a process that is alone: subscriptions, dispatch, threads. The contract of buses is judged elsewhere."""

import asyncio
import threading
from collections.abc import Hashable
from typing import Any

import pytest

from broadwing.pubsub.pubsub import PubSub
from broadwing.pubsub.registry import Subscribers
from tests.support.background import TIMEOUT


class Plain:
    """Messages are strings."""

    def encode(self, message: Any) -> bytes:
        """Write one."""
        return str(message).encode()

    def decode(self, topic: str, data: bytes) -> Any:
        """Read one, and say that it travelled."""
        return f"{topic} {data.decode()}"


def test_a_node_has_a_name() -> None:
    """checklist 153"""
    assert isinstance(PubSub(codec=Plain()).node_name, str)
    assert PubSub(codec=Plain()).node_name != PubSub(codec=Plain()).node_name
    assert PubSub(codec=Plain()).is_alone


def test_messages_reach_all_subscribers_of_their_topic_and_nobody_else() -> None:
    """checklist 155, 158"""
    pubsub, got = PubSub(codec=Plain()), list[tuple[str, Any]]()
    pubsub.subscribe("t", lambda message: got.append(("a", message)))
    pubsub.subscribe("t", lambda message: got.append(("b", message)))
    pubsub.subscribe("u", lambda message: got.append(("u", message)))
    pubsub.broadcast("t", "one")
    pubsub.local_broadcast("t", "two")
    pubsub.broadcast("nobody", "three")
    assert got == [("a", "one"), ("b", "one"), ("a", "two"), ("b", "two")]


def test_a_sender_is_skipped() -> None:
    """checklist 156"""
    pubsub, got = PubSub(codec=Plain()), list[Any]()
    mine = pubsub.subscribe("t", lambda message: got.append(("mine", message)))
    pubsub.subscribe("t", lambda message: got.append(("other", message)))
    pubsub.broadcast("t", 1, mine)
    pubsub.local_broadcast("t", 2, mine)
    assert got == [("other", 1), ("other", 2)]


def test_subscribing_twice_delivers_twice() -> None:
    """checklist 166"""
    pubsub, got = PubSub(codec=Plain()), list[Any]()
    first, second = pubsub.subscribe("t", got.append), pubsub.subscribe("t", got.append)
    pubsub.broadcast("t", 1)
    assert got == [1, 1]
    first.cancel()
    first.cancel()
    pubsub.broadcast("t", 2)
    assert got == [1, 1, 2]
    second.cancel()
    pubsub.broadcast("t", 3)
    assert got == [1, 1, 2]
    assert pubsub.registry.topics == {}


def test_a_dispatcher_of_ones_own_gets_every_subscription_with_its_metadata() -> None:
    """checklist 159"""
    calls: list[tuple[dict[Any, list[Any]], Any, Any]] = []

    def dispatch(subscribers: Subscribers, message: Any, sender: Hashable) -> int:
        calls.append(({meta: list(members) for meta, members in subscribers.groups.items()}, message, sender))
        return 0

    pubsub = PubSub(codec=Plain(), dispatcher=dispatch)
    plain = pubsub.subscribe("t", print)
    pubsub.attach("t", "key", plain, "metadata")
    pubsub.broadcast("t", 1)
    pubsub.broadcast("t", 2, "key")
    pubsub.local_broadcast("t", 3)
    pubsub.local_broadcast("t", 4, plain)
    groups = {None: [plain], "metadata": ["key"]}
    assert calls == [(groups, 1, None), (groups, 2, "key"), (groups, 3, None), (groups, 4, plain)]
    pubsub.detach("t", "key", "metadata")
    plain.cancel()
    assert pubsub.registry.topics == {}


async def test_a_direct_message_reaches_the_node_it_names() -> None:
    """checklist 157"""
    pubsub, got = PubSub(codec=Plain()), list[Any]()
    await pubsub.start()
    pubsub.subscribe("t", got.append)
    pubsub.direct_broadcast(pubsub.node_name, "t", "one")
    pubsub.direct_broadcast("an unknown node", "t", "two")
    await asyncio.sleep(0)
    assert got == ["t one"]
    await pubsub.stop()


@pytest.mark.parametrize("how", ["broadcast", "local_broadcast"])
async def test_a_broadcast_from_a_thread_is_delivered_in_the_loop(how: str) -> None:
    pubsub, got = PubSub(codec=Plain()), list[Any]()
    await pubsub.start()
    pubsub.subscribe("t", lambda message: got.append((message, threading.current_thread())))
    await asyncio.to_thread(getattr(pubsub, how), "t", "hello")
    async with asyncio.timeout(TIMEOUT):
        while not got:
            await asyncio.sleep(0)
    assert got == [("hello", threading.main_thread())]
    await pubsub.stop()
