"""What was sent before, for completion."""

from collections.abc import Iterable
from typing import Any

from broadwing.console.lines import COMMANDS, BadLine, read_line


class Memory:
    """Events, payloads and keys that were sent or received, the latest first.

    Args:
        most: How many are remembered of each.
    """

    def __init__(self, most: int = 200) -> None:
        self._most = most
        self._events: dict[str, None] = {}
        self._payloads: dict[str, dict[str, None]] = {}
        self._keys: dict[str, None] = {}
        self.topics: dict[str, None] = {}

    def sent(self, text: str) -> None:
        """Remember a line that was typed; one that cannot be understood is nothing to repeat."""
        try:
            line = read_line(text)
        except BadLine:
            return
        if line is None or line.command not in ("push", "/send", "/join"):
            return
        if line.command == "/join":
            self._put(self.topics, line.name)
            return
        self._put(self._events, line.name)
        payload = text.split(maxsplit=2 if line.command == "/send" else 1)[2 if line.command == "/send" else 1 :]
        if payload:
            self._put(self._payloads.setdefault(line.name, {}), payload[0].strip())
        self._remember_keys(line.payload)

    def received(self, payload: Any) -> None:
        """Remember the keys of a payload that came."""
        self._remember_keys(payload)

    def complete(self, before: str) -> Iterable[tuple[str, int]]:
        """What may follow, given what stands before the cursor.

        Returns:
            Texts, each with the number of characters before the cursor that it takes the place of.
        """
        head, space, rest = before.lstrip().partition(" ")
        if not space:
            names = [*reversed(self._events), *COMMANDS]
            yield from ((name, len(head)) for name in names if name.startswith(head))
            return
        if head in ("/topic", "/leave", "/join"):
            yield from ((topic, len(rest)) for topic in reversed(self.topics) if topic.startswith(rest))
            return
        if head == "/send":
            head, space, rest = rest.partition(" ")
            if not space:
                yield from ((event, len(head)) for event in reversed(self._events) if event.startswith(head))
                return
        elif head.startswith("/"):
            return
        rest = rest.lstrip()
        yield from (
            (payload, len(rest))
            for payload in reversed(self._payloads.get(head, {}))
            if payload.startswith(rest) and payload != rest
        )
        key = _open_key(rest)
        if key is not None:
            yield from (
                (f"{name}: ", len(key)) for name in reversed(self._keys) if name.startswith(key) and key != name
            )

    def _remember_keys(self, payload: Any) -> None:
        if isinstance(payload, dict):
            for key, value in payload.items():
                self._put(self._keys, f'"{key}"')
                self._remember_keys(value)
        elif isinstance(payload, list):
            for value in payload[: self._most]:
                self._remember_keys(value)

    def _put(self, where: dict[str, None], text: str) -> None:
        where.pop(text, None)
        where[text] = None
        if len(where) > self._most:
            del where[next(iter(where))]


def _open_key(text: str) -> str | None:
    """The beginning of an object's key at the end of a text; `None` where no key can stand."""
    opened: list[str] = []  # "{" where a key may come, ":" behind one, "[" in a list
    start = None
    escaped = False
    for index, letter in enumerate(text):
        if start is not None:
            if escaped or letter == "\\":
                escaped = not escaped
            elif letter == '"':
                start = None
        elif letter == '"':
            start = index
        elif letter in "{[":
            opened.append(letter)
        elif letter in "}]" and opened:
            opened.pop()
        elif letter == ":" and opened and opened[-1] == "{":
            opened[-1] = ":"
        elif letter == "," and opened and opened[-1] == ":":
            opened[-1] = "{"
    if not opened or opened[-1] != "{":
        return None
    if start is not None:
        return text[start:]
    return "" if text.rstrip()[-1] in "{," else None
