"""Up to five nodes join, leave, crash, stand still and are cut off from each other; in the end all know who is present.

The oracle is a set for each node that lives: what its own users did there. The network loses, repeats and reorders.
"""

import itertools
import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from broadwing.core.presence.participant import Outcome, Outgoing, Participant, Periods
from broadwing.core.presence.replica import Replica, Status
from broadwing.core.presence.state import Diff
from broadwing.core.presence.wire import Message, decode_message, encode_message

PERIODS = Periods(max_silent_periods=3, down_period=8.0, permdown_period=24.0, clock_sample_periods=2)
SIZES = (2, 4, 8)
# Until everybody who is gone is gone for good, and a late word of a former life has been found out.
SETTLE = 60

Present = set[tuple[str, str, int]]

periods = st.integers(0, 12)


class Node:
    """A life of a node.

    Attributes:
        participant: What is tested.
        told: Who is present as its reports add up.
        mine: Who is present here, as the oracle knows.
    """

    def __init__(self, name: str, vsn: int) -> None:
        self.name = name
        self.participant = Participant(Replica(name, vsn), PERIODS, SIZES)
        self.told: Present = set()
        self.mine: dict[tuple[str, str, str], int] = {}
        self.now = 0.0
        self.is_paused = False
        self.statuses: dict[str, Status] = {}

    def take(self, diff: Diff) -> None:
        for topic, changes in diff.items():
            for key, meta in changes.joins:
                assert (topic, key, meta["n"]) not in self.told, "joined twice"
                self.told.add((topic, key, meta["n"]))
            for key, meta in changes.leaves:
                self.told.remove((topic, key, meta["n"]))

    def take_outcome(self, outcome: Outcome) -> list[Outgoing]:
        self.take(outcome.diff)
        for status, replica in outcome.changes:
            if status is Status.PERMDOWN:
                assert self.statuses.pop(replica.name) is Status.DOWN
            else:
                assert self.statuses.get(replica.name) is not status
                self.statuses[replica.name] = status
        return outcome.outgoing

    @property
    def listed(self) -> Present:
        state = self.participant.state
        listed = [(topic, key, meta["n"]) for topic in state.topics() for key, meta in state.list(topic)]
        assert len(listed) == len(set(listed))
        return set(listed)

    @property
    def own(self) -> Present:
        return {(topic, key, number) for (topic, _, key), number in self.mine.items()}


