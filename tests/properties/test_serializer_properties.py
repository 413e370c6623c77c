"""Both serializers against arbitrary and mutated bytes, with Python's own `json` as a second opinion."""

import json
from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from broadwing.core.codec import body, decode
from broadwing.core.frames import BINARY, TEXT
from broadwing.core.json_v1 import JsonV1
from broadwing.core.json_v2 import JsonV2
from broadwing.core.messages import Message
from broadwing.core.serializer import Serializer
from broadwing.core.socket_state import SocketState
from broadwing.exceptions import InvalidMessage, LocalProtocolError

V1, V2 = JsonV1(), JsonV2()

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=20)
)
refs = scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(max_size=5), scalars, max_size=3)
names = st.text(st.characters(codec="utf-8"), max_size=20)
payloads = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=15
)
maps = st.dictionaries(names, payloads, max_size=4)
short_names = names.filter(lambda name: len(name.encode()) <= 255)


@st.composite
def mutated(draw: st.DrawFn, sources: st.SearchStrategy[bytes]) -> bytes:
    """Something valid with a few bytes changed, removed, added or moved."""
    data = bytearray(draw(sources))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        piece = draw(
            st.binary(max_size=3)
            | st.sampled_from(
                [b'"', b"\\", b"[", b"]", b"{", b"}", b",", b":", b"\\ud800", b"1e999", b"\xff", b"-", b"NaN"]
            )
        )
        data[at : at + draw(st.integers(0, 3))] = piece
    return bytes(data)


v2_texts = st.builds(
    lambda join_ref, ref, topic, event, payload, extra, ascii_only, separators: json.dumps(
        [join_ref, ref, topic, event, payload, *extra], ensure_ascii=ascii_only, separators=separators
    ).encode(),
    refs,
    refs,
    refs,
    refs,
    payloads,
    st.lists(payloads, max_size=2),
    st.booleans(),
    st.sampled_from([(",", ":"), (", ", " : "), (" ,\n", "\t:")]),
)
v1_texts = st.builds(
    lambda topic, event, payload, ref, extra, ascii_only: json.dumps(
        {"topic": topic, "event": event, "payload": payload, "ref": ref} | extra, ensure_ascii=ascii_only
    ).encode(),
    refs,
    refs,
    payloads,
    refs,
    st.dictionaries(st.sampled_from(["join_ref", "extra", "vsn", ""]), refs, max_size=2),
    st.booleans(),
)
binary_pushes = st.builds(
    lambda join_ref, ref, topic, event, data: (
        bytes((0, *(len(field.encode()) for field in (join_ref, ref, topic, event))))
        + (join_ref + ref + topic + event).encode()
        + data
    ),
    short_names,
    short_names,
    short_names,
    short_names,
    st.binary(max_size=40),
)
anything = st.binary(max_size=80) | mutated(v1_texts) | mutated(v2_texts) | mutated(binary_pushes)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@settings(max_examples=250)
@given(serializer=st.sampled_from([V1, V2]), opcode=st.sampled_from([TEXT, BINARY]), data=anything)
@example(serializer=V2, opcode=TEXT, data=b'["1","1","\xff","e",{}]')
@example(serializer=V1, opcode=TEXT, data=b'{"topic":"\xff","event":"e","ref":1,"payload":{}}')
@example(serializer=V1, opcode=BINARY, data=b'{"topic":"t","event":"e","ref":1,"payload":{"a":"\xff"}}')
@example(serializer=V2, opcode=TEXT, data=b'["1","1","t","e","aGk="]')
@example(serializer=V2, opcode=TEXT, data=b'[1,[[1]],"t","e",{}]')
@example(serializer=V2, opcode=BINARY, data=b"\x00\x00\x00\x00\x01\xff")
def test_any_bytes_are_a_message_that_can_be_answered_or_invalid(
    serializer: Serializer, opcode: int, data: bytes
) -> None:
    try:
        message = serializer.decode(opcode, data)
    except InvalidMessage:
        return
    assert type(message) is Message
    state: SocketState[None] = SocketState()
    state.joined["t"] = ("1", None)
    state.route(message.join_ref, message.topic, message.event, 100)
    # What was understood can be echoed: a fault here would be one that any client could cause.
    echoed = V2.reply(message.join_ref, message.ref, message.topic, "ok", {})
    again = V2.decode(*echoed)
    assert (again.join_ref, again.ref, again.topic) == (message.join_ref, message.ref, message.topic)
    assert json.loads(V1.reply(message.join_ref, message.ref, message.topic, "ok", {})[1])["topic"] == message.topic
    if isinstance(message.payload, msgspec.Raw):
        if not _is_utf8(data):
            assert opcode == TEXT, "of a binary frame, UTF-8 is checked here"
            return
        try:
            decode(message.payload)
        except msgspec.DecodeError as error:
            # Left for whoever reads the payload: numbers that no float can hold. (Nesting needs more bytes than these.)
            assert "out of range" in str(error)  # noqa: PT017
    else:
        assert opcode == BINARY
        assert isinstance(message.payload, bytes)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _strictly_read(data: bytes) -> Any:
    """Read with Python's `json`, but as RFC 8259 and RFC 3629 want it: no NaN, no lone surrogates."""
    value = json.loads(data.decode(), parse_constant=_no_constant)
    json.dumps(value, ensure_ascii=False).encode()
    return value


