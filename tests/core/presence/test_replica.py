"""The life of replicas. Cases of phoenix_pubsub test/phoenix/tracker/replica_test.exs."""

from broadwing.core.presence.replica import Change, Replica, Replicas, Status

A, A2, B = Replica("a", 7), Replica("a", 3), Replica("b", 5)
UP, DOWN, PERMDOWN = Status.UP, Status.DOWN, Status.PERMDOWN


def replicas() -> Replicas:
    return Replicas(down_period=30.0, permdown_period=1_200.0)


def test_whoever_is_heard_of_is_up() -> None:
    known = replicas()
    assert known.heard(A, 100.0) == [Change(UP, A)]
    assert known.heard(A, 101.0) == []
    assert known.statuses == {"a": UP}
    assert known.is_known(A)
    assert not known.is_known(A2)
    assert not known.is_known(B)


def test_whoever_is_silent_for_the_down_period_is_down_and_not_before() -> None:
    known = replicas()
    known.heard(A, 100.0)
    assert known.check(130.0) == []
    assert known.check(130.1) == [Change(DOWN, A)]
    assert known.check(131.0) == []
    assert known.statuses == {"a": DOWN}
    assert known.heard(A, 140.0) == [Change(UP, A)]
    assert known.check(170.0) == []


def test_whoever_is_silent_for_the_permdown_period_is_gone() -> None:
    known = replicas()
    known.heard(A, 0.0)
    known.check(1_200.0)
    assert known.check(1_200.1) == [Change(PERMDOWN, A)]
    assert known.statuses == {}
    assert known.heard(A, 5_000.0) == [Change(UP, A)]  # it stood still, and is as it was


def test_who_was_up_at_the_last_look_goes_down_before_it_is_gone() -> None:
    known = replicas()
    known.heard(A, 0.0)
    assert known.check(2_000.0) == [Change(DOWN, A), Change(PERMDOWN, A)]


def test_a_node_that_starts_anew_takes_the_place_of_its_former_life() -> None:
    known = replicas()
    known.heard(A, 0.0)
    # The number says which life it is, and not which came first: its clock may have been set back.
    assert known.heard(A2, 1.0) == [Change(DOWN, A), Change(PERMDOWN, A), Change(UP, A2)]
    known.check(31.5)
    assert known.heard(A, 40.0) == [Change(PERMDOWN, A2), Change(UP, A)]


def test_what_a_former_life_had_on_its_way_means_nothing() -> None:
    known = replicas()
    known.heard(A, 0.0)
    known.heard(A2, 1.0)
    assert known.is_over(A, 30.0)
    assert not known.is_over(A2, 30.0)
    assert not known.is_over(A, 31.0)  # it speaks still, so it was the other one that was late


def test_a_goodbye_is_for_good() -> None:
    known = replicas()
    known.heard(A, 0.0)
    assert known.left(A) == [Change(DOWN, A), Change(PERMDOWN, A)]
    assert known.is_over(A, 1e9)
    assert known.left(B) == []  # who had not been heard of
    assert known.is_over(B, 1e9)


def test_the_goodbye_of_a_former_life_is_not_that_of_the_present_one() -> None:
    known = replicas()
    known.heard(A2, 0.0)
    assert known.left(A) == []
    assert known.statuses == {"a": UP}


def test_who_is_over_is_remembered_up_to_a_bound() -> None:
    known = replicas()
    for vsn in range(2_000):
        known.left(Replica("a", vsn))
    assert not known.is_over(Replica("a", 999), 0.0)
    assert known.is_over(Replica("a", 1_000), 0.0)
