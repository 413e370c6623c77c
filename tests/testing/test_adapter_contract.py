"""The adapter contract holds for a broker in memory, and finds each fault that is built into one."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from broadwing.pubsub import adapter
from broadwing.pubsub.adapter import Receive
from broadwing.testing.adapter_contract import AdapterContract
from broadwing.testing.interest_contract import InterestContract
from broadwing.testing.outage_contract import OutageContract
from tests.support.bus import MemoryAdapter, MemoryBus, memory_bus


class TestMemory(OutageContract, InterestContract):
    def bus(self) -> AbstractAsyncContextManager[MemoryBus]:
        return memory_bus()


class Echoing(MemoryAdapter):
    """Hears itself."""

    def publish(self, topic: str, data: bytes) -> None:
        super().publish(topic, data)
        if topic in self.subscribed:
            self.bus.do(lambda: self.receive(topic, data))


class Doubling(MemoryAdapter):
    """Sends everything twice."""

    def publish(self, topic: str, data: bytes) -> None:
        super().publish(topic, data)
        super().publish(topic, data)


class Swapping(MemoryAdapter):
    """Lets each second message of a topic overtake the first."""

    held: dict[str, bytes]

    def publish(self, topic: str, data: bytes) -> None:
        self.held = getattr(self, "held", {})
        first = self.held.pop(topic, None)
        if first is None:
            self.held[topic] = data
        else:
            super().publish(topic, data)
            super().publish(topic, first)


class Hasty(MemoryAdapter):
    """Confirms subscriptions before the bus knows them."""

    def subscribe(self, topic: str) -> Awaitable[None] | None:
        asyncio.get_running_loop().call_later(0.02, super().subscribe, topic)
        return None


class Lossy(MemoryAdapter):
    """Loses what exceeds a small queue, and says nothing."""

    def publish(self, topic: str, data: bytes) -> None:
        if len(self.bus.commands) < 20:
            super().publish(topic, data)


class Careless(MemoryAdapter):
    """Says that the bus has what still waits here."""

    def publish(self, topic: str, data: bytes) -> None:
        self.must_be_up()
        self.kept = asyncio.get_running_loop().call_later(0.02, super().publish, topic, data)

    async def flush(self) -> None:
        self.must_be_up()

    async def reconnect(self) -> None:
        self.kept.cancel()


class Late(MemoryAdapter):
    """Forgets what was subscribed to before its start."""

    async def start(self, receive: Receive, changed: Callable[[], None]) -> None:
        self.wanted.clear()
        await super().start(receive, changed)


class Cutting(MemoryAdapter):
    """Has a limit for messages that it does not speak of."""

    def publish(self, topic: str, data: bytes) -> None:
        super().publish(topic, data[:500_000])


class Lowering(MemoryAdapter):
    """Takes topics for host names."""

    def subscribe(self, topic: str) -> Awaitable[None] | None:
        return super().subscribe(topic.lower())

    def publish(self, topic: str, data: bytes) -> None:
        super().publish(topic.lower(), data)


class Strict(MemoryAdapter):
    """Takes only topics that have a UTF-8 form."""

    def publish(self, topic: str, data: bytes) -> None:
        super().publish(topic.encode().decode(), data)


class Shouting(MemoryAdapter):
    """Sends what is for one node to all."""

    def publish_to(self, node: str, topic: str, data: bytes) -> None:
        if node == self.node_name:
            super().publish_to(node, topic, data)
        else:
            self.publish(topic, data)


class Mute(MemoryAdapter):
    """Does not come back from the bus to itself."""

    def publish_to(self, node: str, topic: str, data: bytes) -> None:
        if node != self.node_name:
            super().publish_to(node, topic, data)


class Forgetful(MemoryAdapter):
    """Does not subscribe again."""

    def connected(self) -> None:
        self.wanted.clear()
        super().connected()


class Silent(MemoryAdapter):
    """Does not say that it was disconnected."""

    def disconnected(self) -> None:
        self.subscribed.clear()


class Sticky(MemoryAdapter):
    """Goes on to hear what was left."""

    def unsubscribe(self, topic: str) -> None:
        self.wanted.discard(topic)


class Waiting(MemoryAdapter):
    """Starts only with its bus."""

    async def start(self, receive: Receive, changed: Callable[[], None]) -> None:
        while not self.bus.is_up:
            await asyncio.sleep(0.01)
        await super().start(receive, changed)


class Accepting(MemoryAdapter):
    """Takes messages that it cannot send."""

    def must_be_up(self) -> None:
        pass


class Namesake(MemoryAdapter):
    """Has everybody's name."""

    def __init__(self, bus: MemoryBus, node_name: str | None = None) -> None:
        super().__init__(bus, node_name or "node")


