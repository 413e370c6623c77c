"""Back-pressure on one client: its own messages that wait for their handlers are bounded by not reading on."""

from typing import TYPE_CHECKING, Any

from broadwing.transports.base import Transport

if TYPE_CHECKING:
    from broadwing.endpoint import Endpoint

# A client's own messages that may wait for their handlers, counted and in bytes, before nothing more is read from it.
# They wait decoded, and JSON made of empty lists takes 25 times its size then: 25 MB, and what one read and one message add.
MAX_QUEUED, MAX_QUEUED_BYTES = 1_000, 1_000_000


class Intake:
    """What connections of every kind do about clients that send faster than their handlers work.

    Attributes:
        transport: The client's line; `None` before it is up.
        is_closed: Whether the line is down.
        paused: Whether nothing is read from the client for now.
    """

    __slots__ = ("_queued", "_queued_bytes", "is_closed", "paused", "transport")

    def __init__(self) -> None:
        self.transport: Transport | None = None
        self.is_closed = False
        self.paused = False
        self._queued = 0
        self._queued_bytes = 0

    @property
    def endpoint(self) -> "Endpoint":
        """The endpoint that serves this connection; supplied by the subclass."""
        raise AssertionError(f"{type(self).__name__} has no endpoint")

    def take(self, size: int) -> None:
        """A message of the client waits from now on; read no further if too many do."""
        self._queued += 1
        self._queued_bytes += size
        if (self._queued > MAX_QUEUED or self._queued_bytes > MAX_QUEUED_BYTES) and not self.paused:
            self.paused = True
            self.endpoint.statistics.readers_paused += 1
            if self.transport is not None:
                self.transport.pause_reading()

    def release(self, size: int) -> None:
        """A message of the client has been handled; read on when enough have."""
        self._queued -= 1
        self._queued_bytes -= size
        if self.paused and self.transport is not None and not self.is_closed:
            if self._queued <= MAX_QUEUED // 2 and self._queued_bytes <= MAX_QUEUED_BYTES // 2:
                self.paused = False
                self.transport.resume_reading()
            else:
                # Pausing again says that there is progress; without any, the client is closed as stalled.
                self.transport.pause_reading()

    def count_end(self, reason: Any) -> None:
        """Note why the line went down, where that is worth a counter."""
        if reason == ("shutdown", "slow_reader"):
            self.endpoint.statistics.slow_readers += 1
