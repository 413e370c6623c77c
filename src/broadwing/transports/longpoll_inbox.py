"""Reaching poll sessions on other nodes: one topic of the bus for each mount on each node.

A topic per session would cost every idle client a subscription on the bus, and its first request the wait for it. So the
session's token says which inbox it is behind, and its private topic is only its name there.

The topic is derived from the inbox's name with the endpoint's secret. The name stands in tokens, which clients can read;
one that knew the topic could try to join it, and listen to what other clients are sent.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Sequence
from functools import cached_property
from itertools import count
from types import TracebackType
from typing import Self

from broadwing.core.longpoll_relay import Answer, Ask, Verdict, pack, unpack
from broadwing.core.longpoll_state import Status
from broadwing.core.messages import Broadcast
from broadwing.core.verifier import b64url_encode, derive_key
from broadwing.exceptions import PubSubUnavailable
from broadwing.pubsub.health import Health
from broadwing.pubsub.pubsub import PubSub
from broadwing.transports.longpoll_session import Leaving, Lodge, LongPollSession, Polled

logger = logging.getLogger("broadwing.transport")


class Inbox:
    """Takes what other nodes ask of this mount's sessions, and the answers to what it asks of theirs.

    Attributes:
        lodge: The mount's sessions and settings.
    """

    def __init__(self, lodge: Lodge, pubsub: PubSub, secret_key_base: str) -> None:
        self.lodge = lodge
        self._pubsub = pubsub
        self._secret = secret_key_base
        self._is_open = False
        self._opening: asyncio.Task[None] | None = None
        self._refs = count(1)
        self._exchanges: dict[int, _Exchange] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # Made when they are first needed: a server that forks its workers has built the endpoint before.

    @cached_property
    def name(self) -> str:
        """Names it in tokens."""
        return b64url_encode(secrets.token_bytes(12))

    @cached_property
    def topic(self) -> str:
        """Where it listens; nobody but the nodes may know."""
        return self._topic_of(self.name)

    async def open(self) -> None:
        """Listen on the bus; returns once letters are sure to arrive, or the bus is given up. Idempotent."""
        if not self._is_open:
            self._is_open = True
            _, ready = self._pubsub.attach(self.topic, self, self)
            if ready is not None:
                self._opening = asyncio.get_running_loop().create_task(_settle(ready))
        if self._opening is not None:
            await asyncio.wait((self._opening,))
            self._opening = None

    async def close(self) -> None:
        """Listen no more, and end what is still being done for other nodes."""
        if self._is_open:
            self._is_open = False
            self._pubsub.detach(self.topic, self)
        tasks = [*self._tasks, *((self._opening,) if self._opening is not None else ())]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def reach(self, inbox: str, session: str) -> "RemoteSession":
        """The session named `session` behind another inbox, if it is there."""
        return RemoteSession(self, self._topic_of(inbox), session)

    def _topic_of(self, name: str) -> str:
        return "phx:lp:" + b64url_encode(derive_key(self._secret, "poll sessions behind " + name, length=18))

    # Asking.

    async def exchange(
        self, topic: str, session: str, messages: Sequence[tuple[int, bytes]] | None = None, *, waits: bool = False
    ) -> "_Exchange":
        """Ask, and get the answers one by one; the arguments are those of `Ask`."""
        await self.open()
        ref = next(self._refs)
        exchange = _Exchange(self, ref)
        self._exchanges[ref] = exchange
        if not self._can_reach(topic) or not self._post(topic, Ask(ref, self.topic, session, messages, waits)):
            exchange.deliver(Answer(ref, Verdict.GONE))
        return exchange

    def _can_reach(self, topic: str) -> bool:
        # What is asked of a bus that is down would only wait there, and be done when its client has long gone on.
        pubsub = self._pubsub
        return pubsub.registry.count(topic) > 0 or not (pubsub.is_alone or pubsub.health is Health.DOWN)

    def forget(self, ref: int) -> None:
        """Answers to this ask mean nothing any more."""
        self._exchanges.pop(ref, None)

    def _post(self, topic: str, letter: Ask | Answer) -> bool:
        try:
            self._pubsub.broadcast(topic, pack(topic, letter))
        except PubSubUnavailable as error:
            # Who waits for an answer in vain takes that for one.
            logger.warning("%s: another node was not reached about a poll session: %s", self.lodge.label, error)
            return False
        return True

    # Answering. PubSub delivers here.

    def write(self, message: Broadcast) -> None:
        """Take a letter from the bus."""
        letter = unpack(message)
        if isinstance(letter, Ask):
            self._take_ask(letter)
        elif isinstance(letter, Answer):
            exchange = self._exchanges.get(letter.ref)
            if exchange is not None:
                exchange.deliver(letter)
        else:
            logger.warning("%s: the inbox of poll sessions got %.80r, which is no letter", self.lodge.label, message)

    def _take_ask(self, ask: Ask) -> None:
        session = self.lodge.sessions.get(ask.session)
        if session is None:
            self.answer(ask, Verdict.GONE)
        elif ask.messages is not None:
            self.answer(ask, Verdict.WAIT)
            task = asyncio.get_running_loop().create_task(self._publish(session, ask, ask.messages))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            frames = session.take()
            if not frames and ask.waits:
                self.answer(ask, Verdict.WAIT)
                session.wait(_RemoteWaiter(self, ask))
            else:
                self.answer(ask, Verdict.DONE, frames=frames)

    async def _publish(self, session: LongPollSession, ask: Ask, messages: Sequence[tuple[int, bytes]]) -> None:
        self.answer(ask, Verdict.DONE, await session.publish(messages))

    def answer(self, ask: Ask, verdict: Verdict, status: int = 0, frames: Sequence[bytes] = ()) -> None:
        """Send an answer to who asked."""
        self._post(ask.sender, Answer(ask.ref, verdict, status, frames))


class RemoteSession:
    """A poll session behind another inbox; the counterpart of `LongPollSession` for requests."""

    __slots__ = ("_inbox", "_session", "_topic")

    def __init__(self, inbox: Inbox, topic: str, session: str) -> None:
        self._inbox = inbox
        self._topic = topic
        self._session = session

    async def poll(self, leaving: Leaving) -> Polled | None:
        """As `LongPollSession.poll`; `GONE` when nobody says within `pubsub_timeout` that the session is there."""
        settings = self._inbox.lodge.settings
        with await self._inbox.exchange(self._topic, self._session, waits=True) as exchange:
            answer = await exchange.next(settings.pubsub_timeout, leaving)
            if answer is not None and answer.verdict is Verdict.WAIT:
                answer = await exchange.next(settings.window, leaving) or _NOTHING
        if leaving.done():
            return None
        if answer is not None and answer.verdict is Verdict.AVAILABLE:
            with await self._inbox.exchange(self._topic, self._session) as exchange:
                # A session that ended says so to the next poll.
                answer = await exchange.next(settings.pubsub_timeout) or _NOTHING
                answer = answer if answer.verdict is Verdict.DONE else _NOTHING
        if answer is None or answer.verdict is Verdict.GONE:
            return Polled(Status.GONE)
        return Polled(Status.OK, answer.frames) if answer.frames else Polled(Status.NO_CONTENT)

    async def publish(self, messages: Sequence[tuple[int, bytes]]) -> Status:
        """As `LongPollSession.publish`; `GONE` when nobody says within `pubsub_timeout` that the session is there."""
        settings = self._inbox.lodge.settings
        with await self._inbox.exchange(self._topic, self._session, messages) as exchange:
            answer = await exchange.next(settings.pubsub_timeout)
            if answer is None or answer.verdict is Verdict.GONE:
                return Status.GONE
            # The session waits a window; the bus may add what it is allowed to take.
            answer = await exchange.next(settings.window + settings.pubsub_timeout)
        return Status.TIMEOUT if answer is None else Status(answer.status)


class _Exchange:
    """One ask and its answers, as they come."""

    __slots__ = ("_answers", "_arrived", "_inbox", "_ref")

    def __init__(self, inbox: Inbox, ref: int) -> None:
        self._inbox = inbox
        self._ref = ref
        self._answers: deque[Answer] = deque()
        self._arrived: asyncio.Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._inbox.forget(self._ref)

    def deliver(self, answer: Answer) -> None:
        self._answers.append(answer)
        arrived, self._arrived = self._arrived, None
        if arrived is not None:
            arrived.set_result(None)

    async def next(self, patience: float, leaving: Leaving | None = None) -> Answer | None:
        """The next answer, or `None` after `patience` or when the client has left."""
        if not self._answers:
            self._arrived = asyncio.get_running_loop().create_future()
            waits = (self._arrived,) if leaving is None else (self._arrived, leaving)
            await asyncio.wait(waits, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            self._arrived = None
        return self._answers.popleft() if self._answers else None


class _RemoteWaiter:
    """A request on another node. When its window is over it asks no more, and is not heard of again."""

    __slots__ = ("_ask", "_inbox")

    leaves = False

    def __init__(self, inbox: Inbox, ask: Ask) -> None:
        self._inbox = inbox
        self._ask = ask

    def wake(self) -> None:
        """Let the request go on."""
        self._inbox.answer(self._ask, Verdict.AVAILABLE)


_NOTHING = Answer(0, Verdict.DONE)


async def _settle(ready: Awaitable[None]) -> None:
    await ready
