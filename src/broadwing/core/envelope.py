"""What a broadcast looks like on the bus between nodes, version 1.

    byte 0      version, 1
    byte 1      flags: 1 binary payload, 2 extra fields follow the event
    bytes 2-3   length of the event in bytes, big-endian
    ...         the event, UTF-8
    [4 bytes    length of the extra fields, big-endian
     ...        the extra fields, a JSON object]
    ...         the payload: JSON text as it goes to the clients, or raw bytes

The topic travels outside, as the adapter's own address. Extra fields are room for what later releases add (sender,
offset, epoch, trace context); readers ignore those they do not know, so nodes of two releases work together. Nothing here
can be executed: a foreign or damaged message is an `EnvelopeError` and no more.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from broadwing.core.codec import Body, encode
from broadwing.core.messages import Broadcast
from broadwing.exceptions import EnvelopeError

VERSION: Final = 1
_BINARY, _EXTRAS = 1, 2
_decode_extras = msgspec.json.Decoder(dict[str, Any]).decode


class Envelope:
    """The codec of broadcasts."""

    def encode(self, message: Broadcast, extras: Mapping[str, Any] | None = None) -> bytes:
        """Write a broadcast, without its topic.

        Raises:
            EnvelopeError: The event is longer than 65,535 bytes.
        """
        event = message.event.encode()
        if len(event) > 65_535:
            raise EnvelopeError(
                f"an event has {len(event)} bytes, the bus has room for 65,535: {message.event[:40]!r}…"
            )
        flags = _BINARY if message.body.binary else 0
        if not extras:
            return b"%c%c%b%b%b" % (VERSION, flags, len(event).to_bytes(2), event, message.body.data)
        more = encode(extras)
        return b"".join(
            (
                bytes((VERSION, flags | _EXTRAS)),
                len(event).to_bytes(2),
                event,
                len(more).to_bytes(4),
                more,
                message.body.data,
            )
        )

    def decode(self, topic: str, data: bytes) -> Broadcast:
        """Read a broadcast.

        Raises:
            EnvelopeError: It is not an envelope of this version.
        """
        return self.decode_with_extras(topic, data)[0]

    def decode_with_extras(self, topic: str, data: bytes) -> tuple[Broadcast, Mapping[str, Any]]:
        """Read a broadcast and its extra fields.

        Raises:
            EnvelopeError: It is not an envelope of this version.
        """
        if len(data) < 4 or data[0] != VERSION:
            raise EnvelopeError(f"expected an envelope of version {VERSION}, got {data[:8].hex(' ') or 'nothing'}")
        flags = data[1]
        end = 4 + int.from_bytes(data[2:4])
        if end > len(data):
            raise EnvelopeError(f"an envelope announces {end} bytes of head and has {len(data)} bytes in all")
        extras: Mapping[str, Any] = {}
        try:
            event = data[4:end].decode()
            if flags & _EXTRAS:
                length = int.from_bytes(data[end : end + 4])
                start, end = end + 4, end + 4 + length
                if end > len(data):
                    raise EnvelopeError(f"an envelope announces {length} bytes of extra fields that are not there")
                extras = _decode_extras(data[start:end])
        except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
            raise EnvelopeError(f"an envelope cannot be read: {error}") from error
        return Broadcast(topic, event, Body(data[end:], bool(flags & _BINARY))), extras
