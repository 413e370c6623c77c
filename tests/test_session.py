"""Plug's session cookies, read and written. The layout is PBKDF2, HMAC and terms, each with vectors of its own; here
the cookie is put together from the standard library alone, so that reader and writer are held against a third."""

import base64
import hashlib
import hmac
import sys
from typing import Any

import pytest

from broadwing.core import csrf, etf, verifier
from broadwing.exceptions import ConfigurationError, EtfError, MissingSecret
from broadwing.session import CookieSession, find_cookie, make_csrf_state, make_csrf_token

SECRET = "abcdefgh" * 8
STATE = "AAECAwQFBgcICQoLDA0ODxAR"  # base64url of 0, 1, ... 17
TOKEN = csrf.token(STATE, bytes(18))
STORE = CookieSession(signing_salt="signing salt")
ENCRYPTED = CookieSession(signing_salt="signing salt", encryption_salt="encryption salt")


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def binary(text: str) -> bytes:
    return b"m" + len(text).to_bytes(4, "big") + text.encode()


def plug_cookie(body: bytes, salt: str = "signing salt", secret: str = SECRET) -> str:
    """A cookie value as `Plug.Session.COOKIE` makes it, without any code of ours."""
    key = hashlib.pbkdf2_hmac("sha256", secret.encode(), salt.encode(), 1000, 32)
    signed = f"SFMyNTY.{b64(body)}"
    return f"{signed}.{b64(hmac.new(key, signed.encode(), hashlib.sha256).digest())}"


# The map %{"_csrf_token" => STATE, "user_id" => 7} as term_to_binary writes it.
BODY = b"\x83t\x00\x00\x00\x02" + binary("_csrf_token") + binary(STATE) + binary("user_id") + b"a\x07"
SESSION = {"_csrf_token": STATE, "user_id": 7}
HEADER = f"_app_key={plug_cookie(BODY)}"


class TestLoad:
    def test_a_session_of_plug_is_read_with_its_csrf_token(self) -> None:
        assert STORE.load(SECRET, HEADER, TOKEN) == SESSION

    def test_a_session_is_found_among_other_cookies(self) -> None:
        assert STORE.load(SECRET, f"a=1; {HEADER}; b=2", TOKEN) == SESSION

    def test_no_cookie_header_gives_no_session(self) -> None:
        assert STORE.load(SECRET, None, TOKEN) is None
        assert STORE.load(SECRET, None, None, check_csrf=False) is None

    def test_no_session_cookie_gives_no_session(self) -> None:
        assert STORE.load(SECRET, "other=1", TOKEN) is None

    @pytest.mark.parametrize(
        "value",
        [
            "",
            "garbage",
            plug_cookie(BODY)[:-2],
            plug_cookie(BODY, salt="other"),
            plug_cookie(BODY, secret=SECRET[::-1]),
        ],
        ids=["empty", "garbage", "cut", "another salt", "another secret"],
    )
    def test_an_invalid_cookie_gives_no_session(self, value: str) -> None:
        assert STORE.load(SECRET, f"_app_key={value}", TOKEN) is None
        assert STORE.load(SECRET, f"_app_key={value}", None, check_csrf=False) is None

    @pytest.mark.parametrize(
        "body", [b"", b"text", b"\x83a\x07", b"\x83j", b"\x83t\0\0\0\x01a\x01q\x77\x01a\x77\x01ba\x01"]
    )
    def test_a_signed_cookie_that_holds_no_session_gives_none(self, body: bytes) -> None:
        assert STORE.load(SECRET, f"_app_key={plug_cookie(body)}", None, check_csrf=False) is None

    @pytest.mark.parametrize(
        "token",
        [None, "", "x" * 56, STATE, TOKEN[:-1], csrf.token(csrf.state(bytes(18)), bytes(18)), ["a"], 7],
        ids=["none", "empty", "wrong", "unmasked", "short", "another session's", "list", "number"],
    )
    def test_an_invalid_csrf_token_gives_no_session(self, token: Any) -> None:
        assert STORE.load(SECRET, HEADER, token) is None

    def test_without_the_check_no_csrf_token_is_needed(self) -> None:
        assert STORE.load(SECRET, HEADER, None, check_csrf=False) == SESSION

    @pytest.mark.parametrize("state", [None, "short", 7, b"\xff" * 24])
    def test_a_session_without_csrf_state_is_given_to_nobody(self, state: Any) -> None:
        value = STORE.dump(SECRET, {"_csrf_token": state} if state else {})
        assert STORE.load(SECRET, f"_app_key={value}", TOKEN) is None
        assert STORE.load(SECRET, f"_app_key={value}", TOKEN, check_csrf=False) is not None

    def test_csrf_token_key_names_the_key_inside_the_session(self) -> None:
        custom = CookieSession(signing_salt="signing salt", csrf_token_key="_my_csrf")
        header = f"_app_key={custom.dump(SECRET, {'_my_csrf': STATE})}"
        assert custom.load(SECRET, header, TOKEN) == {"_my_csrf": STATE}
        assert STORE.load(SECRET, header, TOKEN) is None
        assert custom.load(SECRET, HEADER, TOKEN) is None

    def test_each_load_gives_a_dict_of_its_own(self) -> None:
        first = STORE.load(SECRET, HEADER, TOKEN)
        assert first is not None
        first["user_id"] = 8
        assert STORE.load(SECRET, HEADER, TOKEN) == SESSION