class Nodes(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.nodes: dict[str, Node] = {}
        self.vsn = itertools.count(1)
        self.numbers = itertools.count(1)
        self.ways: dict[tuple[str, str], list[Message]] = {}
        self.cut: set[frozenset[str]] = set()
        self.ever: Present = set()
        self.chance = random.Random(0)
        self.busy = 1
        self.weather("fair")

    @initialize(count=st.integers(2, 5), seed=st.integers(0, 2**32))
    def begin(self, count: int, seed: int) -> None:
        self.names = [f"node{number}" for number in range(count)]
        self.chance = random.Random(seed)
        for name in self.names:
            self.start(name)
        self.time_passes(8)

    @rule(busy=st.sampled_from([0, 1, 5]))
    def users_are(self, busy: int) -> None:
        self.busy = busy

    def start(self, name: str) -> None:
        self.nodes[name] = Node(name, next(self.vsn))

    # What users do.

    def one_user(self) -> None:
        node = self.nodes.get(self.chance.choice(self.names))
        if node is None or node.is_paused:
            return
        place = (self.chance.choice("ab"), self.chance.choice("12"), self.chance.choice(["u", "__proto__"]))
        entry = node.participant.state.get(*place)
        kind = self.chance.choice(["toggle", "toggle", "update", "all"])
        if entry is None or kind == "update":
            number = node.mine[place] = next(self.numbers)
            self.ever.add((place[0], place[2], number))
            meta = {"n": number}
            node.take(node.participant.join(*place, meta) if entry is None else node.participant.update(entry, meta))
        elif kind == "toggle":
            del node.mine[place]
            node.take(node.participant.leave(*place))
        else:
            node.mine = {mine: number for mine, number in node.mine.items() if mine[1] != place[1]}
            node.take(node.participant.leave_all(place[1]))

    # Time and the network.

    @rule(times=st.integers(10, 30))
    def time_passes(self, times: int) -> None:
        for _ in range(times):
            for _ in range(self.chance.randint(0, self.busy)):
                self.one_user()
            for node in list(self.nodes.values()):
                if not node.is_paused:
                    node.now += 1.0
                    self.send(node, node.take_outcome(node.participant.tick(node.now)))
            self.deliver()

    @rule(kind=st.sampled_from(["fair", "lossy", "awful"]))
    def weather(self, kind: str) -> None:
        self.lost, self.late, self.repeated = {
            "fair": (0.0, 0.0, 0.0),
            "lossy": (0.3, 0.0, 0.0),
            "awful": (0.3, 0.4, 0.2),
        }[kind]

    def send(self, sender: Node, outgoing: list[Outgoing]) -> None:
        for to, message in outgoing:
            copy = decode_message(*encode_message(message))
            for name in self.names if to is None else (to,):
                if name != sender.name and frozenset((name, sender.name)) not in self.cut:
                    self.ways.setdefault((sender.name, name), []).append(copy)

    def deliver(self) -> None:
        """What is on its way arrives, but for what the weather does to it; so do answers."""
        for _ in range(3):
            ways, self.ways = self.ways, {}
            for (sender, to), queue in ways.items():
                node = self.nodes.get(to)
                if node is None:
                    continue  # there is nobody who would hear it
                kept = self.ways.setdefault((sender, to), [])
                if node.is_paused:
                    kept[:0] = queue
                    continue
                if self.late and self.chance.random() < 0.3:
                    self.chance.shuffle(queue)
                for message in queue:
                    if self.chance.random() < self.late:
                        kept.append(message)
                        continue
                    if self.chance.random() < self.lost:
                        continue
                    if self.chance.random() < self.repeated:
                        kept.append(message)
                    self.send(node, node.take_outcome(node.participant.receive(message, node.now)))

    @rule(share=st.floats(0.2, 0.8), times=periods)
    def netsplit(self, share: float, times: int) -> None:
        left = {name for name in self.names if self.chance.random() < share}
        self.cut |= {frozenset((one, other)) for one in left for other in self.names if other not in left}
        self.time_passes(times)

    @rule()
    def one_line_breaks(self) -> None:
        self.cut.add(frozenset(self.chance.sample(self.names, 2)))

    @rule(times=periods)
    def heal(self, times: int) -> None:
        self.cut.clear()
        self.time_passes(times)

    # Lives.

    @rule(number=st.integers(0, 4), how=st.sampled_from(["crash", "leave", "stand still"]), times=periods)
    def end(self, number: int, how: str, times: int) -> None:
        node = self.nodes.get(f"node{number}")
        if node is None:
            return
        if how == "stand still":
            node.is_paused = True
        else:
            del self.nodes[node.name]
            if how == "leave" and not node.is_paused:
                self.send(node, [node.participant.goodbye()])
        self.time_passes(times)

    @rule(number=st.integers(0, 4), times=periods)
    def come_back(self, number: int, times: int) -> None:
        name = f"node{number}"
        if name in self.nodes:
            self.nodes[name].is_paused = False
        elif name in self.names:
            self.start(name)
        self.time_passes(times)

    # What holds.

    @invariant()
    def reports_add_up_to_what_is_listed(self) -> None:
        for node in self.nodes.values():
            assert node.told == node.listed
            assert node.own <= node.listed <= self.ever
            assert node.statuses == node.participant.replicas.statuses

    @rule()
    def settle(self) -> None:
        """Everybody is well for a while; then all know the same, and nothing of the dead is left."""
        self.cut.clear()
        self.weather("fair")
        busy, self.busy = self.busy, 0
        for node in self.nodes.values():
            node.is_paused = False
        self.time_passes(SETTLE)
        self.busy = busy
        present = set[tuple[str, str, int]]().union(*(node.own for node in self.nodes.values()))
        alive = {node.participant.replica for node in self.nodes.values()}
        for node in self.nodes.values():
            state = node.participant.state
            assert node.listed == present
            assert node.statuses == dict.fromkeys(self.nodes.keys() - {node.name}, Status.UP)
            assert state.context == {replica: self.clock_of(replica) for replica in alive}
            assert (len(state), state.waiting) == (len(present), 0)
            assert len(node.participant.history) <= len(alive) * sum(SIZES)

    def clock_of(self, replica: Replica) -> int:
        return self.nodes[replica.name].participant.state.context[replica]

    def teardown(self) -> None:
        self.settle()


Nodes.TestCase.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
TestNodes = Nodes.TestCase
