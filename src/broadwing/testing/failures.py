"""What a failed wait says: what was waited for, what came instead, how near it was, and which errors were logged meanwhile."""

import difflib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn, Self

from broadwing.testing.inbox import Received
from broadwing.testing.patterns import Difference, differences, shown

_MOST_LISTED: Final = 20
_MOST_LINES: Final = 40


class ErrorLog(logging.Handler):
    """Keeps what Broadwing logs as warnings and errors, as text.

    Attributes:
        entries: The last of them.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.entries: deque[str] = deque(maxlen=10)
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        lines = self.format(record).splitlines()
        if len(lines) > _MOST_LINES:
            lines = [*lines[:1], "…", *lines[2 - _MOST_LINES :]]
        self.entries.append("\n".join(lines))

    def __enter__(self) -> Self:
        logging.getLogger("broadwing").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("broadwing").removeHandler(self)

    def __str__(self) -> str:
        if not self.entries:
            return ""
        entries = "\n".join(_indented(entry) for entry in self.entries)
        return f"\n\nlogged meanwhile:\n{entries}"


class Wanted:
    """What is waited for, among what one client or one test is sent.

    Args:
        what: For people, as in `assert_push("new_msg", {"body": "hi"})`.
        kind: Which messages could be meant at all.
        event: The event; of a reply the ref.
        pattern: What the payload has to fit; of a reply the response.
        status: Of a reply, what the status has to fit.
    """

    def __init__(
        self, what: str, kind: Callable[[Received], bool], event: str, pattern: Any, status: Any = None
    ) -> None:
        self.what = what
        self._kind = kind
        self._event = event
        self._pattern = pattern
        self._status = status

    def fits(self, message: Received) -> bool:
        """Whether this is it."""
        if not self._kind(message) or (message.ref if message.is_reply else message.event) != self._event:
            return False
        return not self._misses(message)

    def _misses(self, message: Received) -> list[Difference]:
        if not message.is_reply:
            return differences(self._pattern, message.payload)
        # The status first: what a pattern captures is of messages that fit as a whole.
        status = [miss._replace(path="status") for miss in differences(self._status, message.status)]
        return status + (differences(self._pattern, message.response) if not status else [])

    def fail(self, why: str, messages: Sequence[Received], log: ErrorLog) -> NoReturn:
        """Raise the failure.

        Args:
            why: E.g. `nothing that fits arrived within 1 s`.
            messages: What is there instead.
            log: What was logged.
        """
        __tracebackhide__ = True
        raise AssertionError(f"{self.what}: {why}{self._nearest(messages)}{_listed(messages)}{log}")

    def _nearest(self, messages: Sequence[Received]) -> str:
        candidates = [message for message in messages if self._kind(message)]
        same = [m for m in candidates if (m.ref if m.is_reply else m.event) == self._event]
        if same:
            misses, nearest = min(((self._misses(m), m) for m in same), key=lambda pair: len(pair[0]))
            lines = [f"\n\nnearest: {described(nearest)}"]
            for miss in misses:
                lines += [
                    f"  ✗ {miss.path or 'payload'}",
                    f"      expected {miss.expected}",
                    f"      got      {miss.got}",
                ]
            return "\n".join(lines)
        events = [message.event for message in candidates if not message.is_reply]
        close = difflib.get_close_matches(self._event, events, 1)
        return f"\n\ndid you mean the event {close[0]!r}?" if close else ""


def described(message: Received) -> str:
    """A message on one line."""
    if message.is_reply:
        return f"reply {message.status} to ref {message.ref} on {message.topic}: {shown(message.response)}"
    return f"{message.event} on {message.topic}: {shown(message.payload)}"


def _listed(messages: Sequence[Received]) -> str:
    if not messages:
        return "\n\nnothing else arrived"
    skipped = len(messages) - _MOST_LISTED
    lines = [f"\n\narrived instead ({len(messages)}):"]
    if skipped > 0:
        lines.append(f"  … {skipped} before these")
    lines += [f"  {described(message)}" for message in messages[-_MOST_LISTED:]]
    return "\n".join(lines)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
