"""One poll session: a client's line that consists of requests. It costs no task and no timer while nothing happens."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from broadwing.core.close import CloseCode
from broadwing.core.frames import TEXT
from broadwing.core.longpoll_state import PollState, Status, Waiter, quoted_frame
from broadwing.transports.base import Handler
from broadwing.transports.options import LongPollOptions
from broadwing.transports.sweep import Sweeper
from broadwing.transports.websocket import REASONS

logger = logging.getLogger("broadwing.transport")


class Polled(NamedTuple):
    """What a poll found."""

    status: Status
    frames: Sequence[bytes] = ()


Leaving: TypeAlias = asyncio.Future[Any]
"""Done when the client has hung up; what waits for it then stays for its next poll."""


class Reachable(Protocol):
    """A poll session, here or on another node."""

    async def poll(self, leaving: Leaving) -> Polled | None:
        """Wait up to a window for messages; `None` when the client has left meanwhile."""
        ...

    async def publish(self, messages: Sequence[tuple[int, bytes]]) -> Status:
        """Hand over what the client sends."""
        ...


class Lodge(Protocol):
    """What all sessions of a mount share."""

    @property
    def label(self) -> str:
        """The mount's name, for logs."""
        ...

    @property
    def settings(self) -> LongPollOptions:
        """The mount's settings."""
        ...

    @property
    def sessions(self) -> "dict[str, LongPollSession]":
        """Sessions by their private topic."""
        ...

    @property
    def sweeper(self) -> Sweeper:
        """Ends idle sessions."""
        ...

    def slow_reader(self) -> None:
        """Note that a session ends because its client does not poll."""
        ...


class LongPollFormat:
    """Messages as JSON strings, ready for a poll's answer; one object for all sessions that get a broadcast."""

    __slots__ = ()

    def frame(self, opcode: int, data: bytes) -> bytes:
        """Wrap a message."""
        return quoted_frame(data)

    def is_large(self, frame: bytes) -> bool:
        """A session weighs what waits besides a message, so that none needs special care."""
        return False


FORMAT: Final = LongPollFormat()


