"""What two nodes say to each other when a request comes to one and its poll session lives on the other.

A node asks, and the one with the session answers: to a poll with what waits, or first with `WAIT` and then once with
`AVAILABLE`; to messages with `WAIT` and then with `DONE`. The first answer comes at once, so that its absence means
that nobody has the session. On the bus an ask or answer is an ordinary broadcast with a binary payload, so that every adapter
carries it. Readers skip fields they do not know, which lets nodes of two releases work together.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Final

import msgspec

from broadwing.core.codec import Body
from broadwing.core.messages import Broadcast

EVENT: Final = "longpoll"


class Ask(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """From the node with the request.

    Attributes:
        ref: Comes back in the answers.
        sender: Topic that the answers go to.
        session: Which session.
        messages: What the client sends, opcodes and data; `None` for a poll.
        waits: Whether a poll that finds nothing is to be told of the next message.
    """

    ref: int
    sender: str
    session: str
    messages: Sequence[tuple[int, bytes]] | None = None
    waits: bool = False


class Verdict(IntEnum):
    """What an answer says."""

    GONE = 0
    """There is no such session."""
    WAIT = 1
    """The session is here; another answer follows."""
    AVAILABLE = 2
    """There is something to take now, so poll again; it is not sent along because the client may have left meanwhile."""
    DONE = 3
    """Here is the outcome."""


class Answer(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """From the node with the session.

    Attributes:
        ref: Of the ask.
        verdict: What it says.
        status: With `DONE`, what became of the client's messages.
        frames: With `DONE`, what waited for the client; empty when nothing did.
    """

    ref: int
    verdict: Verdict
    status: int = 0
    frames: Sequence[bytes] = ()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Ask | Answer).decode


def pack(topic: str, letter: Ask | Answer) -> Broadcast:
    """Make a broadcast of it."""
    return Broadcast(topic, EVENT, Body(_encode(letter), True))


def unpack(message: Broadcast) -> Ask | Answer | None:
    """Read a broadcast that `pack` made; `None` for anything else, which has no business on that topic."""
    if message.event != EVENT or not message.body.binary:
        return None
    try:
        letter: Ask | Answer = _decode(message.body.data)
    except msgspec.DecodeError:
        return None
    return letter
