"""Wire format 1.0.0: JSON objects with the keys topic, event, payload and ref."""

from typing import Any

import msgspec

from broadwing.core.codec import BYTES, ENCODE_ERRORS, Body, encode, unencodable
from broadwing.core.frames import TEXT
from broadwing.core.messages import Field, Message
from broadwing.core.serializer import Encoded
from broadwing.exceptions import InvalidMessage, LocalProtocolError


class _Object(msgspec.Struct, gc=False):
    topic: Field
    event: Field
    payload: msgspec.Raw
    ref: Field
    join_ref: Field = None


_decode = msgspec.json.Decoder(_Object).decode


class JsonV1:
    """Serializer of wire version 1.0.0.

    Source: Phoenix `lib/phoenix/socket/serializers/v1_json_serializer.ex`.
    """

    version = "1.0.0"

    def decode(self, opcode: int, data: bytes) -> Message:
        """Read an object; the opcode does not matter, as in Phoenix."""
        try:
            if opcode != TEXT:
                data.decode()  # transports check text frames only, and msgspec skips over a raw payload
            raw = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidMessage(_explain(data, error)) from error
        return Message(raw.join_ref, raw.ref, raw.topic, raw.event, raw.payload)

    def message(self, join_ref: Any, ref: Any, topic: Any, event: str, payload: Any) -> Encoded:
        """Write an object; this version has no place for `join_ref`."""
        return TEXT, encode({"event": event, "payload": payload, "ref": ref, "topic": topic})

    def reply(self, join_ref: Any, ref: Any, topic: Any, status: str, response: Any) -> Encoded:
        """Write a `phx_reply`."""
        if isinstance(response, BYTES):
            raise LocalProtocolError(_NO_BINARY.format(what="reply", topic=topic, event="phx_reply"))
        try:
            return self.message(join_ref, ref, topic, "phx_reply", {"response": response, "status": status})
        except ENCODE_ERRORS as error:
            raise unencodable(error) from error

    def push(self, join_ref: Any, topic: str, event: str, body: Body) -> Encoded:
        """Write a push; the payload may be any JSON value."""
        if body.binary:
            raise LocalProtocolError(_NO_BINARY.format(what="push", topic=topic, event=event))
        return TEXT, b'{"event":%b,"payload":%b,"ref":null,"topic":%b}' % (encode(event), body.data, encode(topic))

    def broadcast(self, topic: str, event: str, body: Body) -> Encoded:
        """Write a broadcast; the payload may be any JSON value."""
        return self.push(None, topic, event, body)


_NO_BINARY = (
    "a {what} of bytes on {topic!r} ({event!r}) cannot go to a client of wire version 1.0.0, which has no binary frames; "
    "send a JSON payload, or connect with vsn=2.0.0"
)


def _explain(data: bytes, error: Exception) -> str:
    text = str(error)
    if text.startswith("Object missing required field"):
        field = text.split("`")[1]
        return f'missing key "{field}"'
    if text.startswith("Expected `object`"):
        return f"V1 JSON Serializer expected a map, got {data[:80]!r}"
    return f"V1 JSON Serializer cannot read {data[:80]!r}: {text}"
