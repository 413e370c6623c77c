"""Wire format 2.0.0: JSON arrays `[join_ref, ref, topic, event, payload]`, and binary frames.

The layouts of the binary frames are in docs/protocol.md; all size fields are one byte and count UTF-8 bytes.
"""

from typing import Any

import msgspec

from broadwing.core.codec import BYTES, ENCODE_ERRORS, Body, encode, unencodable
from broadwing.core.frames import BINARY, TEXT
from broadwing.core.messages import Message
from broadwing.core.serializer import Encoded
from broadwing.exceptions import InvalidMessage, LocalProtocolError

PUSH, REPLY, BROADCAST = 0, 1, 2

_decode = msgspec.json.Decoder(Message).decode


class JsonV2:
    """Serializer of wire version 2.0.0.

    Source: Phoenix `lib/phoenix/socket/serializers/v2_json_serializer.ex`.
    """

    version = "2.0.0"

    def decode(self, opcode: int, data: bytes) -> Message:
        """Read an array of at least five elements, or a binary push."""
        if opcode == TEXT:
            try:
                return _decode(data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise InvalidMessage(
                    f"V2 JSON Serializer expected [join_ref, ref, topic, event, payload], got {data[:80]!r}: {error}"
                ) from error
        return _decode_binary(data)

    def message(self, join_ref: Any, ref: Any, topic: Any, event: str, payload: Any) -> Encoded:
        """Write an array."""
        return TEXT, encode((join_ref, ref, topic, event, payload))

    def reply(self, join_ref: Any, ref: Any, topic: Any, status: str, response: Any) -> Encoded:
        """Write a `phx_reply`, as a binary frame when `response` is bytes."""
        # Most responses are maps; asking those for three types of bytes costs 10 %.
        if type(response) is not dict and isinstance(response, BYTES):
            fields = {"join_ref": _ref(join_ref), "ref": _ref(ref), "topic": topic, "status": status}
            return BINARY, _binary(REPLY, fields, bytes(response))
        try:
            return TEXT, encode((join_ref, ref, topic, "phx_reply", {"response": response, "status": status}))
        except ENCODE_ERRORS as error:
            raise unencodable(error) from error

    def push(self, join_ref: Any, topic: str, event: str, body: Body) -> Encoded:
        """Write a push of a map, or a binary push."""
        if body.binary:
            return BINARY, _binary(PUSH, {"join_ref": _ref(join_ref), "topic": topic, "event": event}, body.data)
        if not body.is_map:
            raise LocalProtocolError(_NO_MAP.format(what="payload", data=body.data[:80]))
        return TEXT, b"[%b,null,%b,%b,%b]" % (encode(join_ref), encode(topic), encode(event), body.data)

    def broadcast(self, topic: str, event: str, body: Body) -> Encoded:
        """Write a broadcast of a map, or a binary broadcast."""
        if body.binary:
            return BINARY, _binary(BROADCAST, {"topic": topic, "event": event}, body.data)
        if not body.is_map:
            raise LocalProtocolError(_NO_MAP.format(what="broadcasted payload", data=body.data[:80]))
        return TEXT, b"[null,null,%b,%b,%b]" % (encode(topic), encode(event), body.data)


_NO_MAP = "expected {what} to be a map, got: {data!r}; put the value under a key, or send bytes for a binary frame"


def _ref(ref: Any) -> str:
    # Refs of any JSON type are legal in text; in a binary frame only text fits, and null is no text at all.
    if ref is None:
        return ""
    return ref if isinstance(ref, str) else encode(ref).decode()


def _binary(kind: int, fields: dict[str, str], data: bytes) -> bytes:
    encoded = [value.encode() for value in fields.values()]
    for name, value in zip(fields, encoded, strict=True):
        if len(value) > 255:
            raise LocalProtocolError(
                f"unable to convert {name} to binary: it has {len(value)} bytes, a binary frame has room for 255: {value[:40]!r}…"
            )
    return b"".join((bytes((kind, *map(len, encoded))), *encoded, data))


def _decode_binary(data: bytes) -> Message:
    if len(data) < 5 or data[0] != PUSH:
        raise InvalidMessage(
            f"a client's binary frame starts with 00 and four sizes (join_ref, ref, topic, event), got {data[:8].hex(' ') or 'nothing'}"
        )
    ends = []
    end = 5
    for size in data[1:5]:
        end += size
        ends.append(end)
    if end > len(data):
        raise InvalidMessage(
            f"a binary push announces {end - 5} bytes of fields, but only {len(data) - 5} bytes follow"
        )
    try:
        join_ref = data[5 : ends[0]].decode()
        ref = data[ends[0] : ends[1]].decode()
        topic = data[ends[1] : ends[2]].decode()
        event = data[ends[2] : end].decode()
    except UnicodeDecodeError as error:
        raise InvalidMessage(f"a field of a binary push is not UTF-8: {error}") from error
    return Message(join_ref, ref, topic, event, data[end:])