def _flat(value: Any) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return not any(isinstance(item, list | dict) for item in inner)


@settings(max_examples=200)
@given(data=mutated(v2_texts))
@example(data=b'["1","1","t","e",{"a":1,"a":2}]')
@example(data=b'[1,1,1,1,"\\ud83d\\ude00"]')
def test_version_2_reads_the_same_arrays_as_pythons_json(data: bytes) -> None:
    if not _is_utf8(data):
        return  # transports refuse it with 1007
    try:
        expected = _strictly_read(data)
    except ValueError:
        expected = None
    legal = isinstance(expected, list) and len(expected) >= 5 and all(map(_flat, expected[:4]))
    infinite = "Infinity" in json.dumps(expected)  # how Python reads 1e999
    try:
        message = V2.decode(TEXT, data)
        read = [message.join_ref, message.ref, message.topic, message.event, decode(_raw(message))]
    except (InvalidMessage, msgspec.ValidationError):
        assert not legal or infinite
        return
    assert legal
    assert expected is not None
    assert read == expected[:5]
    assert [type(item) for item in read] == [type(item) for item in expected[:5]]


@settings(max_examples=200)
@given(data=mutated(v1_texts))
@example(data=b'{"topic":1,"topic":2,"event":3,"ref":4,"payload":5,"payload":6}')
@example(data=b'{"t\\u006fpic":1,"event":3,"ref":4,"payload":5}')
def test_version_1_reads_the_same_objects_as_pythons_json(data: bytes) -> None:
    if not _is_utf8(data):
        return
    try:
        expected = _strictly_read(data)
    except ValueError:
        expected = None
    keys = ("topic", "event", "ref", "join_ref")
    legal = (
        isinstance(expected, dict)
        and {"topic", "event", "payload", "ref"} <= expected.keys()
        and all(_flat(expected.get(key)) for key in keys)
    )
    infinite = "Infinity" in json.dumps(expected)
    try:
        message = V1.decode(TEXT, data)
        payload = decode(_raw(message))
    except (InvalidMessage, msgspec.ValidationError):
        # With a key given twice, what stands at the first place has to be legal too; Python only shows the last.
        assert not legal or infinite or any(data.count(b'"%b"' % key.encode()) > 1 for key in keys)
        return
    assert legal
    assert expected is not None
    assert payload == expected["payload"]
    assert [message.topic, message.event, message.ref, message.join_ref] == [expected.get(key) for key in keys]


def _raw(message: Message) -> msgspec.Raw:
    assert isinstance(message.payload, msgspec.Raw)
    return message.payload


# decode(encode): what one side writes, the other reads; text is compared after parsing, binary by its layout.


