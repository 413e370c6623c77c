"""Several messages of one topic in one message of the bus.

A loop turn's broadcasts on one topic go out together: what a bus costs is mostly per message, not per byte. The magic bytes
tell our messages from whatever else is published under the same name.
"""

from collections.abc import Sequence
from typing import Final

MAGIC: Final = b"BW1\n"


def pack(messages: Sequence[bytes]) -> bytes:
    """Put messages together, each behind its length."""
    if len(messages) == 1:
        return b"%b%b%b" % (MAGIC, len(messages[0]).to_bytes(4), messages[0])
    # A list and no generator: `join` makes one anyway, and this is half as long.
    return MAGIC + b"".join([part for message in messages for part in (len(message).to_bytes(4), message)])


def unpack(data: bytes) -> list[bytes]:
    """Take them apart again.

    Raises:
        ValueError: It is not what `pack` made.
    """
    if data[:4] != MAGIC:
        raise ValueError(f"expected a message of Broadwing, got {data[:16]!r}")
    messages = []
    at, end = 4, len(data)
    while at < end:
        start = at + 4
        at = start + int.from_bytes(data[at:start])
        messages.append(data[start:at])
    if at != end:
        # A slice past the end is short, not an error; only the last message can be.
        raise ValueError(f"a message is cut off: {at} bytes announced, {end} there")
    return messages
