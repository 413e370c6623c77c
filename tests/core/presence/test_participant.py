"""What trackers say to each other, and when: netsplits, crashes and restarts as function calls.

Cases of phoenix_pubsub test/phoenix/tracker/shard_replication_test.exs.
"""

from typing import Any

from broadwing.core.presence.participant import Outgoing, Participant, Periods
from broadwing.core.presence.replica import Change, Replica, Status
from broadwing.core.presence.state import Diff
from broadwing.core.presence.wire import Heartbeat, Permdown, Transfer, TransferRequest

PERIODS = Periods(max_silent_periods=3, down_period=6.0, permdown_period=20.0, clock_sample_periods=2)
UP, DOWN, PERMDOWN = Status.UP, Status.DOWN, Status.PERMDOWN


class Network:
    """Nodes that tick together; what they send arrives at once, but for those who are away.

    Attributes:
        nodes: By name.
        away: Who neither ticks nor hears.
        sent: Everything, with its sender.
        diffs: What each node reported.
        changes: What each node said of others.
    """

    def __init__(self, *names: str) -> None:
        self.now = 0.0
        self.vsn = 100
        self.nodes: dict[str, Participant] = {}
        self.away: set[str] = set()
        self.sent: list[tuple[str, Outgoing]] = []
        self.diffs: dict[str, list[Diff]] = {}
        self.changes: dict[str, list[Change]] = {}
        for name in names:
            self.start(name)

    def start(self, name: str) -> Participant:
        self.vsn -= 1  # of no order
        self.diffs[name], self.changes[name] = [], []
        self.nodes[name] = Participant(Replica(name, self.vsn), PERIODS, (2, 10))
        return self.nodes[name]

    def _take(self, name: str, outcome: Any) -> None:
        self.changes[name] += outcome.changes
        if outcome.diff:
            self.diffs[name].append(outcome.diff)
        for outgoing in outcome.outgoing:
            self.send(name, outgoing)

    def send(self, name: str, outgoing: Outgoing) -> None:
        self.sent.append((name, outgoing))
        for other in self.nodes if outgoing.node is None else [outgoing.node]:
            if other in self.nodes and other != name and other not in self.away:
                self._take(other, self.nodes[other].receive(outgoing.message, self.now))

    def tick(self, times: int = 1, *, can_send: bool = True) -> None:
        for _ in range(times):
            self.now += 1.0
            for name in list(self.nodes):
                if name not in self.away:
                    self._take(name, self.nodes[name].tick(self.now, can_send=can_send))

    def said(self, kind: type, name: str | None = None) -> list[Outgoing]:
        return [out for sender, out in self.sent if isinstance(out.message, kind) and name in (None, sender)]

    def keys(self, name: str) -> list[str]:
        return [key for key, _ in self.nodes[name].state.list("lobby")]

    def status(self, name: str) -> dict[str, Status]:
        return self.nodes[name].replicas.statuses


def join(network: Network, name: str, *keys: str) -> None:
    for key in keys:
        network.nodes[name].join("lobby", "1", key, {})


def reported(network: Network, name: str) -> tuple[list[str], list[str]]:
    """Keys that a node said had joined and left since it was last asked."""
    diffs, network.diffs[name] = network.diffs[name], []
    joins = [key for diff in diffs for changes in diff.values() for key, _ in changes.joins]
    return joins, [key for diff in diffs for changes in diff.values() for key, _ in changes.leaves]


def test_the_first_tick_speaks_and_then_every_so_often() -> None:
    network = Network("a")
    network.tick(9)
    assert len(network.said(Heartbeat)) == 3
    assert network.said(Heartbeat)[0].node is None


def test_a_change_is_told_with_the_next_tick_once() -> None:
    network = Network("a", "b")
    network.tick(4)
    network.sent.clear()
    join(network, "a", "alice")
    network.tick()
    (said,) = network.said(Heartbeat, "a")
    assert isinstance(said.message, Heartbeat)
    assert said.message.delta is not None
    assert network.keys("b") == ["alice"]
    assert reported(network, "b") == (["alice"], [])
    network.sent.clear()
    network.tick()
    assert network.said(Heartbeat, "a") == []
    assert network.said(Transfer) == []


