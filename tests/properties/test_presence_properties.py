"""The set of presences: whatever order, repetition or loss there is, who has heard the same knows the same."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from broadwing.core.presence.deltas import Entry, Interval
from broadwing.core.presence.parts import Assembly, split
from broadwing.core.presence.replica import Replica
from broadwing.core.presence.state import State
from broadwing.core.presence.wire import (
    Heartbeat,
    Message,
    Permdown,
    Transfer,
    TransferRequest,
    decode_message,
    encode_message,
)
from broadwing.exceptions import EnvelopeError

WRITERS = [Replica(f"node{number}", number) for number in range(3)]
OBSERVERS = [Replica(f"observer{number}", number) for number in range(3)]

topics = st.sampled_from(["a", "b"])
owners = st.sampled_from(["1", "2"])
keys = st.sampled_from(["u", "v", "__proto__"])
places = st.tuples(topics, owners, keys)
acts = st.tuples(st.sampled_from(["toggle", "toggle", "update", "cut"]), places)
histories = st.lists(acts, max_size=30)


@dataclass
class Written:
    """What a writer did.

    Attributes:
        state: Its state in the end.
        deltas: Everything, in intervals that follow each other.
        states: Copies of all that there was after each of these.
    """

    state: State
    deltas: list[Interval]
    states: list[Interval]


def written(replica: Replica, history: Sequence[tuple[str, tuple[str, str, str]]]) -> Written:
    """Have a writer join and leave; `cut` ends an interval."""
    made = Written(State(replica), [], [])

    def cut() -> None:
        delta = made.state.take_delta()
        if delta is not None:
            made.deltas.append(delta)
            made.states.append(made.state.interval(replica).copy())

    for number, (act, place) in enumerate(history):
        entry = made.state.get(*place)
        if act == "cut":
            cut()
        elif entry is None:
            made.state.join(*place, {"n": number})
        elif act == "update":
            made.state.update(entry, {"n": number})
        else:
            made.state.leave(*place)
    cut()
    return made


@st.composite
def worlds(draw: st.DrawFn) -> list[Written]:
    """Three writers and what they did, in few enough pieces that all may wait for each other."""
    made = [written(replica, draw(histories)) for replica in WRITERS]
    assume(all(len(writer.deltas) <= 16 for writer in made))
    return made


def observer(number: int = 0) -> State:
    state = State(OBSERVERS[number])
    for replica in WRITERS:
        state.replica_up(replica)
    return state


def knowledge(state: State) -> dict[Replica, Interval]:
    """All that a state knows of the writers, index included."""
    known = {replica: state.interval(replica).copy() for replica in WRITERS if replica in state.context}
    listed = sorted((topic, key, meta["n"]) for topic in state.topics() for key, meta in state.list(topic))
    there = sorted((e.topic, e.key, e.meta["n"]) for interval in known.values() for e in interval.values.values())
    assert listed == there
    return known


def merged(state: State, *deltas: dict[Replica, Interval]) -> dict[Replica, Interval]:
    for delta in deltas:
        state.merge(delta)
    return knowledge(state)


@st.composite
def views(draw: st.DrawFn) -> tuple[list[dict[Replica, Interval]], list[Written]]:
    """What three observers know of the writers: each something else, and nobody needs to know all."""
    made = draw(worlds())
    known: list[dict[Replica, Interval]] = []
    for _ in OBSERVERS:
        view = {}
        for writer in made:
            seen = [Interval(0, 0), *writer.states]
            view[writer.state.replica] = seen[draw(st.integers(0, len(seen) - 1))]
        known.append(view)
    return known, made


@given(views())
def test_merging_is_commutative(world: tuple[list[dict[Replica, Interval]], list[Written]]) -> None:
    (one, two, _), _ = world
    assert merged(observer(), one, two) == merged(observer(), two, one)


@given(views())
def test_merging_is_associative(world: tuple[list[dict[Replica, Interval]], list[Written]]) -> None:
    (one, two, three), _ = world
    two_and_three = merged(observer(1), two, three)
    assert merged(observer(), one, two_and_three) == merged(observer(), merged(observer(2), one, two), three)


@given(views())
def test_merging_is_idempotent(world: tuple[list[dict[Replica, Interval]], list[Written]]) -> None:
    (one, two, _), _ = world
    state = observer()
    known = merged(state, one, two)
    diff: dict[str, Any] = {}
    assert state.merge(one, diff) == state.merge(two, diff) == state.merge(known, diff) == []
    assert (knowledge(state), diff) == (known, {})


@given(worlds(), st.data())
def test_deltas_in_any_order_and_repeated_end_in_the_state_of_their_writers(
    world: list[Written], data: st.DataObject
) -> None:
    deltas = [(writer.state.replica, delta) for writer in world for delta in writer.deltas]
    repeated = data.draw(st.lists(st.sampled_from(deltas), max_size=5)) if deltas else []
    state = observer()
    present: list[tuple[str, str, int]] = []
    for replica, delta in data.draw(st.permutations([*deltas, *repeated])):
        diff: dict[str, Any] = {}
        state.merge({replica: delta}, diff)
        for topic, changes in diff.items():
            present += [(topic, key, meta["n"]) for key, meta in changes.joins]
            for key, meta in changes.leaves:
                present.remove((topic, key, meta["n"]))
    known = knowledge(state)
    assert known == {writer.state.replica: writer.state.interval(writer.state.replica) for writer in world}
    # Who adds up what is reported sees the same.
    there = [(e.topic, e.key, e.meta["n"]) for interval in known.values() for e in interval.values.values()]
    assert sorted(present) == sorted(there)


@given(worlds(), st.data())
def test_what_was_lost_is_repaired_by_a_transfer(world: list[Written], data: st.DataObject) -> None:
    state = observer()
    for writer in world:
        for delta in data.draw(st.permutations(writer.deltas)):
            if data.draw(st.booleans()):
                state.merge({writer.state.replica: delta})
    full = {writer.state.replica: writer.state.interval(writer.state.replica) for writer in world}
    assert merged(state, full) == full


@given(histories, st.data())
def test_intervals_that_touch_say_together_what_they_say_one_after_the_other(
    history: list[tuple[str, tuple[str, str, str]]], data: st.DataObject
) -> None:
    writer = written(WRITERS[0], history)
    if not writer.deltas:
        return
    ends = sorted(data.draw(st.tuples(*[st.integers(0, len(writer.deltas))] * 2)))
    first, last = ends[0], max(ends[1], ends[0] + 1)
    run = writer.deltas[first:last]
    assume(run)
    whole = run[0]
    for delta in run[1:]:
        whole = whole.joined(delta)
    backwards = run[-1]
    for delta in reversed(run[:-1]):
        backwards = delta.joined(backwards)
    assert whole == backwards == whole.joined(run[0]) == run[-1].joined(whole)
    at = data.draw(st.integers(1, len(run)))
    again = data.draw(st.integers(0, at - 1))  # two that overlap
    early, late = (reduce(Interval.joined, part) for part in (run[:at], run[again:]))
    assert early.joined(late) == late.joined(early) == whole
    before = [{WRITERS[0]: delta} for delta in writer.deltas[:first]]
    at_once = merged(observer(), *before, {WRITERS[0]: whole})
    assert at_once == merged(observer(), *before, *({WRITERS[0]: delta} for delta in run))


# The wire.

clocks = st.integers(1, 2**62)
names = st.text(max_size=8)
replicas = st.builds(Replica, names, st.integers(0, 2**62))
jsons = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
metas = st.dictionaries(st.text(), jsons, max_size=3)


@st.composite
def intervals(draw: st.DrawFn) -> Interval:
    start = draw(st.integers(0, 2**61))
    joined = sorted(draw(st.sets(st.integers(start + 1, start + 20), max_size=5)))
    values = {clock: Entry(draw(names), str(clock), draw(names), draw(metas), clock) for clock in joined}
    removed = draw(st.sets(st.integers(1, start), max_size=5)) if start else set()
    return Interval(start, start + 20, values, removed)


contexts = st.dictionaries(replicas, clocks, max_size=4)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Heartbeat, replicas, contexts, st.none() | intervals()),
    st.builds(TransferRequest, replicas, clocks, contexts),
    st.builds(Transfer, replicas, clocks, st.dictionaries(replicas, intervals(), max_size=3)),
    st.builds(Permdown, replicas),
)


@given(messages)
def test_a_message_is_read_as_it_was_written(message: Message) -> None:
    assert decode_message(*encode_message(message)) == message


@given(messages, st.data())
def test_a_damaged_message_is_another_one_or_refused(message: Message, data: st.DataObject) -> None:
    event, written = encode_message(message)
    damaged = bytearray(written)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    state = observer()
    try:
        read = decode_message(event, bytes(damaged[: data.draw(st.integers(1, len(damaged)))]))
    except EnvelopeError:
        return
    if isinstance(read, Transfer):  # what can be read can be taken in
        for replica in read.delta:
            state.replica_up(replica)
        state.merge(read.delta)
        state.merge(read.delta)


@given(st.sampled_from(["heartbeat", "transfer", "transfer_request", "permdown", "part", "phx_join"]), st.binary())
def test_any_bytes_are_a_message_or_refused(event: str, data: bytes) -> None:
    read = Assembly().add if event == "part" else partial(decode_message, event)
    with suppress(EnvelopeError):
        assert read(data) is not None or event == "part"


@given(st.binary(min_size=1, max_size=40), st.integers(1, 4), st.data())
def test_parts_make_their_message_and_other_senders_do_no_harm(seed: bytes, times: int, data: st.DataObject) -> None:
    whole = seed * (times * 262_144 // len(seed) + 1)
    mine, others = split("a", 7, "transfer", whole), split("b", 7, "transfer", whole)
    assembly = Assembly()
    got = []
    queues = [list(mine), list(others)]
    while any(queues):
        queue = data.draw(st.sampled_from([queue for queue in queues if queue]))
        event, part = queue.pop(0)
        done = assembly.add(part) if event == "part" else (event, part)
        got += [done] if done is not None else []
    assert got == [("transfer", whole)] * 2
    assert len(assembly) == 0
