"""The thread behind a publisher: it owns a loop and a node of the bus, and hands over what other threads give it."""

import asyncio
import contextlib
import logging
import os
import socket
import threading
from collections import deque
from concurrent.futures import CancelledError, Future
from typing import Any

from broadwing.exceptions import PubSubUnavailable
from broadwing.pubsub.adapters import adapter_for
from broadwing.pubsub.pubsub import PubSub as Engine

logger = logging.getLogger("broadwing.pubsub")

# Seconds that the start and the stop of any node may take besides what waits; after that the thread is given up.
_GRACE = 5.0


class Courier:
    """Takes messages from any thread to one bus.

    Args:
        url: The bus.
        queue_limit: Most messages that may wait.
        close_timeout: Seconds that the end may take to send what waits.

    Attributes:
        ended: Done when everything is over.
    """

    def __init__(self, url: str, queue_limit: int, close_timeout: float) -> None:
        # The limit is kept here, for all threads; the engine's own must never be met.
        self._engine = Engine(adapter_for(url), codec=_Encoded(), queue_limit=2 * queue_limit + 1)
        self._queue_limit = queue_limit
        self._close_timeout = close_timeout
        self._loop = _Loop()
        # A daemon, or the program could not end; atexit sees to it that nothing is lost.
        self._thread = threading.Thread(target=self._run, name="broadwing-publisher", daemon=True)
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._given: deque[tuple[str, bytes]] = deque()
        self._is_called = False
        self._is_closed = False
        self._failure: Exception | None = None
        self._started = asyncio.Event()
        self._closing = asyncio.Event()
        self.ended: Future[None] = Future()

    @property
    def waiting(self) -> int:
        """Messages that the bus has not been given yet."""
        return len(self._given) + self._engine.waiting

    # From any thread.

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def put(self, topic: str, data: bytes) -> None:
        """Take a message.

        Raises:
            PubSubUnavailable: Too many wait, it is closed, or could never begin.
        """
        with self._lock:
            if self._failure is not None:
                raise PubSubUnavailable(f"the bus could not be joined: {self._failure}") from self._failure
            if self._is_closed:
                raise PubSubUnavailable("the publisher is closed, so the message was not sent")
            if self.waiting >= self._queue_limit:
                raise PubSubUnavailable(
                    f"{self.waiting} messages wait for the bus already, so the message was not sent; queue_limit sets how many may"
                )
            self._given.append((topic, data))
            if self._is_called:
                return
            self._is_called = True
            self._loop.call_soon_threadsafe(self._take)

    def flush(self, timeout: float) -> None:
        """Wait until the bus has taken everything.

        Raises:
            PubSubUnavailable: It has not, or nobody knows.
        """
        done = self.begin_to_flush()
        try:
            done.result(timeout)
        except TimeoutError:
            done.cancel()
            raise PubSubUnavailable(
                f"the bus has not taken everything within {timeout:g} s; {self.waiting} message(s) still wait, and go when it is back"
            ) from None
        except CancelledError:
            raise PubSubUnavailable("the publisher was closed before the bus had taken everything") from None

    def begin_to_flush(self) -> "Future[None]":
        """Done when the bus has taken everything, or will not."""
        with self._lock:
            if self._failure is None and not self._is_closed:
                return asyncio.run_coroutine_threadsafe(self._flush(), self._loop)
        done: Future[None] = Future()
        why = (
            f"the bus could not be joined: {self._failure}" if self._failure is not None else "the publisher is closed"
        )
        done.set_exception(PubSubUnavailable(why))
        return done

    def begin_to_close(self) -> None:
        """Take no more, send what waits, and end. In the child of a fork it is not ours to end."""
        if os.getpid() == self._pid:
            with self._lock:
                if not self._is_closed:
                    self._is_closed = True
                    with contextlib.suppress(RuntimeError):  # it has failed, and its loop is closed
                        self._loop.call_soon_threadsafe(self._closing.set)

    def close(self) -> None:
        """`begin_to_close`, and wait for the end."""
        self.begin_to_close()
        if os.getpid() == self._pid:
            self._thread.join(self._close_timeout + _GRACE)

    # In the thread.

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._work())
        except Exception as error:  # whatever it is, those who publish have to know
            with self._lock:
                self._failure = error
            logger.error("a publisher cannot join its bus; %d message(s) were not sent: %s", self.waiting, error)
        finally:
            self.ended.set_result(None)

    async def _work(self) -> None:
        # Returns once the nodes that are there can be reached, or the broker has answered: whatever is handed over before
        # would reach nobody in a mesh.
        await self._engine.start()
        self._started.set()
        self._take()
        await self._closing.wait()
        try:
            async with asyncio.timeout(self._close_timeout):
                await self._flush()
        except (TimeoutError, PubSubUnavailable) as error:
            logger.error(
                "a publisher was closed with %d message(s) that the bus has not taken; they are lost%s",
                self.waiting,
                f": {error}" if str(error) else "",
            )
        await self._engine.stop()

    def _take(self) -> None:
        if not self._started.is_set():
            return  # _work comes here when it is
        with self._lock:
            given, self._given = self._given, deque()
            self._is_called = False
            for topic, data in given:
                self._engine.broadcast(topic, data)

    async def _flush(self) -> None:
        await self._started.wait()
        self._take()
        await self._engine.flush()


class _Encoded:
    """Messages are bytes already: whoever publishes has encoded them, and heard of what has no form."""

    def encode(self, message: Any) -> bytes:
        data: bytes = message
        return data

    def decode(self, topic: str, data: bytes) -> Any:
        return data


class _Loop(asyncio.SelectorEventLoop):
    """A loop that can look up names while the program ends.

    Python closes its executors before it calls what atexit knows, and a script that publishes and ends is then perhaps
    still about to connect.
    """

    async def getaddrinfo(
        self,
        host: Any,
        port: Any,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - the name that asyncio calls it by
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        """As `socket.getaddrinfo`, in a thread of its own."""
        answer: asyncio.Future[Any] = self.create_future()

        def tell(error: Exception | None, found: Any) -> None:
            if not answer.done():
                if error is None:
                    answer.set_result(found)
                else:
                    answer.set_exception(error)

        def look_up() -> None:
            error, found = None, None
            try:
                found = socket.getaddrinfo(host, port, family, type, proto, flags)
            except OSError as failed:
                error = failed
            if not self.is_closed():
                self.call_soon_threadsafe(tell, error, found)

        threading.Thread(target=look_up, name="broadwing-publisher-names", daemon=True).start()
        return await answer