def test_a_replica_that_was_not_seen_before_is_up_and_is_asked_for_what_it_has() -> None:
    network = Network("a")
    join(network, "a", "alice", "bob", "carol")
    network.tick()
    network.start("b")
    network.tick(2)
    assert network.changes["b"] == [Change(UP, network.nodes["a"].replica)]
    assert network.status("b") == {"a": UP}
    assert len(network.said(TransferRequest, "b")) == len(network.said(Transfer, "a")) == 1
    assert network.keys("b") == ["alice", "bob", "carol"]
    network.tick(20)
    assert len(network.said(TransferRequest)) == 1


def test_a_newcomer_need_not_wait_until_a_silent_node_speaks_again() -> None:
    network = Network("a")
    join(network, "a", "alice")
    network.tick(2)
    network.start("b")
    network.tick(2)  # a has three silent ones before it
    assert network.status("b") == {"a": UP}


def test_only_the_most_advanced_are_asked() -> None:
    network = Network("a", "b")
    join(network, "a", "alice")
    network.tick(4)  # b knows all that a knows
    join(network, "b", "bob")
    network.away.add("a")
    network.tick()
    network.away.clear()
    network.start("c")
    network.sent.clear()
    network.tick(2)
    assert [out.node for out in network.said(TransferRequest, "c")] == ["b"]
    assert sorted(network.keys("c")) == ["alice", "bob"]


def test_presences_of_a_former_life_go_when_the_node_is_back() -> None:
    network = Network("a", "b", "c")
    join(network, "a", "alice")
    network.tick(3)
    network.start("a")
    join(network, "a", "alan")
    network.tick()
    for name in "bc":
        assert network.keys(name) == ["alan"]
        assert network.status(name)["a"] is UP
        assert network.nodes[name].state.context.keys() == {node.replica for node in network.nodes.values()}


def test_who_stands_still_is_down_and_comes_back_as_it_was() -> None:
    network = Network("a", "b")
    join(network, "a", "alice")
    network.tick(3)
    reported(network, "b")
    network.away.add("a")  # it last spoke at 2
    network.tick(5)
    assert reported(network, "b") == ([], [])  # none earlier
    network.tick(1)
    assert reported(network, "b") == ([], ["alice"])
    assert (network.status("b"), network.keys("b")) == ({"a": DOWN}, [])
    assert [key for key, _ in network.nodes["b"].state.dirty_list("lobby")] == ["alice"]
    network.away.clear()
    join(network, "a", "alan")
    network.tick(1)
    assert reported(network, "b") == (["alice", "alan"], [])
    assert network.status("b") == {"a": UP}


def test_who_is_away_for_too_long_is_forgotten_and_asked_for_all_when_it_is_back() -> None:
    network = Network("a", "b")
    join(network, "a", "alice", "bob", "carol")
    network.tick(3)
    network.away.add("a")
    network.tick(25)
    assert network.changes["b"][-2:] == [Change(s, network.nodes["a"].replica) for s in (DOWN, PERMDOWN)]
    assert (network.status("b"), len(network.nodes["b"].state)) == ({}, 0)
    network.away.clear()
    network.tick(5)
    assert network.keys("b") == ["alice", "bob", "carol"]
    assert network.keys("a") == ["alice", "bob", "carol"]


def test_the_one_that_stood_still_does_not_take_its_own_pause_for_the_silence_of_others() -> None:
    network = Network("a", "b")
    network.tick(3)
    # `now` is a's own time and stands still with it; see the tracker for how.
    outcome = network.nodes["a"].tick(network.now)
    assert outcome.changes == []


def test_a_goodbye_is_a_leave_at_once() -> None:
    network = Network("a", "b")
    join(network, "a", "alice")
    network.tick(3)
    reported(network, "b")
    goodbye = network.nodes["a"].goodbye()
    assert isinstance(goodbye.message, Permdown)
    network.send("a", goodbye)
    assert reported(network, "b") == ([], ["alice"])
    assert (network.status("b"), len(network.nodes["b"].state)) == ({}, 0)
    network.tick()  # what a still says means nothing
    assert network.status("b") == {}


