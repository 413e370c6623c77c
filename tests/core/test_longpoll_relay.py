"""What nodes say to each other about poll sessions survives the bus, and nothing else passes for it."""

import msgspec
import pytest

from broadwing.core.codec import Body
from broadwing.core.frames import BINARY, TEXT
from broadwing.core.longpoll_relay import EVENT, Answer, Ask, Verdict, pack, unpack
from broadwing.core.messages import Broadcast

LETTERS: list[Ask | Answer] = [
    Ask(1, "inbox", "session"),
    Ask(1, "inbox", "session", None, True),
    Ask(2**40, "inbox", "session", [(TEXT, b"[]"), (BINARY, b"\x00\xff")]),
    Answer(1, Verdict.GONE, 0, []),
    Answer(1, Verdict.WAIT, 0, []),
    Answer(1, Verdict.AVAILABLE, 0, []),
    Answer(1, Verdict.DONE, 200, [b'"a"', b'"b"']),
]


@pytest.mark.parametrize("letter", LETTERS, ids=repr)
def test_a_letter_is_read_as_it_was_written(letter: Ask | Answer) -> None:
    message = pack("topic", letter)
    assert (message.topic, message.event, message.body.binary) == ("topic", EVENT, True)
    assert unpack(message) == letter


def test_fields_that_a_later_release_adds_are_skipped() -> None:
    longer = msgspec.msgpack.encode([1, 7, "inbox", "session", None, True, "something new"])
    assert unpack(Broadcast("topic", EVENT, Body(longer, True))) == Ask(7, "inbox", "session", None, True)


@pytest.mark.parametrize(
    "message",
    [
        Broadcast("topic", "another event", pack("topic", LETTERS[0]).body),
        Broadcast("topic", EVENT, Body(b'{"json":1}')),
        Broadcast("topic", EVENT, Body(b"", True)),
        Broadcast("topic", EVENT, Body(b"\xc1", True)),
        Broadcast("topic", EVENT, Body(msgspec.msgpack.encode([3, 1, "a", "b"]), True)),
        Broadcast("topic", EVENT, Body(msgspec.msgpack.encode([2, 1, 9]), True)),
    ],
    ids=["event", "text", "empty", "garbage", "kind", "verdict"],
)
def test_anything_else_is_no_letter(message: Broadcast) -> None:
    assert unpack(message) is None
