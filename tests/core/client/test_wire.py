"""The client's half of spec/vectors/serializer.json, and what no message can be read from."""

import json
from pathlib import Path
from typing import Any

import pytest

from broadwing.core.client.effects import Message
from broadwing.core.client.wire import decode_message, encode_message
from broadwing.core.codec import body
from broadwing.exceptions import InvalidMessage, LocalProtocolError

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[3] / "spec" / "vectors" / "serializer.json").read_text(encoding="utf-8")
)


def of_a_client(vector: dict[str, Any]) -> bool:
    """Whether a client can be asked to send this: refs are texts or null, and there is a topic and an event."""
    fields = vector["message"] or {}
    return all(isinstance(fields.get(name), (str, type(None))) for name in ("join_ref", "ref")) and all(
        isinstance(fields.get(name), str) for name in ("topic", "event")
    )


SENT = [v for v in VECTORS if v["direction"] == "client" and v.get("only") != "decode" and of_a_client(v)]
RECEIVED = [v for v in VECTORS if v["direction"] == "server" and v.get("only") != "encode"]


def name(vector: dict[str, Any]) -> str:
    """Of a test."""
    return f"{vector['vsn']} {vector['name']}"


def payload(message: dict[str, Any]) -> Any:
    """Of a vector."""
    return bytes.fromhex(message["payload_hex"]) if "payload_hex" in message else message["payload"]


def test_the_file_holds_both_directions_of_both_versions() -> None:
    for vectors in (SENT, RECEIVED):
        assert {v["vsn"] for v in vectors} == {"1.0.0", "2.0.0"}
        assert len(vectors) > 20


@pytest.mark.parametrize("vector", SENT, ids=name)
def test_what_the_client_sends_is_written_as_in_the_vector(vector: dict[str, Any]) -> None:
    message = vector["message"]
    arguments = (message["join_ref"], message["ref"], message["topic"], message["event"], body(payload(message)))
    if "error" in vector:
        with pytest.raises(LocalProtocolError, match=vector["error"].get("field")):
            encode_message(vector["vsn"], *arguments)
        return
    written = encode_message(vector["vsn"], *arguments)
    if vector["opcode"] == "binary" and vector["vsn"] == "2.0.0":
        assert written == bytes.fromhex(vector["wire"])
    else:
        assert isinstance(written, str)
        assert json.loads(written) == json.loads(vector["wire"])


@pytest.mark.parametrize("vector", RECEIVED, ids=name)
def test_what_a_server_sends_is_read_as_in_the_vector(vector: dict[str, Any]) -> None:
    wire = bytes.fromhex(vector["wire"]) if vector["opcode"] == "binary" else vector["wire"]
    if "error" in vector:
        with pytest.raises(InvalidMessage):
            decode_message(vector["vsn"], wire)
        return
    read = decode_message(vector["vsn"], wire)
    expected = vector["message"]
    assert (read.topic, read.ref) == (expected["topic"], expected["ref"])
    # Of version 1.0.0 the client takes the ref of the two messages that end a channel as the join's.
    ends = vector["vsn"] == "1.0.0" and read.event in ("phx_close", "phx_error")
    assert read.join_ref == (expected["ref"] if ends else expected["join_ref"])
    if vector["kind"] == "reply":
        assert read.event == "phx_reply"
        assert read.payload == {"status": expected["status"], "response": payload(expected)}
    else:
        assert (read.event, read.payload) == (expected["event"], payload(expected))


@pytest.mark.parametrize(
    ("vsn", "data"),
    [
        ("2.0.0", ""),
        ("2.0.0", "{"),
        ("2.0.0", "{}"),
        ("2.0.0", '["1","1","t","e"]'),
        ("2.0.0", '["1","1",7,"e",{}]'),
        ("2.0.0", '["1","1","t",null,{}]'),
        ("2.0.0", "[" * 100_000),
        ("2.0.0", b""),
        ("2.0.0", b"\x03"),
        ("2.0.0", b"\x02\x01"),
        ("2.0.0", b"\x02\x05\x05abc"),
        ("2.0.0", b"\x02\x01\x01\xffe"),
        ("1.0.0", "[]"),
        ("1.0.0", '{"topic":"t","event":"e","payload":{}}'),
        ("1.0.0", b"\xff"),
    ],
)
def test_what_is_no_message_is_told_as_such(vsn: str, data: str | bytes) -> None:
    with pytest.raises(InvalidMessage, match=r"the server sent|is not UTF-8"):
        decode_message(vsn, data)


def test_further_elements_of_an_array_are_ignored() -> None:
    assert decode_message("2.0.0", '[null,null,"t","e",1,"more"]') == Message(None, None, "t", "e", 1)


@pytest.mark.parametrize("data", [b"", b"\x00\xff"])
def test_bytes_cannot_be_pushed_in_version_1(data: bytes) -> None:
    with pytest.raises(LocalProtocolError, match="no binary frames"):
        encode_message("1.0.0", "1", "2", "t", "e", body(data))