class TestDump:
    def test_a_cookie_is_written_as_plug_writes_it(self) -> None:
        assert STORE.dump(SECRET, SESSION) == plug_cookie(BODY)

    @pytest.mark.parametrize("store", [STORE, ENCRYPTED], ids=["signed", "encrypted"])
    def test_a_session_issued_here_is_read_here(self, store: CookieSession) -> None:
        state = make_csrf_state()
        value = store.dump(SECRET, {"_csrf_token": state, "user": {"id": 1}})
        read = store.load(SECRET, f"_app_key={value}", make_csrf_token(state))
        assert read == {"_csrf_token": state, "user": {"id": 1}}

    def test_the_value_needs_no_quoting(self) -> None:
        allowed = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
        for store in (STORE, ENCRYPTED):
            assert set(store.dump(SECRET, {"k": "é" * 100})) <= allowed

    def test_a_value_that_is_no_term_is_refused(self) -> None:
        with pytest.raises(EtfError, match="object"):
            STORE.dump(SECRET, {"k": object()})

    def test_key_options_are_those_of_the_store(self) -> None:
        other = CookieSession(signing_salt="signing salt", key_iterations=2, key_length=64, key_digest="sha512")
        key = hashlib.pbkdf2_hmac("sha512", SECRET.encode(), b"signing salt", 2, 64)
        assert verifier.verify(other.dump(SECRET, SESSION), key) == BODY
        assert other.load(SECRET, HEADER, TOKEN) is None


