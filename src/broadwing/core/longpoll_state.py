"""One poll session as values: what waits for its client, what a request's body says, what the answers look like.

Nothing here knows a request or a clock; whoever has them passes them in.
"""

import base64
import binascii
from collections.abc import Sequence
from enum import IntEnum
from typing import Final, Protocol

from broadwing.core.codec import encode
from broadwing.core.frames import BINARY, TEXT
from broadwing.exceptions import BadRequest

# A poll lasts a window at most, so that a client which is still there polls again well before 1.5 of them are over.
IDLE_WINDOWS: Final = 1.5
# Phoenix's cap, and what its client puts into one request. It also bounds how much a body is cut up before it is refused:
# one of 8 MB that holds nothing but line ends would else become eight million objects (CVE-2026-32689).
MAX_LINES: Final = 100

_NDJSON: Final = b"application/x-ndjson"


class Status(IntEnum):
    """What the `status` in an answer's body says; clients go by it and not by the HTTP status."""

    OK = 200
    """Messages are here, or were taken."""
    NO_CONTENT = 204
    """Nothing came within the window; poll again."""
    BAD_REQUEST = 400
    """The query or a Base64 line cannot be read; nothing of the request was processed."""
    FORBIDDEN = 403
    """The origin or the application refuses this client."""
    TIMEOUT = 408
    """A message was not taken within the window, or ended the session; those before it were taken."""
    GONE = 410
    """There is no such session; the answer to a poll carries the token of a new one."""
    TOO_LARGE = 413
    """The body is too large or has too many lines; nothing of it was processed."""
    SERVER_ERROR = 500
    """The application failed while it let the client in."""
    UNAVAILABLE = 503
    """The server is about to stop and takes nobody in."""

    @property
    def http(self) -> int:
        """The HTTP status that goes with it: what belongs to the protocol is 200, whatever the body says."""
        return 200 if self in _PROTOCOL else int(self)


_PROTOCOL: Final = frozenset({Status.OK, Status.NO_CONTENT, Status.FORBIDDEN, Status.TIMEOUT, Status.GONE})


class Waiter(Protocol):
    """A poll that waits for a message.

    Attributes:
        leaves: Whether it says so when it is over. One that does not, because it is on another node, is dropped as soon as
            it is replaced; kept, they would pile up.
    """

    leaves: bool

    def wake(self) -> None:
        """There is something to take, or the session has ended."""
        ...


class PollState:
    """What waits for one client, and who waits for it.

    Attributes:
        polled_at: When the client polled last, on the caller's clock.
    """

    __slots__ = ("_forgotten", "_frames", "_waiter", "_weight", "polled_at")

    def __init__(self, now: float) -> None:
        self.polled_at = now
        self._frames: list[bytes] | None = None
        self._weight = 0
        self._waiter: Waiter | None = None
        self._forgotten: list[Waiter] | None = None

    def put(self, frame: bytes, limit: int) -> bool:
        """Keep a message for the next poll.

        Returns:
            `False` when more than `limit` bytes wait already: the client does not poll, and this message is not kept.
        """
        if self._weight > limit:
            return False
        if self._frames is None:
            self._frames = []
        self._frames.append(frame)
        self._weight += len(frame)
        return True

    def take(self, now: float) -> list[bytes]:
        """Give everything that waits to a poll, oldest first."""
        self.polled_at = now
        frames, self._frames, self._weight = self._frames or [], None, 0
        return frames

    def wait(self, waiter: Waiter) -> None:
        """Remember a poll that found nothing; the one before it is told of no message any more."""
        if self._waiter is not None and self._waiter.leaves:
            self._forgotten = [*(self._forgotten or ()), self._waiter]
        self._waiter = waiter

    def leave(self, waiter: Waiter) -> None:
        """A poll has been answered, or its client is gone."""
        if self._waiter is waiter:
            self._waiter = None
        elif self._forgotten is not None:
            self._forgotten = [other for other in self._forgotten if other is not waiter] or None

    def next_waiter(self) -> Waiter | None:
        """The poll to tell of a message; it is told once and then takes all there is."""
        waiter, self._waiter = self._waiter, None
        return waiter

    def all_waiters(self) -> list[Waiter]:
        """Every poll that is still unanswered, for the end of the session."""
        waiters = [*(self._forgotten or ()), *((self._waiter,) if self._waiter is not None else ())]
        self._waiter = self._forgotten = None
        return waiters

    def is_idle(self, now: float, window: float) -> bool:
        """Whether the client has stayed away too long; what it posts does not count."""
        return now - self.polled_at > IDLE_WINDOWS * window


def quoted_frame(data: bytes) -> bytes:
    """Write a message as the JSON string that a poll's answer carries it in.

    Text goes as it is, and so does a binary frame that happens to be UTF-8, as in Phoenix. Any other frame goes as Base64,
    where Phoenix loses it. A client tells them apart by the first character: a frame of wire version 2.0.0 starts with
    its kind, U+0000 to U+0002, and Base64 never does.
    """
    try:
        return encode(data.decode())
    except UnicodeDecodeError:
        return encode(base64.b64encode(data).decode("ascii"))


def is_ndjson(content_type: bytes | None) -> bool:
    """Whether a body has a message on each line; parameters such as a charset do not matter."""
    return content_type is not None and content_type.partition(b";")[0].strip().lower() == _NDJSON


def read_messages(content_type: bytes | None, body: bytes) -> list[tuple[int, bytes]]:
    """Read the messages in the body of a POST.

    Args:
        content_type: The request's header, `None` without one.
        body: The whole body. With `application/x-ndjson` every line is a message: text when it starts with `[`, else
            a binary frame in Base64; empty lines mean nothing. With any other type the body is one text message.

    Returns:
        Opcodes and messages in order; whether text is UTF-8 has not been checked.

    Raises:
        BadRequest: With status 413, there are more than 100 lines; with 400, a line is no Base64.
    """
    if not is_ndjson(content_type):
        return [(TEXT, body)]
    lines = body.split(b"\n", MAX_LINES)
    if len(lines) > MAX_LINES and lines.pop().strip():
        raise BadRequest(
            f"a batch of more than {MAX_LINES} lines; none of it was processed, send it in several requests",
            Status.TOO_LARGE,
        )
    messages = []
    for line in lines:
        line = line.removesuffix(b"\r")
        if line.startswith(b"["):
            messages.append((TEXT, line))
        elif line:
            messages.append((BINARY, _base64(line)))
    return messages


def _base64(line: bytes) -> bytes:
    try:
        return binascii.a2b_base64(line, strict_mode=True)
    except binascii.Error as error:
        raise BadRequest(
            f"a line of a batch starts with {line[:20]!r}: {error}; expected text that starts with '[', or standard Base64 "
            "with its padding",
            Status.BAD_REQUEST,
        ) from error


def poll_body(status: Status, token: str, frames: Sequence[bytes] = ()) -> bytes:
    """Write the answer to a poll.

    Args:
        status: `OK`, `NO_CONTENT`, or `GONE` when `token` is that of a new session.
        token: The session's token.
        frames: Messages as `quoted_frame` wrote them.
    """
    return b'{"messages":[%b],"status":%d,"token":%b}' % (b",".join(frames), status, encode(token))


def status_body(status: int) -> bytes:
    """Write the answer to a POST, or a refusal."""
    return b'{"status":%d}' % status
