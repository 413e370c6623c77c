"""What trackers say to each other, as bytes."""

import datetime
import types
from typing import Any

import msgspec
import pytest

from broadwing.core.presence.deltas import Entry, Interval
from broadwing.core.presence.parts import MAX_BYTES, PART_BYTES, Assembly, split
from broadwing.core.presence.replica import Replica
from broadwing.core.presence.wire import (
    MAX_META,
    Heartbeat,
    Permdown,
    Transfer,
    TransferRequest,
    check_place,
    decode_message,
    encode_message,
    meta_of,
)
from broadwing.exceptions import EnvelopeError, LocalProtocolError

A, B = Replica("a", 1), Replica("b", 2**62)
META = {"phx_ref": "GOrJrE29GZvOhQGx", "name": "José"}
INTERVAL = Interval(5, 9, {6: Entry("room:1", "1", "__proto__", META, 6)}, {2, 5})


# The bytes, written down by hand from the description at the head of the module.
@pytest.mark.parametrize(
    ("message", "event", "written"),
    [
        (Permdown(A), "permdown", [1, ["a", 1]]),
        (Heartbeat(A, {A: 9, B: 3}), "heartbeat", [1, ["a", 1], [["a", 1, 9], ["b", 2**62, 3]], None]),
        (TransferRequest(A, 7, {A: 9}), "transfer_request", [1, ["a", 1], 7, [["a", 1, 9]]]),
        (
            Transfer(A, 7, {B: INTERVAL}),
            "transfer",
            [
                1,
                ["a", 1],
                7,
                [
                    [
                        ["b", 2**62],
                        [5, 9, [2, 5], {"room:1": [[6, "1", "__proto__", msgspec.json.encode(META)]]}],
                    ]
                ],
            ],
        ),
    ],
)
def test_a_message_is_an_array_behind_its_version(message: Any, event: str, written: Any) -> None:
    assert encode_message(message)[0] == event
    assert msgspec.msgpack.decode(encode_message(message)[1]) == written
    assert decode_message(event, msgspec.msgpack.encode(written)) == message


def packed(value: Any) -> bytes:
    return msgspec.msgpack.encode(value)


def transfer(start: Any = 5, end: Any = 9, removed: Any = (), values: Any = None) -> bytes:
    return packed([1, ["a", 1], 7, [[["b", 2], [start, end, list(removed), {} if values is None else values]]]])


@pytest.mark.parametrize(
    ("event", "data"),
    [
        ("phx_join", packed([1, ["a", 1]])),
        ("permdown", b""),
        ("permdown", b"\xc1"),
        ("permdown", packed([2, ["a", 1]])),
        ("permdown", packed([1, ["a", -1]])),
        ("permdown", packed([1, ["a" * 2_000, 1]])),
        ("permdown", packed({"version": 1})),
        ("permdown", packed([1, ["a", 1]]) + b"x"),
        ("heartbeat", packed([1, ["a", 1], [["a", 1, 1]] * 10_001, None])),
        ("transfer", transfer(start=9, end=5)),
        ("transfer", transfer(removed=[6])),
        ("transfer", transfer(removed=[-1])),
        ("transfer", transfer(end=2**63)),
        ("transfer", transfer(values={"t": [[5, "1", "k", b"{}"]]})),
        ("transfer", transfer(values={"t": [[10, "1", "k", b"{}"]]})),
        ("transfer", transfer(values={"t": [[6, "1", "k", b"[]"]]})),
        ("transfer", transfer(values={"t": [[6, "1", "k", b"{"]]})),
        ("transfer", transfer(values={"t": [[6, "1", "k", b"\xff"]]})),
        ("transfer", transfer(values={"t": [[6, "1", "k", b"[" * 60_000]]})),
        ("transfer", transfer(values={"t": [[6, "1", "k", b'{"a":"' + b"a" * MAX_META + b'"}']]})),
        ("transfer", transfer(values={"t" * 2_000: []})),
        ("transfer", transfer(values={"t": [[6, "1", "k", b"{}"], [7, "1", "k", b"{}"]]})),
        ("transfer", transfer(values={"t": [[6, "1", "k", b"{}"], [6, "1", "l", b"{}"]]})),
        ("transfer", b"\xdd\xff\xff\xff\xff"),
        ("part", packed([1, ["a", 1]])),
    ],
)
def test_what_is_no_message_is_refused_with_one_error(event: str, data: bytes) -> None:
    with pytest.raises(EnvelopeError):
        decode_message(event, data)


