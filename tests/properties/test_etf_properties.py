"""The external term format over generated values, arbitrary bytes and damaged terms."""

import tracemalloc
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from broadwing.core.etf import Atom, BitString, EtfError, Pid, Reference, decode, encode

u32 = st.integers(0, 2**32 - 1)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=255)
atoms = names.filter(lambda name: name not in {"nil", "true", "false"}).map(Atom)
pids = st.builds(Pid, names, u32, u32, u32)
references = st.builds(Reference, names, u32, st.lists(u32, min_size=1, max_size=5).map(tuple))


def bit_string(data: bytes, bits: int) -> BitString:
    return BitString(data[:-1] + bytes([data[-1] & ~(0xFF >> bits) & 0xFF]), bits)


bit_strings = st.builds(bit_string, st.binary(min_size=1, max_size=9), st.integers(1, 7))
# Bytes that are UTF-8 come back as text, on purpose; here only those that do not.
binaries = st.binary(max_size=20).map(lambda data: data + b"\xff")
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**2100), 2**2100),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
    binaries,
    atoms,
    pids,
    references,
    bit_strings,
)
keys = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=4)
terms: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(st.integers(0, 255), max_size=40),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(keys, inner, max_size=5),
    ),
    max_leaves=25,
)


def exact(value: Any) -> Any:
    """The value with every type spelled out: in Python `1 == 1.0 == True`, in Erlang nothing of that."""
    if isinstance(value, list | tuple):
        return type(value).__name__, [exact(item) for item in value]
    if isinstance(value, dict):
        return "dict", sorted((repr(exact(key)), repr(exact(item))) for key, item in value.items())
    return type(value).__name__, repr(value)


@given(terms, st.booleans())
def test_decoding_undoes_encoding(value: Any, compressed: bool) -> None:
    assert exact(decode(encode(value, compressed=compressed))) == exact(value)


@given(st.dictionaries(keys, st.integers(), max_size=8), st.randoms(use_true_random=False))
def test_equal_maps_give_equal_bytes(value: dict[Any, int], random: Any) -> None:
    items = list(value.items())
    random.shuffle(items)
    assert encode(dict(items)) == encode(value)


def decodes_or_refuses(data: bytes) -> None:
    """Any bytes give a term or an EtfError, and a term that was read can be written and read again."""
    try:
        value = decode(data)
    except EtfError:
        return
    assert exact(decode(encode(value))) == exact(value)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_give_a_term_or_an_etf_error(data: bytes) -> None:
    decodes_or_refuses(data)
    decodes_or_refuses(b"\x83" + data)


TAGS = bytes.fromhex("464d50585a616263646768696a6b6c6d6e6f7071727374767700")
tokens = st.lists(
    st.one_of(
        st.sampled_from([bytes([tag]) for tag in TAGS]),
        st.integers(0, 6).map(lambda size: size.to_bytes(4, "big")),
        st.integers(0, 6).map(lambda size: bytes([size])),
        st.binary(max_size=4),
    ),
    max_size=60,
).map(b"".join)


@given(tokens)
def test_bytes_that_look_like_terms_give_a_term_or_an_etf_error(data: bytes) -> None:
    decodes_or_refuses(b"\x83" + data)


@given(terms, st.booleans(), st.data())
def test_damaged_terms_give_a_term_or_an_etf_error(value: Any, compressed: bool, data: st.DataObject) -> None:
    whole = bytearray(encode(value, compressed=compressed))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(whole) - 1))
        match data.draw(st.sampled_from(["change", "cut", "insert"])):
            case "change":
                whole[place] = data.draw(st.integers(0, 255))
            case "cut":
                del whole[place : place + data.draw(st.integers(1, 4))]
            case _:
                whole[place:place] = data.draw(st.binary(max_size=5))
        if not whole:
            break
    decodes_or_refuses(bytes(whole))


@settings(max_examples=50)
@given(tokens, st.integers(0, 2**32 - 1))
def test_memory_is_bounded_by_the_bytes_that_came(data: bytes, claimed: int) -> None:
    size = claimed.to_bytes(4, "big")
    hostile = [b"\x83" + tag + size + data for tag in (b"l", b"i", b"t", b"m", b"o", b"P")]
    tracemalloc.start()
    try:
        for attack in hostile:
            try:
                decode(attack)
            except EtfError:
                continue
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # At most 305 bytes came in each; an object of Python is about a hundred bytes for one of them.
    assert peak < 300_000