class TestEncrypted:
    def test_an_encrypted_session_is_unreadable_outside(self) -> None:
        value = ENCRYPTED.dump(SECRET, SESSION)
        assert value.startswith("XCP.")
        assert b"user_id" not in base64.urlsafe_b64decode(value[4:] + "===")
        assert STORE.load(SECRET, f"_app_key={value}", TOKEN) is None

    def test_a_signed_cookie_is_no_encrypted_one(self) -> None:
        assert ENCRYPTED.load(SECRET, HEADER, TOKEN) is None

    def test_a_cookie_of_plug_crypto_1_needs_the_signing_key_as_well(self) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key = hashlib.pbkdf2_hmac("sha256", SECRET.encode(), b"encryption salt", 1000, 32)
        signing = hashlib.pbkdf2_hmac("sha256", SECRET.encode(), b"signing salt", 1000, 32)
        wrapped = AESGCM(key).encrypt(bytes(12), b"k" * 16, signing) + bytes(12)
        sealed = AESGCM(b"k" * 16).encrypt(bytes(12), BODY, b"A128GCM")
        value = ".".join(["QTEyOEdDTQ", *map(b64, (wrapped, bytes(12), sealed[:-16], sealed[-16:]))])
        assert ENCRYPTED.load(SECRET, f"_app_key={value}", TOKEN) == SESSION
        other = CookieSession(signing_salt="another salt", encryption_salt="encryption salt")
        assert other.load(SECRET, f"_app_key={value}", TOKEN) is None

    def test_without_cryptography_the_error_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        header = f"_app_key={ENCRYPTED.dump(SECRET, SESSION)}"
        monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
        with pytest.raises(ConfigurationError, match="crypto"):
            ENCRYPTED.dump(SECRET, SESSION)
        with pytest.raises(ConfigurationError, match="crypto"):
            ENCRYPTED.load(SECRET, header, TOKEN)


class TestCsrf:
    def test_states_and_tokens_are_never_the_same_twice(self) -> None:
        assert len({make_csrf_state() for _ in range(20)}) == 20
        tokens = {make_csrf_token(STATE) for _ in range(20)}
        assert len(tokens) == 20
        assert all(csrf.valid(STATE, token) for token in tokens)

    def test_a_token_is_made_for_a_state_only(self) -> None:
        with pytest.raises(ValueError):
            make_csrf_token("no state")


class TestConfiguration:
    def test_no_secret_is_missing(self) -> None:
        for secret in (None, ""):
            with pytest.raises(MissingSecret):
                STORE.load(secret, HEADER, TOKEN)
            with pytest.raises(MissingSecret):
                STORE.dump(secret, {})

    def test_a_secret_of_less_than_64_bytes_is_refused(self) -> None:
        for call in (lambda: STORE.load("a" * 63, HEADER, TOKEN), lambda: STORE.dump("a" * 63, {})):
            with pytest.raises(ConfigurationError, match="63 bytes"):
                call()

    def test_a_signing_salt_is_needed(self) -> None:
        with pytest.raises(ConfigurationError, match="signing_salt"):
            CookieSession(signing_salt="")

    @pytest.mark.parametrize("key", ["", "a b", "a=b", "a;b", "a\tb", "é"])
    def test_a_key_that_is_no_cookie_name_is_refused(self, key: str) -> None:
        with pytest.raises(ConfigurationError, match="cookie"):
            CookieSession(key=key, signing_salt="salt")


class TestFindCookie:
    # The cases follow plug's own reading of the header, `lib/plug/conn/cookies.ex`.
    @pytest.mark.parametrize(
        ("header", "value"),
        [
            ("key=value", "value"),
            ("a=1;key=value;b=2", "value"),
            ("a=1; \t key=value ; b=2", "value"),
            ("key=first; key=second", "first"),
            ("key=a=b==", "a=b=="),
            ('key="quoted"', '"quoted"'),
            ("key=", ""),
            ("key=a b  ", "a b"),
            ("xkey=1; key=2", "2"),
            ("key=a\tb; key=c", "c"),
            ("KEY=1", None),
            ("key =1", None),
            ("key", None),
            ("=key", None),
            ("", None),
            (";;;", None),
            ("key=a\r\nb", None),
        ],
    )
    def test_a_cookie_is_read_as_plug_reads_it(self, header: str, value: str | None) -> None:
        assert find_cookie(header, "key") == value


def test_the_session_is_the_term_that_was_signed() -> None:
    # Values that only Erlang has come through as what they are.
    value = plug_cookie(etf.encode({"flash": {etf.Atom("info"): "hi"}, "at": (2026, 1, 2)}))
    loaded = STORE.load(SECRET, f"_app_key={value}", None, check_csrf=False)
    assert loaded == {"flash": {etf.Atom("info"): "hi"}, "at": (2026, 1, 2)}
