"""The set of presences. Cases of phoenix_pubsub test/phoenix/tracker/state_test.exs."""

from typing import Any

from broadwing.core.presence.deltas import Interval
from broadwing.core.presence.replica import Replica
from broadwing.core.presence.state import Diff, State

A, B, C = (Replica(name, number) for number, name in enumerate("abc"))


def states(*replicas: Replica) -> list[State]:
    """States that have heard of each other."""
    made = [State(replica) for replica in replicas]
    for state in made:
        for replica in replicas:
            state.replica_up(replica)
    return made


def join(state: State, key: str, topic: str = "lobby", owner: str = "1", **meta: Any) -> None:
    state.join(topic, owner, key, meta)


def update(state: State, key: str, **meta: Any) -> None:
    entry = state.get("lobby", "1", key)
    assert entry is not None
    state.update(entry, meta)


def everything(state: State) -> dict[Replica, Interval]:
    """A full transfer, as another node gets it: a copy."""
    return {replica: state.interval(replica).copy() for replica in state.context}


def merge(state: State, other: State) -> tuple[list[str], list[str]]:
    """Keys that joined and left by a full transfer."""
    diff: Diff = {}
    state.merge(everything(other), diff)
    return keys_of(diff)


def keys_of(diff: Diff) -> tuple[list[str], list[str]]:
    joins = sorted(key for changes in diff.values() for key, _ in changes.joins)
    return joins, sorted(key for changes in diff.values() for key, _ in changes.leaves)


def keys(state: State, topic: str = "lobby") -> list[str]:
    return [key for key, _ in state.list(topic)]


def test_a_fresh_state_is_empty() -> None:
    state = State(A)
    assert (len(state), state.interval(A), state.take_delta()) == (0, Interval(0, 0), None)
    assert state.context == state.clocks() == {A: 0}
    assert state.list("lobby") == []


def test_a_join_is_listed_for_its_topic_until_it_leaves() -> None:
    state = State(A)
    join(state, "alice", at=1)
    assert state.list("lobby") == state.dirty_list("lobby") == [("alice", {"at": 1})]
    assert state.list("other") == []
    left = state.leave("lobby", "1", "alice")
    assert left is not None
    assert left.meta == {"at": 1}
    assert (state.list("lobby"), len(state), list(state.topics())) == ([], 0, [])
    assert state.leave("lobby", "1", "alice") is None


def test_a_merge_reports_joins_once() -> None:
    a, b = states(A, B)
    join(a, "alice")
    assert merge(b, a) == (["alice"], [])
    assert merge(b, a) == ([], [])
    join(b, "bob")
    assert merge(a, b) == (["bob"], [])
    assert keys(a) == ["alice", "bob"]
    assert everything(a) == everything(b)


def test_a_leave_is_observed_and_the_state_of_both_is_empty_again() -> None:
    a, b = states(A, B)
    join(a, "alice")
    merge(b, a)
    a.leave("lobby", "1", "alice")
    assert merge(b, a) == ([], ["alice"])
    assert merge(b, a) == ([], [])
    assert (len(a), len(b), list(b.topics())) == (0, 0, [])


def test_an_update_is_one_join_and_one_leave_and_keeps_its_place() -> None:
    a, b = states(A, B)
    join(a, "alice", n=1)
    join(a, "bob")
    merge(b, a)
    update(a, "alice", n=2)
    assert a.list("lobby") == [("alice", {"n": 2}), ("bob", {})]
    diff: Diff = {}
    b.merge(everything(a), diff)
    assert diff["lobby"].joins == [("alice", {"n": 2})]
    assert diff["lobby"].leaves == [("alice", {"n": 1})]
    assert b.list("lobby") == a.list("lobby")
    assert a.get("lobby", "1", "alice") is not None


def test_what_another_one_says_of_this_replica_is_ignored() -> None:
    a, b = states(A, B)
    join(a, "alice")
    merge(b, a)
    a.leave("lobby", "1", "alice")
    assert merge(a, b) == ([], [])
    assert keys(a) == []


def test_a_netsplit_hides_the_other_side_and_its_end_shows_it_again() -> None:
    a, b = states(A, B)
    join(b, "bob")
    merge(a, b)
    diff: Diff = {}
    a.replica_down(B, diff)
    a.replica_down(B, diff)
    assert keys_of(diff) == ([], ["bob"])
    assert keys(a) == []
    assert a.get_by_key("lobby", "bob") == []
    assert [key for key, _ in a.dirty_list("lobby")] == ["bob"]
    assert a.clocks() == {A: 0}  # nobody is to ask for it
    join(b, "carol")
    assert merge(a, b) == ([], [])  # learned, and hidden
    diff = {}
    a.replica_up(B, diff)
    a.replica_up(B, diff)
    assert keys_of(diff) == (["bob", "carol"], [])
    assert keys(a) == ["bob", "carol"]