class LongPollSession:
    """The transport behind a sequence of polls and posts.

    Attributes:
        name: `longpoll`.
        format: `LongPollFormat`.
        topic: The session's private topic, its name in the token.
    """

    __slots__ = ("_handler", "_is_broken", "_is_paused", "_lodge", "_released", "_state", "topic")

    name: Final = "longpoll"
    format: Final = FORMAT

    def __init__(self, lodge: Lodge, topic: str) -> None:
        self.topic = topic
        self._lodge = lodge
        self._handler: Handler | None = None
        self._state = PollState(asyncio.get_running_loop().time())
        self._is_paused = False
        self._is_broken = False
        self._released: asyncio.Future[None] | None = None

    @property
    def sink(self) -> "LongPollSession":
        """Takes frames."""
        return self

    def open(self, handler: Handler) -> None:
        """Begin; the session can be found by its topic from now on."""
        self._handler = handler
        self._lodge.sessions[self.topic] = self
        self._lodge.sweeper.add(self)
        handler.opened(self)

    # For requests.

    def take(self) -> list[bytes]:
        """Give a poll what waits."""
        return self._state.take(asyncio.get_running_loop().time())

    def wait(self, waiter: Waiter) -> None:
        """Wake a poll that found nothing at the next message; it replaces the one before it."""
        self._state.wait(waiter)

    async def poll(self, leaving: Leaving) -> Polled | None:
        """Give what waits; if nothing does, wait for the next message up to a window.

        Args:
            leaving: Done when the client is gone; messages then stay for its next poll.

        Returns:
            The messages, or none after a window or when the session ended; `None` for a client that is gone.
        """
        loop = asyncio.get_running_loop()
        frames = self._state.take(loop.time())
        if not frames:
            waiter = _LocalWaiter()
            self._state.wait(waiter)
            try:
                await asyncio.wait(
                    (waiter.woken, leaving), timeout=self._lodge.settings.window, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                self._state.leave(waiter)
            if leaving.done():
                return None
            self._state.polled_at = loop.time()  # the client was there until now
            if waiter.woken.done():
                # A turn of the loop after the first message: all that came with it leaves in one answer.
                frames = self._state.take(loop.time())
        return Polled(Status.OK, frames) if frames else Polled(Status.NO_CONTENT)

    async def publish(self, messages: Sequence[tuple[int, bytes]]) -> Status:
        """Hand the client's messages to the handler, each once the one before it has been taken.

        Returns:
            `OK`; `TIMEOUT` when the handler paused reading for a window, or the session ended before all were taken;
            `GONE` when it had ended before the first.
        """
        if self._handler is None:
            return Status.GONE
        deadline = asyncio.get_running_loop().time() + self._lodge.settings.window
        for opcode, data in messages:
            # Another request may have filled the client's queue.
            if not await self._may_read(deadline):
                return Status.TIMEOUT
            if not self._receive(opcode, data):
                return Status.TIMEOUT
        if self._handler is None:
            return Status.OK  # the last one was taken and led to the end, as a message that disconnects its sender does
        return Status.OK if await self._may_read(deadline) else Status.TIMEOUT

    async def _may_read(self, deadline: float) -> bool:
        loop = asyncio.get_running_loop()
        while self._is_paused and self._handler is not None:
            left = deadline - loop.time()
            if left <= 0:
                return False
            if self._released is None:
                self._released = loop.create_future()
            await asyncio.wait((self._released,), timeout=left)
        return self._handler is not None

    def _receive(self, opcode: int, data: bytes) -> bool:
        """Hand on one message; returns whether it was fit to be taken."""
        assert self._handler is not None  # `_may_read` has looked
        if opcode == TEXT and not _is_utf8(data):
            logger.warning("%s: a client sent text that is not UTF-8; its session ends", self._lodge.label)
            self.close(CloseCode.INVALID_DATA)
            return False
        try:
            self._handler.received(opcode, data)
        except Exception:  # whatever a handler raises ends its own session and nothing else
            logger.exception("%s: a message ended a poll session", self._lodge.label)
            self.close(CloseCode.INTERNAL_ERROR)
        return not self._is_broken

    # The transport contract.

    def write(self, frame: bytes) -> None:
        """Keep one message for the client; the session ends when too much waits for it."""
        if self._handler is None:
            return
        if not self._state.put(frame, self._lodge.settings.max_buffer_bytes):
            self._lodge.slow_reader()
            self.close(CloseCode.SLOW_READER)
            return
        waiter = self._state.next_waiter()
        if waiter is not None:
            waiter.wake()

    def write_large(self, frame: bytes) -> None:
        """As `write`."""
        self.write(frame)

    def send(self, opcode: int, data: bytes) -> None:
        """Wrap and keep one message."""
        self.write(FORMAT.frame(opcode, data))

    def close(self, code: int, reason: str = "") -> None:
        """End the session: its next request finds it gone, and polls that wait are answered now."""
        self._is_broken = code in (CloseCode.INTERNAL_ERROR, CloseCode.INVALID_DATA)
        self._end(REASONS.get(code, "closed"))

    def pause_reading(self) -> None:
        """Acknowledge no more of what the client posts."""
        self._is_paused = True

    def resume_reading(self) -> None:
        """Go on with what the client posts."""
        self._is_paused = False
        self._release()

    def sweep(self, now: float) -> None:
        """End after 1.5 windows without a poll."""
        if self._state.is_idle(now, self._lodge.settings.window):
            self._end("inactive")

    def _release(self) -> None:
        released, self._released = self._released, None
        if released is not None:
            released.set_result(None)

    def _end(self, reason: str) -> None:
        if self._handler is not None:
            self._handler.closing()  # whose writes may be too many, and end the session
        handler, self._handler = self._handler, None
        if handler is None:
            return
        self._lodge.sessions.pop(self.topic, None)
        self._lodge.sweeper.members.discard(self)
        for waiter in self._state.all_waiters():
            waiter.wake()
        self._release()
        handler.closed(("shutdown", reason))


class _LocalWaiter:
    """A request on this node."""

    __slots__ = ("woken",)

    leaves = True

    def __init__(self) -> None:
        self.woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake(self) -> None:
        """Let the request go on."""
        self.woken.set_result(None)


def _is_utf8(data: bytes) -> bool:
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError:
            return False
    return True
