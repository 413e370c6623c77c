"""What ZeroMQ nodes say to each other: one frame per message of ZeroMQ, version 1.

    bytes 0-2    "bzq"
    byte 3       version, 1
    byte 4       kind: 1 messages for everybody, 2 messages for one node, 3 hello, 4 goodbye, 6 question, 5 answer to 4 and 6
    bytes 5-12   the sender's id, random for every start of a node
    bytes 13-20  number of the frame, counted by the sender over everything it sends, big-endian
    ...          by kind

    messages     records up to the end: topic length and data length, 4 bytes each, the topic in UTF-8, the data
    for a node   2 bytes length, its name; then records
    hello        8 bytes token of this connection; 2 bytes length, the sender's name; its address up to the end
    goodbye      8 bytes token; the answer repeats it
    question     the same, from a node that stays and wants to know that everything before it was read, or whether anybody is
                 there and who; the token of its hello if that is all

The id keeps a node from hearing itself. The number keeps a frame that came twice, or over an old connection after a newer
one, from being delivered: at most once and in order, whatever the connections between two nodes went through. The token of a
hello is said over one connection only, so a node that says hello to itself with it has dialled itself, and who answers
a question with it is who is reached over that connection. A node that stops waits for answers to
its goodbyes, because a receiver with a full queue would lose what it has not read from a connection that is closed.
"""

import struct
from typing import Final, NamedTuple

VERSION: Final = 1
MESSAGES, DIRECT, HELLO, BYE, READ, ASK = 1, 2, 3, 4, 5, 6

_HEAD: Final = struct.Struct(">4sB8sQ")
_MARK: Final = b"bzq%c" % VERSION
_LENGTHS: Final = struct.Struct(">II")

# Topics may hold halves of surrogate pairs, as JSON can. They must not raise in the middle of an outbox.
_LENIENT: Final = "surrogatepass"

OVERHEAD: Final = 65_536 + 1024
"""More than what a frame holds besides the topics and data of its records, if it is for one message."""


class Frame(NamedTuple):
    """A frame's head, and where its content begins."""

    kind: int
    sender: bytes
    number: int
    start: int = _HEAD.size


class Hello(NamedTuple):
    """Who has connected.

    Attributes:
        token: What the sender calls this connection.
        name: The sender's name on the bus.
        address: Where it is reached, as far as it knows; else empty.
    """

    token: bytes
    name: str
    address: str


def record(topic: str, data: bytes) -> tuple[bytes, bytes, bytes]:
    """One message as parts of a frame."""
    name = topic.encode("utf-8", _LENIENT)
    return _LENGTHS.pack(len(name), len(data)), name, data


def head(kind: int, sender: bytes, number: int) -> bytes:
    """The beginning of a frame."""
    return _HEAD.pack(_MARK, kind, sender, number)


def addressee(name: str) -> bytes:
    """What follows the head of a frame for one node."""
    return _text(name)


def hello(token: bytes, name: str, address: str) -> bytes:
    """What follows the head of a hello."""
    return token + _text(name) + address.encode()


def read_head(data: bytes) -> Frame:
    """Read the beginning.

    Raises:
        ValueError: It is not a frame of this version.
    """
    if len(data) < _HEAD.size or data[:3] != _MARK[:3]:
        raise ValueError(f"expected a frame of Broadwing, got {data[:24]!r}")
    mark, kind, sender, number = _HEAD.unpack_from(data)
    if mark != _MARK:
        raise ValueError(
            f"a node speaks version {data[3]} of the mesh, this one {VERSION}; run one release on all nodes"
        )
    return Frame(kind, sender, number)


def read_addressee(data: bytes, at: int) -> tuple[str, int]:
    """Read whom a frame is for, and where its records begin.

    Raises:
        ValueError: The frame is damaged.
    """
    end = at + 2 + int.from_bytes(data[at : at + 2])
    if end > len(data):
        raise ValueError(f"a frame ends at {len(data)}, within the name of whom it is for")
    return data[at + 2 : end].decode("utf-8", _LENIENT), end


def read_records(data: bytes, at: int) -> list[tuple[str, bytes]]:
    """Read topics and data.

    Raises:
        ValueError: The frame is damaged; none of it counts.
    """
    records = []
    end = len(data)
    while at < end:
        if at + 8 > end:
            raise ValueError(f"a frame ends at {end}, within the lengths of a message")
        topic_length, data_length = _LENGTHS.unpack_from(data, at)
        middle = at + 8 + topic_length
        at = middle + data_length
        if at > end:
            raise ValueError(f"a frame ends at {end}, a message in it at {at}")
        records.append((data[middle - topic_length : middle].decode("utf-8", _LENIENT), data[middle:at]))
    return records


def read_token(data: bytes, at: int) -> bytes:
    """Read the token of a goodbye, a question or an answer.

    Raises:
        ValueError: The frame is damaged.
    """
    if len(data) != at + 8:
        raise ValueError(f"a goodbye, a question or an answer has {len(data) - at} bytes instead of 8")
    return data[at:]


def read_hello(data: bytes, at: int) -> Hello:
    """Read a hello.

    Raises:
        ValueError: The frame is damaged.
    """
    name, end = read_addressee(data, at + 8)
    return Hello(data[at : at + 8], name, data[end:].decode())


def _text(value: str) -> bytes:
    data = value.encode("utf-8", _LENIENT)
    return len(data).to_bytes(2) + data
