"""What happens, as named events; and log lines with the secrets taken out.

Events and their fields (durations in seconds):

| event | measurements | metadata |
|---|---|---|
| `socket_connected` | `duration` | `endpoint`, `socket`, `transport`, `params`, `connect_info`, `vsn` (as the client sent it), `serializer`, `log`, `result` (`ok`, `error`) |
| `channel_joined` | `duration` | `result`, `params`, `channel` |
| `channel_handled_in` | `duration` | `event`, `ref`, `payload`, `channel` |
| `socket_drain` | `count`, `total`, `index`, `rounds` | `endpoint`, `socket`, `interval` |
| `pubsub_health` | | `endpoint`, `health` (a `Health`: the bus came up, went down, or the node was found deaf) |

Source: Phoenix `lib/phoenix/logger.ex`.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

logger = logging.getLogger("broadwing.telemetry")

SOCKET_CONNECTED: Final = "socket_connected"
CHANNEL_JOINED: Final = "channel_joined"
CHANNEL_HANDLED_IN: Final = "channel_handled_in"
SOCKET_DRAIN: Final = "socket_drain"
PUBSUB_HEALTH: Final = "pubsub_health"
EVENTS: Final = (SOCKET_CONNECTED, CHANNEL_JOINED, CHANNEL_HANDLED_IN, SOCKET_DRAIN, PUBSUB_HEALTH)

Watcher: TypeAlias = Callable[[str, Mapping[str, float], Mapping[str, Any]], object]
"""Called with the event's name, its measurements and its metadata, in the loop; it must not block."""

_watchers: dict[str, list[Watcher]] = {}


def attach(event: str, watcher: Watcher) -> Callable[[], None]:
    """Call `watcher` whenever `event` happens.

    Args:
        event: One of `EVENTS`.
        watcher: See `Watcher`. What it raises is logged and goes no further.

    Returns:
        A function that ends it.

    Raises:
        ValueError: There is no such event.
    """
    if event not in EVENTS:
        raise ValueError(f"there is no event {event!r}; there are {', '.join(EVENTS)}")
    _watchers.setdefault(event, []).append(watcher)

    attached = True

    def detach() -> None:
        nonlocal attached
        if attached:
            attached = False
            watchers = _watchers[event]
            watchers.remove(watcher)
            if not watchers:
                del _watchers[event]

    return detach


def watched(event: str) -> bool:
    """Whether anybody wants to know; asked before the fields are put together."""
    return event in _watchers


def emit(event: str, measurements: Mapping[str, float], metadata: Mapping[str, Any]) -> None:
    """Tell the watchers of `event`."""
    for watcher in list(_watchers.get(event, ())):
        try:
            watcher(event, measurements, metadata)
        except Exception:  # an observer's fault must not reach what it observes
            logger.exception("a watcher of %s raised", event)


FILTERED: Final = "[FILTERED]"


class ParameterFilter:
    """Takes secrets out of what is logged.

    Args:
        discard: A key that contains one of these is filtered, and so is a string value that contains one followed by `=`.
        keep: If given, the opposite: only these keys, compared exactly, are shown, with all that is under them.
    """

    def __init__(self, discard: Sequence[str] = ("password", "token"), keep: Sequence[str] | None = None) -> None:
        self._terms = tuple(discard)
        self._keep = frozenset(keep) if keep is not None else None

    def __call__(self, value: Any) -> Any:
        """Return a copy of a JSON value with the secrets replaced by `[FILTERED]`."""
        return self._discard(value) if self._keep is None else self._only(value)

    def _discard(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: FILTERED
                if isinstance(key, str) and any(term in key for term in self._terms)
                else self._discard(item)
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [self._discard(item) for item in value]
        if isinstance(value, str) and any(f"{term}=" in value for term in self._terms):
            return FILTERED
        return value

    def _only(self, value: Any) -> Any:
        assert self._keep is not None
        if isinstance(value, dict):
            return {key: item if key in self._keep else self._only(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._only(item) for item in value]
        return FILTERED


def took(seconds: float) -> str:
    """Write a duration as Phoenix's log does: whole milliseconds above one, microseconds below."""
    microseconds = int(seconds * 1e6)
    return f"{microseconds // 1000}ms" if microseconds > 1000 else f"{microseconds}µs"
