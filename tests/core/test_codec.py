"""What payloads may be, and how they become bytes. JSON itself is RFC 8259; dates are RFC 3339."""

import dataclasses
import datetime
import decimal
import enum
import json
import sys
import uuid
from typing import Any

import msgspec
import pydantic
import pytest

from broadwing.core.codec import BYTES, Body, body, decode, encode, unencodable
from broadwing.exceptions import LocalProtocolError


@dataclasses.dataclass
class Point:
    x: int
    y: float


class Said(msgspec.Struct):
    body: str
    by: Point | None = None


class Model(pydantic.BaseModel):
    name: str
    at: datetime.datetime


class Colour(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        ({}, "{}"),
        ({"body": "hi"}, '{"body":"hi"}'),
        ([1, 2.5, None, True, False], "[1,2.5,null,true,false]"),
        ((1, 2), "[1,2]"),
        ("text", '"text"'),
        (None, "null"),
        (2**64 + 1, "18446744073709551617"),
        ({"é☃😀": '</script> "q" \\ \n\x01'}, '{"é☃😀":"</script> \\"q\\" \\\\ \\n\\u0001"}'),
        (Point(1, 2.0), '{"x":1,"y":2.0}'),
        (Said("hi", Point(1, 2.0)), '{"body":"hi","by":{"x":1,"y":2.0}}'),
        (Colour.RED, '"red"'),
        (uuid.UUID(int=5), '"00000000-0000-0000-0000-000000000005"'),
        (decimal.Decimal("1.50"), '"1.50"'),
        (datetime.datetime(2026, 11, 23, 21, 33, 28, tzinfo=datetime.UTC), '"2026-11-23T21:33:28Z"'),
        ({1: "integers are keys as text"}, '{"1":"integers are keys as text"}'),
    ],
)
def test_a_payload_becomes_json(payload: Any, text: str) -> None:
    encoded = body(payload)
    assert not encoded.binary
    assert json.loads(encoded.data) == json.loads(text)
    assert encoded.data.decode() == text  # no spaces, UTF-8 as it is


def test_a_pydantic_model_is_a_payload_also_within_another() -> None:
    model = Model(name="José", at=datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC))
    expected = {"name": "José", "at": "2026-01-02T00:00:00Z"}
    assert json.loads(body(model).data) == expected
    assert json.loads(body({"models": [model]}).data) == {"models": [expected]}


@pytest.mark.parametrize("value", [b"\x00\xff", bytearray(b"\x00\xff"), memoryview(b"\x00\xff"), b""])
def test_bytes_of_any_kind_are_a_binary_payload(value: bytes | bytearray | memoryview) -> None:
    assert isinstance(value, BYTES)
    assert body(value) == Body(bytes(value), binary=True)
    assert body(value).payload == bytes(value)
    assert not body(value).is_map


def test_a_binary_payload_is_not_changed_by_what_happens_to_its_source() -> None:
    source = bytearray(b"abc")
    encoded = body(source)
    source[:] = b"xyz"
    assert encoded.payload == b"abc"
    assert type(encoded.data) is bytes


@pytest.mark.parametrize(
    ("payload", "is_map"),
    [
        ({}, True),
        ({"a": 1}, True),
        (Point(1, 1), True),
        ([], False),
        ([{}], False),
        ("{", False),
        (1, False),
        (None, False),
    ],
)
def test_only_an_object_is_a_map(payload: Any, is_map: bool) -> None:
    assert body(payload).is_map is is_map


def test_a_bracket_at_the_start_of_a_binary_payload_makes_no_map() -> None:
    assert not body(b"{}").is_map


def test_a_payload_is_decoded_afresh_at_every_access() -> None:
    encoded = body({"list": []})
    encoded.payload["list"].append("mine")
    assert encoded.payload == {"list": []}


class Opaque:
    pass


@pytest.mark.parametrize("value", [Opaque(), object, 1j, range(3), iter([1])])
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: {"a": [value]}])
def test_a_value_without_a_json_form_is_named(value: Any, wrap: Any) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        body(wrap(value))
    assert f"a payload held a {type(value).__name__}, which has no JSON form" in str(caught.value)
    assert "accepted are dict, list, str" in str(caught.value)


def _holds_itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ("\ud800", "surrogates not allowed"),
        ({"\udfff": 1}, "surrogates not allowed"),
        (_holds_itself(), "recursion"),
        pytest.param(10**5000, "4300 digits", id="huge integer"),
        ({None: 1}, "has no JSON form"),
        ({(1, 2): 3}, "has no JSON form"),
    ],
)
def test_a_payload_that_cannot_be_encoded_is_the_callers_error(payload: Any, said: str) -> None:
    with pytest.raises(LocalProtocolError, match=said) as caught:
        body(payload)
    assert "no JSON form" in str(caught.value)
    assert "accepted are" in str(caught.value)


def test_the_cause_of_a_payload_that_cannot_be_encoded_is_told() -> None:
    error = unencodable(ValueError("the reason"))
    assert "a payload has no JSON form: the reason; accepted are" in str(error)


@pytest.mark.parametrize("nothing", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_lacks_becomes_null(nothing: float) -> None:
    assert encode([nothing]) == b"[null]"  # as JSON.stringify does


def test_integers_of_64_bits_and_more_survive() -> None:
    for value in (2**53 + 1, 2**63, 2**64, -(2**63) - 1, 12345678901234567890, 10**100):
        assert decode(encode(value)) == value


def test_a_model_may_refuse_to_be_dumped() -> None:
    class Broken:
        def model_dump(self, mode: str) -> Any:
            raise RuntimeError(f"no {mode} today")

    with pytest.raises(RuntimeError, match="no json today"):
        body(Broken())


def test_a_payload_nested_as_deep_as_the_stack_allows_is_encoded() -> None:
    nested: Any = {}
    for _ in range(sys.getrecursionlimit() // 3):
        nested = {"a": nested}
    assert body(nested).is_map
