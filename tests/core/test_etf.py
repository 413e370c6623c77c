"""The external term format. Bytes come from the format's own description and from spec/vectors/token.json."""

import base64
import json
import math
import tracemalloc
import zlib
from collections.abc import Callable
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from broadwing.core import etf
from broadwing.core.etf import Atom, BitString, EtfError, Pid, Reference, decode, encode

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "spec" / "vectors" / "token.json").read_text(encoding="utf-8")
)
TERMS = [pytest.param(vector["term"], vector["bytes"], id=vector["name"]) for vector in VECTORS["terms"]]
# 21 tags that are read, the one of compressed terms, and 3 of functions that are refused by name.
KNOWN_TAGS = set(bytes.fromhex("464d50585a61626364676869" + "6a6b6c6d6e6f7273747677" + "707175"))
SELF = Pid("nonode@nohost", 110, 0, 0)
REF = Reference("nonode@nohost", 0, (1, 2, 3))


def term(text: str) -> Any:
    return decode(bytes.fromhex("83" + text))


def refused(text: str, because: str) -> None:
    with pytest.raises(EtfError, match=because):
        term(text)


class TestVectors:
    @pytest.mark.parametrize(("value", "text"), TERMS)
    def test_a_term_is_written_as_erlang_writes_it(self, value: Any, text: str) -> None:
        assert encode(value).hex() == text

    @pytest.mark.parametrize(("value", "text"), TERMS)
    def test_a_term_is_read_as_python_knows_it(self, value: Any, text: str) -> None:
        read = decode(bytes.fromhex(text))
        assert read == value
        assert type(read) is type(value)

    def test_a_session_token_recorded_from_phoenix_is_read(self) -> None:
        # Body of a long-poll token of Phoenix 1.8.12 on OTP 25: {{:v1, endpoint_id, pid, topic}, signed_at, max_age}.
        body = (
            "g2gDaARkAAJ2MW0AAAAWVWFMNWtvK2swaGxoQjE4VmtJaXRXQVhkAA1ub25vZGVAbm9ob3N0AAAF9wAAAAAAAAAAbQAAACxwaHg6bHA6TGVIYW1"
            "0cVp0MmMwRWpldHpMSzJ5dz09MTc5NTQ2OTY5NjExNm4GAHVcVQqiAWIAEnUA"
        )
        data, signed_at, max_age = decode(base64.urlsafe_b64decode(body))
        assert data == (
            Atom("v1"),
            "UaL5ko+k0hlhB18VkIitWA",
            Pid("nonode@nohost", 0x5F7, 0, 0),
            "phx:lp:LeHamtqZt2c0EjetzLK2yw==1795469696116",
        )
        # 1795469696116 is in the topic as well; the token was signed in the same millisecond or a little later.
        assert 0 <= signed_at - 1795469696116 < 100
        assert max_age == 1_209_600


class TestNumbers:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (256, "6200000100"),
            (-(2**31), "6280000000"),
            (2**31 - 1, "627fffffff"),
            (-(2**31) - 1, "6e040101000080"),
            (2**2040 - 1, "6eff00" + "ff" * 255),
            (2**2040, "6f0000010000" + "00" * 255 + "01"),
            (-(2**2040), "6f0000010001" + "00" * 255 + "01"),
            (-0.0, "468000000000000000"),
            (1e308, "467fe1ccf385ebc8a0"),
        ],
        ids=lambda value: value[:8] if isinstance(value, str) else "",
    )
    def test_a_number_takes_the_shortest_form(self, value: float, text: str) -> None:
        assert encode(value).hex() == "83" + text
        assert term(text) == value

    @pytest.mark.parametrize(("text", "value"), [("6e0000", 0), ("6e02000500", 5), ("6f0000000300050000", 5)])
    def test_an_integer_may_be_longer_than_it_needs_to_be(self, text: str, value: int) -> None:
        assert term(text) == value

    def test_an_integer_with_another_sign_than_0_or_1_is_refused(self) -> None:
        refused("6e010205", "sign")

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_a_float_without_erlang_form_is_refused(self, value: float) -> None:
        with pytest.raises(EtfError, match="Erlang"):
            encode(value)

    @pytest.mark.parametrize("text", ["467ff0000000000000", "46fff0000000000000", "467ff8000000000000"])
    def test_a_float_that_is_no_number_is_refused(self, text: str) -> None:
        refused(text, "infinite or not a number")

    @pytest.mark.parametrize(
        ("written", "value"), [("1.50000000000000000000e+00", 1.5), ("-2.5e-3", -0.0025), ("+12.25", 12.25)]
    )
    def test_the_old_float_text_is_read(self, written: str, value: float) -> None:
        # "%.20e" of C, filled up to 31 bytes with zeros.
        assert term("63" + written.encode().ljust(31, b"\0").hex()) == value

    @pytest.mark.parametrize("written", ["nan", "inf", "1_0.0", " 1.0", "1", "", "0x1.0", "1.0\x001", "1.0e"])
    def test_other_old_float_text_is_refused(self, written: str) -> None:
        refused("63" + written.encode().ljust(31, b"\0").hex(), "decimal")

    def test_old_float_text_too_large_for_a_float_is_refused(self) -> None:
        refused("63" + b"1.0e999".ljust(31, b"\0").hex(), "infinite")