def test_joins_and_leaves_of_a_third_are_learned_from_a_second() -> None:
    a, b, c = states(A, B, C)
    join(c, "carol")
    merge(b, c)
    assert merge(a, b) == (["carol"], [])
    c.leave("lobby", "1", "carol")
    merge(b, c)
    assert merge(a, b) == ([], ["carol"])


def test_replicas_that_were_never_heard_of_are_left_aside() -> None:
    a = State(A)
    b, c = states(B, C)
    join(c, "carol")
    merge(b, c)
    a.replica_up(B)
    assert merge(a, b) == ([], [])
    assert a.context == {A: 0, B: 0}


def test_an_owner_may_be_in_several_places_and_a_key_may_have_several_owners() -> None:
    a, b = states(A, B)
    join(a, "alice", n=1)
    join(a, "alice", owner="2", n=2)
    join(a, "alice", topic="other", n=3)
    join(b, "alice", n=4)
    merge(a, b)
    assert a.list("lobby") == [("alice", {"n": 1}), ("alice", {"n": 2}), ("alice", {"n": 4})]
    assert a.get_by_key("lobby", "alice") == [{"n": 1}, {"n": 2}, {"n": 4}]
    assert a.get_by_key("lobby", "bob") == a.get_by_key("nowhere", "alice") == []
    assert [(entry.topic, entry.key) for entry in a.owned("1")] == [("lobby", "alice"), ("other", "alice")]
    assert a.get("lobby", "1", "bob") is a.get("lobby", "3", "alice") is None
    assert a.owned("3") == []


def test_who_is_gone_for_good_is_forgotten_and_brings_nothing_back() -> None:
    a, b = states(A, B)
    join(b, "bob")
    merge(a, b)
    a.replica_down(B)
    a.forget(B)
    assert (len(a), a.context, list(a.topics())) == (0, {A: 0}, [])
    diff: Diff = {}
    a.replica_up(B, diff)
    assert (diff, keys(a)) == ({}, [])
    assert merge(a, b) == (["bob"], [])  # unless it comes back itself


def test_a_delta_has_what_happened_since_the_last_one() -> None:
    a, b = states(A, B)
    for number in (1, 2, 3):
        if number == 2:
            a.leave("lobby", "1", "alice")
        else:
            join(a, "alice")
        delta = a.take_delta()
        assert delta is not None
        assert (delta.start, delta.end) == (number - 1, number)
        assert b.merge({A: delta}) == [(A, delta)]
        assert b.context[A] == number
    assert a.take_delta() is None
    assert everything(b)[A] == everything(a)[A]


def test_who_came_and_went_between_two_deltas_leaves_no_trace() -> None:
    a = State(A)
    for _ in range(1_000):
        join(a, "alice")
        a.leave("lobby", "1", "alice")
    assert a.take_delta() == Interval(0, 2_000)


def test_a_delta_that_leads_on_from_something_missing_waits_for_it() -> None:
    a, b = states(A, B)
    deltas = []
    for key in ("alice", "bob", "carol"):
        join(a, key)
        deltas.append(a.take_delta())
    first, second, third = deltas
    assert first is not None
    assert second is not None
    assert third is not None
    diff: Diff = {}
    assert b.merge({A: third}, diff) == b.merge({A: third}, diff) == []
    assert b.merge({A: second}, diff) == []
    assert (keys(b), diff, b.waiting) == ([], {}, 2)
    assert b.merge({A: first}, diff) == [(A, first), (A, second), (A, third)]
    assert (keys(b), b.waiting) == (["alice", "bob", "carol"], 0)
    assert keys_of(diff) == (["alice", "bob", "carol"], [])


def test_what_waits_is_bounded_and_is_not_needed_after_a_transfer() -> None:
    a, b = states(A, B)
    for number in range(100):
        join(a, str(number))
        delta = a.take_delta()
        assert delta is not None
        if number:
            b.merge({A: delta})
    assert b.waiting == 16
    merge(b, a)
    assert (b.waiting, keys(b)) == (0, keys(a))
