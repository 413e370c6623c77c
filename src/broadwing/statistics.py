"""Counters of what should be rare; an endpoint's `statistics`."""

from dataclasses import dataclass


@dataclass(slots=True)
class Statistics:
    """What happened since the start.

    Attributes:
        readers_paused: Times a connection was not read on because its own messages waited for their handlers.
        mailbox_overflows: Channels ended because they fell behind what was broadcast to them.
        slow_readers: Clients closed because they did not read what was sent to them.
    """

    readers_paused: int = 0
    mailbox_overflows: int = 0
    slow_readers: int = 0