class TestAtoms:
    @pytest.mark.parametrize("text", ["64000568656c6c6f", "730568656c6c6f", "76000568656c6c6f", "770568656c6c6f"])
    def test_all_four_forms_of_an_atom_are_read(self, text: str) -> None:
        assert term(text) == Atom("hello")

    @pytest.mark.parametrize(
        ("text", "value"), [("6400036e696c", None), ("730474727565", True), ("76000566616c7365", False)]
    )
    def test_nil_true_and_false_are_constants_in_every_form(self, text: str, value: bool | None) -> None:
        assert term(text) is value

    def test_the_old_forms_are_latin_1_and_the_new_ones_utf_8(self) -> None:
        assert term("640001e9") == term("7301e9") == term("7702c3a9") == term("760002c3a9") == Atom("é")

    def test_an_atom_is_written_in_the_short_utf_8_form(self) -> None:
        assert encode(Atom("hello")).hex() == "83770568656c6c6f"

    def test_an_atom_of_more_than_255_bytes_takes_the_wide_form(self) -> None:
        atom = Atom("é" * 255)
        assert encode(atom) == b"\x83\x76\x01\xfe" + b"\xc3\xa9" * 255
        assert decode(encode(atom)) == atom

    def test_an_atom_is_not_the_string_of_its_name(self) -> None:
        assert {Atom("id"): 1, "id": 2} == decode(encode({Atom("id"): 1, "id": 2}))

    @pytest.mark.parametrize(("name", "constant"), [("nil", "None"), ("true", "True"), ("false", "False")])
    def test_the_names_of_the_constants_make_no_atom(self, name: str, constant: str) -> None:
        with pytest.raises(EtfError, match=constant):
            Atom(name)

    def test_an_atom_of_256_characters_is_refused(self) -> None:
        with pytest.raises(EtfError, match="256"):
            Atom("a" * 256)
        refused("640100" + "61" * 256, "256")

    def test_an_atom_with_half_a_surrogate_pair_is_refused(self) -> None:
        with pytest.raises(EtfError, match="surrogate"):
            Atom("\ud800")

    def test_an_atom_that_is_no_utf_8_is_refused(self) -> None:
        refused("7701ff", "UTF-8")


class TestBinaries:
    def test_a_binary_is_text_when_it_is_utf_8_and_bytes_when_not(self) -> None:
        assert term("6d00000002c3a9") == "é"
        assert term("6d00000002c3ff") == b"\xc3\xff"

    def test_bytes_and_text_are_written_alike(self) -> None:
        assert encode(b"abc") == encode("abc")
        assert encode(b"\xff") == bytes.fromhex("836d00000001ff")

    def test_text_with_half_a_surrogate_pair_is_refused(self) -> None:
        with pytest.raises(EtfError, match="surrogate"):
            encode("\ud800")

    def test_a_bit_string_round_trips(self) -> None:
        # <<0::4>> of plug_crypto's own test.
        assert encode(BitString(b"\x00", 4)).hex() == "834d000000010400"
        assert term("4d000000010400") == BitString(b"\x00", 4)

    def test_unused_bits_of_a_bit_string_mean_nothing(self) -> None:
        assert term("4d0000000204ffff") == BitString(b"\xff\xf0", 4)

    def test_a_bit_string_of_whole_bytes_is_a_binary(self) -> None:
        assert term("4d000000010861") == "a"
        assert term("4d0000000000") == ""

    @pytest.mark.parametrize("text", ["4d000000010061", "4d000000010961", "4d0000000004", "4d0000000008"])
    def test_a_bit_string_with_an_impossible_bit_count_is_refused(self, text: str) -> None:
        refused(text, "bits")

    @pytest.mark.parametrize(("data", "bits"), [(b"\x00", 0), (b"\x00", 8), (b"", 4), (b"\x01", 7)])
    def test_a_bit_string_cannot_be_made_wrong(self, data: bytes, bits: int) -> None:
        with pytest.raises(EtfError):
            BitString(data, bits)


