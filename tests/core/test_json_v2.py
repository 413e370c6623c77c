"""Wire version 2.0.0: JSON arrays and binary frames. Shapes and outcomes are those recorded from Phoenix 1.8.12."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from broadwing.core.codec import body, decode
from broadwing.core.frames import BINARY, TEXT
from broadwing.core.json_v2 import JsonV2
from broadwing.core.messages import Message
from broadwing.core.serializer import Encoded
from broadwing.exceptions import InvalidMessage, LocalProtocolError
from tests.core.hostile import DEEP, FOREIGN_TYPES, NESTED_TYPES, NOT_JSON, holds_payload, shown

V2 = JsonV2()
DATA = bytes.fromhex("000102feff")
POSITIONS = ["join_ref", "ref", "topic", "event"]


def _text(encoded: tuple[int, bytes]) -> Any:
    opcode, data = encoded
    assert opcode == TEXT
    return json.loads(data)


def _array(**members: Any) -> bytes:
    return json.dumps(
        list(({"join_ref": "7", "ref": "1", "topic": "t", "event": "e", "payload": {}} | members).values())
    ).encode()


# Encoding text.


def test_a_message_is_join_ref_ref_topic_event_payload() -> None:
    assert _text(V2.message("1", "1", "room:lobby", "phx_close", {})) == ["1", "1", "room:lobby", "phx_close", {}]
    assert _text(V2.message(None, 5, 6, "phx_reply", {"a": 1})) == [None, 5, 6, "phx_reply", {"a": 1}]


def test_a_push_has_the_join_ref_and_no_ref() -> None:
    assert _text(V2.push("1", "room:lobby", "pushed", body({"k": "v"}))) == [
        "1",
        None,
        "room:lobby",
        "pushed",
        {"k": "v"},
    ]
    assert _text(V2.push(1, "t", "e", body({}))) == [1, None, "t", "e", {}]


def test_a_broadcast_has_no_refs() -> None:
    assert _text(V2.broadcast("room:lobby", "new_msg", body({"body": "hi"}))) == [
        None,
        None,
        "room:lobby",
        "new_msg",
        {"body": "hi"},
    ]


def test_a_reply_is_phx_reply_with_response_and_status() -> None:
    assert _text(V2.reply("1", "2", "room:lobby", "ok", {})) == [
        "1",
        "2",
        "room:lobby",
        "phx_reply",
        {"response": {}, "status": "ok"},
    ]


@pytest.mark.parametrize("response", [{}, "str", [1], 5, None, True, [1, 2]])
def test_a_reply_may_carry_any_json_value_and_any_status(response: Any) -> None:
    assert _text(V2.reply(None, 1, "t", "weird", response))[4] == {"response": response, "status": "weird"}


@pytest.mark.parametrize("payload", ["str", [1], [], 5, None, True, "{}"])
def test_pushes_and_broadcasts_of_anything_but_a_map_are_refused(payload: Any) -> None:
    with pytest.raises(LocalProtocolError, match=r"^expected payload to be a map, got: "):
        V2.push("1", "t", "e", body(payload))
    with pytest.raises(LocalProtocolError, match=r"^expected broadcasted payload to be a map, got: "):
        V2.broadcast("t", "e", body(payload))


def test_topics_and_events_are_escaped() -> None:
    encoded = V2.broadcast('r"\\\n☃', "</é>\x01", body({"%d": "%b"}))
    assert _text(encoded) == [None, None, 'r"\\\n☃', "</é>\x01", {"%d": "%b"}]
    assert _text(V2.push('"', "100%b", "%s%%", body({}))) == ['"', None, "100%b", "%s%%", {}]


@pytest.mark.parametrize("response", ["\ud800", {"a": "\ud800"}, object(), pytest.param(10**5000, id="huge")])
def test_a_response_without_a_json_form_is_the_callers_error(response: Any) -> None:
    with pytest.raises(LocalProtocolError, match="no JSON form"):
        V2.reply("1", "2", "t", "ok", response)


# Encoding binary frames, byte for byte as in the layouts and the recordings.


def test_a_binary_push_has_sizes_of_join_ref_topic_and_event_and_no_ref() -> None:
    opcode, data = V2.push("12", "topic", "event", body(b"efg"))
    assert (opcode, data.hex()) == (BINARY, "000205053132746f7069636576656e74656667")
    recorded = "00010a0831726f6f6d3a6c6f62627962696e5f70757368000102feff"
    assert V2.push("1", "room:lobby", "bin_push", body(DATA)) == (BINARY, bytes.fromhex(recorded))


def test_a_binary_reply_has_sizes_of_join_ref_ref_topic_and_status() -> None:
    opcode, data = V2.reply("12", "123", "topic", "ok", b"efg")
    assert (opcode, data.hex()) == (BINARY, "01020305023132313233746f7069636f6b656667")
    recorded = "0101010a053136726f6f6d3a6c6f6262796572726f72000102feff"
    assert V2.reply("1", "6", "room:lobby", "error", DATA) == (BINARY, bytes.fromhex(recorded))


def test_a_binary_broadcast_has_sizes_of_topic_and_event() -> None:
    opcode, data = V2.broadcast("topic", "event", body(b"efg"))
    assert (opcode, data.hex()) == (BINARY, "020505746f7069636576656e74656667")
    recorded = "020a07726f6f6d3a6c6f6262796e65775f6d7367000102feff"
    assert V2.broadcast("room:lobby", "new_msg", body(DATA)) == (BINARY, bytes.fromhex(recorded))


@pytest.mark.parametrize("value", [b"efg", bytearray(b"efg"), memoryview(b"efg"), memoryview(b"e.f.g")[::2]])
def test_bytes_of_any_kind_make_a_binary_reply(value: bytes) -> None:
    assert V2.reply(None, "1", "t", "ok", value) == (BINARY, bytes.fromhex("010001010231746f6b656667"))


def test_a_binary_frame_may_carry_nothing() -> None:
    assert V2.reply("1", "4", "room:lobby", "ok", b"") == (
        BINARY,
        bytes.fromhex("0101010a023134726f6f6d3a6c6f6262796f6b"),
    )


@pytest.mark.parametrize(
    ("ref", "text"), [(None, b""), ("", b""), (5, b"5"), (True, b"true"), (1.5, b"1.5"), ([1], b"[1]")]
)
def test_a_ref_that_is_not_text_is_written_as_json_and_null_as_nothing(ref: Any, text: bytes) -> None:
    size = len(text)
    assert V2.reply(ref, ref, "t", "ok", b"!") == (BINARY, bytes((1, size, size, 1, 2)) + text + text + b"tok!")
    assert V2.push(ref, "t", "e", body(b"!")) == (BINARY, bytes((0, size, 1, 1)) + text + b"te!")


LONG = ["x" * 256, "é" * 128, "😀" * 64]
FITTING = ["x" * 255, "é" * 127 + "x", "😀" * 63 + "xyz"]


@pytest.mark.parametrize("value", FITTING, ids=shown)
def test_fields_of_255_bytes_fit(value: str) -> None:
    size = len(value.encode())
    assert size == 255
    assert V2.push(value, value, value, body(b""))[1] == bytes((0, size, size, size)) + value.encode() * 3
    assert V2.reply(value, value, value, value, b"")[1] == bytes((1, size, size, size, size)) + value.encode() * 4
    assert V2.broadcast(value, value, body(b""))[1] == bytes((2, size, size)) + value.encode() * 2


@pytest.mark.parametrize("value", LONG, ids=shown)
def test_a_field_over_255_bytes_is_refused_by_its_name(value: str) -> None:
    assert len(value.encode()) == 256
    attempts: dict[str, list[Callable[[], Encoded]]] = {
        "join_ref": [lambda: V2.push(value, "t", "e", body(b"")), lambda: V2.reply(value, "2", "t", "ok", b"")],
        "ref": [lambda: V2.reply("1", value, "t", "ok", b"")],
        "topic": [
            lambda: V2.push("1", value, "e", body(b"")),
            lambda: V2.reply("1", "2", value, "ok", b""),
            lambda: V2.broadcast(value, "e", body(b"")),
        ],
        "event": [lambda: V2.push("1", "t", value, body(b"")), lambda: V2.broadcast("t", value, body(b""))],
        "status": [lambda: V2.reply("1", "2", "t", value, b"")],
    }
    for field, encodes in attempts.items():
        for encode in encodes:
            with pytest.raises(LocalProtocolError, match=f"^unable to convert {field} to binary: it has 256 bytes"):
                encode()


def test_long_fields_pass_where_the_payload_is_json() -> None:
    assert _text(V2.push("x" * 256, "t" * 256, "e" * 256, body({}))) == ["x" * 256, None, "t" * 256, "e" * 256, {}]


# Decoding text.


def test_an_array_of_five_is_read_whole() -> None:
    message = V2.decode(TEXT, b'["7","1","room:lobby","new_msg",{"body": "hi"}]')
    assert (message.join_ref, message.ref, message.topic, message.event) == ("7", "1", "room:lobby", "new_msg")
    assert type(message) is Message
    assert holds_payload(message, b'{"body": "hi"}')


def test_extra_elements_are_ignored() -> None:
    for extra in (b'"extra"', b"null", b"{}", b"1,2,3,[[[]]]"):
        message = V2.decode(TEXT, b'["1","1","room:lobby","phx_join",{},%b]' % extra)
        assert (message.topic, message.event) == ("room:lobby", "phx_join")
        assert holds_payload(message, b"{}")


def test_whitespace_between_tokens_is_allowed() -> None:
    message = V2.decode(TEXT, b' [ "1" , "1", "room:reply" , "phx_join" , {"a":1,"a":2} ] ')
    assert message.topic == "room:reply"
    assert holds_payload(message, b'{"a":1,"a":2}')


def test_duplicate_keys_in_a_payload_are_read_as_one() -> None:
    # RFC 8259 section 4 leaves open which: like JSON.parse, the last one. Phoenix (Jason) kept the first.
    assert decode(V2.decode(TEXT, b'[1,1,"t","e",{"a":1,"a":2}]').payload) == {"a": 2}


@pytest.mark.parametrize("value", FOREIGN_TYPES, ids=shown)
@pytest.mark.parametrize("position", POSITIONS)
def test_any_type_may_stand_in_the_envelope_and_keeps_its_type(position: str, value: Any) -> None:
    received = getattr(V2.decode(TEXT, _array(**{position: value})), position)
    assert received == value
    assert type(received) is type(value)


@pytest.mark.parametrize("value", NESTED_TYPES)
@pytest.mark.parametrize("position", POSITIONS)
def test_a_nested_envelope_is_refused(position: str, value: Any) -> None:
    with pytest.raises(InvalidMessage, match="V2 JSON Serializer expected"):
        V2.decode(TEXT, _array(**{position: value}))


@pytest.mark.parametrize("payload", [{}, [], "str", "aGk=", 5, 1.5, None, True, {"a": [{"b": None}]}, "", 2**70])
def test_the_payload_may_be_any_json_value_and_stays_raw(payload: Any) -> None:
    message = V2.decode(TEXT, _array(payload=payload))
    assert isinstance(message.payload, msgspec.Raw)
    assert decode(message.payload) == payload


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b"[]",
        b"null",
        b"5",
        b'"[]"',
        b'["1"]',
        b'["1","1","room:lobby","phx_join"]',
        b'{"topic":"room:lobby","event":"phx_join","payload":{},"ref":"1"}',
    ],
)
def test_what_is_no_array_of_five_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidMessage) as caught:
        V2.decode(TEXT, data)
    assert str(caught.value).startswith("V2 JSON Serializer expected [join_ref, ref, topic, event, payload], got b")
    assert repr(data) in str(caught.value)
    assert caught.value.code == 1011


@pytest.mark.parametrize("data", NOT_JSON, ids=shown)
def test_what_is_not_json_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidMessage):
        V2.decode(TEXT, data)
    for position in range(5):
        elements = [b"1"] * 5
        elements[position] = data or b" "
        with pytest.raises(InvalidMessage):
            V2.decode(TEXT, b"[%b]" % b",".join(elements))
    with pytest.raises(InvalidMessage):
        V2.decode(TEXT, b"[1,1,1,1,1,%b]" % (data or b" "))
    with pytest.raises(InvalidMessage):
        V2.decode(TEXT, b'[1,1,1,1,{"a":[%b]}]' % (data.strip() or b","))


def test_only_the_start_of_a_long_message_is_shown() -> None:
    with pytest.raises(InvalidMessage) as caught:
        V2.decode(TEXT, b'["' + b"x" * 100_000)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("deep", DEEP.values(), ids=DEEP)
@pytest.mark.parametrize("position", range(6))
def test_a_value_nested_beyond_all_measure_is_refused_wherever_it_stands(position: int, deep: bytes) -> None:
    elements = [b"1"] * 6
    elements[position] = deep
    with pytest.raises(InvalidMessage) as caught:
        V2.decode(TEXT, b"[%b]" % b",".join(elements))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize("broken", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xe2\x82"])
def test_an_envelope_that_is_not_utf8_is_refused_even_when_a_transport_let_it_pass(
    position: int, broken: bytes
) -> None:
    elements = [b"1"] * 5
    elements[position] = b'"%b"' % broken
    with pytest.raises(InvalidMessage, match="utf-8"):
        V2.decode(TEXT, b"[%b]" % b",".join(elements))


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"1" * 5000, b"1" * 5000 + b".5"], ids=shown)
def test_a_number_beyond_all_measure_is_refused_in_the_envelope_and_when_the_payload_is_read(number: bytes) -> None:
    with pytest.raises(InvalidMessage):
        V2.decode(TEXT, b'[1,%b,"t","e",{}]' % number)
    with pytest.raises(msgspec.DecodeError, match="out of range"):
        decode(V2.decode(TEXT, b'[1,1,"t","e",[%b]]' % number).payload)


def test_a_string_of_a_megabyte_is_a_topic_like_any_other() -> None:
    assert V2.decode(TEXT, _array(topic="x" * 1_000_000)).topic == "x" * 1_000_000


# Decoding binary frames.


def test_a_binary_push_is_read_whole() -> None:
    message = V2.decode(BINARY, bytes.fromhex("00020305053132313233746f7069636576656e74656667"))
    assert message == Message("12", "123", "topic", "event", b"efg")
    assert type(message.payload) is bytes


def test_a_binary_push_may_carry_nothing() -> None:
    message = V2.decode(BINARY, bytes.fromhex("0001010a043134726f6f6d3a6c6f6262796563686f"))
    assert message == Message("1", "4", "room:lobby", "echo", b"")


def test_empty_refs_of_a_binary_push_are_text_and_not_null() -> None:
    message = V2.decode(BINARY, bytes.fromhex("0000020709313270686f656e6978686561727462656174"))
    assert message == Message("", "12", "phoenix", "heartbeat", b"")
    assert V2.decode(BINARY, b"\0\0\0\0\0") == Message("", "", "", "", b"")


def test_the_fields_of_a_binary_push_may_have_255_bytes_each() -> None:
    value = "é" * 127 + "x"
    message = V2.decode(BINARY, b"\x00\xff\xff\xff\xff" + value.encode() * 4 + DATA)
    assert message == Message(value, value, value, value, DATA)


@pytest.mark.parametrize("kind", [1, 2, 3, 0x5B, 0x7B, 255])
def test_only_kind_0_comes_from_a_client(kind: int) -> None:
    data = bytes((kind, 1, 1, 1, 1)) + b"12te"
    with pytest.raises(InvalidMessage, match="starts with 00 and four sizes") as caught:
        V2.decode(BINARY, data)
    assert data[:8].hex(" ") in str(caught.value)


def test_a_binary_push_cut_short_anywhere_is_refused() -> None:
    whole = bytes.fromhex("00020305053132313233746f7069636576656e74")
    assert V2.decode(BINARY, whole).event == "event"
    for size in range(len(whole)):
        with pytest.raises(InvalidMessage):
            V2.decode(BINARY, whole[:size])


def test_the_error_of_a_short_push_tells_the_sizes() -> None:
    with pytest.raises(InvalidMessage, match="announces 16 bytes of fields, but only 3 bytes follow"):
        V2.decode(BINARY, bytes.fromhex("0001010a04313172"))
    with pytest.raises(InvalidMessage, match="got nothing"):
        V2.decode(BINARY, b"")


@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize("broken", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xe2\x82"])
def test_a_field_of_a_binary_push_has_to_be_utf8(position: int, broken: bytes) -> None:
    fields = [b"a"] * 4
    fields[position] = broken
    with pytest.raises(InvalidMessage, match="not UTF-8"):
        V2.decode(BINARY, bytes((0, *map(len, fields))) + b"".join(fields))


def test_a_letter_must_not_cross_the_border_of_two_fields() -> None:
    with pytest.raises(InvalidMessage, match="not UTF-8"):
        V2.decode(BINARY, b"\x00\x00\x00\x01\x01" + "é".encode())


def test_json_text_in_a_binary_frame_is_refused() -> None:
    with pytest.raises(InvalidMessage):
        V2.decode(BINARY, b'["1","1","room:lobby","phx_join",{}]')