def test_presences_of_several_topics_keep_the_order_in_which_they_came() -> None:
    values = {clock: Entry("ab"[clock % 2], "1", str(clock), {}, clock) for clock in range(1, 9)}
    read = decode_message(*encode_message(Transfer(A, 1, {B: Interval(0, 8, values)})))
    assert isinstance(read, Transfer)
    assert list(read.delta[B].values) == list(range(1, 9))


def test_a_meta_becomes_what_every_node_will_see() -> None:
    when = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    given = {"at": when, "tags": ("a", "b"), "n": 2**70, "__proto__": {}}
    made = meta_of(given)
    assert made == {"at": "2026-01-02T00:00:00Z", "tags": ["a", "b"], "n": 2**70, "__proto__": {}}
    assert made is not given


@pytest.mark.parametrize(
    ("meta", "says"),
    [
        (["a"], "a meta is a mapping"),
        ("{}", "a meta is a mapping"),
        (None, "a meta is a mapping"),
        ({"a": object()}, "no JSON form"),
        ({"a": types.SimpleNamespace}, "no JSON form"),
        ({"a": "\ud800"}, "no JSON form"),
        ({"a": "x" * 70_000}, "put an id there"),
    ],
)
def test_a_meta_without_a_form_is_refused(meta: Any, says: str) -> None:
    with pytest.raises(LocalProtocolError, match=says):
        meta_of(meta)


@pytest.mark.parametrize(
    ("topic", "key", "says"),
    [
        ("t" * 1_025, "k", "the topic of a presence is text of at most 1,024 characters, got 1,025"),
        ("t", "k" * 1_025, "the key"),
        ("t", 1, "write str"),
        (b"t", "k", "the topic of a presence is a string"),
        ("t", "\ud800", "the key of a presence is text"),
    ],
)
def test_a_topic_or_key_that_would_be_refused_elsewhere_is_refused_here(topic: Any, key: Any, says: str) -> None:
    with pytest.raises(LocalProtocolError, match=says):
        check_place(topic, key)


def test_the_largest_presence_that_is_taken_here_is_taken_everywhere() -> None:
    topic, key = "€" * 1_024, "€" * 1_024
    check_place(topic, key)
    meta = meta_of({"a": "x" * (MAX_META - 128 - len('{"a":""}'))})
    meta["phx_ref"] = meta["phx_ref_prev"] = "x" * 16
    message = Transfer(A, 1, {B: Interval(0, 1, {1: Entry(topic, "1", key, meta, 1)})})
    assert decode_message(*encode_message(message)) == message


# Parts.


def test_a_short_message_travels_whole() -> None:
    assert split("a", 1, "transfer", b"x" * PART_BYTES) == [("transfer", b"x" * PART_BYTES)]


def parts(sender: str = "a", number: int = 1, count: int = 3) -> list[bytes]:
    made = split(sender, number, "transfer", bytes(count * PART_BYTES))
    assert [event for event, _ in made] == ["part"] * count
    assert all(len(data) < PART_BYTES + 200 for _, data in made)
    return [data for _, data in made]


def test_a_part_without_those_before_it_is_refused() -> None:
    assembly = Assembly()
    first, second, third = parts()
    with pytest.raises(EnvelopeError, match="part 2 of 3 of a transfer"):
        assembly.add(second)
    assembly.add(first)
    with pytest.raises(EnvelopeError, match="part 3"):
        assembly.add(third)
    assert len(assembly) == 0
    assembly.add(first)
    with pytest.raises(EnvelopeError):
        assembly.add(parts(number=2)[1])


def test_a_message_that_begins_anew_forgets_the_one_before() -> None:
    assembly = Assembly()
    assembly.add(parts(number=1)[0])
    done = [assembly.add(part) for part in parts(number=2)]
    assert done == [None, None, ("transfer", bytes(3 * PART_BYTES))]


def test_what_has_begun_to_arrive_is_bounded() -> None:
    assembly = Assembly()
    begun = {f"sender{number}": parts(f"sender{number}") for number in range(260)}
    for made in begun.values():
        assembly.add(made[0])
    assert len(assembly) <= MAX_BYTES
    with pytest.raises(EnvelopeError):  # the one that had waited longest
        assembly.add(begun["sender0"][1])
    assert assembly.add(begun["sender259"][1]) is None


def test_a_message_beyond_the_largest_is_not_sent() -> None:
    with pytest.raises(EnvelopeError, match="use more shards"):
        split("a", 1, "transfer", bytes(MAX_BYTES + 1))