class TestContainers:
    def test_a_list_of_small_integers_is_written_as_text(self) -> None:
        assert encode([0, 255]).hex() == "836b000200ff"
        assert encode([97] * 65_535)[:4] == b"\x83k\xff\xff"
        assert encode([97] * 65_536)[:6] == b"\x83l\x00\x01\x00\x00"

    def test_booleans_in_a_list_are_no_small_integers(self) -> None:
        assert encode([True]).hex() == "836c000000017704747275656a"

    def test_tuples_use_the_wide_form_past_255(self) -> None:
        small, large = tuple(range(255)), tuple(range(256))
        assert encode(small)[:3] == b"\x83h\xff"
        assert encode(large)[:6] == b"\x83i\x00\x00\x01\x00"
        assert decode(encode(small)) == small
        assert decode(encode(large)) == large

    def test_an_empty_wide_tuple_is_read(self) -> None:
        assert term("6900000000") == ()

    def test_an_improper_list_is_refused(self) -> None:
        refused("6c0000000161016102", "improper")

    def test_map_keys_come_in_erlang_term_order(self) -> None:
        # numbers < atoms < references < pids < tuples < binaries; among keys, integers before floats; tuples by size.
        keys: list[Any] = [
            -1, 7, -2.5, Atom("a"), False, None, True, Atom("z"), REF, SELF, (), (9,), ("a", 7), ("a", 1.5),
            "", b"\x80", BitString(b"\xa0", 4), b"\xa0", "é",
        ]  # fmt: skip
        read = decode(encode(dict.fromkeys(reversed(keys), 0)))
        assert [repr(key) for key in read] == [repr(key) for key in keys]

    def test_equal_maps_give_equal_bytes(self) -> None:
        assert (
            encode({"b": 1, "a": 2})
            == encode({"a": 2, "b": 1})
            == bytes.fromhex("8374000000026d000000016161026d00000001626101")
        )

    def test_a_map_with_the_same_key_twice_is_refused(self) -> None:
        refused("74000000026101610161016102", "equal")

    @pytest.mark.parametrize("key", ["463ff0000000000000", "770474727565"], ids=["1.0", "true"])
    def test_a_map_with_keys_that_python_cannot_tell_apart_is_refused(self, key: str) -> None:
        refused("7400000002" + "61016100" + key + "6100", "equal")

    @pytest.mark.parametrize("key", ["6a", "7400000000", "68016a"])
    def test_a_map_whose_key_no_dict_can_hold_is_refused(self, key: str) -> None:
        refused("7400000001" + key + "6101", "key")

    def test_a_dict_with_one_binary_as_text_and_as_bytes_is_refused(self) -> None:
        with pytest.raises(EtfError, match="keep one"):
            encode({"a": 1, b"a": 2})

    def test_structs_pass_as_maps_with_atom_keys(self) -> None:
        uri = {Atom("__struct__"): Atom("Elixir.URI"), Atom("host"): None}
        assert decode(encode(uri)) == uri


