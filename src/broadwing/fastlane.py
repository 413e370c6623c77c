"""The way of a broadcast to its subscribers: encoded once per format, written straight to the transports.

Small rooms are written at the end of the loop's turn, many broadcasts in a row: a client's machine that is written to without
a pause stays awake, and waking it up again for every broadcast cost a twelfth of all the work with 500 rooms of ten.

Large rooms are written in slices, with the loop running in between: one room of 5,000 written at once holds everybody
else up for 35 ms.

Whatever is sent to one client queues behind what waits for it, so that a client sees a topic's messages in the order in which
they were sent.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol, cast

from broadwing.core.messages import Broadcast
from broadwing.core.serializer import Serializer
from broadwing.pubsub.registry import Members, Sink, Subscribers
from broadwing.transports.base import Format, Transport

logger = logging.getLogger("broadwing.fastlane")

# Writes per turn of the loop to begin with, and the bounds of its adaptation to the machine and to TLS.
SLICE, SLICE_MIN, SLICE_MAX = 250, 32, 512
# A turn of the loop should take no longer than this while a large room is written to, in seconds.
TURN = 0.002
# Broadcasts that may wait on one topic. Beyond it the oldest is written out at once, which holds the loop and with it
# whoever publishes: back-pressure instead of memory without bound, and nothing is lost.
MAX_WAITING = 256
# Writes that may wait for the end of the turn: enough to make the pauses rare, and 2 ms when they come.
MAX_DUE = 256


class Lane:
    """Everybody who gets the same frames: one wire version, one format, one set of intercepted events.

    Lanes are the metadata of channel subscriptions; the endpoint hands out one object per combination.
    """

    __slots__ = ("format", "intercepts", "serializer")

    def __init__(self, serializer: Serializer, format_: Format, intercepts: frozenset[str]) -> None:
        self.serializer = serializer
        self.format = format_
        self.intercepts = intercepts

    def frame(self, message: Broadcast) -> Any:
        """Encode and wrap a broadcast for this lane."""
        return self.format.frame(*self.serializer.broadcast(message.topic, message.event, message.body))


class _Job:
    """Writes that are still to be done, in order."""

    __slots__ = ("frame", "gone", "left", "sinks")

    def __init__(self, frame: Any, sinks: list[Sink]) -> None:
        self.frame = frame
        self.gone: set[Sink] | None = None
        self.left = len(sinks)
        self.sinks: Iterator[Sink] = iter(sinks)

    def run(self, budget: int) -> int:
        """Do up to `budget` writes and return how many."""
        done = min(budget, self.left)
        self.left -= done
        turn: Iterator[Sink] = islice(self.sinks, done)
        gone = self.gone
        if gone is not None:
            turn = (sink for sink in turn if sink not in gone)
        _write_all(self.frame, turn)
        return done


def _write_all(frame: Any, sinks: Iterable[Sink]) -> None:
    for sink in sinks:
        try:
            sink.write(frame)
        except RuntimeError:
            # uvloop refuses to write to a line that went down since the subscribers were listed; go on with the next.
            continue
        except Exception:  # nor may any other fault of one line keep the frame from the others, or stop the slices
            logger.exception("a line refused a broadcast")


class Fastlane:
    """Dispatches broadcasts on one node.

    Attributes:
        due: Frames to write at the end of this turn of the loop, in order, each with those who get it.
        pending: Topics with slices still to write, each with its jobs in order.
        deliveries: Frames handed to transports so far, or about to be.
    """

    def __init__(self) -> None:
        self.due: list[tuple[Any, Sequence[Sink]]] = []
        self.pending: dict[str, deque[_Job]] = {}
        self.deliveries = 0
        self._writes_due = 0
        self._settling = False
        self._gone: set[Sink] = set()
        self.slice = SLICE
        self._turns: deque[str] = deque()
        self._stepping = False
        self._last_turn = 0.0

    def dispatch(self, subscribers: Subscribers, message: Broadcast, sender: Hashable) -> int:
        """Deliver one broadcast to a topic's subscribers on this node, `sender` excepted.

        Returns:
            How many subscribers will be handed it, at the end of this turn of the loop or in slices after it.

        Raises:
            LocalProtocolError: A wire version among the subscribers cannot carry the payload; nobody got it.
        """
        groups = subscribers.groups
        if len(groups) == 1:
            ((lane, members),) = groups.items()
            if type(lane) is Lane and message.event not in lane.intercepts and not message.body.binary:
                return self._fan_out(subscribers.topic, lane, lane.frame(message), members, sender)
        # All frames are made before the first is written: a payload that one version cannot carry reaches nobody.
        ready = [(lane, members, self._frame(lane, message)) for lane, members in groups.items()]
        count = 0
        for lane, members, frame in ready:
            if not isinstance(lane, Lane):
                count += _deliver_plain(members, message, sender)
            elif frame is _INTERCEPTED:
                runners = [key for key in members if key is not sender]
                for runner in runners:
                    cast("Interceptor", runner).receive_broadcast(message)
                count += len(runners)
            elif frame is not _UNCARRIED:
                count += self._fan_out(subscribers.topic, lane, frame, members, sender)
        return count

    def after(self, topic: str, transport: Transport, opcode: int, data: bytes) -> None:
        """Send one message to one client behind all that waits for it: slices of `topic`, or what is due in this turn."""
        frame = transport.format.frame(opcode, data)
        sink = LargeSink(transport) if transport.format.is_large(frame) else transport.sink
        jobs = self.pending.get(topic)
        if jobs is not None:
            jobs.append(_Job(frame, [sink]))
        else:
            self._owe(frame, (sink,))

    def settle(self) -> None:
        """Write what is due in this turn."""
        if self._settling or not self.due:
            return
        self._settling = True
        # A write may end a line that does not read; what comes of that joins the end of this very list.
        for frame, sinks in self.due:
            _write_all(frame, [sink for sink in sinks if sink not in self._gone] if self._gone else sinks)
        self.due.clear()
        self._gone.clear()
        self._writes_due = 0
        self._settling = False

    def skip(self, sink: Sink) -> None:
        """Write nothing more to a line that is being closed: no data follows a close frame (RFC 6455 section 5.5.1).

        Nor may what still waits fill the memory of a client that is closed because it does not read.
        """
        if self.due:
            self._gone.add(sink)
        for jobs in self.pending.values():
            for job in jobs:
                if job.gone is None:
                    job.gone = set()
                job.gone.add(sink)

    def flush(self) -> None:
        """Write out everything that waits, at once; the last thing before connections are drained."""
        self.settle()
        for jobs in self.pending.values():
            for job in jobs:
                job.run(job.left)
        self.pending.clear()
        self._turns.clear()

    def _frame(self, lane: Hashable, message: Broadcast) -> Any:
        if not isinstance(lane, Lane) or message.event in lane.intercepts:
            return _INTERCEPTED
        if message.body.binary and lane.serializer.version == "1.0.0":
            logger.warning(
                "binary broadcast of %r on %r does not reach clients of wire version 1.0.0, which has no binary frames",
                message.event,
                message.topic,
            )
            return _UNCARRIED
        return lane.frame(message)

    def _fan_out(self, topic: str, lane: Lane, frame: Any, members: Members, sender: Hashable) -> int:
        if lane.format.is_large(frame):
            runners = [cast("Interceptor", key) for key in members if key is not sender]
            sinks: list[Sink] = [LargeSink(runner.transport) for runner in runners if runner.transport is not None]
        elif sender is None or sender not in members:
            sinks = list(members.values())
        else:
            sinks = [sink for key, sink in members.items() if key is not sender]
        count = len(sinks)
        self.deliveries += count
        jobs = self.pending.get(topic) if self.pending else None
        if jobs is None:
            if count <= self.slice:
                if count:
                    self._owe(frame, sinks)
                return count
            self.settle()  # the topic's earlier messages, from when it was small
            jobs = self.pending[topic] = deque()
            self._turns.append(topic)
        jobs.append(_Job(frame, sinks))
        if len(jobs) > MAX_WAITING:
            oldest = jobs.popleft()
            oldest.run(oldest.left)
        if not self._stepping:
            self._last_turn = 0.0
            self._stepping = _next_turn(self._step)
            if not self._stepping:
                self.flush()
        return count

    def _owe(self, frame: Any, sinks: Sequence[Sink]) -> None:
        is_in_time = bool(self.due) or _next_turn(self.settle)
        self.due.append((frame, sinks))
        self._writes_due += len(sinks)
        if self._writes_due > MAX_DUE or not is_in_time:
            self.settle()

    def _step(self) -> None:
        """Write one slice of the topic whose turn it is."""
        if not self._turns:
            self._stepping = False
            return
        self._adapt()
        topic = self._turns.popleft()
        jobs = self.pending[topic]
        budget = self.slice
        while budget > 0 and jobs:
            budget -= jobs[0].run(budget)
            if not jobs[0].left:
                jobs.popleft()
        if jobs:
            self._turns.append(topic)
        else:
            del self.pending[topic]
        asyncio.get_running_loop().call_soon(self._step)

    def _adapt(self) -> None:
        # What a write costs differs by a factor of ten between plain TCP and TLS, so the slice follows the clock.
        # Its own time on the processor, so that a machine that is busy with something else does not look like slow writes.
        now = time.thread_time()
        if self._last_turn:
            took = now - self._last_turn
            if took > TURN * 1.5:
                self.slice = max(SLICE_MIN, self.slice * 3 // 4)
            elif took < TURN:
                self.slice = min(SLICE_MAX, self.slice + 16)
        self._last_turn = now


def _next_turn(callback: Callable[[], None]) -> bool:
    """Have something called soon; returns whether it will be: between two runs of a loop there is no turn."""
    try:
        asyncio.get_running_loop().call_soon(callback)
    except RuntimeError:  # nothing runs
        return False
    return True


_UNCARRIED = object()
_INTERCEPTED = object()


class LargeSink:
    """Writes with the transport's care for frames that could fill a client's buffer on their own."""

    __slots__ = ("write",)

    def __init__(self, transport: Transport) -> None:
        self.write = transport.write_large


class Interceptor(Protocol):
    """A channel as subscriber."""

    @property
    def transport(self) -> Transport | None:
        """Its client's line."""
        ...

    def receive_broadcast(self, message: Broadcast) -> None:
        """Take the broadcast instead of the client."""
        ...


def _deliver_plain(members: Members, message: Broadcast, sender: Hashable) -> int:
    subscribers = [sink for key, sink in members.items() if sender is None or key is not sender]
    for sink in subscribers:
        try:
            sink.write(message)
        except Exception:  # one subscriber's fault must not keep the message from the others
            logger.exception("a subscriber of %r raised", message.topic)
    return len(subscribers)
