"""What a client's message means, given what is joined: Phoenix 1.8.12 `lib/phoenix/socket.ex`, handle_in, as sentences."""

from typing import Any, NamedTuple

import pytest

from broadwing.core.socket_state import Route, SocketState, same_ref


class Case(NamedTuple):
    """`joined` maps topics to the join_ref of their join message; `message` is join_ref, topic, event."""

    sentence: str
    joined: dict[str, Any]
    message: tuple[Any, Any, Any]
    means: Route
    cap: int = 100


LOBBY = {"room:lobby": "1"}

CASES = [
    Case("a heartbeat is answered", {}, (None, "phoenix", "heartbeat"), Route.HEARTBEAT),
    Case("a heartbeat is answered whatever its join_ref", {}, ("9", "phoenix", "heartbeat"), Route.HEARTBEAT),
    Case("a heartbeat is answered beside joined channels", LOBBY, (None, "phoenix", "heartbeat"), Route.HEARTBEAT),
    Case("a heartbeat is answered at the cap", LOBBY, (None, "phoenix", "heartbeat"), Route.HEARTBEAT, cap=1),
    Case(
        "a heartbeat is answered though a channel is joined as phoenix",
        {"phoenix": "1"},
        ("1", "phoenix", "heartbeat"),
        Route.HEARTBEAT,
    ),
    Case(
        "another event of a channel joined as phoenix is its own",
        {"phoenix": "1"},
        ("1", "phoenix", "e"),
        Route.FORWARD,
    ),
    Case("another event on topic phoenix matches nothing", {}, (None, "phoenix", "other"), Route.UNMATCHED),
    Case("a heartbeat on another topic is an event", {}, (None, "room:lobby", "heartbeat"), Route.UNMATCHED),
    Case("a heartbeat on a joined topic is an event", LOBBY, ("1", "room:lobby", "heartbeat"), Route.FORWARD),
    Case("a join of a free topic joins", {}, ("1", "room:lobby", "phx_join"), Route.JOIN),
    Case("a join without a join_ref joins", {}, (None, "room:lobby", "phx_join"), Route.JOIN),
    Case("a join of another topic joins", LOBBY, ("2", "room:other", "phx_join"), Route.JOIN),
    Case("a join of a topic that differs in case joins", LOBBY, ("2", "Room:lobby", "phx_join"), Route.JOIN),
    Case("a join of a joined topic replaces", LOBBY, ("2", "room:lobby", "phx_join"), Route.REJOIN),
    Case("a join with the same join_ref replaces", LOBBY, ("1", "room:lobby", "phx_join"), Route.REJOIN),
    Case("a join without a join_ref replaces", LOBBY, (None, "room:lobby", "phx_join"), Route.REJOIN),
    Case("a join beyond the cap is refused", LOBBY, ("2", "room:other", "phx_join"), Route.TOO_MANY, cap=1),
    Case("a join just below the cap joins", LOBBY, ("2", "room:other", "phx_join"), Route.JOIN, cap=2),
    Case("a cap of nothing refuses the first join", {}, ("1", "room:lobby", "phx_join"), Route.TOO_MANY, cap=0),
    Case("a join that replaces needs no room", LOBBY, ("2", "room:lobby", "phx_join"), Route.REJOIN, cap=1),
    Case("an event of the current join is forwarded", LOBBY, ("1", "room:lobby", "new_msg"), Route.FORWARD),
    Case("an event without a join_ref is forwarded", LOBBY, (None, "room:lobby", "new_msg"), Route.FORWARD),
    Case("an event of an earlier join is stale", LOBBY, ("0", "room:lobby", "new_msg"), Route.STALE),
    Case(
        "an event with an empty join_ref is stale, empty is not null", LOBBY, ("", "room:lobby", "new_msg"), Route.STALE
    ),
    Case("an integer is not the text of it", LOBBY, (1, "room:lobby", "new_msg"), Route.STALE),
    Case("a text is not the integer it shows", {"t": 1}, ("1", "t", "e"), Route.STALE),
    Case("an integer equals itself", {"t": 1}, (1, "t", "e"), Route.FORWARD),
    Case("an integer is not the float of it", {"t": 1}, (1.0, "t", "e"), Route.STALE),
    Case("an integer is not true", {"t": 1}, (True, "t", "e"), Route.STALE),
    Case("false is not zero", {"t": False}, (0, "t", "e"), Route.STALE),
    Case("a list equals an equal list", {"t": [1, "a"]}, ([1, "a"], "t", "e"), Route.FORWARD),
    Case("a list is not another list", {"t": [1]}, ([2], "t", "e"), Route.STALE),
    Case("an object equals an equal object", {"t": {"a": 1}}, ({"a": 1}, "t", "e"), Route.FORWARD),
    Case("after a join without join_ref, one that names the ref is stale", {"t": None}, ("7", "t", "e"), Route.STALE),
    Case("after a join without join_ref, one without is forwarded", {"t": None}, (None, "t", "e"), Route.FORWARD),
    Case("an event of an unjoined topic matches nothing", {}, ("1", "room:lobby", "new_msg"), Route.UNMATCHED),
    Case("an event of another topic matches nothing", LOBBY, ("1", "room:other", "new_msg"), Route.UNMATCHED),
    Case("an event that only the server sends is forwarded", LOBBY, ("1", "room:lobby", "phx_reply"), Route.FORWARD),
    Case("a leave of the current join leaves", LOBBY, ("1", "room:lobby", "phx_leave"), Route.LEAVE),
    Case("a leave without a join_ref leaves", LOBBY, (None, "room:lobby", "phx_leave"), Route.LEAVE),
    Case("a leave of an earlier join is stale", LOBBY, ("0", "room:lobby", "phx_leave"), Route.STALE),
    Case("a leave of an unjoined topic is answered", LOBBY, ("1", "room:other", "phx_leave"), Route.LEAVE_NOTHING),
    Case("a leave of topic phoenix is answered", {}, (None, "phoenix", "phx_leave"), Route.LEAVE_NOTHING),
    Case("an event that is a number is forwarded too", LOBBY, ("1", "room:lobby", 5), Route.FORWARD),
    Case("an event that is a number on an unjoined topic matches nothing", {}, ("1", "room:lobby", 5), Route.UNMATCHED),
    Case("an event that is a list matches nothing", {}, ("1", "room:lobby", ["phx_join"]), Route.UNMATCHED),
    Case("an event on a topic of null matches nothing", LOBBY, (None, None, "new_msg"), Route.UNMATCHED),
    Case("an event on a topic that is a number matches nothing", LOBBY, ("1", 5, "new_msg"), Route.UNMATCHED),
    Case(
        "an event on a topic that is a list matches nothing", LOBBY, ("1", ["room:lobby"], "new_msg"), Route.UNMATCHED
    ),
    Case("an event on a topic that is an object matches nothing", LOBBY, ("1", {"a": 1}, "new_msg"), Route.UNMATCHED),
    Case("a heartbeat on a topic that is a list is an event", LOBBY, ("1", ["phoenix"], "heartbeat"), Route.UNMATCHED),
    Case(
        "a join of a topic that is a list is left to the routes, which have none", {}, ("1", [], "phx_join"), Route.JOIN
    ),
    Case(
        "a join of a topic that is a number is left to the routes, which have none",
        {},
        ("1", 5, "phx_join"),
        Route.JOIN,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.sentence)
def test_meaning(case: Case) -> None:
    state: SocketState[str] = SocketState()
    state.joined.update({topic: (join_ref, "entry") for topic, join_ref in case.joined.items()})
    before = dict(state.joined)
    join_ref, topic, event = case.message
    assert state.route(join_ref, topic, event, case.cap) is case.means
    assert state.joined == before  # asking changes nothing


def test_the_sentences_cover_every_meaning() -> None:
    assert {case.means for case in CASES} == set(Route)


def test_sentences_are_told_once() -> None:
    assert len({case.sentence for case in CASES}) == len(CASES)


@pytest.mark.parametrize("value", ["1", "", 1, 1.5, True, None, [1], {"a": None}])
def test_a_ref_is_the_same_as_a_copy_of_it(value: Any) -> None:
    copied = value.copy() if isinstance(value, list | dict) else value
    assert same_ref(value, copied)


def test_no_two_of_these_are_the_same_ref() -> None:
    values: list[Any] = ["1", "", "1.0", "true", 1, 0, 1.0, 0.0, True, False, None, [], {}, [1], {"1": 1}]
    for i, one in enumerate(values):
        for other in values[:i]:
            assert not same_ref(one, other), (one, other)
            assert not same_ref(other, one), (other, one)


def test_entries_are_kept_as_they_are() -> None:
    state: SocketState[object] = SocketState()
    entry = object()
    state.joined["t"] = ("1", entry)
    assert state.joined["t"][1] is entry
