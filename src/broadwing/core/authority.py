"""Host and port out of a `Host` header (RFC 9110 section 7.2)."""

_DEFAULT_PORTS = {"http": 80, "https": 443}


def split_authority(value: bytes, scheme: str) -> tuple[str, int]:
    """Split `host[:port]`.

    Args:
        value: The header's value; empty when the client sent none.
        scheme: `http` or `https`, which gives the port when the client named none.

    Returns:
        Host without the brackets of an IPv6 address, and port; a port that is no number counts as not named.
    """
    text = value.decode("latin-1")
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, ""
    number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else _DEFAULT_PORTS.get(scheme, 80)
    return host.removeprefix("[").removesuffix("]"), number
