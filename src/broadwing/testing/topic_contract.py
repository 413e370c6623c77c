"""Topics of any letters and length, and payloads of any bytes and size."""

from typing import Final

import pytest

from broadwing.testing.cluster import Cluster
from broadwing.testing.node_contract import NodeContract

TOPICS: Final = {
    "plain": "room:lobby",
    "empty": "",
    "umlauts": "räume:größte",
    "cyrillic": "чат:общий",
    "japanese": "部屋:ロビー",
    "emoji": "🦋:👩‍👩‍👧",
    "right to left": "\u202eغرفة",
    "half a surrogate pair": "room:\ud83e",
    "spaces": " a  b ",
    "line ends": "a\r\nb\n",
    "NUL": "a\0b",
    "dots": ".a..b.",
    "a pattern of NATS": "a.*.>",
    "a pattern of Redis": "a:*?[b-d]\\",
    "a hash tag of Redis": "{a}:{b}",
    "a system topic of NATS": "$SYS.ACCOUNT",
    "percent signs": "%00%2F%%",
    "slashes": "/a//b/",
    "300 bytes": "x" * 300,
    "4 KiB": "y" * 4096,
    "60 kB": "ü" * 30_000,
}

NEIGHBOURS: Final = {
    "a pattern with a star": ("a.*", "a.b"),
    "a pattern for the rest": ("a.>", "a.b.c"),
    "a pattern of Redis": ("room:*", "room:1"),
    "a class of letters": ("room:[12]", "room:1"),
    "case": ("room:A", "room:a"),
    "normal forms": ("caf\u00e9", "cafe\u0301"),
    "a prefix": ("room:1", "room:12"),
    "space at the end": ("room:1", "room:1 "),
    "percent": ("a%41", "aA"),
    "long ones": ("z" * 5000 + "1", "z" * 5000 + "2"),
}


class TopicContract(NodeContract):
    """What holds for the content of messages."""

    @pytest.mark.parametrize("what", TOPICS)
    def test_any_topic_can_be_used(self, what: str) -> None:
        async def story(cluster: Cluster) -> None:
            one, two = await cluster.nodes(2)
            inbox = await two.inbox(TOPICS[what])
            one.broadcast(TOPICS[what], b"1")
            one.pubsub.direct_broadcast(two.name, TOPICS[what], b"2")
            await inbox.holds(2)
            assert sorted(inbox.messages) == [b"1", b"2"]

        self.tell(story)

    @pytest.mark.parametrize("what", NEIGHBOURS)
    def test_topics_that_look_alike_are_kept_apart(self, what: str) -> None:
        async def story(cluster: Cluster) -> None:
            one, two = await cluster.nodes(2)
            topics = NEIGHBOURS[what]
            inboxes = [await two.inbox(topic) for topic in topics]
            for topic in topics:
                one.broadcast(topic, topic.encode()[-20:])
                one.broadcast(topic, b"end")
            for topic, inbox in zip(topics, inboxes, strict=True):
                await inbox.has(topic.encode()[-20:], b"end")
            inboxes[1].close()
            one.broadcast(topics[1], b"unheard")
            one.broadcast(topics[0], b"heard")
            await inboxes[0].gets(b"heard")
            assert b"unheard" not in inboxes[0].messages

        self.tell(story)

    @pytest.mark.parametrize("size", [0, 1, 1000, 65_535, 65_536, 300_000, 1_000_000])
    def test_payloads_of_any_size_and_all_bytes_arrive(self, size: int) -> None:
        async def story(cluster: Cluster) -> None:
            one, two = await cluster.nodes(2)
            inbox = await two.inbox("a")
            message = (bytes(range(256)) * (size // 256 + 1))[:size]
            one.broadcast("a", message)
            one.broadcast("a", b"after it")
            await inbox.has(message, b"after it")

        self.tell(story)

    def test_large_and_small_payloads_keep_their_order(self) -> None:
        async def story(cluster: Cluster) -> None:
            one, two = await cluster.nodes(2)
            inbox = await two.inbox("a")
            expected = [bytes([65 + number]) * (200_000 if number % 3 == 0 else 10) for number in range(12)]
            for message in expected:
                one.broadcast("a", message)
            await inbox.has(*expected)

        self.tell(story)
