"""What happens, as one line for people or for programs."""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from broadwing.core.codec import encode

Fragment: TypeAlias = tuple[str, str]
"""A style and a text, as prompt_toolkit takes them."""


@dataclass(frozen=True, slots=True)
class Record:
    """Something that happened.

    Attributes:
        kind: What: connected, disconnected, failed, joined, refused, lost, closed, message, reply, present, absent, pong, note.
        fields: What is to be told of it, by name.
    """

    kind: str
    fields: dict[str, Any] = field(default_factory=dict)


Tell: TypeAlias = Callable[[Record], None]

# Kind of record -> its sign, and the style of sign and name.
_SIGNS: Final = {
    "connected": ("●", "good"),
    "disconnected": ("○", "bad"),
    "failed": ("○", "bad"),
    "joined": ("▶", "good"),
    "refused": ("✗", "bad"),
    "lost": ("⚠", "warn"),
    "closed": ("■", "warn"),
    "message": ("←", "event"),
    "reply": ("✓", "good"),
    "present": ("+", "presence"),
    "absent": ("−", "presence"),
    "pong": ("⇄", "dim"),
    "note": (" ", "dim"),
}


def as_json(record: Record) -> str:
    """One object; bytes are `{"base64": …}`."""
    return encode({"kind": record.kind, **{name: _plain(value) for name, value in record.fields.items()}}).decode()


def as_text(record: Record) -> str:
    """One line."""
    return "".join(text for _, text in as_fragments(record))


def as_fragments(record: Record) -> list[Fragment]:
    """One line in colours."""
    fields = dict(record.fields)
    sign, style = _SIGNS[record.kind]
    if record.kind == "reply" and fields.get("status") != "ok":
        sign, style = "✗", "bad"
    parts: list[Fragment] = [(f"class:{style}", f"{sign} ")]
    if record.kind == "note":
        return [*parts, ("class:dim", str(fields["text"]))]
    topic = fields.pop("topic", None)
    if topic is not None:
        parts.append(("class:topic", f"{topic} "))
    words = [str(fields.pop(name)) for name in ("event", "key", "status") if fields.get(name) is not None]
    parts.append((f"class:{style}", " ".join(words or [record.kind])))
    milliseconds = fields.pop("ms", None)
    for name in ("response", "payload", "metas", "reason"):
        if fields.get(name) is not None:
            parts.append(("class:json", f" {_shown(fields[name])}"))
        fields.pop(name, None)
    rest = [f"{name} {value}" for name, value in fields.items() if value is not None]
    if milliseconds is not None:
        rest.append(f"{milliseconds:g} ms")
    if rest:
        parts.append(("class:dim", f" ({', '.join(rest)})"))
    return parts


def _plain(value: Any) -> Any:
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    return value if isinstance(value, str) else encode(value).decode()
