"""Both wire versions as a client writes and reads them."""

from typing import Any, Final

import msgspec

from broadwing.core.client.effects import Message
from broadwing.core.codec import Body, encode
from broadwing.exceptions import InvalidMessage, LocalProtocolError

PUSH, REPLY, BROADCAST = 0, 1, 2
V1, V2 = "1.0.0", "2.0.0"
VERSIONS: Final = (V2, V1)

_MOST_FIELD_BYTES: Final = 255
_FIELDS: Final = {PUSH: 3, REPLY: 4, BROADCAST: 2}
_decode: Final = msgspec.json.Decoder().decode

Encoded = str | bytes
"""A message as a transport takes it: text, or the bytes of a binary frame."""


def check_binary(topic: str, event: str, vsn: str) -> None:
    """Judge whether bytes can be pushed like this, before they wait for a join.

    Raises:
        LocalProtocolError: The wire version has no binary frames, or a name is too long for one.
    """
    if vsn == V1:
        raise LocalProtocolError(
            f"a payload of bytes for {event!r} on {topic!r} cannot be sent in wire version 1.0.0, which has no binary "
            "frames; send a JSON payload, or connect with vsn='2.0.0'"
        )
    _fields({"topic": topic, "event": event})


def encode_message(vsn: str, join_ref: str | None, ref: str | None, topic: str, event: str, payload: Body) -> Encoded:
    """Write a message as a client sends it.

    Raises:
        LocalProtocolError: The payload is bytes and cannot be sent as such; see `check_binary`.
    """
    if payload.binary:
        check_binary(topic, event, vsn)
        fields = _fields({"join_ref": join_ref or "", "ref": ref or "", "topic": topic, "event": event})
        return b"".join((bytes((PUSH, *map(len, fields))), *fields, payload.data))
    if vsn == V1:
        head = {"topic": topic, "event": event, "ref": ref}
        if join_ref is not None:
            head["join_ref"] = join_ref
        return (encode(head)[:-1] + b',"payload":%b}' % payload.data).decode()
    return (b"[%b,%b,%b,%b,%b]" % (encode(join_ref), encode(ref), encode(topic), encode(event), payload.data)).decode()


def decode_message(vsn: str, data: Encoded) -> Message:
    """Read a message of the server.

    Raises:
        InvalidMessage: It is none of this version.
    """
    if vsn == V2 and isinstance(data, bytes):
        return _decode_binary(data)
    try:
        value = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidMessage(f"the server sent {data[:80]!r}, which is no JSON: {error}") from error
    match value:
        case [join_ref, ref, str(topic), str(event), payload, *_] if vsn == V2:
            return Message(join_ref, ref, topic, event, payload)
        case {"topic": str(topic), "event": str(event), "payload": payload, "ref": ref} if vsn == V1:
            # This version has no join_ref, but when a channel ends both versions send the join's as ref.
            ends = event in ("phx_close", "phx_error")
            return Message(ref if ends else None, ref, topic, event, payload)
    shape = "[join_ref, ref, topic, event, payload]" if vsn == V2 else "an object with topic, event, payload and ref"
    raise InvalidMessage(f"the server sent {data[:80]!r}; a message of version {vsn} is {shape}")


def _fields(fields: dict[str, str]) -> list[bytes]:
    encoded = [value.encode() for value in fields.values()]
    for name, value in zip(fields, encoded, strict=True):
        if len(value) > _MOST_FIELD_BYTES:
            raise LocalProtocolError(
                f"unable to convert {name} to binary: it takes {len(value)} bytes of UTF-8 and a binary frame has room for "
                f"{_MOST_FIELD_BYTES}; shorten it, or send the payload as JSON"
            )
    return encoded


def _decode_binary(data: bytes) -> Message:
    kind = data[0] if data else -1
    count = _FIELDS.get(kind)
    if count is None:
        raise InvalidMessage(
            f"the server sent a binary frame that starts with {data[:1].hex() or 'nothing'}; in version 2.0.0 it is 00 "
            "(push), 01 (reply) or 02 (broadcast)"
        )
    end = 1 + count
    fields = []
    for size in data[1:end]:
        fields.append(data[end : end + size])
        end += size
    if len(fields) < count or end > len(data):
        raise InvalidMessage(f"the server sent a binary frame of {len(data)} bytes whose header announces {end}")
    try:
        names = [field.decode() for field in fields]
    except UnicodeDecodeError as error:
        raise InvalidMessage(f"a field of a binary frame is not UTF-8: {error}") from error
    payload: Any = data[end:]
    if kind == REPLY:
        join_ref, ref, topic, status = names
        return Message(join_ref or None, ref, topic, "phx_reply", {"status": status, "response": payload})
    if kind == PUSH:
        join_ref, topic, event = names
        return Message(join_ref or None, None, topic, event, payload)
    topic, event = names
    return Message(None, None, topic, event, payload)
