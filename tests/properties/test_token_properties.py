"""Whatever a peer sends as a token or cookie, the answer is data, a TokenError or no session."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadwing.core import csrf, etf, verifier
from broadwing.exceptions import TokenError
from broadwing.session import CookieSession
from broadwing.token import Token

BASE = "abcdefgh" * 8
KEY = verifier.derive_key(BASE, "id")
GOOD = Token.sign(BASE, "id", {"id": 1}, signed_at=1_700_000_000)
SEALED = Token.encrypt(BASE, "id", {"id": 1}, signed_at=1_700_000_000)
STORE = CookieSession(signing_salt="id")
STATE = csrf.state(bytes(18))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
changes = st.lists(st.tuples(st.integers(0, 500), st.characters()), min_size=1, max_size=3)


def damaged(text: str, places: list[tuple[int, str]]) -> str:
    letters = list(text)
    for place, letter in places:
        letters[place % len(letters)] = letter
    return "".join(letters)


@given(json_values)
def test_any_parameter_is_refused_with_a_token_error(value: Any) -> None:
    for check in (Token.verify, Token.decrypt):
        with pytest.raises(TokenError):
            check(BASE, "id", value)


@given(changes)
def test_a_damaged_token_never_carries_other_data(places: list[tuple[int, str]]) -> None:
    for token, check in ((GOOD, Token.verify), (SEALED, Token.decrypt)):
        try:
            # Not every damage counts: the last letter of base64 has bits that mean nothing.
            assert check(BASE, "id", damaged(token, places), now=1_700_000_001) == {"id": 1}
        except TokenError:
            continue


@given(st.binary(max_size=60))
def test_any_signed_body_gives_data_or_a_token_error(body: bytes) -> None:
    for signed in (body, b"\x83" + body, b"\x83h\x03a\x01" + body):
        try:
            Token.verify(BASE, "id", verifier.sign(signed, KEY))
        except TokenError:
            continue


@given(st.text(), json_values)
def test_any_cookie_header_and_csrf_token_give_no_session(header: str, token: Any) -> None:
    assert STORE.load(BASE, header, token) is None
    assert STORE.load(BASE, f"_app_key={header}", token) is None


@given(json_values, json_values)
def test_any_signed_session_is_withheld_without_its_csrf_token(state: Any, token: Any) -> None:
    try:
        value = STORE.dump(BASE, {"_csrf_token": state})
    except etf.EtfError:
        return  # NaN, or text that is no UTF-8
    assert STORE.load(BASE, f"_app_key={value}", token) is None


@given(st.binary(min_size=18, max_size=18), st.binary(min_size=18, max_size=18))
def test_every_masked_token_fits_its_state_and_no_other(state: bytes, mask: bytes) -> None:
    token = csrf.token(csrf.state(state), mask)
    assert csrf.valid(csrf.state(state), token)
    assert csrf.valid(STATE, token) == (csrf.state(state) == STATE)
