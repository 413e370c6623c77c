"""What nodes put before a message on a broker: who sent it, and its topic where the broker's name for it does not say. Version 1.

    bytes 0-2    B7 42 57: "BW" behind a byte that begins no UTF-8 text, so that nobody writes it by chance
    byte 3       version, 1
    byte 4       flags: 1 the topic follows, 2 for one node
    bytes 5-12   the sender's id, random for every start of a node
    with flag 1  4 bytes length, the topic in UTF-8
    ...          the message

A broker sends a node its own messages back when it listens to their topic; the id tells them. It is not the node's name, so
that two nodes that were given one name by mistake still hear each other. What begins otherwise was published by somebody else
and is handed up as it is.
"""

import secrets
from typing import Final, NamedTuple

VERSION: Final = 1
_MARK: Final = b"\xb7BW"
_HEAD: Final = 13
_TOPIC, _ONE_NODE = 1, 2

# Topics may hold halves of surrogate pairs, as JSON can. They must not raise in the middle of an outbox.
LENIENT: Final = "surrogatepass"


class Received(NamedTuple):
    """What arrived: where it goes, and what it is."""

    topic: str
    data: bytes


class Frames:
    """Writes and reads the frames of one node.

    Attributes:
        plain: What to put before a message whose topic the broker's name tells.
    """

    __slots__ = ("_own", "_sender", "plain")

    def __init__(self) -> None:
        self._sender = secrets.token_bytes(8)
        self.plain: Final = _head(0, self._sender)
        self._own: Final = frozenset((self.plain, _head(_TOPIC, self._sender)))

    def with_topic(self, topic: str, data: bytes) -> bytes:
        """A message for all nodes that names its topic."""
        return _head(_TOPIC, self._sender) + _topic(topic) + data

    def to_node(self, topic: str, data: bytes) -> bytes:
        """A message for one node, which may be this one."""
        return _head(_TOPIC | _ONE_NODE, self._sender) + _topic(topic) + data

    def read(self, topic: str | None, frame: bytes) -> Received | None:
        """Take a frame apart.

        Args:
            topic: The topic it came on, if the broker's name tells.
            frame: The frame.

        Returns:
            `None` for what this node sent to all others.

        Raises:
            ValueError: The frame is damaged, of another version, or belongs to no topic.
        """
        head = frame[:_HEAD]
        if head in self._own:
            return None
        if head[:3] != _MARK:
            if topic is None:
                raise ValueError(f"expected a message of Broadwing, got {frame[:16]!r}")
            return Received(topic, frame)
        if len(head) < _HEAD:
            raise ValueError(f"a message ends at {len(head)}, within its head")
        if head[3] != VERSION:
            raise ValueError(
                f"a node speaks version {head[3]} of the bus, this one {VERSION}; run one release on all nodes"
            )
        at = _HEAD
        if head[4] & _TOPIC:
            at = _HEAD + 4 + int.from_bytes(frame[_HEAD : _HEAD + 4])
            if at > len(frame) or len(frame) < _HEAD + 4:
                raise ValueError(f"a message ends at {len(frame)}, within its topic, which ends at {at}")
            named = frame[_HEAD + 4 : at].decode("utf-8", LENIENT)
            if topic is not None and named != topic:
                raise ValueError(f"a message for {named!r} came on {topic!r}")
            topic = named
        if topic is None:
            raise ValueError("a message for one node does not say what its topic is")
        return Received(topic, frame[at:])


def _head(flags: int, sender: bytes) -> bytes:
    return b"%b%c%c%b" % (_MARK, VERSION, flags, sender)


def _topic(topic: str) -> bytes:
    data = topic.encode("utf-8", LENIENT)
    return len(data).to_bytes(4) + data
