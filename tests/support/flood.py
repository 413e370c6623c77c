"""A client that writes without end, at whatever pace its bytes are taken."""

import contextlib
import select
import time
from collections.abc import Callable

from tests.support.background import TIMEOUT
from tests.support.wire import Wire

# How long nothing has to be taken before a client calls its line full. Right after `until` this is only about the kernel, which
# moves what fits in microseconds; a machine that is held up for longer ends a flood early, which no test fails for.
FULL = 0.3


class Flood:
    """Writes some bytes over and over.

    Attributes:
        sent: How many bytes were taken so far.
    """

    def __init__(self, line: Wire, data: bytes) -> None:
        self.sent = 0
        self._line = line.line
        self._data = data
        self._rest = memoryview(data)
        self._line.setblocking(False)

    def until(self, condition: Callable[[], object]) -> None:
        """Write until `condition()` is true, or the line has ended and it becomes so.

        When nothing is taken any more, a little of what the server said is read. A kernel whose receive buffer is full drops what
        comes beyond it, acknowledgements that say "send on" included: then neither side gets anything through, although
        the server has read everything, until the client reads. That is TCP's doing, and the end of the flood.
        """
        deadline = time.monotonic() + TIMEOUT
        has_ended = False
        taken_at = time.monotonic()
        while not condition():
            now = time.monotonic()
            assert now < deadline, f"waited in vain; {self.sent} bytes were taken"
            # Not for long: the condition may become true while nothing is taken.
            if has_ended or not self._wait(0.005):
                time.sleep(0.002)
                if now - taken_at > FULL:
                    taken_at = now
                    with contextlib.suppress(OSError):
                        self._line.recv(1_024)
                continue
            taken_at = now
            try:
                self._write()
            except OSError:
                has_ended = True

    def until_cut_off(self, pause: float = 0.0) -> None:
        """Write, with a pause after each piece, until the server has ended the line."""
        deadline = time.monotonic() + TIMEOUT
        with contextlib.suppress(OSError):  # reset or a broken pipe, at one write or another
            while time.monotonic() < deadline:
                if self._wait(0.1):
                    self._write()
                time.sleep(pause)
            raise AssertionError(f"not cut off; {self.sent} bytes were taken")

    def until_full(self, limit: int) -> None:
        """Write until nothing more is taken, or `limit` bytes were."""
        while self.sent < limit and self._wait(FULL):
            self._write()

    def _wait(self, seconds: float) -> bool:
        return bool(select.select((), (self._line,), (), seconds)[1])

    def _write(self) -> None:
        try:
            taken = self._line.send(self._rest)
        except BlockingIOError:
            return
        self.sent += taken
        self._rest = self._rest[taken:] or memoryview(self._data)
