"""What clients are told of presences: grouped, netted, and followed."""

from hypothesis import given
from hypothesis import strategies as st

from broadwing.core.presence.payloads import Diff, Meta, Unsent, grouped
from broadwing.core.presence.roster import Rosters
from broadwing.core.presence.sync import Entry, sync_diff, sync_state


def meta(ref: str, **more: object) -> Meta:
    return {**more, "phx_ref": ref}


A, B = ("ada", meta("A")), ("ada", meta("B"))
NOBODY: Diff = Diff({}, {})


def test_the_metas_of_a_key_stand_together_in_the_order_in_which_they_came() -> None:
    assert grouped([A, ("grace", meta("G")), B]) == {
        "ada": {"metas": [meta("A"), meta("B")]},
        "grace": {"metas": [meta("G")]},
    }


def test_what_is_grouped_may_be_changed_without_changing_who_is_there() -> None:
    known = {"phx_ref": "A"}
    grouped([("ada", known)])["ada"]["metas"][0]["name"] = "Ada"
    assert known == {"phx_ref": "A"}


def test_several_changes_are_told_as_one() -> None:
    unsent = Unsent()
    assert not unsent
    unsent.add([A], [])
    unsent.add([("grace", meta("G"))], [("barbara", meta("X"))])
    assert unsent
    assert unsent.take() == Diff(grouped([A, ("grace", meta("G"))]), grouped([("barbara", meta("X"))]))
    assert not unsent
    assert unsent.take() == NOBODY


def test_who_came_and_went_in_between_is_not_told_of() -> None:
    unsent = Unsent()
    unsent.add([A], [])
    unsent.add([], [A])
    assert not unsent


def test_who_went_after_somebody_was_given_a_list_with_him_is_told_of() -> None:
    unsent = Unsent()
    unsent.add([A], [])
    unsent.was_listed()
    unsent.add([B], [])
    unsent.add([], [A, B])
    assert unsent.take() == Diff({}, grouped([A]))


def test_who_went_and_came_back_as_he_was_is_told_of_as_coming() -> None:
    # A node that was cut off for a moment. Clients work joins in before leaves, so both would take him away.
    unsent = Unsent()
    unsent.add([], [A])
    unsent.add([A], [])
    assert unsent.take() == Diff(grouped([A]), {})


def test_of_several_updates_the_first_meta_leaves_and_the_last_one_joins() -> None:
    unsent = Unsent()
    unsent.add([B], [A])
    unsent.add([("ada", meta("C", phx_ref_prev="B"))], [B])
    assert unsent.take() == Diff(grouped([("ada", meta("C", phx_ref_prev="B"))]), grouped([A]))


steps = st.lists(
    st.one_of(
        st.tuples(st.just("change"), st.integers(0, 5)),
        st.tuples(st.just("flicker"), st.integers(0, 5)),
        st.just(("tell", 0)),
        st.just(("list", 0)),
    ),
    max_size=60,
)


@given(steps)
def test_whenever_a_client_comes_and_however_much_is_told_at_once_it_ends_with_who_is_there(
    story: list[tuple[str, int]],
) -> None:
    unsent = Unsent()
    present: dict[str, Meta] = {}
    clients: list[dict[str, Entry]] = [{}]
    count = 0
    for what, who in story:
        key = f"user {who}"
        if what == "tell":
            diff = unsent.take()
            clients = [sync_diff(client, diff._asdict()) for client in clients]
        elif what == "list":
            unsent.was_listed()
            clients.append(sync_state({}, grouped(present.items())))
        elif what == "flicker" and key in present:  # its node goes down and comes up again
            unsent.add([], [(key, present[key])])
            unsent.add([(key, present[key])], [])
        elif key in present:
            unsent.add([], [(key, present.pop(key))])
        else:
            count += 1
            present[key] = meta(str(count))
            unsent.add([(key, present[key])], [])
    diff = unsent.take()
    for client in clients:
        assert sync_diff(client, diff._asdict()) == grouped(present.items())


def test_a_roster_adds_and_removes_metas_keys_and_topics() -> None:
    """checklist 224"""
    rosters = Rosters()
    assert rosters.apply("room", Diff(grouped([A]), {})) == {"ada": [meta("A")]}  # a new topic
    assert rosters.apply("room", Diff(grouped([("grace", meta("G"))]), {})) == {
        "ada": [meta("A")],
        "grace": [meta("G")],
    }  # a second key
    assert rosters.apply("room", Diff(grouped([B, A]), {}))["ada"] == [meta("A"), meta("B")]  # in order, and once
    assert rosters.apply("room", Diff({}, grouped([A])))["ada"] == [meta("B")]  # one meta goes
    assert rosters.apply("room", Diff({}, grouped([B]))) == {"grace": [meta("G")]}  # a key goes
    assert len(rosters) == 1
    assert rosters.apply("room", Diff({}, grouped([("grace", meta("G"))]))) == {}  # and the whole topic
    assert len(rosters) == 0
    assert rosters.apply("room", Diff({}, grouped([A]))) == {}  # of whom it never heard
    assert len(rosters) == 0
