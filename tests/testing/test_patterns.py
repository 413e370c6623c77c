"""Patterns of payloads: what fits, and what is told of what does not."""

import dataclasses
import datetime
import decimal
import enum
import re
import uuid
from typing import Any

import dirty_equals
import msgspec
import pydantic
import pytest

from broadwing.testing import ANY, Capture, Difference, Exactly, differences


class Struct(msgspec.Struct):
    n: int


@dataclasses.dataclass
class Data:
    n: int


class Model(pydantic.BaseModel):
    n: int


class Colour(enum.Enum):
    RED = "red"


class JudgedByItself:
    def __eq__(self, other: object) -> bool:
        return other == 42

    __hash__ = None  # type: ignore[assignment]


PAYLOAD: dict[str, Any] = {
    "text": "hello",
    "n": 42,
    "half": 0.5,
    "yes": True,
    "nothing": None,
    "list": [1, {"a": 1, "b": 2}],
    "map": {"a": {"b": "c"}},
    "at": "2024-02-29",
    "id": "12345678-1234-5678-1234-567812345678",
    "object": {"n": 1},
}


@pytest.mark.parametrize(
    "pattern",
    [
        ...,
        ANY,
        dict,
        {},
        {"text": "hello"},
        {"text": str, "n": int, "half": float, "yes": bool, "nothing": None, "list": list, "map": dict},
        {"text": ..., "n": ANY},
        {"text": re.compile("^h"), "n": lambda n: n > 41},
        {"n": int | str, "yes": bool | None, "text": object},
        {"list": [1, {"a": 1}]},
        {"list": (1, {"b": int})},
        {"map": {"a": {"b": "c"}}},
        {"map": Exactly({"a": {"b": "c"}})},
        {"n": JudgedByItself()},
        {"n": dirty_equals.IsPositiveInt(), "list": dirty_equals.IsList(length=2)},
        dirty_equals.IsPartialDict(n=42),
        {"at": datetime.date(2024, 2, 29)},
        {"at": datetime.date, "id": uuid.UUID},
        {"id": uuid.UUID("12345678-1234-5678-1234-567812345678")},
        {"object": Struct(1)},
        {"object": Data(1)},
        {"object": Model(n=1)},
        {"object": Struct},
        {"object": Data},
        {"object": Model},
    ],
)
def test_it_fits(pattern: Any) -> None:
    assert differences(pattern, PAYLOAD) == []


@pytest.mark.parametrize(
    ("pattern", "value", "path", "expected", "got"),
    [
        ({"a": 1}, {}, "a", "1", "nothing: there is no such key"),
        ({"a": 1}, {"a": 2, "b": 3}, "a", "1", "2"),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, "a.b[1]", "2", "3"),
        ({"odd key": {"x": 1}}, {"odd key": {"x": 2}}, "['odd key'].x", "1", "2"),
        ({"a": [1]}, {"a": [1, 2]}, "a", "1 elements", "2: [1, 2]"),
        ({"a": [1]}, {"a": 1}, "a", "a list like [1]", "1"),
        ({"a": 1}, [1], "", "a mapping like {'a': 1}", "[1]"),
        ({"a": ...}, None, "", "a mapping like {'a': ...}", "None"),
        ({"a": int}, {"a": "1"}, "a", "int", "'1'"),
        ({"a": int}, {"a": True}, "a", "int", "True"),
        ({"a": 1}, {"a": True}, "a", "1", "True"),
        ({"a": True}, {"a": 1}, "a", "True", "1"),
        ({"a": int | None}, {"a": False}, "a", "int | None", "False"),
        ({"a": re.compile("x+")}, {"a": "y"}, "a", "text with 'x+' in it", "'y'"),
        ({"a": re.compile("x+")}, {"a": 1}, "a", "text with 'x+' in it", "1"),
        (Exactly({"a": 1}), {"a": 1, "b": 2}, "b", "no such key", "2"),
        ({"a": Exactly({})}, {"a": {"c": 0}}, "a.c", "no such key", "0"),
        ({"a": dirty_equals.IsPositive()}, {"a": -1}, "a", "IsPositive()", "-1"),
        ({"a": datetime.date(2024, 2, 29)}, {"a": "2024-03-01"}, "a", "'2024-02-29'", "'2024-03-01'"),
        ({"a": datetime.date}, {"a": "today"}, "a", "date", "'today'"),
        ({"a": Colour.RED}, {"a": "blue"}, "a", "'red'", "'blue'"),
        ({"a": decimal.Decimal("1.5")}, {"a": "1.6"}, "a", "'1.5'", "'1.6'"),
        ({"a": Struct(1)}, {"a": {"n": 2}}, "a.n", "1", "2"),
        ({"a": Data}, {"a": {"n": "x"}}, "a", "Data", "{'n': 'x'}"),
        ({"a": Model}, {"a": {}}, "a", "Model", "{}"),
        (b"a", b"b", "", "b'a'", "b'b'"),
    ],
)
def test_it_does_not_fit(pattern: Any, value: Any, path: str, expected: str, got: str) -> None:
    assert differences(pattern, value) == [Difference(path, expected, got)]


def test_every_difference_is_told() -> None:
    found = differences({"a": 1, "b": {"c": 2, "d": 3}, "e": 4}, {"a": 0, "b": {"c": 0, "d": 3}, "e": 4})
    assert [difference.path for difference in found] == ["a", "b.c"]


def test_a_function_that_raises_does_not_fit() -> None:
    (difference,) = differences({"a": lambda a: a["b"]}, {"a": {}})
    assert "KeyError('b')" in difference.got
    (difference,) = differences({"a": lambda a: False}, {"a": 1})
    assert "test_a_function_that_raises_does_not_fit" in difference.expected


def test_what_is_captured_is_kept_only_of_what_fits_as_a_whole() -> None:
    inner, outer = Capture(int), Capture()
    pattern = {"a": inner, "b": 1, "c": outer}
    assert len(differences(pattern, {"a": 1, "b": 2, "c": 3})) == 1
    with pytest.raises(LookupError, match=r"Capture\(int\)"):
        _ = inner.value
    assert differences(pattern, {"a": 1, "b": 1, "c": [3]}) == []
    assert differences(pattern, {"a": 2, "b": 1, "c": [4]}) == []
    assert (inner.values, inner.value, outer.value) == ([1, 2], 2, [4])
    assert len(differences(pattern, {"a": "text", "b": 1, "c": 0})) == 1


def test_long_values_are_cut() -> None:
    (difference,) = differences("x", "y" * 1000)
    assert len(difference.got) < 400
    assert difference.got.endswith("… (1002 characters)")


def test_patterns_show_themselves() -> None:
    assert (repr(ANY), repr(Capture()), repr(Exactly({"a": str}))) == ("ANY", "Capture()", "Exactly({'a': str})")
    assert {ANY} == {ANY}
