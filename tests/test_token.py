"""Tokens: byte for byte Phoenix's, and every outcome of checking one. Vectors: spec/vectors/token.json."""

import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest

from broadwing import encryptor
from broadwing.core import etf, verifier
from broadwing.core.etf import Atom, BitString, Pid, Reference
from broadwing.exceptions import (
    BroadwingError,
    ConfigurationError,
    EtfError,
    MissingSecret,
    TokenError,
    TokenExpired,
    TokenInvalid,
    TokenMissing,
)
from broadwing.token import Token

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "spec" / "vectors" / "token.json").read_text(encoding="utf-8")
)
BASE: str = VECTORS["key_base"]
SALT: str = VECTORS["salt"]
AT: int = VECTORS["signed_at"]
SIGNED = [pytest.param(vector, id=vector["name"]) for vector in VECTORS["sign"]]
# OTP 25 wrote atoms in a form that is read still and no longer written.
WRITTEN = [pytest.param(vector, id=vector["name"]) for vector in VECTORS["sign"] if not vector.get("read_only")]
ENCRYPTED = [pytest.param(vector, id=vector["name"]) for vector in VECTORS["encrypt"]]

Make = Callable[..., str]
Check = Callable[..., Any]


@dataclass
class Endpoint:
    secret_key_base: str | None = BASE


@dataclass
class Socket:
    endpoint: Endpoint | None