class TestIdentifiers:
    def test_a_pid_round_trips(self) -> None:
        text = "58" + "770d6e6f6e6f6465406e6f686f7374" + "0000006e" + "00000000" + "00000000"
        assert term(text) == SELF
        assert encode(SELF).hex() == "83" + text

    def test_an_old_pid_has_one_byte_of_creation(self) -> None:
        assert term("67" + "64000161" + "00000001" + "00000002" + "03") == Pid("a", 1, 2, 3)

    def test_a_reference_round_trips(self) -> None:
        text = "5a0003" + "770d6e6f6e6f6465406e6f686f7374" + "00000000" + "000000010000000200000003"
        assert term(text) == REF
        assert encode(REF).hex() == "83" + text

    def test_an_old_reference_has_one_byte_of_creation(self) -> None:
        assert term("720002" + "64000161" + "03" + "0000000100000002") == Reference("a", 3, (1, 2))

    def test_a_node_that_is_no_atom_is_refused(self) -> None:
        refused("586101" + "00" * 12, "node")

    @pytest.mark.parametrize("words", ["0000", "0006"])
    def test_a_reference_without_or_with_too_many_words_is_refused(self, words: str) -> None:
        refused("5a" + words + "77016100000000" + "00" * 4 * int(words, 16), "1 to 5 words")

    @pytest.mark.parametrize("number", [-1, 2**32])
    def test_identifiers_hold_numbers_of_32_bits(self, number: int) -> None:
        makers: list[Callable[[], object]] = [
            lambda: Pid("a", number, 0, 0),
            lambda: Pid("a", 0, number, 0),
            lambda: Pid("a", 0, 0, number),
            lambda: Reference("a", number, (1,)),
            lambda: Reference("a", 0, (number,)),
        ]
        for make in makers:
            with pytest.raises(EtfError, match="32-bit"):
                make()


class TestSafety:
    def test_everything_plug_crypto_lets_pass_passes(self) -> None:
        # The value of plug_crypto's own test, but for the improper list around the pid.
        uri = {Atom("__struct__"): Atom("Elixir.URI"), Atom("port"): None}
        value = {1: (Atom("foo"), ["bar", 2.0, uri, [SELF, REF], BitString(b"\x00", 4)])}
        assert decode(encode(value)) == value

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("70000000140000", id="new fun"),
            pytest.param("71" + "770161" + "770162" + "6101", id="export"),
            pytest.param("7500000000", id="old fun"),
        ],
    )
    def test_a_function_is_refused_at_any_depth(self, text: str) -> None:
        refused(text, "function")
        refused("6c00000001" + text + "6a", "function")

    @pytest.mark.parametrize("tag", sorted(set(range(256)) - KNOWN_TAGS))
    def test_an_unknown_tag_is_refused(self, tag: int) -> None:
        refused(f"{tag:02x}" + "00" * 40, "unknown tag")

    @pytest.mark.parametrize("data", [b"", b"\x82a\x01", b"a\x01"])
    def test_bytes_of_another_format_are_refused(self, data: bytes) -> None:
        with pytest.raises(EtfError, match="131"):
            decode(data)

    def test_bytes_after_the_term_are_refused(self) -> None:
        refused("610100", "1 bytes follow")

    @pytest.mark.parametrize("text", [vector["bytes"] for vector in VECTORS["terms"]])
    def test_a_term_cut_short_anywhere_is_refused(self, text: str) -> None:
        whole = bytes.fromhex(text)
        for end in range(1, len(whole)):
            with pytest.raises(EtfError):
                decode(whole[:end])

    @pytest.mark.parametrize(
        "value", [object(), {1, 2}, bytearray(b"a"), 1j, [object()], {"a": object()}, {frozenset(): 1}]
    )
    def test_a_value_without_term_form_names_what_is_accepted(self, value: Any) -> None:
        with pytest.raises(EtfError, match="accepted are None, bool"):
            encode(value)

    def test_subclasses_are_written_as_their_base(self) -> None:
        class Level(IntEnum):
            HIGH = 3

        class Role(StrEnum):
            ADMIN = "admin"

        class Point(NamedTuple):
            x: int
            y: int

        value = {Role.ADMIN: Level.HIGH, "at": Point(1, 2)}
        assert decode(encode(value)) == {"admin": 3, "at": (1, 2)}


