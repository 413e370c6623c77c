"""Wire version 1.0.0: JSON objects. Shapes and outcomes are those recorded from Phoenix 1.8.12."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from broadwing.core.codec import body, decode
from broadwing.core.frames import BINARY, TEXT
from broadwing.core.json_v1 import JsonV1
from broadwing.core.messages import Message
from broadwing.core.serializer import Encoded
from broadwing.exceptions import InvalidMessage, LocalProtocolError
from tests.core.hostile import DEEP, FOREIGN_TYPES, NESTED_TYPES, NOT_JSON, holds_payload, shown

V1 = JsonV1()


def _text(encoded: tuple[int, bytes]) -> Any:
    opcode, data = encoded
    assert opcode == TEXT
    return json.loads(data)


def _object(**members: Any) -> bytes:
    return json.dumps({"topic": "t", "event": "e", "payload": {}, "ref": "1"} | members).encode()


# Encoding.


@pytest.mark.parametrize("ref", [None, "1", 5])
def test_a_message_has_exactly_event_payload_ref_and_topic(ref: Any) -> None:
    encoded = _text(V1.message("jr", ref, "room:lobby", "phx_close", {}))
    assert encoded == {"event": "phx_close", "payload": {}, "ref": ref, "topic": "room:lobby"}


def test_the_keys_stand_in_alphabetical_order() -> None:
    assert V1.message(None, None, "t", "e", {})[1] == b'{"event":"e","payload":{},"ref":null,"topic":"t"}'
    assert V1.push("1", "t", "e", body({}))[1] == b'{"event":"e","payload":{},"ref":null,"topic":"t"}'
    assert list(_text(V1.reply("1", "2", "t", "ok", {}))) == ["event", "payload", "ref", "topic"]


def test_a_reply_is_phx_reply_with_response_and_status() -> None:
    assert _text(V1.reply("1", "2", "room:lobby", "ok", {"a": 1})) == {
        "event": "phx_reply",
        "payload": {"response": {"a": 1}, "status": "ok"},
        "ref": "2",
        "topic": "room:lobby",
    }


@pytest.mark.parametrize("response", [{}, "str", [1], 5, None, True, [1, 2]])
def test_a_reply_may_carry_any_json_value_and_any_status(response: Any) -> None:
    assert _text(V1.reply(None, 1, "t", "weird", response))["payload"] == {"response": response, "status": "weird"}


@pytest.mark.parametrize("payload", [{"body": "hi"}, "str", [1], 5, None])
def test_pushes_and_broadcasts_have_no_ref_and_need_not_be_maps(payload: Any) -> None:
    expected = {"event": "e", "payload": payload, "ref": None, "topic": "t"}
    assert _text(V1.push("1", "t", "e", body(payload))) == expected
    assert _text(V1.broadcast("t", "e", body(payload))) == expected


def test_topics_and_events_are_escaped() -> None:
    encoded = V1.broadcast('r"\\\n☃', "</é>\x01", body({}))
    assert (_text(encoded)["topic"], _text(encoded)["event"]) == ('r"\\\n☃', "</é>\x01")


def test_percent_signs_stay_what_they_are() -> None:
    assert _text(V1.push(None, "100%b", "%s%%", body({"%d": "%b"}))) == {
        "event": "%s%%",
        "payload": {"%d": "%b"},
        "ref": None,
        "topic": "100%b",
    }


@pytest.mark.parametrize("value", [b"\x00", bytearray(b"\x00"), memoryview(b"\x00")])
def test_bytes_cannot_be_encoded_and_the_error_names_the_way_out(value: bytes) -> None:
    attempts: list[Callable[[], Encoded]] = [
        lambda: V1.push("1", "room:lobby", "new_msg", body(value)),
        lambda: V1.broadcast("room:lobby", "new_msg", body(value)),
        lambda: V1.reply("1", "2", "room:lobby", "ok", value),
    ]
    for encode in attempts:
        with pytest.raises(LocalProtocolError, match=r"'room:lobby'.*vsn=2\.0\.0"):
            encode()


@pytest.mark.parametrize("response", ["\ud800", {"a": "\ud800"}, object(), pytest.param(10**5000, id="huge")])
def test_a_response_without_a_json_form_is_the_callers_error(response: Any) -> None:
    with pytest.raises(LocalProtocolError, match="no JSON form"):
        V1.reply("1", "2", "t", "ok", response)


# Decoding.


def test_an_object_is_read_whole() -> None:
    message = V1.decode(TEXT, _object(payload={"body": "hi"}, join_ref="7"))
    assert (message.join_ref, message.ref, message.topic, message.event) == ("7", "1", "t", "e")
    assert type(message) is Message
    assert holds_payload(message, b'{"body": "hi"}')


def test_the_join_ref_is_null_when_absent() -> None:
    assert V1.decode(TEXT, _object()).join_ref is None


def test_other_keys_are_ignored() -> None:
    message = V1.decode(TEXT, _object(extra=[{}], vsn="1.0.0", Topic="other"))
    assert (message.topic, message.ref) == ("t", "1")


def test_whitespace_between_tokens_is_allowed() -> None:
    message = V1.decode(TEXT, b'\r\n { "topic" : "t" , "event":\t"e", "payload" :  {"a": 1}  , "ref":null } \n')
    assert (message.topic, message.event, message.ref) == ("t", "e", None)
    assert holds_payload(message, b'{"a": 1}')


@pytest.mark.parametrize("key", ["topic", "event", "payload", "ref"])
def test_a_missing_key_is_named(key: str) -> None:
    data = {"topic": "t", "event": "e", "payload": {}, "ref": "1"}
    del data[key]
    with pytest.raises(InvalidMessage) as caught:
        V1.decode(TEXT, json.dumps(data).encode())
    assert str(caught.value) == f'missing key "{key}"'
    assert caught.value.code == 1011


@pytest.mark.parametrize("key", ["topic", "event", "payload", "ref"])
def test_every_key_may_hold_null(key: str) -> None:
    message = V1.decode(TEXT, _object(**{key: None}))
    if key == "payload":
        assert holds_payload(message, b"null")
    else:
        assert getattr(message, key) is None


@pytest.mark.parametrize("value", FOREIGN_TYPES, ids=shown)
@pytest.mark.parametrize("key", ["topic", "event", "ref", "join_ref"])
def test_any_type_may_stand_in_the_envelope_and_keeps_its_type(key: str, value: Any) -> None:
    received = getattr(V1.decode(TEXT, _object(**{key: value})), key)
    assert received == value
    assert type(received) is type(value)


@pytest.mark.parametrize("value", NESTED_TYPES)
@pytest.mark.parametrize("key", ["topic", "event", "ref", "join_ref"])
def test_a_nested_envelope_is_refused(key: str, value: Any) -> None:
    with pytest.raises(InvalidMessage, match="V1 JSON Serializer cannot read"):
        V1.decode(TEXT, _object(**{key: value}))


@pytest.mark.parametrize("payload", [{}, [], "str", 5, 1.5, None, True, {"a": [{"b": None}]}, "", 2**70])
def test_the_payload_may_be_any_json_value_and_stays_raw(payload: Any) -> None:
    message = V1.decode(TEXT, _object(payload=payload))
    assert isinstance(message.payload, msgspec.Raw)
    assert decode(message.payload) == payload


@pytest.mark.parametrize("data", [b"[]", b' ["1","1","t","e",{}]', b"null", b"5", b'"{}"', b"true", b"1.5"])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_what_is_no_object_is_refused_in_the_words_of_phoenix(data: bytes, opcode: int) -> None:
    with pytest.raises(InvalidMessage, match=r"^V1 JSON Serializer expected a map, got b") as caught:
        V1.decode(opcode, data)
    assert repr(data) in str(caught.value)


def test_only_the_start_of_a_long_message_is_shown() -> None:
    for data in (b'["' + b"x" * 100_000 + b'"]', b'{"topic":"' + b"x" * 100_000):
        with pytest.raises(InvalidMessage) as caught:
            V1.decode(TEXT, data)
        assert len(str(caught.value)) < 250


@pytest.mark.parametrize("data", NOT_JSON, ids=shown)
def test_what_is_not_json_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidMessage):
        V1.decode(TEXT, data)
    with pytest.raises(InvalidMessage):
        V1.decode(TEXT, b'{"topic":"t","event":"e","ref":1,"payload":%b}' % (data or b" "))
    with pytest.raises(InvalidMessage):
        V1.decode(TEXT, b'{"topic":"t","event":"e","ref":%b,"payload":1}' % (data or b" "))


def test_duplicate_keys_are_read_as_one() -> None:
    # RFC 8259 section 4 leaves open which; like JSON.parse, the last one.
    message = V1.decode(TEXT, b'{"topic":"a","topic":"b","event":"e","ref":1,"payload":1,"payload":2}')
    assert (message.topic, message.ref) == ("b", 1)
    assert holds_payload(message, b"2")


@pytest.mark.parametrize("deep", DEEP.values(), ids=DEEP)
@pytest.mark.parametrize("key", ["topic", "event", "payload", "ref", "join_ref", "unknown"])
def test_a_value_nested_beyond_all_measure_is_refused_wherever_it_stands(key: str, deep: bytes) -> None:
    data = b'{"topic":"t","event":"e","ref":1,"payload":{},"%b":%b}' % (key.encode(), deep)
    with pytest.raises(InvalidMessage) as caught:
        V1.decode(TEXT, data)
    assert len(str(caught.value)) < 400


# Binary frames: the opcode is ignored.


def test_a_binary_frame_holds_json_text_too() -> None:
    # Recorded: a binary frame holding JSON text.
    message = V1.decode(BINARY, b'{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"}')
    assert (message.topic, message.event, message.ref) == ("phoenix", "heartbeat", "1")


def test_a_binary_frame_of_version_2_is_refused() -> None:
    with pytest.raises(InvalidMessage):
        V1.decode(BINARY, bytes.fromhex("0001010a083131726f6f6d3a6c6f6262797068785f6a6f696e"))


@pytest.mark.parametrize(
    "data",
    [
        b'{"topic":"\xff","event":"e","ref":1,"payload":{}}',
        b'{"topic":"t","event":"e","ref":1,"payload":{"a":"\xff"}}',
        b'{"topic":"t","event":"e","ref":1,"payload":{"\xed\xa0\x80":1}}',
        b'{"topic":"t","event":"e","ref":1,"payload":{},"\xc0\xaf":1}',
        b"\xff",
    ],
)
def test_a_binary_frame_has_to_be_utf8(data: bytes) -> None:
    # Transports check this for text frames only; of a payload that stays raw, nobody else would notice.
    with pytest.raises(InvalidMessage, match="utf-8"):
        V1.decode(BINARY, data)


def test_a_topic_that_is_not_utf8_is_refused_even_when_a_transport_let_it_pass() -> None:
    with pytest.raises(InvalidMessage, match="utf-8"):
        V1.decode(TEXT, b'{"topic":"\xff","event":"e","ref":1,"payload":{}}')
