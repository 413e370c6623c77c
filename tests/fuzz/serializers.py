"""What holds for every input of both serializers."""

import json

import msgspec

from broadwing.core.codec import decode
from broadwing.core.frames import BINARY, TEXT
from broadwing.core.json_v1 import JsonV1
from broadwing.core.json_v2 import JsonV2
from broadwing.core.serializer import Serializer
from broadwing.core.socket_state import SocketState
from broadwing.exceptions import InvalidMessage

TOKENS = [
    b'"',
    b"\\",
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b":",
    b"null",
    b"NaN",
    b"1e999",
    b"-0.0",
    b"9" * 30,
    b"9" * 4400,
    b"[" * 1200,
    b'{"a":' * 1100,
    b"\\ud800",
    b"\\u0000",
    b"\xff",
    b"\xed\xa0\x80",
    b'"topic":',
    b'"payload":',
    b'"ref":',
]


def check(serializer: Serializer, data: bytes) -> None:
    """Read a message, whose first byte tells the opcode: it can be routed and answered, or it is invalid."""
    opcode, text = (BINARY if data[:1] == b"\x02" else TEXT), data[1:]
    try:
        message = serializer.decode(opcode, text)
    except InvalidMessage:
        return
    state: SocketState[None] = SocketState()
    state.joined["t"] = (message.join_ref, None)
    state.route(message.join_ref, message.topic, message.event, 100)
    for answering in (JsonV1(), JsonV2()):
        json.loads(answering.reply(message.join_ref, message.ref, message.topic, "ok", {})[1])
    if isinstance(message.payload, msgspec.Raw):
        try:
            decode(message.payload)
        except (msgspec.DecodeError, RecursionError):
            pass  # numbers out of range, and nesting: told when a handler asks for the payload
        except UnicodeDecodeError:
            assert opcode == TEXT, "transports check text frames; the rest is checked by the serializer"
