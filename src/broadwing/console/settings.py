"""What `broadwing connect` was asked for, and how it can end."""

from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any


class Exit(IntEnum):
    """Exit codes; 2 is a command line that cannot be understood."""

    OK = 0
    UNREACHABLE = 3
    """No connection could be made, or the server refused it."""
    REFUSED = 4
    """The join was refused."""
    ERROR = 5
    """The push was answered with another status than "ok"."""
    TIMEOUT = 6
    """There was no answer, or not what was waited for, in time."""
    CLOSED = 7
    """The channel or the connection was closed for good by the server."""
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The command line.

    Attributes:
        url: The socket's mount.
        topic: The topic to join.
        join: Payload of the join.
        params: Connect parameters.
        token: Auth token.
        vsn: Wire version.
        transport: "websocket" or "longpoll".
        timeout: Seconds for the connection, each answer, and what is waited for.
        push: Event and payload to push.
        wait: Events to wait for.
        follow: Print until interrupted.
        as_json: One JSON object per line.
        history: Where lines are remembered; `None` for the time of the program only.
    """

    url: str
    topic: str
    join: Any = None
    params: dict[str, str] = field(default_factory=dict)
    token: str | None = None
    vsn: str = "2.0.0"
    transport: str = "websocket"
    timeout: float = 10.0
    push: tuple[str, Any] | None = None
    wait: tuple[str, ...] = ()
    follow: bool = False
    as_json: bool = False
    history: Path | None = None
