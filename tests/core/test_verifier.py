"""Signed text and key derivation, as plug_crypto has them; expected bytes are in spec/vectors/token.json."""

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from broadwing.core import verifier
from broadwing.core.verifier import Digest, b64url_decode, b64url_encode, derive_key, sign, verify
from broadwing.exceptions import ConfigurationError

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "spec" / "vectors" / "token.json").read_text(encoding="utf-8")
)
KEY = b"0123456789abcdef0123456789abcdef"


class TestBase64:
    # RFC 4648, section 10, without padding; the last two hold the letters in which the alphabets differ.
    @pytest.mark.parametrize(
        ("data", "text"),
        [(b"", ""), (b"f", "Zg"), (b"fo", "Zm8"), (b"foo", "Zm9v"), (b"foob", "Zm9vYg"), (b"\xfb\xff", "-_8")],
    )
    def test_text_is_the_url_alphabet_without_padding(self, data: bytes, text: str) -> None:
        assert b64url_encode(data) == text
        assert b64url_decode(text) == data

    @pytest.mark.parametrize(("text", "data"), [("Zg==", b"f"), ("Zm8=", b"fo")])
    def test_right_padding_is_tolerated(self, text: str, data: bytes) -> None:
        assert b64url_decode(text) == data

    @pytest.mark.parametrize(
        "text", ["Z", "Zm9vY", "Zg=", "Zm8==", "Zm9v=", "Zm9v====", "=", "+/8", "Zg\n", " Zg", "Z.g", "Zé", "Z=g"]
    )
    def test_anything_else_is_no_base64url(self, text: str) -> None:
        assert b64url_decode(text) is None


class TestDeriveKey:
    @pytest.mark.parametrize(
        "vector", VECTORS["pbkdf2"], ids=lambda v: f"{v['digest']}-{v['iterations']}-{v['length']}"
    )
    def test_a_key_is_the_published_one(self, vector: dict[str, Any]) -> None:
        key = derive_key(
            vector["secret"],
            vector["salt"],
            iterations=vector["iterations"],
            length=vector["length"],
            digest=vector["digest"],
        )
        assert key.hex() == vector["key"]

    def test_the_key_of_the_token_vectors(self) -> None:
        assert derive_key(VECTORS["key_base"], VECTORS["salt"]).hex() == VECTORS["derived_key"]

    def test_bytes_and_text_are_the_same_secret(self) -> None:
        assert derive_key("schlüssel", "sälz") == derive_key("schlüssel".encode(), "sälz".encode())

    @pytest.mark.parametrize("iterations", [32.0, -1, 0, None, "many", True, 2**31])
    def test_iterations_are_a_whole_number_from_1(self, iterations: Any) -> None:
        with pytest.raises(ConfigurationError, match="iterations"):
            derive_key("secret", "salt", iterations=iterations)

    @pytest.mark.parametrize("length", [2**32, 2**31, 0, -1, 16.0])
    def test_a_length_out_of_range_is_refused(self, length: Any) -> None:
        with pytest.raises(ConfigurationError, match="length"):
            derive_key("secret", "salt", length=length)

    @pytest.mark.parametrize("digest", ["md5", "sha", None, ["sha256"]])
    def test_an_unknown_digest_names_the_known_ones(self, digest: Any) -> None:
        with pytest.raises(ConfigurationError, match="sha1, sha224, sha256, sha384, sha512"):
            derive_key("secret", "salt", digest=digest)

    def test_keys_are_kept_but_never_more_than_256(self) -> None:
        assert derive_key("secret", "kept") is derive_key("secret", "kept")
        for number in range(300):
            derive_key("secret", f"salt {number}", iterations=1)
        assert verifier._pbkdf2.cache_info().currsize <= 256


class TestSignAndVerify:
    # RFC 7515: base64url of "HS256" and so on; 32, 48 and 64 bytes of MAC are 43, 64 and 86 letters.
    @pytest.mark.parametrize(
        ("digest", "header", "letters"), [("sha256", "HS256", 43), ("sha384", "HS384", 64), ("sha512", "HS512", 86)]
    )
    def test_a_token_is_header_payload_and_signature(self, digest: Digest, header: str, letters: int) -> None:
        protected, payload, signature = sign(b"hello", KEY, digest=digest).split(".")
        assert base64.urlsafe_b64decode(protected + "=").decode() == header
        assert base64.urlsafe_b64decode(payload + "=") == b"hello"
        assert len(signature) == letters
        expected = hmac.new(KEY, f"{protected}.{payload}".encode(), getattr(hashlib, digest)).digest()
        assert base64.urlsafe_b64decode(signature + "==") == expected

    @pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
    @pytest.mark.parametrize("message", [b"", b"hello", bytes(range(256))])
    def test_a_signed_message_is_verified(self, digest: Digest, message: bytes) -> None:
        assert verify(sign(message, KEY, digest=digest), KEY) == message

    def test_padding_on_the_signature_is_tolerated(self) -> None:
        assert verify(sign(b"hello", KEY) + "=", KEY) == b"hello"

    def test_another_secret_is_refused(self) -> None:
        assert verify(sign(b"hello", KEY), KEY[::-1]) is None

    def test_any_changed_letter_is_refused(self) -> None:
        token = sign(b"hello", KEY)
        # The last letter carries 4 bits of the MAC and 2 that mean nothing: A to D are the same 4 bits.
        for place, letter in enumerate(token):
            changed = token[:place] + ("z" if letter in "ABCD" else "A") + token[place + 1 :]
            assert verify(changed, KEY) is None, place

    def test_another_known_header_is_refused(self) -> None:
        _, payload, signature = sign(b"hello", KEY).split(".")
        assert verify(f"SFMzODQ.{payload}.{signature}", KEY) is None

    @pytest.mark.parametrize("header", ["", "bm9uZQ", "SFMyNTY=", "HS256", "SFMxNjA"])
    def test_an_unknown_header_is_refused_even_with_a_right_mac(self, header: str) -> None:
        payload = b64url_encode(b"hello")
        mac = b64url_encode(hmac.digest(KEY, f"{header}.{payload}".encode(), "sha256"))
        assert verify(f"{header}.{payload}.{mac}", KEY) is None

    def test_signatures_of_another_length_are_refused(self) -> None:
        # Unequal lengths compare as different, they are no error.
        header, payload, signature = sign(b"hello", KEY).split(".")
        for other in ("", signature[:40], signature + "AAAA", signature * 2):
            assert verify(f"{header}.{payload}.{other}", KEY) is None

    @pytest.mark.parametrize(
        "token", ["", "garbage", "..", "a.b", "SFMyNTY.YQ", "SFMyNTY.YQ.YQ.YQ", "SFMyNTY.Y.YQ", "SFMyNTY.é.YQ", "." * 9]
    )
    def test_text_that_is_no_token_is_refused(self, token: str) -> None:
        assert verify(token, KEY) is None

    def test_a_fourth_part_is_refused(self) -> None:
        assert verify(sign(b"hello", KEY) + ".", KEY) is None
