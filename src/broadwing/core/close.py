"""Close codes of a connection: what ends it, and whether the client should come back.

1000-1015 are RFC 6455 section 7.4 and its IANA registry; 4000-4999 are left to applications by the same
section. The official JavaScript client reconnects after every code but 1000.
"""

from enum import IntEnum


class CloseCode(IntEnum):
    """Why the server ends a connection."""

    NORMAL = 1000
    """Answer to the client's own close."""
    GOING_AWAY = 1001
    """`disconnect` was broadcast on the socket's id."""
    PROTOCOL_ERROR = 1002
    """The peer broke RFC 6455, or was silent for longer than `timeout` (as Phoenix on Bandit answers both)."""
    INVALID_DATA = 1007
    """A text message that is not UTF-8, or a compressed one that does not inflate."""
    POLICY_VIOLATION = 1008
    """A client refused at its handshake, under an ASGI server that cannot answer with an HTTP status instead."""
    TOO_BIG = 1009
    """A frame over `max_frame_size`, or a message over `max_message_size`."""
    INTERNAL_ERROR = 1011
    """A message that no serializer can read, or a fault of the server."""
    SERVICE_RESTART = 1012
    """The server drains its connections before it stops; come back at once."""
    SLOW_READER = 4001
    """More than `max_buffer_bytes` waited for a client that does not read."""
    STALLED = 4002
    """The client's own messages filled its queue, and no handler made progress for `timeout`."""


def received_close_is_valid(code: int) -> bool:
    """Tell whether a peer may send `code` (RFC 6455 section 7.4.1 and 7.4.2, IANA registry of 2026)."""
    return code in _SENDABLE or code >= 3000


def close_may_be_sent(code: int) -> bool:
    """Tell whether an application may end a connection with `code`."""
    return code in _SENDABLE or 3000 <= code <= 4999


# 1012-1014 came into the registry after the RFC. Codes from 5000 on are nobody's, and let pass as Phoenix on Bandit does.
_SENDABLE = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
