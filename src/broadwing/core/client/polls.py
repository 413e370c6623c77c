"""Long polling as a client sees it: what an answer means, and what one POST takes.

Source: docs/protocol.md; the limits are those of js/src/longpoll.js.
"""

import base64
import binascii
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from broadwing.core.client.wire import V1, Encoded

_MOST_LINES: Final = 100
"""The server reads no more lines of one POST."""

_MOST_BYTES: Final = 6_000_000
"""Below the 8,000,000 bytes that the server reads of one body."""

_LAST_FRAME_KIND: Final = 2
"""Highest first byte of a binary frame (push, reply, broadcast)."""

NDJSON: Final = "application/x-ndjson"
JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Polled:
    """What the answer to a poll says.

    Attributes:
        token: The session's token from now on.
        messages: What has arrived, in order.
        opened: The session has just begun.
        closed: Close code and reason, when there is no session any more.
    """

    token: str | None = None
    messages: tuple[Encoded, ...] = ()
    opened: bool = False
    closed: tuple[int, str] | None = None


def polled(answer: Any, token: str | None, vsn: str) -> Polled:
    """Read the answer to a poll.

    Args:
        answer: The body's JSON; anything at all, as proxies answer too.
        token: The session's token so far; `None` for the first poll.
        vsn: The wire version.
    """
    found = answer if isinstance(answer, dict) else {}
    status, new = found.get("status"), found.get("token")
    if status == 410 and token is None and isinstance(new, str):
        return Polled(new, opened=True)
    if status == 410 and token is not None:
        return Polled(closed=(3410, "session_gone"))
    if status in (200, 204) and token is not None:
        messages = found.get("messages")
        texts = messages if isinstance(messages, list) else []
        return Polled(
            new if isinstance(new, str) else token,
            tuple(_received(text, vsn) for text in texts if isinstance(text, str)),
        )
    if status == 403:
        return Polled(closed=(1008, "forbidden"))
    # Whatever it was (a proxy's page, a crash), polling has to start again some time.
    return Polled(closed=(1011, f"the server answered {str(answer)[:80]}"))


def batch(queue: deque[Encoded], vsn: str) -> tuple[str, bytes]:
    """Take as much out of the queue as one POST holds: its content type and its body."""
    if vsn == V1:  # an object is no line of ndjson
        first = queue.popleft()
        return JSON, first if isinstance(first, bytes) else first.encode()
    lines: list[bytes] = []
    size = 0
    while queue and len(lines) < _MOST_LINES:
        message = queue[0]
        line = base64.b64encode(message) if isinstance(message, bytes) else message.encode()
        size += len(line) + 1
        if lines and size > _MOST_BYTES:
            break
        lines.append(line)
        queue.popleft()
    return NDJSON, b"\n".join(lines)


def _received(message: str, vsn: str) -> Encoded:
    """Text arrives as it is. A binary frame arrives as its bytes when they happen to be UTF-8, in Base64 when not.

    Its first byte tells the two apart, since no Base64 text starts with a control character.
    """
    if vsn == V1 or message[:1] in ("[", "{"):
        return message
    if message and ord(message[0]) <= _LAST_FRAME_KIND:
        return message.encode()
    try:
        return base64.b64decode(message, validate=True)
    except binascii.Error:
        return message  # which is no message either, and is reported as such
