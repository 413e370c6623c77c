"""The client's side of presence, by the vectors that hold for the JavaScript client too."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broadwing.core.presence.sync import Change, Presences, listed, report, sync_diff, sync_state

VECTORS = Path(__file__).parents[2] / "spec" / "vectors"
SYNC: dict[str, Any] = json.loads((VECTORS / "presence_sync.json").read_text("utf-8"))


def of(name: str) -> list[Any]:
    """The vectors of a list, by name."""
    return [pytest.param(vector, id=vector["name"]) for vector in SYNC[name]]


class Recorder:
    """Callbacks that remember how they were called."""

    def __init__(self) -> None:
        self.calls: list[list[Any]] = []

    def on_join(self, key: str, current: Any, joined: Any) -> None:
        self.calls.append(["join", key, copy.deepcopy(current), copy.deepcopy(joined)])

    def on_leave(self, key: str, current: Any, left: Any) -> None:
        self.calls.append(["leave", key, copy.deepcopy(current), copy.deepcopy(left)])

    def tell(self, changes: list[Change] | None) -> None:
        """Report what a presence has worked in."""
        if changes is not None:
            for change in changes:
                report(change, self.on_join, self.on_leave)
            self.calls.append(["sync"])


@pytest.mark.parametrize("vector", of("sync_state"))
def test_a_state_is_worked_in(vector: dict[str, Any]) -> None:
    given, heard = copy.deepcopy(vector), Recorder()
    assert sync_state(given["state"], given["new_state"], heard.on_join, heard.on_leave) == vector["expected"]
    assert heard.calls == vector["calls"]
    assert given == vector  # nothing that is given is changed


@pytest.mark.parametrize("vector", of("sync_diff"))
def test_a_diff_is_worked_in(vector: dict[str, Any]) -> None:
    given, heard = copy.deepcopy(vector), Recorder()
    assert sync_diff(given["state"], given["diff"], heard.on_join, heard.on_leave) == vector["expected"]
    assert heard.calls == vector["calls"]
    assert given == vector


@pytest.mark.parametrize("vector", of("list"))
def test_a_state_is_listed(vector: dict[str, Any]) -> None:
    choosers: dict[str | None, Any] = {None: None, "key_and_count": lambda key, entry: [key, len(entry["metas"])]}
    assert listed(vector["state"], choosers[vector["chooser"]]) == vector["expected"]


@pytest.mark.parametrize("vector", of("conversations"))
def test_a_conversation_is_followed(vector: dict[str, Any]) -> None:
    presences, join_ref = Presences(), None
    for step in vector["steps"]:
        heard = Recorder()
        if "join" in step:
            join_ref = step["join"]
            continue
        if "state" in step:
            heard.tell(presences.begin(join_ref, step["state"]))
        else:
            heard.tell(presences.follow(join_ref, step["diff"]))
        assert heard.calls == step["calls"]
        assert presences.state == step["expected"]


def recorded(file: str, title: str, client: str) -> Iterator[tuple[str, Any]]:
    """Events and payloads of presence that a client received in a recording."""
    cases = json.loads((VECTORS / file).read_text("utf-8"))["cases"]
    steps = next(case["steps"] for case in cases if case["title"] == title)
    for step in steps:
        if step[:2] == ["<-", client]:
            message = json.loads(step[3])
            event, payload = message[3:] if isinstance(message, list) else (message["event"], message["payload"])
            if event in ("presence_state", "presence_diff"):
                yield event, payload


def renamed(value: Any, names: list[str], known: dict[str, str]) -> Any:
    """A payload with its refs named in the order in which they first arrive."""
    if isinstance(value, list):
        return [renamed(item, names, known) for item in value]
    if not isinstance(value, dict):
        return value
    if "phx_ref" in value and value["phx_ref"] not in known:
        known[value["phx_ref"]] = names[len(known)]
    return {
        key: known[item] if key in ("phx_ref", "phx_ref_prev") else renamed(item, names, known)
        for key, item in value.items()
    }


@pytest.mark.parametrize("vector", of("recordings"))
def test_a_recorded_client_would_have_known_who_is_there(vector: dict[str, Any]) -> None:
    for file in vector["files"]:
        presences, heard, known = Presences(), Recorder(), dict[str, str]()
        for event, payload in recorded(file, vector["case"], vector["client"]):
            named = renamed(payload, vector["refs"], known)
            heard.tell(presences.begin("1", named) if event == "presence_state" else presences.follow("1", named))
        assert heard.calls == vector["calls"]
        assert presences.state == vector["expected"]
        assert list(known.values()) == vector["refs"]


def test_diffs_of_a_new_join_wait_although_the_state_of_the_last_one_has_come() -> None:
    presences = Presences()
    assert presences.is_waiting("1")
    presences.begin("1", {"u1": {"metas": [{"phx_ref": "A"}]}})
    assert not presences.is_waiting("1")
    assert presences.is_waiting("2")
    assert presences.follow("2", {"joins": {"u2": {"metas": [{"phx_ref": "B"}]}}, "leaves": {}}) is None
    assert listed(presences.state, lambda key, _: key) == ["u1"]


def test_callbacks_may_be_left_out() -> None:
    state = sync_state({}, {"u1": {"metas": [{"phx_ref": "A"}]}})
    assert sync_diff(state, {"joins": {}, "leaves": state}) == {}
