"""The connection to NATS: one at a time, to one of the servers, and what was asked of it while it was away."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from itertools import count
from typing import Any, Final

from broadwing.exceptions import PubSubUnavailable
from broadwing.pubsub.broker import Waiter
from broadwing.pubsub.broker_life import CONFIRM_TIMEOUT, CONNECT_TIMEOUT, Life
from broadwing.pubsub.broker_url import Host
from broadwing.pubsub.nats_line import Access, Line

logger = logging.getLogger("broadwing.pubsub")


class Link:
    """A connection to any of several servers, kept alive.

    Commands are put together per loop turn and written by one task, in one piece. NATS acknowledges no subscription, but works in
    order: a PONG says that everything before its PING was done.

    Args:
        hosts: The servers.
        access: How they let this node in.
        receive: Called with the subject and data of every message.
        changed: Called when `is_up` may have changed.
        queue_bytes: Most bytes that may wait to be written.
        ping_interval: Seconds between PINGs, and until an unanswered one ends the connection.
    """

    def __init__(
        self,
        hosts: Sequence[Host],
        access: Access,
        *,
        receive: Callable[[str, bytes], None],
        changed: Callable[[], None],
        queue_bytes: int,
        ping_interval: float,
    ) -> None:
        self._hosts = list(hosts)
        self._name = f"nats at {', '.join(map(str, hosts))}"
        self._access = access
        self._receive = receive
        self._queue_bytes = queue_bytes
        self._ping_interval = ping_interval
        self._life = Life(self._name, self._session, changed)
        self._line: Line | None = None
        self._numbers: Final = count(1)
        self._sids: dict[str, int] = {}
        self._subjects: dict[int, str] = {}
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._wake = asyncio.Event()
        self._commands: list[bytes] = []
        self._messages: list[bytes] = []
        self._queued = 0
        self._asked: list[tuple[str, asyncio.Future[None]]] = []
        self._to_confirm = asyncio.Event()
        self._complaints = 0
        self._largest = 0

    @property
    def is_up(self) -> bool:
        """Whether a connection works and all subscriptions were confirmed once."""
        return self._life.is_up

    def start(self) -> None:
        """Begin to connect."""
        self._life.start()

    async def settled(self) -> None:
        """Wait until it is connected or could not be."""
        await self._life.settled()

    async def stop(self) -> None:
        """Disconnect now."""
        await self._life.stop()

    async def renew(self) -> None:
        """Make a new connection, to another server if there is one."""
        await self._life.renew()

    async def flush(self) -> None:
        """Wait until the server has got everything that was published so far.

        Raises:
            PubSubUnavailable: No server is connected, or the connection broke meanwhile.
        """
        line = self._line
        if line is None or not self.is_up:
            raise PubSubUnavailable(f"{self._name} is not connected")
        try:
            async with asyncio.TaskGroup() as tasks:
                ended = tasks.create_task(line.ended())
                await self._flush(line)
                await line.round_trip()
                ended.cancel()
        except* ConnectionError as errors:
            broken = errors
        else:
            return
        raise PubSubUnavailable(f"the connection to {self._name} broke; messages may be lost") from broken

    def subscribe(self, subject: str, waiter: Waiter) -> None:
        """Listen to a subject; `waiter` learns when the server does."""
        sid = self._sids[subject] = next(self._numbers)
        self._subjects[sid] = subject
        if waiter is not None:
            self._waiting[subject] = waiter
        if self._line is not None:
            self._ask(subject, sid)

    def unsubscribe(self, subject: str) -> None:
        """Do not listen to it any more."""
        sid = self._sids.pop(subject, None)
        if sid is not None:
            del self._subjects[sid]
            self._waiting.pop(subject, None)
            if self._line is not None:
                self._commands.append(b"UNSUB %d\r\n" % sid)
                self._wake.set()

    def publish(self, subject: str, data: bytes) -> None:
        """Send a message.

        Raises:
            PubSubUnavailable: No server is connected, or too much waits for it.
        """
        if not self._life.is_up:
            raise PubSubUnavailable(f"{self._name} is not connected, so the message was not sent")
        if self._queued and self._queued + len(data) > self._queue_bytes:
            raise PubSubUnavailable(
                f"{self._queued} bytes wait for {self._name} already, so the message was not sent; "
                "?queue_bytes= sets how many may"
            )
        if len(data) > self._largest:
            # Not PubSubUnavailable: trying again would not help, and the server closes the connection that sends it.
            logger.error(
                "a message of %d bytes on %s was not sent to other nodes: the server takes at most %d; its max_payload "
                "sets how many",
                len(data),
                subject,
                self._largest,
            )
            return
        self._messages.append(b"PUB %b %d\r\n%b\r\n" % (subject.encode(), len(data), data))
        self._queued += len(self._messages[-1])
        self._wake.set()

    def _ask(self, subject: str, sid: int) -> None:
        self._commands.append(b"SUB %b %d\r\n" % (subject.encode(), sid))
        waiter = self._waiting.get(subject)
        if waiter is not None:
            self._asked.append((subject, waiter))
            self._to_confirm.set()
        self._wake.set()

    async def _session(self) -> None:
        host = self._hosts.pop(0)
        self._hosts.append(host)  # the next attempt goes to the next server
        line = Line(host, self._access, self._take, self._complain)
        try:
            await _within(CONNECT_TIMEOUT, f"{host}: no answer", line.open())
            self._begin(line)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(line.ended())
                await _within(CONFIRM_TIMEOUT, "subscriptions were not confirmed", self._confirm(line))
                self._life.up()
                tasks.create_task(self._write(line))
                tasks.create_task(self._keep_confirming(line))
                while True:
                    await asyncio.sleep(self._ping_interval)
                    await _within(self._ping_interval, "no answer to PING", line.round_trip())
        finally:
            self._line = None
            await line.end()

    def _begin(self, line: Line) -> None:
        """Ask for everything that is wanted, as on no connection before; messages that were never written still go."""
        self._line = line
        self._largest = line.max_payload
        self._queued = sum(map(len, self._messages))
        self._commands.clear()
        self._asked.clear()
        for subject, sid in self._sids.items():
            self._ask(subject, sid)

    async def _flush(self, line: Line) -> None:
        commands, self._commands = self._commands, []
        messages, self._messages = self._messages, []
        data = b"".join(messages)
        await line.send(b"".join(commands) + data)
        self._queued -= len(data)

    async def _write(self, line: Line) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._flush(line)

    async def _confirm(self, line: Line) -> None:
        """Have the server confirm what was asked so far."""
        asked, self._asked = self._asked, []
        await self._flush(line)
        await line.round_trip()
        for subject, waiter in asked:
            if self._waiting.get(subject) is waiter:
                del self._waiting[subject]
            if not waiter.done():
                waiter.set_result(None)

    async def _keep_confirming(self, line: Line) -> None:
        while True:
            await self._to_confirm.wait()
            self._to_confirm.clear()
            await _within(CONFIRM_TIMEOUT, "subscriptions were not confirmed", self._confirm(line))

    def _take(self, sid: int, data: bytes) -> None:
        subject = self._subjects.get(sid)
        if subject is not None:  # else unsubscribed while it was on its way
            self._receive(subject, data)

    def _complain(self, text: str) -> None:
        self._complaints += 1
        if self._complaints == 1 or self._complaints % 1000 == 0:  # a missing right must not fill the log
            logger.error("%s refuses something (%d so far): %s", self._name, self._complaints, text)


async def _within(seconds: float, complaint: str, work: Coroutine[Any, Any, object]) -> None:
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        raise ConnectionError(f"{complaint} within {seconds:g} s") from None
