"""Lines that are typed: commands, and events with their payloads."""

from dataclasses import dataclass
from typing import Any, Final

from broadwing.core.codec import DecodeError, decode

HELP: Final = (
    ("EVENT [JSON]", "push, and show the reply"),
    ("/send EVENT [JSON]", "push without waiting for a reply"),
    ("/join TOPIC [JSON]", "join another topic, and speak there from now on"),
    ("/topic TOPIC", "speak on another topic that is joined"),
    ("/leave [TOPIC]", "leave"),
    ("/who", "who is there, where the server tells of presence"),
    ("/ping", "measure the time to the server and back"),
    ("/help", "this"),
    ("/quit", "end; so does Ctrl-D"),
)
COMMANDS: Final = tuple(usage.split()[0] for usage, _ in HELP if usage.startswith("/"))


class BadLine(Exception):
    """A line cannot be understood; the text says what is accepted."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line.

    Attributes:
        command: Such as `/join`; `push` for an event.
        name: The event, or the topic.
        payload: What goes with it; `None` where there is none.
    """

    command: str
    name: str = ""
    payload: Any = None


def read_line(text: str) -> Line | None:
    """Understand a line; `None` for an empty one.

    Raises:
        BadLine: It cannot be understood.
    """
    words = text.strip().split(maxsplit=1)
    if not words:
        return None
    if not words[0].startswith("/"):
        return Line("push", words[0], read_payload(words[1] if len(words) > 1 else ""))
    command, rest = words[0], words[1] if len(words) > 1 else ""
    if command not in COMMANDS:
        raise BadLine(f"there is no {command}; accepted are EVENT [JSON] and {', '.join(COMMANDS)}")
    name, _, payload = rest.strip().partition(" ")
    if command in ("/send", "/join", "/topic") and not name:
        raise BadLine(next(f"write {usage}" for usage, _ in HELP if usage.startswith(command)))
    return Line(command, name, read_payload(payload) if command in ("/send", "/join") else None)


def read_payload(text: str) -> Any:
    """Understand a payload: JSON, or bytes as `0x…` in hexadecimal.

    Raises:
        BadLine: It is neither.
    """
    text = text.strip()
    if not text:
        return None
    if text.startswith("0x"):
        try:
            return bytes.fromhex(text[2:])
        except ValueError as error:
            raise BadLine(f"{text[:40]!r} is not hexadecimal: {error}") from error
    try:
        return decode(text)
    except (DecodeError, RecursionError) as error:
        raise BadLine(f'{text[:40]!r} is no JSON: {error}; write it like {{"body": "hi"}}') from error
