"""Topic to subscriptions, on this node.

A topic's subscriptions are kept grouped by their metadata, so that a dispatcher does its work once per group and not
once per subscriber: encoding a frame for 5,000 clients of one wire version is one call.
"""

from collections.abc import Hashable
from typing import Any, Protocol, TypeAlias


class Sink(Protocol):
    """Where a subscriber's messages go. An `asyncio` transport is one as it stands, which saves a bound method each."""

    def write(self, data: Any, /) -> object:
        """Take one message, or what the dispatcher made of it."""
        ...


Members: TypeAlias = dict[Hashable, Sink]


class Subscribers:
    """Everybody on one topic.

    Attributes:
        topic: The topic; the one string object that all subscriptions share.
        groups: Metadata to members; a member is a key and the sink of its messages.
    """

    __slots__ = ("groups", "topic")

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.groups: dict[Hashable, Members] = {}


class Registry:
    """All topics that somebody on this node listens to."""

    __slots__ = ("topics",)

    def __init__(self) -> None:
        self.topics: dict[str, Subscribers] = {}

    def add(self, topic: str, key: Hashable, sink: Sink, metadata: Hashable = None) -> Subscribers:
        """Subscribe `key`; the same key on the same topic and metadata replaces its `sink`.

        Returns:
            The topic's subscribers, whose `topic` the caller may keep instead of its own copy of the string.
        """
        subscribers = self.topics.get(topic)
        if subscribers is None:
            subscribers = self.topics[topic] = Subscribers(topic)
        members = subscribers.groups.get(metadata)
        if members is None:
            members = subscribers.groups[metadata] = {}
        members[key] = sink
        return subscribers

    def discard(self, topic: str, key: Hashable, metadata: Hashable = None) -> bool:
        """Unsubscribe `key`; unknown keys are a no-op.

        Returns:
            Whether this was the topic's last subscription.
        """
        subscribers = self.topics.get(topic)
        if subscribers is None:
            return False
        members = subscribers.groups.get(metadata)
        if members is None or members.pop(key, None) is None:
            return False
        if not members:
            del subscribers.groups[metadata]
            if not subscribers.groups:
                del self.topics[topic]
                return True
        return False

    def count(self, topic: str) -> int:
        """How many subscriptions `topic` has on this node."""
        subscribers = self.topics.get(topic)
        return sum(map(len, subscribers.groups.values())) if subscribers is not None else 0
