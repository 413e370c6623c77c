"""Broadcasts from programs that serve nobody: scripts, task queues, management commands, views of another server."""

import asyncio
import atexit
import os
import sys
import threading
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from broadwing.bus import message_of
from broadwing.core.envelope import Envelope
from broadwing.exceptions import ConfigurationError, LocalProtocolError, PubSubUnavailable
from broadwing.publisher_courier import Courier
from broadwing.pubsub.adapters import adapter_for
from broadwing.types import BUS_VARIABLE

_envelope = Envelope()


class Publisher:
    """Broadcasts to the nodes of a bus from a program that is not one of its servers.

        publisher = Publisher("redis://localhost")
        publisher.broadcast("room:1", "announced", {"text": "Lunch"})

    Making one opens nothing. With the first broadcast of a process a thread of its own connects, and keeps connected. So it can be
    made at import, used from any thread, with or without an event loop, and after a fork: the child connects anew, and
    what the parent had not sent yet stays the parent's.

    Delivery: at most once, in order per publisher and topic. `broadcast` never waits: messages wait for the bus in a bounded
    queue, also while it is down. At the end of the program what waits is sent first, for `close_timeout` seconds at most; what
    is left then is lost, with an error in the log. A process that is killed loses what waits. `flush` tells for sure.

    Args:
        url: The bus that the servers are on; see `broadwing.pubsub.adapters`. By default what the environment variable
            `BROADWING_BUS` names.
        queue_limit: Most messages that may wait for the bus.
        close_timeout: Seconds that the end may take to send what waits.

    Raises:
        ConfigurationError: There is no URL, it names no bus, or one that can never work.
    """

    def __init__(self, url: str | None = None, *, queue_limit: int = 10_000, close_timeout: float = 5.0) -> None:
        url = url or os.environ.get(BUS_VARIABLE)
        if url is None or url.startswith("local://"):
            raise ConfigurationError(
                f"a Publisher needs the bus that the servers are on, got {url!r}; pass its URL, e.g. Publisher('redis://localhost'), "
                f"or set {BUS_VARIABLE}"
            )
        adapter_for(url)  # for its complaints, here instead of in a thread
        self._url = url
        self._queue_limit = queue_limit
        self._close_timeout = close_timeout
        self._lock = threading.Lock()
        self._courier: Courier | None = None
        self._is_closed = False
        _publishers.add(self)

    def broadcast(self, topic: str, event: str, payload: Any) -> None:
        """Send an event to everybody on `topic`, on every node. Callable from any thread; does not wait.

        Args:
            topic: The topic, exactly.
            event: The event's name; at most 65,535 bytes.
            payload: Anything with a JSON form, or `bytes`; encoded here.

        Raises:
            LocalProtocolError: The payload has no JSON form.
            PubSubUnavailable: `queue_limit` messages wait already, or the publisher is closed.
        """
        self._at_work().put(topic, _envelope.encode(message_of(topic, event, payload)))

    def flush(self, timeout: float = 5.0) -> None:
        """Wait until the bus has taken everything that was broadcast so far.

        That is: Redis has answered, NATS has, and all nodes of a mesh that can answer have read it.

        Args:
            timeout: Seconds to wait at most.

        Raises:
            PubSubUnavailable: Something still waits, and goes on waiting; or the connection broke, and something may be lost.
            LocalProtocolError: It was called in an event loop, which it would hold up.
        """
        _must_not_block("flush")
        if self._courier is not None:
            self._courier.flush(timeout)

    async def aflush(self) -> None:
        """`flush` for coroutines, with a bound of their own: `asyncio.timeout`.

        Raises:
            PubSubUnavailable: The connection broke, and something may be lost.

        Cancellation: ends the waiting; the messages still go.
        """
        if self._courier is not None:
            await asyncio.wrap_future(self._courier.begin_to_flush())

    def close(self) -> None:
        """Send what waits, for `close_timeout` seconds at most, and disconnect; called at the end of the program. Idempotent.

        Raises:
            LocalProtocolError: It was called in an event loop, which it would hold up.
        """
        _must_not_block("close")
        courier = self._end()
        if courier is not None:
            courier.close()

    async def aclose(self) -> None:
        """`close` for coroutines. Cancellation: ends the waiting; the publisher closes all the same."""
        courier = self._end()
        if courier is not None:
            courier.begin_to_close()
            await asyncio.shield(asyncio.wrap_future(courier.ended))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def _at_work(self) -> Courier:
        courier = self._courier
        if courier is None:
            with self._lock:
                if self._is_closed:
                    raise PubSubUnavailable("the publisher is closed, so the message was not sent")
                courier = self._courier
                if courier is None:
                    courier = self._courier = Courier(self._url, self._queue_limit, self._close_timeout)
                    _at_end_of_child(courier.close)
                    _couriers.add(courier)
                    courier.ended.add_done_callback(lambda _: _couriers.discard(courier))
                    # A publisher that nobody has any more cannot be closed, but what it took must still go.
                    weakref.finalize(self, courier.begin_to_close).atexit = False
                    courier.start()
        return courier

    def _end(self) -> Courier | None:
        with self._lock:
            self._is_closed = True
            return self._courier


def _must_not_block(name: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise LocalProtocolError(
        f"Publisher.{name}() would hold up the event loop it was called in; use `await publisher.a{name}()`"
    )


# Processes and their ends.

_publishers: "weakref.WeakSet[Publisher]" = weakref.WeakSet()
_couriers: set[Courier] = set()
_left_behind: list[Courier] = []


def _close_all() -> None:
    couriers = list(_couriers)
    for courier in couriers:
        courier.begin_to_close()
    for courier in couriers:
        courier.close()


def _begin_anew() -> None:
    """In the child of a fork: threads are gone, locks may be held by them, and the connections are the parent's."""
    # Kept, so that nothing of theirs is collected: it would write to the parent's connections, or end them.
    _left_behind.extend(_couriers)
    _couriers.clear()
    for publisher in list(_publishers):
        publisher._lock = threading.Lock()
        publisher._courier = None


def _at_end_of_child(close: Callable[[], None]) -> None:
    # Children of these leave by os._exit, past what atexit knows, and a worker of Celery's pool past what billiard knows too.
    for name in ("multiprocessing.util", "billiard.util"):
        module = sys.modules.get(name)
        if module is not None:
            module.Finalize(None, close, exitpriority=10)
    celery = sys.modules.get("celery.signals")
    if celery is not None:
        celery.worker_process_shutdown.connect(lambda **_: close(), weak=False)


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
