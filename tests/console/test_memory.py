"""What `broadwing connect` offers to complete: events, payloads and keys of before."""

import pytest

from broadwing.console.memory import Memory


@pytest.fixture
def memory() -> Memory:
    """One that has seen something."""
    memory = Memory()
    for line in (
        'new_msg {"body": "hi"}',
        'new_msg {"body": "there", "to": {"name": "x"}}',
        "echo 7",
        '/send typing {"on": true}',
        "/join room:2",
        "/who",
        "",
        "broken {",
    ):
        memory.sent(line)
    memory.received({"stars": [{"count": 1}]})
    return memory


def texts(memory: Memory, before: str) -> list[str]:
    """The line as each completion would make it."""
    return [before[: len(before) - length] + text for text, length in memory.complete(before)]


def test_events_come_latest_first_and_then_commands(memory: Memory) -> None:
    assert texts(memory, "")[:3] == ["typing", "echo", "new_msg"]
    assert texts(memory, "n") == ["new_msg"]
    assert texts(memory, "/w") == ["/who"]
    assert texts(memory, "broken") == []


def test_payloads_of_an_event_come_as_they_were_sent(memory: Memory) -> None:
    assert texts(memory, "new_msg ")[:2] == [
        'new_msg {"body": "there", "to": {"name": "x"}}',
        'new_msg {"body": "hi"}',
    ]
    assert texts(memory, 'new_msg {"body": "h') == ['new_msg {"body": "hi"}']
    assert texts(memory, 'new_msg {"body": "hi"}') == []
    assert texts(memory, "unknown ") == []


def test_keys_of_what_was_sent_or_received_come_inside_of_objects(memory: Memory) -> None:
    assert texts(memory, 'other {"st') == ['other {"stars": ']
    assert texts(memory, 'other {"a": 1, "na') == ['other {"a": 1, "name": ']
    assert 'other {"body": ' in texts(memory, "other {")
    assert texts(memory, 'other {"a": {"cou') == ['other {"a": {"count": ']


@pytest.mark.parametrize(
    "before", ['other {"a": "st', 'other ["st', "other ", 'other {"a" ', 'other {"a\\"', "other {}"]
)
def test_elsewhere_no_key_can_stand(memory: Memory, before: str) -> None:
    assert texts(memory, before) == []


def test_topics_come_where_topics_stand(memory: Memory) -> None:
    memory.topics["room:lobby"] = None
    assert texts(memory, "/topic ") == ["/topic room:lobby", "/topic room:2"]
    assert texts(memory, "/leave room:2") == ["/leave room:2"]
    assert texts(memory, "/send ") == ["/send typing", "/send echo", "/send new_msg"]
    assert texts(memory, "/send typing ") == ['/send typing {"on": true}']
    assert texts(memory, "/ping ") == []


def test_what_is_remembered_is_bounded() -> None:
    memory = Memory(most=3)
    for number in range(10):
        memory.sent(f"e{number} {number}")
        memory.sent(f"same {number}")
        memory.received({f"k{number}": [1] * 10})
    assert texts(memory, "e") == ["e9", "e8"]  # the third is `same`
    assert texts(memory, "same ") == ["same 9", "same 8", "same 7"]
    assert texts(memory, "other {") == [f'other {{"k{number}": ' for number in (9, 8, 7)]