@settings(max_examples=100)
@given(join_ref=refs, ref=refs, topic=refs, event=names, payload=payloads)
def test_a_message_is_read_back_as_it_was_written(
    join_ref: Any, ref: Any, topic: Any, event: str, payload: Any
) -> None:
    message = V2.decode(*V2.message(join_ref, ref, topic, event, payload))
    assert [message.join_ref, message.ref, message.topic, message.event] == [join_ref, ref, topic, event]
    assert decode(_raw(message)) == payload
    message = V1.decode(*V1.message(join_ref, ref, topic, event, payload))
    assert [message.join_ref, message.ref, message.topic, message.event] == [None, ref, topic, event]
    assert decode(_raw(message)) == payload


@settings(max_examples=100)
@given(join_ref=refs, ref=refs, topic=names, status=names, payload=payloads, map_=maps)
def test_replies_pushes_and_broadcasts_are_read_back_by_pythons_json(
    join_ref: Any, ref: Any, topic: str, status: str, payload: Any, map_: dict[str, Any]
) -> None:
    reply = {"response": payload, "status": status}
    assert json.loads(V2.reply(join_ref, ref, topic, status, payload)[1]) == [join_ref, ref, topic, "phx_reply", reply]
    assert json.loads(V1.reply(join_ref, ref, topic, status, payload)[1]) == {
        "event": "phx_reply",
        "payload": reply,
        "ref": ref,
        "topic": topic,
    }
    pushed = {"event": status, "payload": payload, "ref": None, "topic": topic}
    assert json.loads(V1.push(join_ref, topic, status, body(payload))[1]) == pushed
    assert json.loads(V1.broadcast(topic, status, body(payload))[1]) == pushed
    assert json.loads(V2.push(join_ref, topic, status, body(map_))[1]) == [join_ref, None, topic, status, map_]
    assert json.loads(V2.broadcast(topic, status, body(map_))[1]) == [None, None, topic, status, map_]


def _fields(data: bytes, count: int) -> tuple[list[str], bytes]:
    """Read a binary frame by its layout: kind, sizes, fields, data."""
    sizes, rest = data[1 : 1 + count], data[1 + count :]
    fields = []
    for size in sizes:
        fields.append(rest[:size].decode())
        rest = rest[size:]
    return fields, rest


long_names = st.text(st.characters(codec="utf-8"), max_size=300) | st.sampled_from(
    ["x" * 255, "x" * 256, "é" * 127, "é" * 128]
)


@settings(max_examples=200)
@given(fields=st.lists(long_names, min_size=4, max_size=4), data=st.binary(max_size=50))
def test_binary_frames_hold_their_fields_in_order_or_are_refused(fields: list[str], data: bytes) -> None:
    join_ref, ref, topic, event = fields
    cases: list[tuple[int, list[str], Any]] = [
        (0, [join_ref, topic, event], lambda: V2.push(join_ref, topic, event, body(data))),
        (1, [join_ref, ref, topic, event], lambda: V2.reply(join_ref, ref, topic, event, data)),
        (2, [topic, event], lambda: V2.broadcast(topic, event, body(data))),
    ]
    for kind, expected, encode in cases:
        try:
            opcode, encoded = encode()
        except LocalProtocolError:
            assert any(len(field.encode()) > 255 for field in expected)
            continue
        assert all(len(field.encode()) <= 255 for field in expected)
        assert (opcode, encoded[0]) == (BINARY, kind)
        assert _fields(encoded, len(expected)) == (expected, data)


@settings(max_examples=100)
@given(fields=st.lists(short_names, min_size=4, max_size=4), data=st.binary(max_size=50))
def test_a_binary_push_of_a_client_is_read_as_it_was_meant(fields: list[str], data: bytes) -> None:
    encoded = [field.encode() for field in fields]
    sent = bytes((0, *map(len, encoded))) + b"".join(encoded) + data
    message = V2.decode(BINARY, sent)
    assert [message.join_ref, message.ref, message.topic, message.event] == fields
    assert message.payload == data
