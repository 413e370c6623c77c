"""What holds for every query string, honest or not."""

from typing import Any
from urllib.parse import quote_plus, urlencode

from hypothesis import given
from hypothesis import strategies as st

from broadwing.core.params import compile_path, parse_query
from broadwing.exceptions import BadRequest

# Fragments that meet in the grammar far more often than random bytes would.
FRAGMENTS = st.lists(
    st.sampled_from(
        [b"a", b"b", b"[", b"]", b"[]", b"][", b"=", b"&", b"%", b"%5B", b"%5D", b"%c3", b"%bc", b"+", b"\xff"]
    )
).map(b"".join)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="[]"), max_size=5)
VALUES = st.text(st.characters(codec="utf-8"), max_size=5)
KEYS = NAMES.filter(bool)
TREES: st.SearchStrategy[Any] = st.recursive(
    VALUES, lambda inner: st.dictionaries(KEYS, inner, min_size=1, max_size=3), max_leaves=8
)


@given(st.binary() | FRAGMENTS)
def test_any_query_is_read_or_refused(query: bytes) -> None:
    refused = ""
    try:
        assert_plain(parse_query(query))
    except BadRequest as refusal:
        refused = f"{refusal.status} {refusal}"
    assert not refused or (refused.startswith("400 query string") and refused.isascii())


def assert_plain(value: Any) -> None:
    match value:
        case dict():
            for key, item in value.items():
                assert type(key) is str
                assert_plain(item)
        case list():
            assert value
            for item in value:
                assert_plain(item)
        case _:
            assert type(value) is str


@given(st.dictionaries(NAMES, VALUES, max_size=8))
def test_flat_parameters_survive_the_wire(params: dict[str, str]) -> None:
    assert parse_query(urlencode(params).encode()) == params


@given(st.dictionaries(KEYS, st.lists(VALUES, min_size=1, max_size=4), max_size=4))
def test_lists_survive_the_wire(params: dict[str, list[str]]) -> None:
    query = urlencode([(f"{key}[]", value) for key, values in params.items() for value in values])
    assert parse_query(query.encode()) == params


@given(st.dictionaries(KEYS, TREES, max_size=3))
def test_nested_mappings_survive_the_wire(params: dict[str, Any]) -> None:
    def pairs(value: Any, name: str) -> list[str]:
        if isinstance(value, dict):
            return [pair for key, item in value.items() for pair in pairs(item, f"{name}[{quote_plus(key)}]")]
        return [f"{name}={quote_plus(value)}"]

    query = "&".join(pair for key, value in params.items() for pair in pairs(value, quote_plus(key)))
    assert parse_query(query.encode()) == params


@given(st.lists(st.text(min_size=1).filter(lambda segment: "/" not in segment), min_size=1, max_size=4))
def test_path_variables_hold_what_stood_in_the_path(segments: list[str]) -> None:
    template = "".join(f"/{at}/:v{at}" for at in range(len(segments)))
    path = "".join(f"/{at}/{segment}" for at, segment in enumerate(segments))
    assert compile_path(template).match(path) == {f"v{at}": segment for at, segment in enumerate(segments)}
