"""Messages that are longer than a bus likes, in parts.

NATS takes no message beyond 1 MB, and a batch of any bus that is much larger holds up whoever reads it. Parts of one sender arrive in the
order in which they were sent, so a part that is missing ends its message; whoever needed it asks again.
"""

from typing import Annotated, Final

import msgspec

from broadwing.exceptions import EnvelopeError

PART: Final = "part"
"""The event of a part."""

PART_BYTES: Final = 262_144
MAX_BYTES: Final = 64 * 1024 * 1024
"""Most bytes of a message, and of all messages together that have begun to arrive."""

_Text = Annotated[str, msgspec.Meta(max_length=1_024)]
_Number = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class _Part(msgspec.Struct, array_like=True, frozen=True):
    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    sender: _Text
    number: _Number  # of the message, in its sender's count
    index: _Number
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_BYTES // PART_BYTES)]
    event: _Text
    data: Annotated[bytes, msgspec.Meta(max_length=PART_BYTES)]


_pack: Final = msgspec.msgpack.Encoder().encode
_unpack: Final = msgspec.msgpack.Decoder(_Part).decode


def split(sender: str, number: int, event: str, data: bytes) -> list[tuple[str, bytes]]:
    """Events and bytes to send for a message; the message itself, when it is short enough.

    Raises:
        EnvelopeError: It is longer than 64 MiB.
    """
    if len(data) <= PART_BYTES:
        return [(event, data)]
    if len(data) > MAX_BYTES:
        raise EnvelopeError(f"a {event} of {len(data):,} bytes, there is room for {MAX_BYTES:,}; use more shards")
    starts = range(0, len(data), PART_BYTES)
    return [
        (PART, _pack(_Part(1, sender, number, index, len(starts), event, data[start : start + PART_BYTES])))
        for index, start in enumerate(starts)
    ]


class _Begun:
    __slots__ = ("count", "event", "number", "parts", "size")

    def __init__(self, part: _Part) -> None:
        self.number = part.number
        self.event = part.event
        self.count = part.count
        self.parts: list[bytes] = []
        self.size = 0


class Assembly:
    """Puts parts together again, one message at a time for each sender."""

    def __init__(self) -> None:
        self._begun: dict[str, _Begun] = {}
        self._size = 0

    def __len__(self) -> int:
        """How many bytes wait for the rest of their message."""
        return self._size

    def add(self, data: bytes) -> tuple[str, bytes] | None:
        """Take a part; returns the message's event and bytes with its last one.

        Raises:
            EnvelopeError: It is no part, or one before it is missing.
        """
        try:
            part = _unpack(data)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise EnvelopeError(f"a part cannot be read: {error}") from error
        if part.index == 0:
            self._drop(part.sender)
            self._begun[part.sender] = _Begun(part)
        begun = self._begun.get(part.sender)
        if begun is None or (begun.number, begun.count, len(begun.parts)) != (part.number, part.count, part.index):
            self._drop(part.sender)
            raise EnvelopeError(f"part {part.index + 1} of {part.count} of a {part.event}, and not those before it")
        begun.parts.append(part.data)
        begun.size += len(part.data)
        self._size += len(part.data)
        if len(begun.parts) == begun.count:
            self._drop(part.sender)
            return begun.event, b"".join(begun.parts)
        while self._size > MAX_BYTES:
            self._drop(next(iter(self._begun)))  # the one that has waited longest
        return None

    def _drop(self, sender: str) -> None:
        begun = self._begun.pop(sender, None)
        if begun is not None:
            self._size -= begun.size
