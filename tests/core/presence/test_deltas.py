"""Intervals, and what is kept of them. Cases of phoenix_pubsub state_test.exs and delta_generation_test.exs."""

import pytest

from broadwing.core.presence.deltas import Entry, History, Interval
from broadwing.core.presence.replica import Replica

A, B = Replica("a", 1), Replica("b", 2)


def interval(start: int, end: int, joined: str = "", removed: tuple[int, ...] = ()) -> Interval:
    """An interval; `joined` are clocks below ten."""
    values = {int(clock): Entry("lobby", clock, clock, {}, int(clock)) for clock in joined}
    return Interval(start, end, values, set(removed))


def test_intervals_that_follow_each_other_make_one() -> None:
    assert interval(0, 2, "12").joined(interval(2, 4, "34")) == interval(0, 4, "1234")
    assert interval(2, 4, "34").joined(interval(0, 2, "12")) == interval(0, 4, "1234")


def test_a_removal_takes_the_value_out_and_is_remembered_only_for_what_is_before() -> None:
    assert interval(0, 2, "12").joined(interval(2, 3, removed=(1,))) == interval(0, 3, "2")
    assert interval(2, 4, "34").joined(interval(4, 6, removed=(1, 3))) == interval(2, 6, "4", (1,))


def test_an_interval_within_another_one_adds_nothing() -> None:
    whole = interval(0, 5, "15")
    for inner in (interval(1, 3, "23"), interval(0, 5, "15"), interval(0, 1, "1")):
        assert whole.joined(inner) == inner.joined(whole) == whole


def test_where_two_overlap_the_later_one_knows_better() -> None:
    assert interval(0, 4, "123").joined(interval(2, 6, "456")) == interval(0, 6, "12456")


def test_intervals_with_something_missing_between_them_refuse_to_merge() -> None:
    for one, other in ((interval(0, 2), interval(3, 4)), (interval(3, 4), interval(0, 2))):
        with pytest.raises(ValueError, match="clocks are missing"):
            one.joined(other)


def test_neither_of_two_that_are_joined_is_changed() -> None:
    one, other = interval(0, 2, "12"), interval(2, 3, "3", (1,))
    one.joined(other)
    assert (one, other) == (interval(0, 2, "12"), interval(2, 3, "3", (1,)))
    assert one != "something else"
    assert "Interval(2, 3" in repr(other)


def history(*sizes: int) -> History:
    return History(sizes)


def test_the_first_push_is_in_every_generation_that_has_room_for_it() -> None:
    made = history(1, 2, 5)
    made.push(A, interval(0, 2, "12"))
    assert list(made.generations(A)) == [interval(2, 2), interval(0, 2, "12"), interval(0, 2, "12")]


def test_each_generation_keeps_the_newest_that_it_has_room_for() -> None:
    made = history(1, 3, 5)
    for clock in range(1, 7):
        made.push(A, interval(clock - 1, clock, str(clock)))
    assert list(made.generations(A)) == [interval(5, 6, "6"), interval(3, 6, "456"), interval(3, 6, "456")]
    assert len(made) == 7


def test_who_comes_and_goes_takes_no_room_in_a_generation() -> None:
    made = history(2)
    made.push(A, interval(0, 1, "1"))
    made.push(A, interval(1, 2, removed=(1,)))
    made.push(A, interval(2, 3, "3"))
    assert list(made.generations(A)) == [interval(0, 3, "3")]
    made.push(A, interval(3, 4, "4", ()))
    made.push(A, interval(4, 5, removed=(3,)))
    assert list(made.generations(A)) == [interval(0, 5, "4")]


def test_a_push_again_or_late_changes_nothing() -> None:
    made = history(5)
    for clock in (1, 2, 3):
        made.push(A, interval(clock - 1, clock, str(clock)))
    for clock in (3, 1):
        made.push(A, interval(clock - 1, clock, str(clock)))
    assert list(made.generations(A)) == [interval(0, 3, "123")]


def test_after_something_that_was_missed_a_generation_begins_anew() -> None:
    # A departure: there it stays as it is, and never leads anybody to the present again.
    made = history(5)
    made.push(A, interval(0, 1, "1"))
    made.push(A, interval(4, 5, "5"))
    assert list(made.generations(A)) == [interval(4, 5, "5")]


def test_generations_do_not_share_what_they_hold_with_each_other_or_with_what_was_pushed() -> None:
    made = history(5, 9)
    first = interval(0, 1, "1")
    made.push(A, first)
    made.push(A, interval(1, 2, "2"))
    assert first == interval(0, 1, "1")
    one, other = made.generations(A)
    assert one.values is not other.values


def test_the_smallest_generation_that_leads_on_is_given() -> None:
    made = history(1, 3)
    for clock in range(1, 6):
        made.push(A, interval(clock - 1, clock, str(clock)))
    assert made.since(A, 4) == interval(4, 5, "5")
    assert made.since(A, 3) == interval(3, 5, "45")
    assert made.since(A, 2) is None  # too long ago
    assert made.since(A, 5) is None  # nothing is missing
    assert made.since(B, 0) is None


def test_nothing_is_kept_of_who_is_gone_for_good() -> None:
    made = history(5)
    made.push(A, interval(0, 1, "1"))
    made.push(B, interval(0, 1, "1"))
    made.forget(A)
    made.forget(A)
    assert (made.generations(A), len(made)) == ((), 1)