@pytest.fixture(params=["sign", "encrypt"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def make(kind: str) -> Make:
    return Token.sign if kind == "sign" else Token.encrypt


@pytest.fixture
def check(kind: str) -> Check:
    return Token.verify if kind == "sign" else Token.decrypt


def age(vector: dict[str, Any]) -> float:
    """The vector's max_age; JSON has no infinity, so it is written as text."""
    value = vector.get("max_age", VECTORS["max_age"])
    return math.inf if value == "infinity" else int(value)


class TestVectors:
    @pytest.mark.parametrize("vector", WRITTEN)
    def test_a_token_is_signed_as_phoenix_signs_it(self, vector: dict[str, Any]) -> None:
        assert Token.sign(BASE, SALT, vector["data"], signed_at=AT, max_age=age(vector)) == vector["token"]

    @pytest.mark.parametrize("vector", SIGNED)
    def test_a_token_of_phoenix_is_verified(self, vector: dict[str, Any]) -> None:
        assert Token.verify(BASE, SALT, vector["token"], now=AT + 1) == vector["data"]

    def test_the_body_is_data_time_and_age(self) -> None:
        vector = VECTORS["sign"][0]
        payload = verifier.b64url_decode(vector["token"].split(".")[1])
        assert payload == bytes.fromhex(vector["body"])
        assert etf.encode((vector["data"], AT * 1000, VECTORS["max_age"])) == payload

    @pytest.mark.parametrize("vector", ENCRYPTED)
    def test_a_token_of_phoenix_is_decrypted(self, vector: dict[str, Any]) -> None:
        assert Token.decrypt(BASE, SALT, vector["token"], now=AT + 1) == vector["data"]

    @pytest.mark.parametrize("vector", ENCRYPTED)
    def test_a_token_is_encrypted_as_phoenix_encrypts_it(
        self, vector: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Chance is taken out: the vector's nonce in place of a random one.
        monkeypatch.setattr("secrets.token_bytes", lambda size: bytes.fromhex(vector["iv"])[:size])
        assert Token.encrypt(BASE, SALT, vector["data"], signed_at=AT) == vector["token"]


class TestRoundTrip:
    @pytest.mark.parametrize(
        "context",
        [BASE, Endpoint(), Socket(Endpoint()), Endpoint("short")],
        ids=["key base", "endpoint", "socket", "endpoint with a short secret"],
    )
    def test_a_token_comes_back_in_every_context(self, make: Make, check: Check, context: Any) -> None:
        assert check(context, "id", make(context, "id", 1)) == 1

    def test_contexts_of_one_secret_accept_each_others_tokens(self, make: Make, check: Check) -> None:
        assert check(BASE, "id", make(Socket(Endpoint()), "id", 1)) == 1
        assert check(Socket(Endpoint()), "id", make(Endpoint(), "id", 1)) == 1

    @pytest.mark.parametrize(
        "data",
        [
            None,
            "Joé",
            b"\xff",
            [1, "a", None],
            {"id": 7, "roles": ["admin"]},
            (1, 2),
            Atom("ok"),
            Pid("n@h", 1, 2, 3),
            Reference("n@h", 1, (1, 2, 3)),
            BitString(b"\x00", 4),
            {Atom("__struct__"): Atom("Elixir.URI")},
        ],
        ids=repr,
    )
    def test_data_comes_back_as_it_was(self, make: Make, check: Check, data: Any) -> None:
        assert check(BASE, "id", make(BASE, "id", data)) == data

    def test_compressed_data_comes_back_in_a_shorter_token(self, make: Make, check: Check) -> None:
        data = {"name": "a" * 1_000}
        token = make(BASE, "id", data, compressed=True)
        assert len(token) < 200 < len(make(BASE, "id", data))
        assert check(BASE, "id", token) == data

    def test_two_encrypted_tokens_of_one_value_differ(self) -> None:
        assert Token.encrypt(BASE, "id", 1, signed_at=AT) != Token.encrypt(BASE, "id", 1, signed_at=AT)

    def test_an_encrypted_token_is_no_signed_one(self) -> None:
        with pytest.raises(TokenInvalid):
            Token.verify(BASE, "id", Token.encrypt(BASE, "id", 1))
        with pytest.raises(TokenInvalid):
            Token.decrypt(BASE, "id", Token.sign(BASE, "id", 1))

    def test_a_token_of_the_other_two_hashes_is_verified(self) -> None:
        key = verifier.derive_key(BASE, "id")
        body = etf.encode((1, AT * 1000, 60))
        for digest in get_args(verifier.Digest):
            assert Token.verify(BASE, "id", verifier.sign(body, key, digest=digest), now=AT) == 1


class TestRefusal:
    def test_no_token_is_missing(self, check: Check) -> None:
        with pytest.raises(TokenMissing):
            check(BASE, "id", None)

    @pytest.mark.parametrize(
        "token", ["garbage", "", ".", "..", "a.b.c", "XCP.", "XCP.a", "QTEyOEdDTQ....", "é.é.é", "\ud800"]
    )
    def test_garbage_is_invalid(self, check: Check, token: str) -> None:
        with pytest.raises(TokenInvalid):
            check(BASE, "id", token)

    @pytest.mark.parametrize("token", [1, b"SFMyNTY.YQ.YQ", ["SFMyNTY"], {"a": "b"}, True])
    def test_a_parameter_that_is_no_text_is_invalid(self, check: Check, token: Any) -> None:
        with pytest.raises(TokenInvalid, match=type(token).__name__):
            check(BASE, "id", token)

    def test_another_salt_is_invalid(self, make: Make, check: Check) -> None:
        with pytest.raises(TokenInvalid):
            check(BASE, "not_id", make(BASE, "id", 1))

    def test_another_secret_is_invalid(self, make: Make, check: Check) -> None:
        with pytest.raises(TokenInvalid):
            check(BASE[::-1], "id", make(BASE, "id", 1))

    def test_every_refusal_is_a_token_error(self) -> None:
        for error in (TokenMissing, TokenInvalid, TokenExpired):
            assert issubclass(error, TokenError)
            assert issubclass(error, BroadwingError)


class TestAge:
    def test_a_token_may_be_a_day_old_when_nothing_else_is_said(self, make: Make, check: Check) -> None:
        token = make(BASE, "id", 1, signed_at=AT)
        assert check(BASE, "id", token, now=AT + 86_400) == 1
        with pytest.raises(TokenExpired):
            check(BASE, "id", token, now=AT + 86_400.001)

    def test_the_clock_is_the_systems_when_no_time_is_given(self, make: Make, check: Check) -> None:
        token = make(BASE, "id", 1)
        assert check(BASE, "id", token) == 1
        assert check(BASE, "id", token, max_age=1_000, now=time.time() + 990) == 1
        with pytest.raises(TokenExpired):
            check(BASE, "id", token, max_age=1_000, now=time.time() + 1_001)

    @pytest.mark.parametrize("max_age", [0, -1, -1000, 0.0, -0.1, -math.inf])
    def test_a_max_age_of_zero_or_less_has_always_expired(self, make: Make, check: Check, max_age: float) -> None:
        token = make(BASE, "id", 1, signed_at=AT)
        with pytest.raises(TokenExpired):
            check(BASE, "id", token, max_age=max_age, now=AT)

    def test_fractions_of_a_second_count(self, make: Make, check: Check) -> None:
        token = make(BASE, "id", 1, signed_at=AT, max_age=0.5)
        assert check(BASE, "id", token, now=AT + 0.5) == 1
        assert check(BASE, "id", token, max_age=0.1, now=AT + 0.1) == 1
        with pytest.raises(TokenExpired):
            check(BASE, "id", token, now=AT + 0.501)
        with pytest.raises(TokenExpired):
            check(BASE, "id", token, max_age=0.1, now=AT + 0.15)

    def test_signed_at_is_cut_to_milliseconds(self) -> None:
        # trunc(seconds * 1000) in Phoenix.
        assert Token.sign(BASE, SALT, 1, signed_at=AT + 0.0009) == Token.sign(BASE, SALT, 1, signed_at=AT)
        assert Token.sign(BASE, SALT, 1, signed_at=AT + 0.0015) != Token.sign(BASE, SALT, 1, signed_at=AT)

    def test_the_age_signed_in_counts_unless_another_is_asked_for(self, make: Make, check: Check) -> None:
        token = make(BASE, "id", 1, signed_at=AT, max_age=10)
        assert check(BASE, "id", token, now=AT + 10) == 1
        with pytest.raises(TokenExpired):
            check(BASE, "id", token, now=AT + 11)
        assert check(BASE, "id", token, max_age=1_000, now=AT + 11) == 1
        with pytest.raises(TokenExpired):
            check(BASE, "id", token, max_age=5, now=AT + 6)

    def test_an_expired_age_signed_in_can_be_overridden(self, make: Make, check: Check) -> None:
        token = make(BASE, "id", 1, signed_at=AT, max_age=-1_000)
        with pytest.raises(TokenExpired):
            check(BASE, "id", token, now=AT)
        assert check(BASE, "id", token, max_age=1_000, now=AT) == 1

    def test_infinity_accepts_every_age_and_even_the_future(self, make: Make, check: Check) -> None:
        token = make(BASE, "id", 1, signed_at=AT)
        forever = make(BASE, "id", 1, signed_at=AT, max_age=math.inf)
        for now in (0, AT, AT + 10**9):
            assert check(BASE, "id", token, max_age=math.inf, now=now) == 1
            assert check(BASE, "id", forever, now=now) == 1
        with pytest.raises(TokenExpired):
            check(BASE, "id", forever, max_age=5, now=AT + 6)

    def test_signed_at_moves_the_age(self, make: Make, check: Check) -> None:
        day_ago = make(BASE, "id", 1, signed_at=AT - 86_400)
        assert check(BASE, "id", day_ago, max_age=86_401, now=AT) == 1
        with pytest.raises(TokenExpired):
            check(BASE, "id", day_ago, max_age=86_399, now=AT)

    def test_a_token_signed_in_the_future_is_invalid(self, make: Make, check: Check) -> None:
        token = make(BASE, "id", 1, signed_at=AT + 31_536_000)
        with pytest.raises(TokenInvalid, match="future"):
            check(BASE, "id", token, now=AT)
        with pytest.raises(TokenInvalid, match="future"):
            check(BASE, "id", token, max_age=10**9, now=AT)

    @pytest.mark.parametrize("max_age", [10**400, 1e308])
    def test_an_age_beyond_all_floats_never_expires(self, make: Make, check: Check, max_age: float) -> None:
        token = make(BASE, "id", 1, signed_at=AT, max_age=max_age)
        assert check(BASE, "id", token, now=AT + 10**9) == 1
        assert check(BASE, "id", token, max_age=max_age, now=AT + 10**9) == 1


class TestKeys:
    def test_iterations_length_and_digest_change_the_token(self) -> None:
        tokens = {
            Token.sign(BASE, "id", 1, signed_at=0),
            Token.sign(BASE, "id", 1, signed_at=0, key_iterations=1),
            Token.sign(BASE, "id", 1, signed_at=0, key_iterations=2),
            Token.sign(BASE, "id", 1, signed_at=0, key_length=16),
            Token.sign(BASE, "id", 1, signed_at=0, key_digest="sha384"),
            Token.sign(BASE, "id", 1, signed_at=0, key_digest="sha512"),
        }
        assert len(tokens) == 6

    def test_the_defaults_given_in_full_change_nothing(self) -> None:
        explicit = Token.sign(BASE, "id", 1, signed_at=0, key_length=32, key_digest="sha256", key_iterations=1000)
        assert explicit == Token.sign(BASE, "id", 1, signed_at=0)

    @pytest.mark.parametrize("options", [{"key_iterations": 1}, {"key_digest": "sha512"}], ids=str)
    def test_both_sides_need_the_same_options(self, make: Make, check: Check, options: dict[str, Any]) -> None:
        token = make(BASE, "id", 1, **options)
        assert check(BASE, "id", token, **options) == 1
        with pytest.raises(TokenInvalid):
            check(BASE, "id", token)

    def test_the_signature_is_sha256_under_every_key_digest(self) -> None:
        # Observed on Phoenix: key_digest reaches PBKDF2 only.
        header, _, signature = Token.sign(BASE, "id", 1, key_digest="sha512").split(".")
        assert (header, len(signature)) == ("SFMyNTY", 43)

    def test_encryption_takes_no_other_key_length(self) -> None:
        with pytest.raises(ConfigurationError, match="key_length"):
            Token.encrypt(BASE, "id", 1, key_length=16)

    def test_a_legacy_token_is_decrypted(self) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key = verifier.derive_key(BASE, "id")
        body = etf.encode({Atom("data"): "old", Atom("signed"): AT * 1000})
        wrapped = AESGCM(key).encrypt(bytes(12), b"k" * 16, b"") + bytes(12)
        sealed = AESGCM(b"k" * 16).encrypt(bytes(12), body, b"A128GCM")
        parts = (wrapped, bytes(12), sealed[:-16], sealed[-16:])
        token = ".".join(["QTEyOEdDTQ", *map(verifier.b64url_encode, parts)])
        assert Token.decrypt(BASE, "id", token, now=AT + 1) == "old"


class TestBody:
    """What the holder of the key can sign or encrypt, sensible or not."""

    @pytest.fixture
    def seal(self, kind: str) -> Callable[[bytes], str]:
        key = verifier.derive_key(BASE, "id")
        if kind == "sign":
            return lambda body: verifier.sign(body, key)
        return lambda body: encryptor.encrypt(body, key, iv=bytes(24))

    @pytest.mark.parametrize(
        "body",
        [("data", AT * 1000), {Atom("data"): "data", Atom("signed"): AT * 1000}],
        ids=["plug_crypto 1.1", "phoenix before it"],
    )
    def test_a_body_of_an_older_version_is_good_for_a_day(
        self, seal: Callable[[bytes], str], check: Check, body: Any
    ) -> None:
        token = seal(etf.encode(body))
        assert check(BASE, "id", token, now=AT + 86_400) == "data"
        assert check(BASE, "id", token, now=AT + 86_402, max_age=86_402) == "data"
        with pytest.raises(TokenExpired):
            check(BASE, "id", token, now=AT + 86_402)

    @pytest.mark.parametrize(
        "body",
        [
            None,
            "data",
            [1, 2, 3],
            [1, 2],
            (),
            (1,),
            (1, 2, 3, 4),
            {"data": 1, "signed": AT},
            {Atom("data"): 1},
            {Atom("signed"): 1},
        ],
        ids=repr,
    )
    def test_a_body_of_another_shape_is_invalid(self, seal: Callable[[bytes], str], check: Check, body: Any) -> None:
        with pytest.raises(TokenInvalid, match="body"):
            check(BASE, "id", seal(etf.encode(body)), now=AT)

    @pytest.mark.parametrize("signed", [None, "now", True, 1.5, [], Atom("infinity")], ids=repr)
    def test_a_time_of_signing_that_is_no_number_is_invalid(
        self, seal: Callable[[bytes], str], check: Check, signed: Any
    ) -> None:
        with pytest.raises(TokenInvalid, match="number"):
            check(BASE, "id", seal(etf.encode((1, signed, 60))), now=AT)

    @pytest.mark.parametrize("max_age", [None, "60", True, [60], Atom("forever")], ids=repr)
    def test_an_age_signed_in_that_is_no_number_is_invalid(
        self, seal: Callable[[bytes], str], check: Check, max_age: Any
    ) -> None:
        token = seal(etf.encode((1, AT * 1000, max_age)))
        with pytest.raises(TokenInvalid, match="number"):
            check(BASE, "id", token, now=AT)
        assert check(BASE, "id", token, now=AT, max_age=60) == 1

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"not a term",
            b"\x83",
            bytes.fromhex("8368036101610271770161770162610100"),
            bytes.fromhex("83680370000000"),
        ],
        ids=["nothing", "text", "no term", "export", "fun"],
    )
    def test_a_body_that_is_no_acceptable_term_is_invalid(
        self, seal: Callable[[bytes], str], check: Check, body: bytes
    ) -> None:
        # Phoenix raises ArgumentError; here all that a peer can send ends in a TokenError.
        with pytest.raises(TokenInvalid, match="cannot be read"):
            check(BASE, "id", seal(body), now=AT)


class TestConfiguration:
    def test_a_key_base_of_less_than_20_bytes_is_refused(self, make: Make, check: Check) -> None:
        assert check("a" * 20, "id", make("a" * 20, "id", 1)) == 1
        assert make("é" * 10, "id", 1)
        for call in (lambda: make("a" * 19, "id", 1), lambda: check("a" * 19, "id", "token")):
            with pytest.raises(ConfigurationError, match="19 bytes"):
                call()

    @pytest.mark.parametrize(
        "context",
        [Endpoint(None), Endpoint(""), Socket(Endpoint(None)), Socket(None), None, 7, object()],
        ids=lambda context: repr(context).partition(" at 0x")[0],  # the same in every process
    )
    def test_a_context_without_secret_names_itself_and_what_is_accepted(
        self, make: Make, check: Check, context: Any
    ) -> None:
        for call in (lambda: make(context, "id", 1), lambda: check(context, "id", "token")):
            with pytest.raises(MissingSecret, match=f"no secret_key_base found in {type(context).__name__}"):
                call()

    def test_a_secret_of_another_type_is_refused(self, make: Make) -> None:
        context: Any = Endpoint(b"x" * 64)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="bytes"):
            make(context, "id", 1)

    @pytest.mark.parametrize("salt", [None, 1, b"id"])
    def test_a_salt_of_another_type_is_refused(self, make: Make, check: Check, salt: Any) -> None:
        with pytest.raises(ConfigurationError, match="salt"):
            make(BASE, salt, 1)
        with pytest.raises(ConfigurationError, match="salt"):
            check(BASE, salt, "token")

    @pytest.mark.parametrize("max_age", [None, "60", True, math.nan])
    def test_a_max_age_that_is_no_number_is_refused(self, make: Make, check: Check, max_age: Any) -> None:
        with pytest.raises(ConfigurationError, match="max_age"):
            make(BASE, "id", 1, max_age=max_age)
        with pytest.raises(ConfigurationError, match="max_age"):
            check(BASE, "id", "garbage", max_age=max_age)

    def test_a_max_age_of_minus_infinity_cannot_be_signed_in(self, make: Make) -> None:
        with pytest.raises(ConfigurationError, match="max_age"):
            make(BASE, "id", 1, max_age=-math.inf)

    @pytest.mark.parametrize("seconds", ["now", True, math.nan, math.inf, -math.inf, 1e308])
    def test_a_time_that_is_no_number_is_refused(self, make: Make, check: Check, seconds: Any) -> None:
        with pytest.raises(ConfigurationError, match="signed_at"):
            make(BASE, "id", 1, signed_at=seconds)
        with pytest.raises(ConfigurationError, match="now"):
            check(BASE, "id", "garbage", now=seconds)

    @pytest.mark.parametrize("option", [{"key_iterations": 0}, {"key_length": 0}, {"key_digest": "md5"}], ids=str)
    def test_key_options_out_of_range_are_refused(self, make: Make, check: Check, option: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError, match="key"):
            make(BASE, "id", 1, **option)
        with pytest.raises(ConfigurationError, match="key"):
            check(BASE, "id", "garbage", **option)

    def test_data_without_term_form_is_refused_with_what_is_accepted(self, make: Make) -> None:
        with pytest.raises(EtfError, match="object has no external term form; accepted are"):
            make(BASE, "id", object())

    def test_without_cryptography_only_encryption_is_gone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
        assert Token.verify(BASE, "id", Token.sign(BASE, "id", 1)) == 1
        with pytest.raises(ConfigurationError, match="broadwing\\[crypto\\]"):
            Token.encrypt(BASE, "id", 1)
        with pytest.raises(ConfigurationError, match="broadwing\\[crypto\\]"):
            Token.decrypt(BASE, "id", "garbage")
