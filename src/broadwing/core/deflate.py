"""permessage-deflate (RFC 7692), in the one form that costs nothing per connection.

Both directions run without context takeover: the server says so in its answer (sections 7.1.1.1 and 7.1.1.2 allow
it whether or not the client asked), so no connection keeps a zlib state of 64 kB or more, and a broadcast is
compressed once for everybody who negotiated the same window.
"""

import zlib
from collections.abc import Sequence
from functools import lru_cache

_TAIL = b"\x00\x00\xff\xff"
# What may follow a block marked final: the tail alone, or behind the empty block that a sender puts there (section 7.2.3.4).
_AFTER_FINAL = (b"", _TAIL, b"\x00" + _TAIL)
# By text and not by `int()`: no leading zeroes (section 7.1.2), and no number of 5,000 digits to be parsed.
_WINDOW_BITS = {str(bits): bits for bits in range(8, 16)}
# Below this the deflated frame is as long as the plain one (RFC 7692 section 6 lets a sender choose per message).
MIN_COMPRESSED = 64


def negotiate(offers: Sequence[str]) -> tuple[str, int] | None:
    """Choose among the extensions that a client offers.

    Args:
        offers: Values of `Sec-WebSocket-Extensions`, each possibly a comma-separated list, in the client's order.

    Returns:
        The header value to answer with and the server's window bits (9-15), or `None` when no offer can be met.

    Source: RFC 7692 section 7.1.
    """
    for offer in (part for value in offers for part in value.split(",")):
        name, *parameters = (part.strip() for part in offer.split(";"))
        if name == "permessage-deflate":
            bits = _server_bits(parameters)
            if bits is not None:
                answer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
                # 0: not asked for, and then not to be answered.
                return (f"{answer}; server_max_window_bits={bits}", bits) if bits else (answer, 15)
    return None


def _server_bits(parameters: list[str]) -> int | None:
    """Read an offer: the window it asks of the server, 0 when it asks for none, `None` when it cannot be met."""
    seen: set[str] = set()
    asked = 0
    for parameter in parameters:
        name, given, value = (part.strip() for part in parameter.partition("="))
        if len(value) > 2 and value[0] == value[-1] == '"':
            value = value[1:-1]
        if name in seen:
            return None  # section 7.1: a parameter stands once
        seen.add(name)
        if name in ("server_no_context_takeover", "client_no_context_takeover"):
            if given:
                return None
        elif name == "server_max_window_bits":
            asked = _WINDOW_BITS.get(value, 0)
            # 8 is legal, but zlib refuses it, or makes a 9-bit window of it that the client could not follow.
            if asked < 9:
                return None
        elif name == "client_max_window_bits":
            if given and value not in _WINDOW_BITS:
                return None
        else:
            return None
    return asked


def deflate(data: bytes, bits: int = 15) -> bytes:
    """Compress one message on its own (RFC 7692 section 7.2.1)."""
    # memLevel 5 takes a quarter of the memory of 8 and loses 2 % on JSON of this size.
    compressor = zlib.compressobj(wbits=-bits, memLevel=5)
    out = compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return out[:-4]


def inflate(data: bytes, limit: int) -> bytes | bool | None:
    """Decompress one message that the client compressed without context takeover.

    Args:
        data: The message's payload.
        limit: Most bytes the result may have; more is a decompression bomb and is not unfolded.

    Returns:
        The message, `False` when it exceeds `limit`, `None` when it is not a deflate stream.
    """
    decompressor = zlib.decompressobj(-15)
    try:
        out = decompressor.decompress(data + _TAIL, limit + 1)
    except zlib.error:
        return None
    if len(out) > limit:
        return False
    if decompressor.unused_data not in _AFTER_FINAL:
        return None  # bytes that belong to nothing; a second stream is not looked for, each of 2 bytes would cost a new state
    return out


@lru_cache(maxsize=64)
def cached_negotiate(offers: tuple[str, ...]) -> tuple[str, int] | None:
    """Like `negotiate`, remembered: browsers send the same few offers over and over."""
    return negotiate(offers)
