"""What is to happen later, by a clock that the test turns."""

from broadwing.core.client.deadlines import Deadlines


def test_what_is_due_happens_in_order_and_once() -> None:
    deadlines = Deadlines()
    done: list[tuple[str, float]] = []
    for name, when in (("late", 3.0), ("early", 1.0), ("middle", 2.0)):
        deadlines.set(name, when, lambda now, name=name: done.append((name, now)))  # type: ignore[misc]
    assert deadlines.next() == 1.0
    deadlines.run(2.5)
    deadlines.run(2.6)
    assert done == [("early", 2.5), ("middle", 2.5)]
    assert deadlines.next() == 3.0


def test_a_new_deadline_takes_the_place_of_the_old_and_a_cancelled_one_is_gone() -> None:
    deadlines = Deadlines()
    done: list[str] = []
    deadlines.set("key", 1.0, lambda _: done.append("old"))
    deadlines.set("key", 5.0, lambda _: done.append("new"))
    deadlines.set("other", 2.0, lambda _: done.append("other"))
    deadlines.cancel("other")
    deadlines.cancel("unknown")
    assert deadlines.next() == 5.0
    deadlines.run(10.0)
    assert done == ["new"]
    assert deadlines.next() is None


def test_what_an_action_sets_for_now_happens_too() -> None:
    deadlines = Deadlines()
    done: list[str] = []

    def first(now: float) -> None:
        done.append("first")
        deadlines.set("second", now, lambda _: done.append("second"))

    deadlines.set("first", 1.0, first)
    deadlines.run(1.0)
    assert done == ["first", "second"]


def test_thousands_that_are_cancelled_in_time_do_not_pile_up() -> None:
    deadlines = Deadlines()
    deadlines.set("stays", 1e9, lambda _: None)
    for number in range(10_000):
        deadlines.set(number, 10.0 + number, lambda _: None)
        deadlines.cancel(number)
    assert len(deadlines._heap) < 100
    assert deadlines.next() == 1e9
