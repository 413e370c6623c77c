"""Topic patterns and their routes, as `Phoenix.Socket.channel/3` has them (lib/phoenix/socket.ex)."""

import pytest

from broadwing.core.topics import Routes, check_pattern
from broadwing.exceptions import ConfigurationError


@pytest.mark.parametrize(
    ("pattern", "topic", "matches"),
    [
        ("room:lobby", "room:lobby", True),
        ("room:lobby", "room:lobby2", False),
        ("room:lobby", "room:", False),
        ("room:lobby", "ROOM:LOBBY", False),
        ("room:*", "room:lobby", True),
        ("room:*", "room:", True),  # recorded: "room: with empty subtopic" joins
        ("room:*", "room:a:b", True),
        ("room:*", "room:*", True),
        ("room:*", "room", False),
        ("room:*", "rooms:1", False),
        ("room:*", " room:1", False),
        ("*", "", True),
        ("*", "anything", True),
        ("*", "☃", True),
        ("", "", True),
        ("", "a", False),
        ("bare", "bare", True),
        ("bare", "bare:x", False),  # recorded
        ("räume:*", "räume:東京", True),
    ],
)
def test_a_pattern_is_a_whole_topic_or_a_prefix(pattern: str, topic: str, matches: bool) -> None:
    assert Routes([(pattern, "found")]).match(topic) == ("found" if matches else None)


def test_the_first_declared_match_wins() -> None:
    # The example of Phoenix's own test: "foo*" and "food*" by order of declaration.
    assert Routes([("foo*", 1), ("food*", 2)]).match("foods") == 1
    assert Routes([("food*", 2), ("foo*", 1)]).match("foods") == 2
    assert Routes([("food*", 2), ("foo*", 1)]).match("foot") == 1
    assert Routes([("*", 0), ("room:1", 1)]).match("room:1") == 0
    assert Routes([("room:1", 1), ("*", 0)]).match("room:1") == 1


def test_without_a_match_there_is_nothing() -> None:
    assert Routes([("room:*", 1), ("bare", 2)]).match("nosuch:topic") is None
    empty: Routes[int] = Routes([])
    assert empty.match("room:1") is None


def test_a_target_may_be_falsy() -> None:
    assert Routes([("a", 0)]).match("a") == 0


@pytest.mark.parametrize("pattern", ["*:room", "room:*:x", "a*b", "**", "room:**", "*room*"])
def test_a_star_anywhere_but_at_the_end_is_refused(pattern: str) -> None:
    for attempt in (lambda: check_pattern(pattern), lambda: Routes([("fine:*", 1), (pattern, 2)])):
        with pytest.raises(ConfigurationError, match=r"channels using splat patterns must end with \*") as caught:
            attempt()
        assert repr(pattern) in str(caught.value)


@pytest.mark.parametrize("pattern", ["room:lobby", "room:*", "*", ""])
def test_an_exact_topic_a_prefix_and_a_star_are_accepted(pattern: str) -> None:
    check_pattern(pattern)
