"""What a topic is called on NATS, where a subject has no spaces, gives `.`, `*` and `>` a meaning, and ends at 4 kB.

PREFIX.t.room:lobby     a topic of printable ASCII without . * and >, as it stands
PREFIX.b.cm9vbS4x       any other, base64url of its UTF-8 without padding
PREFIX.h.5df6e0e2...    one that would be too long, SHA-256 in hex; the message itself names the topic
PREFIX.n.web-1          a node's own subject; PREFIX.m.... is its base64url, PREFIX.g.... its hash
"""

import hashlib
import re
from base64 import urlsafe_b64encode
from typing import Final, NamedTuple

from broadwing.pubsub.broker_frames import LENIENT

# A server's max_control_line is 4,096 bytes for "PUB subject length"; 1 kB leaves room for a prefix and for accounts' mappings.
LONGEST: Final = 1024

_PLAIN: Final = re.compile(r"[!-)+-\-/-=?-~]+")  # ! to ~ without * . >
_PREFIX: Final = re.compile(r"(?!\$)[!-)+-\-/-=?-~]+(\.[!-)+-\-/-=?-~]+)*")


class Subject(NamedTuple):
    """A name on NATS, and whether a message has to name its topic besides."""

    name: str
    is_hash: bool


def topic_subject(prefix: str, topic: str) -> Subject:
    """What a topic is called."""
    return _subject(prefix, "tbh", topic)


def node_subject(prefix: str, node: str) -> Subject:
    """Where a node is sent what is for it alone."""
    return _subject(prefix, "nmg", node)


def is_prefix(text: str) -> bool:
    """Whether subjects can begin so."""
    return len(text) <= LONGEST and _PREFIX.fullmatch(text) is not None


def _subject(prefix: str, kinds: str, name: str) -> Subject:
    if len(name) <= LONGEST and _PLAIN.fullmatch(name):
        return Subject(f"{prefix}.{kinds[0]}.{name}", False)
    data = name.encode("utf-8", LENIENT)
    if len(data) <= LONGEST * 3 // 4:
        # An empty topic has no token of its own; "=" is none of base64url's characters without padding.
        return Subject(f"{prefix}.{kinds[1]}.{urlsafe_b64encode(data).decode().rstrip('=') or '='}", False)
    return Subject(f"{prefix}.{kinds[2]}.{hashlib.sha256(data).hexdigest()}", True)