def test_while_a_replica_is_in_its_grace_a_newcomer_asks_once() -> None:
    network = Network("a", "b")
    join(network, "b", "bob")
    network.tick(3)
    network.away.add("b")
    network.tick(8)
    assert network.status("a") == {"b": DOWN}
    join(network, "a", "alice")
    network.tick()
    network.start("c")
    network.sent.clear()
    network.tick(6)
    assert len(network.said(TransferRequest, "c")) == 1
    assert network.keys("c") == ["alice"]


def test_a_request_that_gets_no_answer_is_made_again_and_not_at_once() -> None:
    network = Network("a", "b")
    join(network, "a", "alice")
    network.away.add("b")
    network.tick()
    network.away.clear()
    heartbeat = Heartbeat(network.nodes["a"].replica, {network.nodes["a"].replica: 1})
    b = network.nodes["b"]
    b.receive(heartbeat, network.now)
    asked = [bool(b.tick(network.now).outgoing[-1:] and b._asked.get(heartbeat.sender) == b._tick) for _ in range(10)]
    assert asked == [False, True, False, False, False, True, False, False, False, True]


def test_who_missed_a_little_is_sent_a_little() -> None:
    network = Network("a", "b")
    join(network, "a", *(f"user{number}" for number in range(50)))
    network.tick(4)
    network.away.add("b")
    join(network, "a", "alice")
    network.tick()
    network.away.clear()
    network.tick(4)
    (out,) = network.said(Transfer, "a")[-1:]
    assert isinstance(out.message, Transfer)
    (interval,) = out.message.delta.values()
    assert [entry.key for entry in interval.values.values()] == ["alice"]
    assert len(network.keys("b")) == 51


def test_when_what_changed_is_more_than_what_is_there_all_is_sent() -> None:
    network = Network("a", "b")
    join(network, "a", *map(str, range(8)))
    network.tick(4)
    network.away.add("b")
    network.nodes["a"].leave_all("1")
    join(network, "a", "alice")
    network.tick()
    network.away.clear()
    network.tick(4)
    (out,) = network.said(Transfer, "a")[-1:]
    assert isinstance(out.message, Transfer)
    (interval,) = out.message.delta.values()
    assert (interval.start, len(interval)) == (0, 1)
    assert network.keys("b") == ["alice"]


def test_what_there_is_to_say_waits_for_a_bus_and_takes_no_more_room_than_who_is_present() -> None:
    network = Network("a", "b")
    network.tick(3)
    network.sent.clear()
    for _ in range(1_000):
        join(network, "a", "alice")
        network.nodes["a"].leave("lobby", "1", "alice")
        network.tick(can_send=False)
        assert network.sent == []
    join(network, "a", "bob")
    network.tick()
    (said,) = network.said(Heartbeat, "a")
    assert isinstance(said.message, Heartbeat)
    assert said.message.delta is not None
    assert len(said.message.delta) == 1
    assert network.said(Heartbeat, "b") != []
    assert network.keys("b") == ["bob"]


def test_what_a_former_life_of_this_very_node_says_is_ignored() -> None:
    network = Network("a")
    heartbeat = Heartbeat(Replica("a", 1), {Replica("a", 1): 3})
    assert network.nodes["a"].receive(heartbeat, 1.0).changes == []


def test_local_changes_are_reported() -> None:
    network = Network("a")
    node = network.nodes["a"]
    assert node.join("lobby", "1", "alice", {"n": 1}) == {"lobby": ([("alice", {"n": 1})], [])}
    entry = node.state.get("lobby", "1", "alice")
    assert entry is not None
    assert node.update(entry, {"n": 2}) == {"lobby": ([("alice", {"n": 2})], [("alice", {"n": 1})])}
    node.join("other", "1", "alice", {})
    assert node.leave("lobby", "1", "alice") == {"lobby": ([], [("alice", {"n": 2})])}
    assert node.leave("lobby", "1", "alice") == {}
    assert node.leave_all("1") == {"other": ([], [("alice", {})])}
    assert node.leave_all("1") == {}
