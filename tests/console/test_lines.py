"""What may be typed at the prompt of `broadwing connect`."""

from typing import Any

import pytest

from broadwing.console.lines import BadLine, Line, read_line, read_payload


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", None),
        ("   ", None),
        ("new_msg", Line("push", "new_msg")),
        ('new_msg {"body": "hi there"}', Line("push", "new_msg", {"body": "hi there"})),
        ("  new_msg   [1, 2]  ", Line("push", "new_msg", [1, 2])),
        ("raw 0x00ff", Line("push", "raw", b"\x00\xff")),
        ("/send new_msg 7", Line("/send", "new_msg", 7)),
        ("/join room:1", Line("/join", "room:1")),
        ('/join room:1 {"last_seen": 3}', Line("/join", "room:1", {"last_seen": 3})),
        ("/leave", Line("/leave")),
        ("/topic room:1", Line("/topic", "room:1")),
        ("/who", Line("/who")),
    ],
)
def test_a_line_is_a_command_or_an_event_with_its_payload(text: str, line: Line | None) -> None:
    assert read_line(text) == line


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("/jion room:1", "there is no /jion; accepted are"),
        ("/join", "write /join TOPIC"),
        ("/send", "write /send EVENT"),
        ("/topic ", "write /topic TOPIC"),
        ("new_msg {body}", "is no JSON"),
        ("new_msg 0xzz", "is not hexadecimal"),
        ("new_msg " + "[" * 100_000, "is no JSON"),
    ],
)
def test_what_cannot_be_understood_says_what_can(text: str, says: str) -> None:
    with pytest.raises(BadLine, match=says.replace("(", "\\(")):
        read_line(text)


@pytest.mark.parametrize(("text", "value"), [("", None), (" null", None), ('"text"', "text"), ("0x", b"")])
def test_a_payload_is_json_or_bytes(text: str, value: Any) -> None:
    assert read_payload(text) == value