class TestBounds:
    def peak(self, data: bytes) -> int:
        """The memory that refusing `data` takes at its highest."""
        tracemalloc.start()
        try:
            with pytest.raises(EtfError):
                decode(data)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    @pytest.mark.parametrize("header", ["6cffffffff", "69ffffffff", "74ffffffff", "6dffffffff", "6fffffffff00",
                                        "4dffffffff08", "50ffffffff", "5affff770161"])  # fmt: skip
    def test_a_header_that_claims_four_billion_allocates_nothing(self, header: str) -> None:
        assert self.peak(bytes.fromhex("83" + header + "6a" * 100)) < 200_000

    def test_a_list_of_more_values_than_allowed_is_refused_at_its_header(self) -> None:
        data = b"\x83l" + (200_000).to_bytes(4, "big") + b"j" * 200_001
        assert self.peak(data) < 1_000_000

    def test_small_values_in_many_lists_count_too(self) -> None:
        with pytest.raises(EtfError, match="max_terms"):
            decode(encode([[1] * 50, [2] * 50]), max_terms=100)
        with pytest.raises(EtfError, match="max_terms"):
            encode([[1] * 50, [2] * 50], max_terms=100)
        assert decode(encode([[1] * 50, [2] * 50], max_terms=103), max_terms=103) == [[1] * 50, [2] * 50]

    def test_nesting_is_bounded_in_both_directions(self) -> None:
        value: Any = ()
        for _ in range(63):
            value = (value,)
        assert decode(encode(value)) == value
        with pytest.raises(EtfError, match="64 containers"):
            encode((value,))
        with pytest.raises(EtfError, match="64 containers"):
            decode(b"\x83h\x01" + encode(value)[1:])

    def test_a_list_that_holds_itself_is_refused(self) -> None:
        loop: list[Any] = []
        loop.append(loop)
        with pytest.raises(EtfError, match="holds itself"):
            encode(loop)

    def test_a_raised_depth_ends_at_the_interpreters_stack(self) -> None:
        value: Any = ()
        for _ in range(5_000):
            value = (value,)
        with pytest.raises(EtfError, match="stack"):
            encode(value, max_depth=10_000)
        with pytest.raises(EtfError, match="stack"):
            decode(b"\x83" + b"h\x01" * 5_000 + b"h\x00", max_depth=10_000)

    def test_size_is_bounded_in_both_directions(self) -> None:
        assert len(encode("a" * 94, max_bytes=100)) == 100
        assert decode(encode("a" * 94), max_bytes=100) == "a" * 94
        with pytest.raises(EtfError, match="max_bytes"):
            encode("a" * 95, max_bytes=100)
        with pytest.raises(EtfError, match="at most 100"):
            decode(encode("a" * 95), max_bytes=100)


class TestCompression:
    def test_a_compressed_term_carries_its_size_and_a_zlib_stream(self) -> None:
        data = encode("a" * 1_000, compressed=True)
        assert data[:6] == b"\x83\x50" + (1_005).to_bytes(4, "big")
        assert zlib.decompress(data[6:]) == encode("a" * 1_000)[1:]
        assert decode(data) == "a" * 1_000

    def test_a_term_that_does_not_get_smaller_stays_plain(self) -> None:
        assert encode("abc", compressed=True) == encode("abc")

    def packed(self, body: bytes, size: int | None = None, tail: bytes = b"") -> bytes:
        return b"\x83\x50" + (len(body) if size is None else size).to_bytes(4, "big") + zlib.compress(body) + tail

    def test_a_bomb_is_refused_by_its_announced_size(self) -> None:
        with pytest.raises(EtfError, match="at most"):
            decode(self.packed(bytes(etf.MAX_BYTES + 1)))

    def test_a_bomb_that_announces_little_costs_little(self) -> None:
        bomb = self.packed(bytes(50_000_000), size=10)
        tracemalloc.start()
        try:
            with pytest.raises(EtfError, match="announces"):
                decode(bomb)
            assert tracemalloc.get_traced_memory()[1] < 500_000
        finally:
            tracemalloc.stop()

    @pytest.mark.parametrize(
        ("size", "tail"), [(2, b"\0"), (1, b""), (3, b""), (0, b"")], ids=["trailing", "short", "long", "none"]
    )
    def test_a_stream_that_is_not_what_it_announces_is_refused(self, size: int, tail: bytes) -> None:
        with pytest.raises(EtfError, match="announces"):
            decode(self.packed(b"a\x01", size, tail))

    def test_a_stream_cut_short_is_refused(self) -> None:
        with pytest.raises(EtfError, match="announces"):
            decode(self.packed(b"a\x01")[:-1])

    @pytest.mark.parametrize("data", [b"\x83\x50\0\0\0\x02garbage", b"\x83\x50\0\0\0", b"\x83\x50"])
    def test_a_stream_that_is_no_zlib_is_refused(self, data: bytes) -> None:
        with pytest.raises(EtfError, match="compressed"):
            decode(data)

    def test_a_compressed_term_inside_a_compressed_term_is_refused(self) -> None:
        with pytest.raises(EtfError, match="unknown tag 80"):
            decode(self.packed(self.packed(b"a\x01")[1:]))
