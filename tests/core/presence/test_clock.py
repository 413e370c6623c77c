"""Clocks: who knows more than whom. Cases of phoenix_pubsub test/phoenix/tracker/clock_test.exs."""

import itertools

from broadwing.core.presence.clock import Clock, Context, append_clock, dominates, sources
from broadwing.core.presence.replica import Replica

A, B, C, D = (Replica(name, 1) for name in "abcd")


def test_who_knows_at_least_as_much_of_everybody_dominates() -> None:
    assert dominates({A: 1, B: 2, C: 3}, {B: 2, C: 3})
    assert dominates({A: 1, B: 2}, {A: 1, B: 2})
    assert dominates({A: 2}, {})
    assert not dominates({A: 1, B: 2}, {A: 1, B: 3})


def test_who_has_not_heard_of_somebody_does_not_dominate() -> None:
    assert not dominates({B: 2, C: 3}, {A: 1, B: 2, C: 3})
    assert not dominates({A: 9}, {A: 1, B: 1})


def test_to_have_heard_of_a_replica_without_changes_is_to_know_nothing() -> None:
    # A departure in form: there a context with fewer entries never dominates.
    assert dominates({A: 1}, {A: 1, B: 0})


def names(clocks: list[Clock]) -> set[str]:
    return {replica.name for replica, _ in clocks}


def test_appending_keeps_clocks_that_do_not_dominate_each_other() -> None:
    contexts: dict[Replica, Context] = {
        A: {A: 2, B: 1, C: 1},
        B: {A: 1, B: 2, C: 1},
        C: {A: 1, B: 1, C: 2},
        D: {A: 1, B: 1, C: 1},
    }
    for order in itertools.permutations(contexts.items()):
        clocks: list[Clock] = []
        for clock in order:
            clocks = append_clock(clocks, clock)
            assert append_clock(clocks, clock) == clocks
        assert names(clocks) == {"a", "b", "c"}
    assert names(append_clock(clocks, (D, {A: 2, B: 2, C: 2}))) == {"d"}


def test_as_few_are_asked_as_know_everything_that_was_missed() -> None:
    mine: Context = {A: 5, B: 1, C: 1}
    clocks: list[Clock] = [(B, {A: 9, B: 2, C: 1}), (C, {A: 5, B: 2, C: 2}), (D, {B: 1, C: 1})]
    assert sources(mine, A, clocks) == [C]
    assert sources(mine, A, [(B, {B: 2, C: 1}), (C, {B: 1, C: 2})]) == [B, C]


def test_nobody_is_asked_about_oneself_or_about_strangers() -> None:
    assert sources({A: 1, B: 1}, A, [(B, {A: 7, B: 1, C: 4})]) == []
