"""CSRF tokens as Plug makes them. The lengths and the XOR are those of plug `lib/plug/csrf_protection.ex`."""

import base64
from typing import Any

import pytest

from broadwing.core import csrf

RANDOM = bytes(range(18))
STATE = "AAECAwQFBgcICQoLDA0ODxAR"  # base64url of 0, 1, ... 17
MASK = base64.urlsafe_b64encode(bytes(range(100, 118))).decode()


class TestMaskedCompare:
    # The cases of plug_crypto's own tests.
    def test_mask_is_exclusive_or(self) -> None:
        assert csrf.mask(b"\x00\x01\x00\x01", b"\x00\x01\x01\x00") == b"\x00\x00\x01\x01"
        assert csrf.mask(b"\x00\x00\x01\x01", b"\x00\x01\x01\x00") == b"\x00\x01\x00\x01"

    @pytest.mark.parametrize(
        ("plain", "masked", "mask"),
        [(b"", b"", b""), (b"\0", b"\0", b"\0"), (b"\x00\x01\x00\x01", b"\x00\x00\x01\x01", b"\x00\x01\x01\x00")],
    )
    def test_a_value_fits_itself_under_the_mask(self, plain: bytes, masked: bytes, mask: bytes) -> None:
        assert csrf.masked_compare(plain, masked, mask)

    @pytest.mark.parametrize(
        ("plain", "masked", "mask"),
        [
            (b"", b"\x01", b"\0"),
            (b"\x01", b"", b"\0"),
            (b"\0", b"\x01", b"\0"),
            (b"\0", b"\0", b""),
            (b"\0", b"\0", b"\x01"),
        ],
    )
    def test_other_values_and_other_lengths_do_not_fit(self, plain: bytes, masked: bytes, mask: bytes) -> None:
        assert not csrf.masked_compare(plain, masked, mask)


class TestToken:
    def test_a_state_is_18_bytes_in_24_letters(self) -> None:
        assert csrf.state(RANDOM) == STATE

    def test_a_token_is_the_masked_state_and_the_mask(self) -> None:
        token = csrf.token(STATE, bytes(range(100, 118)))
        assert len(token) == 56
        assert token[32:] == MASK
        # Both are XORed as text, letter by letter.
        masked = bytes(ord(a) ^ ord(b) for a, b in zip(STATE, MASK, strict=True))
        assert base64.urlsafe_b64decode(token[:32]) == masked

    def test_a_token_fits_its_state_under_every_mask(self) -> None:
        for first in range(0, 238, 17):
            assert csrf.valid(STATE, csrf.token(STATE, bytes(range(first, first + 18))))

    def test_a_token_does_not_fit_another_state(self) -> None:
        other = csrf.state(bytes(18))
        assert not csrf.valid(other, csrf.token(STATE, RANDOM))

    @pytest.mark.parametrize("place", [0, 31, 32, 55])
    def test_a_changed_token_fits_nothing(self, place: int) -> None:
        token = csrf.token(STATE, RANDOM)
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        assert not csrf.valid(STATE, changed)

    @pytest.mark.parametrize(
        "token", [None, "", "x", STATE, 56, ["a"] * 56, b"a" * 56, "a" * 55, "a" * 57, "é" * 28, "é" * 56, "+" * 56]
    )
    def test_what_is_no_token_fits_nothing(self, token: Any) -> None:
        assert not csrf.valid(STATE, token)

    @pytest.mark.parametrize("state", [None, "", STATE[:-1], STATE + "A", 24, b"a" * 24, "é" * 24, "é" * 12])
    def test_what_is_no_state_is_fitted_by_nothing(self, state: Any) -> None:
        assert not csrf.valid(state, csrf.token(STATE, RANDOM))

    @pytest.mark.parametrize("length", [0, 17, 19])
    def test_randomness_of_another_length_is_refused(self, length: int) -> None:
        with pytest.raises(ValueError, match=f"not {length}"):
            csrf.state(bytes(length))
        with pytest.raises(ValueError, match=f"not {length}"):
            csrf.token(STATE, bytes(length))

    def test_a_token_for_what_is_no_state_is_refused(self) -> None:
        with pytest.raises(ValueError):
            csrf.token("short", RANDOM)
