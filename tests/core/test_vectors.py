"""spec/vectors/serializer.json, the messages and bytes that server and browser client agree on: here the server's half."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from broadwing.core.codec import body, decode
from broadwing.core.frames import BINARY, TEXT
from broadwing.core.json_v1 import JsonV1
from broadwing.core.json_v2 import JsonV2
from broadwing.core.serializer import Encoded, Serializer
from broadwing.exceptions import InvalidMessage, LocalProtocolError

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "spec" / "vectors" / "serializer.json").read_text(encoding="utf-8")
)
SERIALIZERS: dict[str, Serializer] = {"1.0.0": JsonV1(), "2.0.0": JsonV2()}
OPCODES = {"text": TEXT, "binary": BINARY}

RECEIVED = [vector for vector in VECTORS if vector["direction"] == "client" and vector.get("only") != "encode"]
SENT = [vector for vector in VECTORS if vector["direction"] == "server" and vector.get("only") != "decode"]


def _name(vector: dict[str, Any]) -> str:
    return f"{vector['vsn']} {vector['name']}"


def _wire(vector: dict[str, Any]) -> bytes:
    wire: str = vector["wire"]
    return wire.encode() if vector["opcode"] == "text" else bytes.fromhex(wire)


def _payload(message: dict[str, Any]) -> Any:
    return bytes.fromhex(message["payload_hex"]) if "payload_hex" in message else message["payload"]


def _encode(vector: dict[str, Any]) -> Encoded:
    serializer = SERIALIZERS[vector["vsn"]]
    message = vector["message"]
    join_ref, ref, topic, event = (message[field] for field in ("join_ref", "ref", "topic", "event"))
    payload = _payload(message)
    if vector["kind"] == "reply":
        return serializer.reply(join_ref, ref, topic, message["status"], payload)
    if vector["kind"] == "broadcast":
        return serializer.broadcast(topic, event, body(payload))
    if event.startswith("phx_"):
        return serializer.message(join_ref, ref, topic, event, payload)
    assert ref is None  # a push has none
    return serializer.push(join_ref, topic, event, body(payload))


def test_the_file_holds_both_directions_of_both_versions() -> None:
    cases = {(vector["vsn"], vector["direction"], vector["opcode"]) for vector in VECTORS}
    assert {(vsn, direction, "text") for vsn in SERIALIZERS for direction in ("client", "server")} <= cases
    assert {("2.0.0", "client", "binary"), ("2.0.0", "server", "binary")} <= cases
    assert len(RECEIVED) > 40
    assert len(SENT) > 40


@pytest.mark.parametrize("vector", RECEIVED, ids=_name)
def test_what_a_client_sends_is_understood(vector: dict[str, Any]) -> None:
    serializer = SERIALIZERS[vector["vsn"]]
    opcode = OPCODES[vector["opcode"]]
    if "error" in vector:
        with pytest.raises(InvalidMessage, match=vector["error"].get("field")):
            serializer.decode(opcode, _wire(vector))
        return
    message = serializer.decode(opcode, _wire(vector))
    expected = vector["message"]
    assert [message.join_ref, message.ref, message.topic, message.event] == [
        expected["join_ref"],
        expected["ref"],
        expected["topic"],
        expected["event"],
    ]
    payload = decode(message.payload) if isinstance(message.payload, msgspec.Raw) else message.payload
    assert payload == _payload(expected)


@pytest.mark.parametrize("vector", SENT, ids=_name)
def test_what_the_server_sends_is_what_clients_expect(vector: dict[str, Any]) -> None:
    if "error" in vector:
        assert vector["error"]["code"] == "field_too_long"
        with pytest.raises(LocalProtocolError, match=f"unable to convert {vector['error']['field']} to binary"):
            _encode(vector)
        return
    opcode, data = _encode(vector)
    assert opcode == OPCODES[vector["opcode"]]
    if opcode == TEXT:
        assert json.loads(data) == json.loads(vector["wire"])
    else:
        assert data == _wire(vector)
