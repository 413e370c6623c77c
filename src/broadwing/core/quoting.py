"""How text from a peer is shown in a log line or an error."""

import json

# Enough to recognise any honest value; a query or header may be a thousand times longer.
MOST_SHOWN = 200


def quoted(text: str, most: int = MOST_SHOWN) -> str:
    """Quote `text` so that it stays one line of plain ASCII and of bounded length.

    Line ends and terminal escapes in a header or parameter could otherwise forge whole log entries (CWE-117).

    Args:
        text: What the peer sent.
        most: Characters of `text` to show; the rest is replaced by `...`.

    Returns:
        The text in double quotes, with JSON's escapes.
    """
    return json.dumps(text if len(text) <= most else f"{text[:most]}...")


def unquoted(text: str, most: int = MOST_SHOWN) -> str:
    """Like `quoted`, without the quotes around it."""
    return quoted(text, most)[1:-1]
