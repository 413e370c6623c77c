"""The head of a request as browsers and Phoenix clients send it when they open a WebSocket, read at a glance.

Not a parser of HTTP: whatever is unusual is left to the server's own, which has the whole of RFC 9112 in it.
"""

import re
from typing import NamedTuple

# A request line with a path of printable ASCII, then fields: a token, a colon, visible characters, blanks and bytes above
# ASCII (RFC 9110 sections 5.1 and 5.5). No folded lines, no bare CR or LF, no control characters.
_HEAD = re.compile(
    rb"GET (/[!-~]*) HTTP/1\.1\r\n((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t -~\x80-\xff]*\r\n)+)\r\n",
)
# With these, more than the head belongs to the request, or an answer is due before the upgrade.
_MORE = frozenset({b"content-length", b"transfer-encoding", b"expect"})


class Head(NamedTuple):
    """What the first line and the fields said.

    Attributes:
        target: Path and query as they came.
        headers: Names in lower case, values without the blanks around them.
        end: Where the head ends in the data.
    """

    target: bytes
    headers: list[tuple[bytes, bytes]]
    end: int


def read_upgrade(data: bytes) -> Head | None:
    """Read a whole request head that asks for a WebSocket.

    Returns:
        The head, or `None` when the data is anything else: another method or version, not complete, no upgrade to
        `websocket`, a body, or out of the ordinary in form.
    """
    found = _HEAD.match(data)
    if found is None:
        return None
    headers = []
    upgrades = connects = False
    for line in found[2][:-2].split(b"\r\n"):
        name, _, value = line.partition(b":")
        name = name.lower()
        value = value.strip(b" \t")
        headers.append((name, value))
        if name == b"upgrade":
            upgrades = value.lower() == b"websocket"
        elif name == b"connection":
            connects = b"upgrade" in value.lower()
        elif name in _MORE:
            return None
    return Head(found[1], headers, found.end()) if upgrades and connects else None
