"""What a tracker does, without a loop: when to speak, whom to ask, what to make of what is heard.

It is told of time by ticks, hands out messages to send, and says what changed. So a netsplit between five of them is a test that
calls functions.

Source: phoenix_pubsub `lib/phoenix/tracker/shard.ex`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from broadwing.core.presence.clock import Context, sources
from broadwing.core.presence.deltas import Delta, Entry, History, Interval, Meta
from broadwing.core.presence.replica import Change, Replica, Replicas, Status
from broadwing.core.presence.state import Diff, State, add_join, add_leave
from broadwing.core.presence.wire import Heartbeat, Message, Permdown, Transfer, TransferRequest


class Periods(msgspec.Struct, frozen=True):
    """How long things take; counts are of ticks, durations of seconds.

    Attributes:
        max_silent_periods: Ticks without a change before a heartbeat that says nothing else.
        down_period: Silence after which a replica is down.
        permdown_period: Silence after which it is gone for good.
        clock_sample_periods: Ticks over which clocks are collected before what was missed is asked for.
    """

    max_silent_periods: int
    down_period: float
    permdown_period: float
    clock_sample_periods: int


class Outgoing(NamedTuple):
    """Something to send.

    Attributes:
        node: To whom; `None`: to all others.
        message: What.
    """

    node: str | None
    message: Message


class Outcome:
    """What came of a call.

    Attributes:
        outgoing: What to send, in order.
        diff: Who has come and gone.
        changes: What became of replicas, in order.
    """

    __slots__ = ("changes", "diff", "outgoing")

    def __init__(self) -> None:
        self.outgoing: list[Outgoing] = []
        self.diff: Diff = {}
        self.changes: list[Change] = []


class Participant:
    """One replica among others.

    Args:
        replica: Which one.
        periods: How long things take.
        max_delta_sizes: How much of the past is kept for who missed it; see `History`.

    Attributes:
        state: Who is present. Read it; change it through this.
        replicas: The others.
        history: What happened lately.
    """

    def __init__(self, replica: Replica, periods: Periods, max_delta_sizes: Sequence[int]) -> None:
        self.replica = replica
        self.state = State(replica)
        self.replicas = Replicas(periods.down_period, periods.permdown_period)
        self.history = History(max_delta_sizes)
        self._periods = periods
        self._silent = periods.max_silent_periods  # so that the first tick speaks
        self._until_sample = periods.clock_sample_periods
        self._clocks: dict[Replica, Context] = {}
        self._asked: dict[Replica, int] = {}
        self._ref = 0
        self._tick = 0

    # This replica's own presences.

    def join(self, topic: str, owner: str, key: str, meta: Meta) -> Diff:
        """Add a presence that is not there yet."""
        diff: Diff = {}
        add_join(diff, self.state.join(topic, owner, key, meta))
        return diff

    def leave(self, topic: str, owner: str, key: str) -> Diff:
        """Remove a presence, if it is there."""
        diff: Diff = {}
        old = self.state.leave(topic, owner, key)
        if old is not None:
            add_leave(diff, old)
        return diff

    def leave_all(self, owner: str) -> Diff:
        """Remove all presences of an owner."""
        diff: Diff = {}
        for entry in self.state.owned(owner):
            self.state.leave(entry.topic, owner, entry.key)
            add_leave(diff, entry)
        return diff

    def update(self, old: Entry, meta: Meta) -> Diff:
        """Give one of this replica's presences another meta."""
        diff: Diff = {}
        add_leave(diff, old)
        add_join(diff, self.state.update(old, meta))
        return diff

    def goodbye(self) -> Outgoing:
        """What to tell the others at the end, so that they need not find out by silence."""
        return Outgoing(None, Permdown(self.replica))

    # Time.

    def tick(self, now: float, *, can_send: bool = True) -> Outcome:
        """Do what is due; called once per period.

        Args:
            now: Seconds; see `replica`.
            can_send: Whether there is a way to the others. What there is to say waits for it, and takes no more room than who
                is present does.
        """
        outcome = Outcome()
        self._tick += 1
        if can_send:
            self._speak(outcome)
            self._until_sample -= 1
            if self._until_sample <= 0:
                self._until_sample = self._periods.clock_sample_periods
                self._ask(outcome)
        else:
            self.speak_soon()
        self._apply(self.replicas.check(now), outcome)
        return outcome

    def speak_soon(self) -> None:
        """Send a heartbeat with the next tick, whatever there is to say."""
        self._silent = self._periods.max_silent_periods

    def _speak(self, outcome: Outcome) -> None:
        delta = self.state.take_delta()
        if delta is None and self._silent < self._periods.max_silent_periods:
            self._silent += 1
            return
        self._silent = 0
        outcome.outgoing.append(Outgoing(None, Heartbeat(self.replica, self.state.clocks(), delta)))
        if delta is not None:
            self.history.push(self.replica, delta)

    def _ask(self, outcome: Outcome) -> None:
        for replica in sources(self.state.clocks(), self.replica, self._clocks.items()):
            # An answer may take longer than a sample; to ask for a large state again and again would not bring it sooner.
            if self._tick - self._asked.get(replica, -self._patience) >= self._patience:
                self._asked[replica] = self._tick
                self._ref += 1
                request = TransferRequest(self.replica, self._ref, self.state.clocks())
                outcome.outgoing.append(Outgoing(replica.name, request))

    @property
    def _patience(self) -> int:
        return max(self._periods.max_silent_periods, self._periods.clock_sample_periods)

    # Others.

    def receive(self, message: Message, now: float) -> Outcome:
        """Take in what another replica says."""
        outcome = Outcome()
        sender = message.sender
        if sender.name == self.replica.name or self.replicas.is_over(sender, now):
            return outcome  # a former life of this node or of another one, of which something was still on its way
        match message:
            case Heartbeat():
                self._hear(message, now, outcome)
            case TransferRequest():
                outcome.outgoing.append(Outgoing(sender.name, self._answer(message)))
            case Transfer():
                self._asked.pop(sender, None)
                self._merge(message.delta, outcome)
            case Permdown():
                self._apply(self.replicas.left(sender), outcome)
        return outcome

    def _hear(self, message: Heartbeat, now: float, outcome: Outcome) -> None:
        delta = {} if message.delta is None else {message.sender: message.delta}
        is_known = self.replicas.is_known(message.sender)
        if is_known:
            self._merge(delta, outcome)  # first, so that one who was down comes back as it is, and not as it was
        self._apply(self.replicas.heard(message.sender, now), outcome)
        if not is_known:
            self._merge(delta, outcome)
        self._clocks[message.sender] = message.context

    def _answer(self, request: TransferRequest) -> Transfer:
        delta: dict[Replica, Interval] = {}
        for replica, known in request.context.items():
            if self.state.context.get(replica, 0) > known and replica != request.sender:
                full = self.state.interval(replica)
                part = self.history.since(replica, known)
                delta[replica] = full if part is None or len(part) > len(full) else part
        return Transfer(self.replica, request.ref, delta)

    def _merge(self, delta: Delta, outcome: Outcome) -> None:
        for replica, interval in self.state.merge(delta, outcome.diff):
            self.history.push(replica, interval)

    def _apply(self, changes: Sequence[Change], outcome: Outcome) -> None:
        for change in changes:
            status, replica = change
            outcome.changes.append(change)
            if status is Status.UP:
                self.state.replica_up(replica, outcome.diff)
                self.speak_soon()  # so that it need not wait to hear of this one
                continue
            self._clocks.pop(replica, None)
            self._asked.pop(replica, None)
            if status is Status.DOWN:
                self.state.replica_down(replica, outcome.diff)
            else:
                self.state.forget(replica)
                self.history.forget(replica)
