"""One Redis server: a connection that listens and one that publishes, and what was asked of them while they were away."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from redis.exceptions import AskError, ClusterDownError, MovedError, ResponseError, TryAgainError

from broadwing.exceptions import PubSubUnavailable
from broadwing.pubsub.broker import Waiter
from broadwing.pubsub.broker_life import CONFIRM_TIMEOUT, CONNECT_TIMEOUT, Life
from broadwing.pubsub.redis_line import Access, Line, command
from broadwing.pubsub.redis_places import Place

logger = logging.getLogger("broadwing.pubsub")

_PING: Final = command(b"PING")
_ELSEWHERE: Final = (MovedError, AskError, ClusterDownError, TryAgainError)


class Link:
    """Two connections to one server, kept alive.

    Commands are put together per loop turn and written by one task, in one piece. Answers come in the order of the commands, so
    each subscription has a place in a queue, and no acknowledgement can be taken for that of a later one on the same channel.

    Args:
        place: Where the server is.
        access: How it lets this node in.
        receive: Called with the channel and data of every message.
        changed: Called when `is_up` may have changed, and after each failed attempt.
        moved: Called when the server says that it does not have a slot; with the channel of a subscription, or `None`.
        sharded: Whether to use the commands of sharded pub/sub.
        queue_bytes: Most bytes that may wait to be written.
        ping_interval: Seconds after which an unanswered PING ends the connections.
    """

    def __init__(
        self,
        place: Place,
        access: Access,
        *,
        receive: Callable[[bytes, bytes], None],
        changed: Callable[[], None],
        moved: Callable[["Link", bytes | None], None],
        sharded: bool,
        queue_bytes: int,
        ping_interval: float,
    ) -> None:
        self._place = place
        self._access = access
        self._receive = receive
        self._moved = moved
        self._queue_bytes = queue_bytes
        self._ping_interval = ping_interval
        letter = b"S" if sharded else b""
        self._publish = letter + b"PUBLISH"
        self._subscribe, self._unsubscribe = letter + b"SUBSCRIBE", letter + b"UNSUBSCRIBE"
        self._message = self._publish.lower().replace(b"publish", b"message")
        self._acks = {self._subscribe.lower(), self._unsubscribe.lower()}
        self._life = Life(place.name, self._session, changed)
        self._live = False
        self._wake = asyncio.Event()
        self._commands: list[bytes] = []
        self._expected: deque[tuple[bytes, bytes, Waiter]] = deque()
        self._to_restore = 0
        self._restored = asyncio.Event()
        self._messages: list[bytes] = []
        self._queued = 0
        self._unanswered = 0
        self._answers = 0
        self._flushes: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._heard = [False, False]
        self._refused = 0
        self.channels: dict[bytes, Waiter] = {}

    @property
    def is_up(self) -> bool:
        """Whether both connections work and all subscriptions were confirmed once."""
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
        """Make new connections."""
        await self._life.renew()

    async def flush(self) -> None:
        """Wait until the server has answered everything that was published so far.

        Raises:
            PubSubUnavailable: The server is away, or the connection broke meanwhile.
        """
        if not self.is_up:
            raise PubSubUnavailable(f"{self._place.name} is not connected")
        left = self._unanswered + len(self._messages)
        if left:
            future = asyncio.get_running_loop().create_future()
            self._flushes.append((self._answers + left, future))
            await future

    def subscribe(self, channel: bytes, waiter: Waiter) -> None:
        """Listen to a channel; `waiter` learns when the server does."""
        self.channels[channel] = waiter
        if self._live:
            self._send(self._subscribe, channel, waiter)

    def unsubscribe(self, channel: bytes) -> None:
        """Do not listen to it any more."""
        if channel in self.channels:
            del self.channels[channel]
            if self._live:
                self._send(self._unsubscribe, channel, None)

    def publish(self, channel: bytes, data: bytes) -> None:
        """Send a message.

        Raises:
            PubSubUnavailable: The server is away, or too much waits for it.
        """
        if not self._life.is_up:
            raise PubSubUnavailable(f"{self._place.name} is not connected, so the message was not sent")
        if self._queued and self._queued + len(data) > self._queue_bytes:
            raise PubSubUnavailable(
                f"{self._queued} bytes wait for {self._place.name} already, so the message was not sent; "
                "?queue_bytes= sets how many may"
            )
        self._messages.append(command(self._publish, channel, data))
        self._queued += len(self._messages[-1])
        self._wake.set()

    def _send(self, name: bytes, channel: bytes, waiter: Waiter) -> None:
        self._commands.append(command(name, channel))
        self._expected.append((name.lower(), channel, waiter))
        self._wake.set()

    async def _session(self) -> None:
        lines: list[Line] = []
        try:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    host = await self._place.find()
                    for _ in range(2):
                        lines.append(Line(host, self._access))
                        await lines[-1].open()
                    await self._place.check(lines[-1])
            except TimeoutError:
                raise ConnectionError(f"no answer within {CONNECT_TIMEOUT:g} s") from None
            listener, publisher = lines
            self._begin()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen(listener))
                tasks.create_task(self._read_answers(publisher))
                tasks.create_task(self._write(listener, publisher))
                try:
                    async with asyncio.timeout(CONFIRM_TIMEOUT):
                        await self._restored.wait()
                except TimeoutError:
                    raise ConnectionError(f"subscriptions were not confirmed within {CONFIRM_TIMEOUT:g} s") from None
                self._life.up()
                await self._keep_alive()
        finally:
            self._live = False
            flushes, self._flushes = self._flushes, deque()
            for _, future in flushes:
                if not future.done():
                    future.set_exception(
                        PubSubUnavailable(f"the connection to {self._place.name} broke; messages may be lost")
                    )
            for line in lines:
                await line.close()

    def _begin(self) -> None:
        """Ask for everything that is wanted, as on no connection before."""
        self._live = True
        self._commands.clear()
        self._expected.clear()
        self._unanswered = 0
        self._queued = sum(map(len, self._messages))
        for channel, waiter in self.channels.items():
            self._send(self._subscribe, channel, waiter)
        self._to_restore = len(self._expected)
        self._restored.clear()
        if not self._to_restore:
            self._restored.set()

    async def _keep_alive(self) -> None:
        while True:
            self._heard = [False, False]
            self._commands.append(_PING)
            self._messages.append(_PING)
            self._queued += len(_PING)
            self._wake.set()
            await asyncio.sleep(self._ping_interval)
            if not all(self._heard):
                raise ConnectionError(f"no answer to PING within {self._ping_interval:g} s")

    async def _write(self, listener: Line, publisher: Line) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._commands:
                commands, self._commands = self._commands, []
                await listener.send(b"".join(commands))
            if self._messages:
                messages, self._messages = self._messages, []
                self._unanswered += len(messages)
                data = b"".join(messages)
                await publisher.send(data)
                self._queued -= len(data)

    async def _listen(self, line: Line) -> None:
        message, acks, receive = self._message, self._acks, self._receive
        while True:
            try:
                answer: Any = await line.read()
            except ResponseError as error:
                self._take_refusal(error)
                continue
            self._heard[0] = True
            if type(answer) is list:
                kind = answer[0]
                if kind == message:
                    receive(answer[1], answer[2])
                elif kind in acks:
                    self._take_ack(kind, answer[1])

    def _take_ack(self, kind: bytes, channel: bytes) -> None:
        if not self._expected or self._expected[0][:2] != (kind, channel):
            # Nobody asked: the slot went to another server, and this one has ended what it cannot serve.
            if channel in self.channels:
                self._moved(self, channel)
            return
        self._confirm(None)

    def _take_refusal(self, error: ResponseError) -> None:
        if not self._expected:
            logger.error("%s: %s", self._place.name, error)
            return
        kind, channel, _ = self._expected[0]
        if _is_elsewhere(error):
            if kind == self._subscribe.lower() and channel in self.channels:
                self._moved(self, channel)
            self._confirm(error)
            return
        logger.error("%s refuses %s %r: %s", self._place.name, kind.decode(), channel, error)
        self._confirm(PubSubUnavailable(f"{self._place.name} refuses the subscription: {error}"))

    def _confirm(self, error: Exception | None) -> None:
        """The oldest command that waits for an answer has got one."""
        _, channel, waiter = self._expected.popleft()
        if waiter is not None and not isinstance(error, ResponseError):
            if self.channels.get(channel) is waiter:
                self.channels[channel] = None
            if not waiter.done():
                if error is None:
                    waiter.set_result(None)
                else:
                    waiter.set_exception(error)
        if self._to_restore:
            self._to_restore -= 1
            if not self._to_restore:
                self._restored.set()

    async def _read_answers(self, line: Line) -> None:
        while True:
            try:
                await line.read()
            except ResponseError as error:
                if _is_elsewhere(error):
                    self._moved(self, None)
                self._refused += 1
                if self._refused == 1 or self._refused % 1000 == 0:  # a missing right must not fill the log
                    logger.error("%s refuses a message (%d so far): %s", self._place.name, self._refused, error)
            self._heard[1] = True
            self._unanswered -= 1
            self._answers += 1
            while self._flushes and self._flushes[0][0] <= self._answers:
                future = self._flushes.popleft()[1]
                if not future.done():
                    future.set_result(None)


def _is_elsewhere(error: ResponseError) -> bool:
    # Connections outside redis-py's cluster client do not know the classes; the text is the server's own then.
    return isinstance(error, _ELSEWHERE) or str(error).startswith(("MOVED ", "ASK ", "CLUSTERDOWN ", "TRYAGAIN "))
