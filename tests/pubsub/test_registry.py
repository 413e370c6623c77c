"""Who listens to what on this node, grouped by metadata."""

from typing import Any

from broadwing.pubsub.registry import Registry


class Sink:
    """Takes nothing."""

    def write(self, data: Any, /) -> None:
        """Drop it."""


def test_members_of_a_topic_are_grouped_by_their_metadata() -> None:
    registry = Registry()
    a, b, c = Sink(), Sink(), Sink()
    registry.add("t", "a", a, "lane 1")
    registry.add("t", "b", b, "lane 1")
    registry.add("t", "c", c)
    assert registry.topics["t"].groups == {"lane 1": {"a": a, "b": b}, None: {"c": c}}
    assert registry.count("t") == 3


def test_the_same_key_replaces_its_sink() -> None:
    registry, sink = Registry(), Sink()
    registry.add("t", "a", Sink())
    registry.add("t", "a", sink)
    assert registry.topics["t"].groups == {None: {"a": sink}}


def test_all_subscriptions_share_one_string() -> None:
    registry = Registry()
    first = registry.add("".join(("room:", "1")), "a", Sink())
    second = registry.add("".join(("room", ":1")), "b", Sink())
    assert first.topic is second.topic


def test_discarding_tells_whether_it_was_the_last() -> None:
    """checklist 154"""
    registry = Registry()
    registry.add("t", "a", Sink(), "lane")
    registry.add("t", "b", Sink())
    assert registry.discard("t", "a", "lane") is False
    assert registry.topics["t"].groups.keys() == {None}
    assert registry.discard("t", "b") is True
    assert registry.topics == {}


def test_discarding_what_is_not_there_is_a_no_op() -> None:
    """checklist 154"""
    registry = Registry()
    assert registry.discard("t", "a") is False
    registry.add("t", "a", Sink(), "lane")
    assert registry.discard("t", "a") is False
    assert registry.discard("t", "b", "lane") is False
    assert registry.count("t") == 1
    assert registry.count("u") == 0