class Untidy(MemoryAdapter):
    """Leaves a task behind."""

    tasks: list[Any] = []  # kept, so that nothing else ends it

    async def stop(self) -> None:
        await super().stop()
        self.tasks.append(asyncio.get_running_loop().create_task(asyncio.sleep(1000)))


def test_the_contract_of_adapters_is_short_enough_to_be_kept() -> None:
    text = Path(adapter.__file__).read_text("utf-8")
    assert len(text.splitlines()) < 60
    assert "Guarantees:" in text


FAULTS = [
    (Echoing, "test_a_node_does_not_hear_its_own_broadcasts_from_the_bus"),
    (Doubling, "test_a_broadcast_reaches_every_other_node_once"),
    (Swapping, "test_messages_of_one_publisher_arrive_in_order"),
    (Hasty, "test_what_is_broadcast_after_a_subscription_is_confirmed_arrives"),
    (Lossy, "test_many_topics_in_one_turn_arrive_whole"),
    (Careless, "test_what_was_flushed_survives_the_loss_of_the_connections"),
    (Late, "test_a_subscription_made_before_the_start_counts_after_it"),
    (Cutting, "test_payloads_of_any_size_and_all_bytes_arrive"),
    (Lowering, "test_topics_that_look_alike_are_kept_apart"),
    (Strict, "test_any_topic_can_be_used"),
    (Shouting, "test_direct_broadcast_reaches_one_node_only"),
    (Mute, "test_a_canary_flies_through_the_bus_and_comes_back"),
    (Forgetful, "test_a_reconnected_node_hears_and_is_heard"),
    (Forgetful, "test_an_outage_is_noticed_by_all_nodes_and_mends_by_itself"),
    (Silent, "test_an_outage_is_noticed_by_all_nodes_and_mends_by_itself"),
    (Sticky, "test_a_node_is_not_sent_topics_that_everybody_on_it_has_left"),
    (Waiting, "test_a_node_starts_without_its_bus_and_joins_when_it_is_there"),
    (Accepting, "test_a_node_that_is_stopped_or_not_started_refuses_to_publish"),
    (Namesake, "test_no_two_nodes_have_one_name"),
    (Untidy, "test_stopping_twice_or_without_a_start_is_a_no_op"),
]


@pytest.mark.parametrize(("faulty", "test"), FAULTS, ids=[f"{faulty.__name__}-{test}" for faulty, test in FAULTS])
def test_the_contract_finds(faulty: type[MemoryAdapter], test: str) -> None:
    class Contract(OutageContract, InterestContract):
        patience = 0.3

        def bus(self) -> AbstractAsyncContextManager[MemoryBus]:
            return memory_bus(faulty)

    run: Any = getattr(Contract(), test)
    marks = getattr(run, "pytestmark", None)
    cases = [{marks[0].args[0]: value} for value in marks[0].args[1]] if marks else [{}]
    found = 0
    for case in cases:
        try:
            run(**case)
        except (AssertionError, TimeoutError, UnicodeError, pytest.fail.Exception):
            found += 1
    assert found, f"{test} passed with an adapter that is {faulty.__doc__}"


def test_the_contract_is_collected_only_where_it_is_subclassed() -> None:
    assert not AdapterContract.__name__.startswith("Test")
    assert AdapterContract.__abstractmethods__ == {"bus"}
