"""Sending connections away when the server stops: in batches, so that they do not all come back elsewhere at once."""

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from typing import Any, Protocol

from broadwing import telemetry
from broadwing.core.close import CloseCode
from broadwing.transports.options import DrainOptions

logger = logging.getLogger("broadwing.drain")

# How often to look whether the closed connections are gone, in seconds.
_LOOK = 0.02
# What connections that are closed late have left to go: the transports' time limit for closing, and a sweep.
_LAST_CALL = 4.5


class Line(Protocol):
    """A connection, as far as draining it goes."""

    def close(self, code: int, reason: str = "") -> None:
        """Begin to close."""
        ...


async def drain(
    name: str, endpoint: Any, lines: Iterable[Line], remaining: "Remaining", settings: DrainOptions
) -> None:
    """Close `lines` with 1012, a batch at a time, and wait until they are gone.

    Args:
        name: The socket's name, for the log.
        endpoint: For telemetry.
        lines: Connections to close, as they are now.
        remaining: Tells how many connections are still there.
        settings: Batches and the time limit.

    Source: Phoenix `lib/phoenix/socket/pool_supervisor.ex`, drain.
    """
    waiting = list(lines)
    total = len(waiting)
    rounds = total // settings.batch_size + 1
    try:
        async with asyncio.timeout(settings.shutdown):
            for index in range(rounds):
                batch = waiting[index * settings.batch_size : (index + 1) * settings.batch_size]
                if total:
                    logger.info(
                        "DRAINING %d of %d total connection(s) for socket %s every %dms - round %d of %d",
                        len(batch),
                        total,
                        name,
                        int(settings.batch_interval * 1000),
                        index + 1,
                        rounds,
                    )
                if telemetry.watched(telemetry.SOCKET_DRAIN):
                    measurements = {"count": len(batch), "total": total, "index": index + 1, "rounds": rounds}
                    metadata = {"endpoint": endpoint, "socket": name, "interval": settings.batch_interval}
                    telemetry.emit(telemetry.SOCKET_DRAIN, measurements, metadata)
                for line in batch:
                    line.close(CloseCode.SERVICE_RESTART)
                if index + 1 < rounds:
                    await asyncio.sleep(settings.batch_interval)
            while remaining():  # noqa: ASYNC110 - an event per connection would cost every one of them
                await asyncio.sleep(_LOOK)
    except TimeoutError:
        logger.warning(
            "%s: %d connection(s) were not drained within %s s and are closed at once",
            name,
            remaining(),
            settings.shutdown,
        )
        for line in waiting:
            line.close(CloseCode.SERVICE_RESTART)  # again for most of them, which means nothing
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_CALL):
                while remaining():  # noqa: ASYNC110 - as above
                    await asyncio.sleep(_LOOK)


class Remaining(Protocol):
    """Counts connections that are not gone yet."""

    def __call__(self) -> int: ...
