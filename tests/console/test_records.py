"""What happened, as a line for people and for programs."""

import json

import pytest

from broadwing.console.records import Record, as_fragments, as_json, as_text


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (Record("connected", {"transport": "websocket"}), "● connected (transport websocket)"),
        (Record("disconnected", {"code": 1006, "reason": None}), "○ disconnected (code 1006)"),
        (Record("joined", {"topic": "room:1", "response": {"n": 1}}), '▶ room:1 joined {"n":1}'),
        (
            Record("message", {"topic": "room:1", "event": "new_msg", "payload": {"body": "é"}}),
            '← room:1 new_msg {"body":"é"}',
        ),
        (
            Record(
                "reply",
                {"topic": "room:1", "event": "echo", "status": "ok", "response": b"\x00\xff", "ms": 1.5},
            ),
            "✓ room:1 echo ok 0x00ff (1.5 ms)",
        ),
        (
            Record("reply", {"topic": "room:1", "event": "echo", "status": "error", "response": {}, "ms": 2.0}),
            "✗ room:1 echo error {} (2 ms)",
        ),
        (Record("present", {"topic": "room:1", "key": "u1", "metas": []}), "+ room:1 u1 []"),
        (Record("note", {"text": "hello"}), "  hello"),
    ],
)
def test_a_line_for_people(record: Record, text: str) -> None:
    assert as_text(record) == text


def test_a_reply_that_is_no_ok_is_shown_as_bad() -> None:
    fields = {"topic": "t", "event": "e", "response": {}}
    assert as_fragments(Record("reply", {**fields, "status": "ok"}))[0][0] == "class:good"
    assert as_fragments(Record("reply", {**fields, "status": "error"}))[0][0] == "class:bad"


def test_a_line_for_programs_is_json() -> None:
    record = Record("message", {"topic": "room:1", "event": "e", "payload": b"\x00\xff"})
    assert json.loads(as_json(record)) == {
        "kind": "message",
        "topic": "room:1",
        "event": "e",
        "payload": {"base64": "AP8="},
    }
