"""Whatever happens to the Python client's automaton, in whatever order: what holds for its pushes, joins and deadlines."""

from collections import Counter
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from broadwing.core.client import effects as e
from broadwing.core.client.effects import ChannelStatus, Status
from broadwing.core.client.state import ClientOptions, ClientState
from broadwing.core.codec import Body, body

TOPICS = ("room:a", "room:b")
TIMEOUTS = st.sampled_from([0.02, 0.5, 5.0, 10.0])
SECONDS = st.sampled_from([0.0, 0.02, 0.5, 1.0, 5.0, 11.0, 31.0])


class Client(RuleBasedStateMachine):
    """The client, beside a server that answers what it likes, when it likes, also late and twice."""

    @initialize(fallback=st.sampled_from([None, 2.5]))
    def begin(self, fallback: float | None) -> None:
        """Make it."""
        self.now = 0.0
        self.state = ClientState(ClientOptions(lambda tries: 0.05 * tries, longpoll_fallback=fallback))
        self.open: list[int] = []
        self.sent: list[e.Push] = []
        self.refs: list[str] = []
        self.settled: Counter[e.Push] = Counter()
        self.first_answers: Counter[int] = Counter()
        self.pushed: list[tuple[e.ChannelState, e.Push]] = []
        self.withdrawn: set[int] = set()
        self.channels: list[e.ChannelState] = []
        self.latest = 0

    def look(self) -> None:
        """Take what it wants done, and hold it."""
        while self.state.effects:
            effect = self.state.effects.popleft()
            match effect:
                case e.Open(generation, _):
                    assert generation > self.latest
                    self.latest = generation
                    self.open = [generation]
                case e.Close(generation, _, _):
                    assert generation in self.open
                    self.open = []
                case e.Send(push):
                    assert self.state.status is Status.OPEN
                    assert not push.done
                    assert push.ref is not None
                    self.refs.append(push.ref)
                    self.sent.append(push)
                case e.Settled(push, _, _):
                    self.settled[push] += 1
                    assert self.settled[push] == 1
                    assert id(push) not in self.withdrawn
                case e.Joined(channel, _, again):
                    assert channel.status is ChannelStatus.JOINED
                    self.first_answers[id(channel)] += not again
                case e.Refused(channel, _, _):
                    self.first_answers[id(channel)] += 1
                case e.Ended(channel, _):
                    assert channel.status is ChannelStatus.CLOSED
                case e.Disconnected(_, _, again):
                    assert (self.state.status is Status.WAITING) == again

    # The application.

    @rule()
    def connect(self) -> None:
        self.state.connect(self.now)
        self.look()

    @rule()
    def disconnect(self) -> None:
        self.state.disconnect()
        self.look()

    @rule()
    def close(self) -> None:
        self.state.close()
        self.look()
        assert self.state.next_deadline() is None
        assert self.state.channels.waiting == 0

    @rule(topic=st.sampled_from(TOPICS), timeout=TIMEOUTS)
    def join(self, topic: str, timeout: float) -> None:
        channel = e.ChannelState(topic, Body(b"{}"))
        self.channels.append(channel)
        self.state.channels.join(channel, timeout, self.now)
        self.look()

    @precondition(lambda self: any(c.status is not ChannelStatus.CLOSED for c in self.channels))
    @rule(data=st.data(), timeout=TIMEOUTS, wants_reply=st.booleans())
    def push(self, data: st.DataObject, timeout: float, wants_reply: bool) -> None:
        live = [c for c in self.channels if c.status is not ChannelStatus.CLOSED]
        channel = data.draw(st.sampled_from(live))
        push = e.Push(channel.topic, "e", body({}), timeout, wants_reply)
        self.state.channels.push(channel, push, self.now)
        self.pushed.append((channel, push))
        self.look()

    @precondition(lambda self: self.pushed)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        channel, push = data.draw(st.sampled_from(self.pushed))
        if push.wants_reply and not push.done:
            self.withdrawn.add(id(push))
            self.state.channels.withdraw(channel, push)
        self.look()

    @precondition(lambda self: self.channels)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.state.channels.leave(data.draw(st.sampled_from(self.channels)), 5.0, self.now)
        self.look()

    @rule()
    def ping(self) -> None:
        self.state.ping(self.now)
        self.look()

    # The world.

    @rule(seconds=SECONDS)
    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        for _ in range(1_000):
            when = self.state.next_deadline()
            if when is None or when > end:
                break
            self.now = max(self.now, when)
            self.state.tick(self.now)
            self.look()
        else:
            raise AssertionError("deadlines come without end")
        self.now = end

    @rule(old=st.integers(0, 2))
    def opened(self, old: int) -> None:
        self.state.opened(self.latest - old, self.now)
        self.look()

    @rule(old=st.integers(0, 2))
    def failed(self, old: int) -> None:
        self.state.failed(self.latest - old, self.now)
        self.look()

    @rule(old=st.integers(0, 2), code=st.sampled_from([1000, 1001, 1006]))
    def closed(self, old: int, code: int) -> None:
        self.state.closed(self.latest - old, code, "", self.now)
        self.look()

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), status=st.sampled_from(["ok", "ok", "error", "teapot"]))
    def reply(self, data: st.DataObject, status: str) -> None:
        push = data.draw(st.sampled_from(self.sent[-6:]))
        self.receive(push.join_ref, push.ref, push.topic, "phx_reply", {"status": status, "response": {}})

    @rule(
        topic=st.sampled_from(TOPICS),
        event=st.sampled_from(["news", "phx_close", "phx_error", "phx_reply"]),
        join_ref=st.sampled_from([None, "1", "2", "7", 3]),
        payload=st.sampled_from([{}, None, [1]]),
    )
    def message(self, topic: str, event: str, join_ref: Any, payload: Any) -> None:
        self.receive(join_ref, join_ref, topic, event, payload)

    def receive(self, join_ref: Any, ref: Any, topic: str, event: str, payload: Any) -> None:
        self.state.received(self.latest, e.Message(join_ref, ref, topic, event, payload), self.now)
        self.look()

    # What always holds.

    @invariant()
    def refs_are_unique(self) -> None:
        assert len(set(self.refs)) == len(self.refs)

    @invariant()
    def a_first_join_is_answered_once_at_most(self) -> None:
        assert all(times <= 1 for times in self.first_answers.values())

    @invariant()
    def one_channel_of_a_topic_is_live(self) -> None:
        live = Counter(c.topic for c in self.channels if c.status is not ChannelStatus.CLOSED)
        assert all(times == 1 for times in live.values())

    @invariant()
    def a_channel_is_joined_only_while_connected(self) -> None:
        if any(c.status is ChannelStatus.JOINED for c in self.channels):
            assert self.state.status is Status.OPEN

    @invariant()
    def what_waits_is_counted(self) -> None:
        unsettled = [
            push
            for channel in self.channels
            for push in (*channel.buffer, *channel.pending.values())
            if push is not channel.joining
        ]
        assert len(unsettled) == self.state.channels.waiting

    def teardown(self) -> None:
        """At the end everything that was waited for has an end."""
        self.state.close()
        self.look()
        for _, push in self.pushed:
            # What nobody waits for is over when it is sent.
            assert push.done or (not push.wants_reply and push.ref is not None)
            assert push.done is False or self.settled[push] == (id(push) not in self.withdrawn)


TestClient = Client.TestCase
