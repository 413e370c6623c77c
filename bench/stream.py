"""A stream of numbered messages from one process to another: how fast it is, and whether all of it arrived once.

The two ends share a socket beside the bus. On it the receiver tells how many messages it has, so that the sender is never
further ahead than any bus can hold, and the sender tells at the end how many there were.
"""

import asyncio
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from bench.figures import Figures
from bench.lines import PATIENCE, LoadError

# Bytes of a message.
SIZE: Final = 200
# Messages between two words of the receiver, and how many may be under way: 2 MB, which is more than hides the way there
# and back, and less than any bus drops.
STEP, WINDOW = 500, 10_000
# The fewest messages that make a figure, however little time there is.
FEWEST: Final = 5 * STEP
# How long the receiver listens at the end for messages that should not be, in seconds.
GRACE: Final = 0.05

_COUNT: Final = struct.Struct("=q")
_DIGITS: Final = 20
_REST: Final = b"." * (SIZE - _DIGITS)


class Plan(NamedTuple):
    """How messages are sent.

    Attributes:
        together: How many in one go, before the loop turns; with several topics each on another one.
        seconds: For how long.
        warm_up: How much of that does not count.
    """

    together: int
    seconds: float
    warm_up: float


def message(number: int) -> bytes:
    """Return the message of a number."""
    return b"%020d" % number + _REST


class Sender:
    """The sending end.

    Args:
        beside: The socket to the receiver.
        together: Messages that are published in one go, before the loop turns; with several topics each on another one.

    Attributes:
        sent: Messages so far.
    """

    def __init__(self, beside: socket.socket, together: int) -> None:
        self._beside = beside
        self._together = together
        self._told = 0
        self._cpu = 0.0
        self.sent = 0

    async def send(self, burst: Callable[[range], Awaitable[object]], seconds: float) -> Figures:
        """Send for so long, and wait until the receiver is through.

        Args:
            burst: Sends the messages of these numbers.
            seconds: How long.

        Returns:
            `cpu_us`, microseconds of processor time per message.

        Raises:
            LoadError: Messages are lost, or the receiver has ended.
        """
        self._beside.setblocking(False)
        await self._read()  # it is ready
        deadline = self._begin() + seconds
        while time.perf_counter() < deadline or self.sent < FEWEST:
            await burst(range(self.sent + 1, self.sent + self._together + 1))
            self.sent += self._together
            while self.sent - self._told > WINDOW:
                await self._read()
        figures = self._end()
        while True:
            try:
                await self._read()
            except EOFError:
                return figures

    def send_blocking(self, send: Callable[[bytes], object], seconds: float) -> Figures:
        """Do the same with a client that holds its sender up when there is no room."""
        self._beside.settimeout(PATIENCE)
        self._beside.recv(_COUNT.size)
        deadline = self._begin() + seconds
        while time.perf_counter() < deadline or self.sent < FEWEST:
            for number in range(self.sent + 1, self.sent + STEP + 1):
                send(message(number))
            self.sent += STEP
        figures = self._end()
        while self._beside.recv(_COUNT.size):
            pass
        return figures

    def _begin(self) -> float:
        self._cpu = time.process_time()
        return time.perf_counter()

    def _end(self) -> Figures:
        self._beside.send(_COUNT.pack(self.sent))
        return {"cpu_us": (time.process_time() - self._cpu) * 1e6 / self.sent}

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                data = await asyncio.get_running_loop().sock_recv(self._beside, 64 * _COUNT.size)
        except TimeoutError:
            raise LoadError(f"of {self.sent:,} messages {self._told:,} arrived, then none for {PATIENCE:g} s") from None
        if not data:
            raise EOFError("the receiver has ended")
        self._told = _COUNT.unpack(data[-_COUNT.size :])[0]


class Receiver:
    """The receiving end.

    Args:
        beside: The socket to the sender.
        warm_up: Seconds that do not count.
        is_ordered: Whether messages arrive in the order of their numbers; they do on one topic.
        is_told: Whether the sender wants to know how far it is; one that is held up by its client does not.
    """

    def __init__(self, beside: socket.socket, warm_up: float, *, is_ordered: bool = True, is_told: bool = True) -> None:
        self._beside = beside
        self._warm_up = warm_up
        self._is_ordered = is_ordered
        self._is_told = is_told
        self._steps: list[tuple[int, float, float]] = []
        self._fault: str | None = None
        self.count = 0

    def ready(self) -> None:
        """Let the sender begin."""
        self._beside.send(_COUNT.pack(0))

    def take(self, data: bytes) -> None:
        """Take a message."""
        self.count += 1
        if not self.count % STEP:
            self._steps.append((self.count, time.perf_counter(), time.process_time()))
            if self._is_ordered and int(data[:_DIGITS]) != self.count:
                self._fault = self._fault or f"message {self.count} has the number {data[:_DIGITS].decode()}"
            if self._is_told:
                self._beside.send(_COUNT.pack(self.count))

    async def until_told(self) -> Figures:
        """Wait until the sender says how many there were, and they are here; see `figures`."""
        self._beside.setblocking(False)
        total = _COUNT.unpack(await asyncio.get_running_loop().sock_recv(self._beside, _COUNT.size))[0]
        deadline = time.perf_counter() + PATIENCE
        while self.count < total and time.perf_counter() < deadline:
            await asyncio.sleep(0.001)
        await asyncio.sleep(GRACE)
        return self.figures(total)

    def told(self) -> int | None:
        """Look whether the sender has said how many there were."""
        self._beside.setblocking(False)
        try:
            total: int = _COUNT.unpack(self._beside.recv(_COUNT.size))[0]
        except BlockingIOError:
            return None
        return total

    def figures(self, total: int) -> Figures:
        """Hold what arrived against what was sent.

        Returns:
            `rate` per second, `seconds`, `cpu_us`, microseconds of processor time per message, and the `total` of messages.

        Raises:
            LoadError: Something was lost, came twice or in the wrong order.
        """
        if self.count != total:
            raise LoadError(f"of {total:,} messages {self.count:,} arrived")
        if self._fault is not None:
            raise LoadError(f"messages came in the wrong order: {self._fault}")
        steps = self._steps
        counted = [step for step in steps if step[1] >= steps[0][1] + self._warm_up]
        first, last = (counted if len(counted) > 1 else steps)[0], steps[-1]
        count, seconds, cpu = (end - start for start, end in zip(first, last, strict=True))
        return {"rate": count / seconds, "seconds": seconds, "cpu_us": cpu * 1e6 / count, "total": total}
