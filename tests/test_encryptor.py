"""Encrypted text, as plug_crypto has it. Vectors: spec/vectors/token.json."""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broadwing.encryptor import decrypt, encrypt
from broadwing.exceptions import ConfigurationError

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "spec" / "vectors" / "token.json").read_text(encoding="utf-8")
)
LEGACY: dict[str, str] = VECTORS["legacy"]
KEY = b"abcdefgh" * 4
WRONG = b"12345678" * 4
IV = bytes(range(24))
MESSAGE = "\0hełłoworld\0".encode()


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class TestXChaCha:
    @pytest.mark.parametrize("vector", VECTORS["xchacha20_poly1305"])
    def test_the_ciphertext_is_the_published_one_after_iv_and_tag(self, vector: dict[str, str]) -> None:
        # draft-irtf-cfrg-xchacha-03, appendix A.3.1; the order of the parts is plug_crypto's.
        raw = {name: bytes.fromhex(value) for name, value in vector.items()}
        text = encrypt(raw["message"], raw["key"], iv=raw["iv"], aad=raw["aad"])
        assert text == "XCP." + b64(raw["iv"] + raw["tag"] + raw["ciphertext"])
        assert decrypt(text, raw["key"], aad=raw["aad"]) == raw["message"]

    def test_a_message_comes_back_under_the_right_key_and_aad_only(self) -> None:
        text = encrypt(MESSAGE, KEY, iv=IV, aad=b"right aad")
        assert decrypt(text, KEY, aad=b"right aad") == MESSAGE
        assert decrypt(text, WRONG, aad=b"right aad") is None
        assert decrypt(text, KEY, aad=b"wrong aad") is None
        assert decrypt(text, KEY) is None

    def test_the_aad_may_come_in_parts(self) -> None:
        text = encrypt(MESSAGE, KEY, iv=IV, aad=[b"right", b" ", b"aad"])
        assert text == encrypt(MESSAGE, KEY, iv=IV, aad=b"right aad")
        assert decrypt(text, KEY, aad=[b"right", b" aad"]) == MESSAGE

    def test_the_aad_is_the_name_of_the_first_cipher_when_none_is_given(self) -> None:
        assert encrypt(MESSAGE, KEY, iv=IV) == encrypt(MESSAGE, KEY, iv=IV, aad=b"A128GCM")

    def test_the_second_secret_plays_no_part(self) -> None:
        assert decrypt(encrypt(MESSAGE, KEY, iv=IV), KEY, sign_secret=WRONG) == MESSAGE

    def test_an_empty_message_round_trips(self) -> None:
        assert decrypt(encrypt(b"", KEY, iv=IV), KEY) == b""

    def test_any_changed_byte_is_refused(self) -> None:
        data = base64.urlsafe_b64decode(encrypt(b"hello", KEY, iv=IV)[4:] + "===")
        assert len(data) == 24 + 16 + 5
        for place in range(len(data)):
            changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
            assert decrypt("XCP." + b64(changed), KEY) is None, place

    @pytest.mark.parametrize(
        "text", ["XCP.", "XCP.!", "XCP." + b64(bytes(39)), "XCP." + b64(bytes(40)), "xcp.", "", "XCP"]
    )
    def test_text_that_is_no_message_is_refused(self, text: str) -> None:
        assert decrypt(text, KEY) is None

    @pytest.mark.parametrize("length", [0, 16, 24, 31, 33, 64])
    def test_encryption_takes_a_key_of_32_bytes(self, length: int) -> None:
        with pytest.raises(ConfigurationError, match=f"not {length}"):
            encrypt(MESSAGE, bytes(length), iv=IV)

    @pytest.mark.parametrize("length", [0, 15, 31, 33, 64])
    def test_decryption_takes_a_key_that_some_cipher_has(self, length: int) -> None:
        with pytest.raises(ConfigurationError, match=f"not {length}"):
            decrypt("XCP.", bytes(length))

    def test_a_message_is_refused_under_a_key_too_short_for_its_cipher(self) -> None:
        assert decrypt(encrypt(MESSAGE, KEY, iv=IV), KEY[:16]) is None


class TestLegacy:
    def test_a_message_of_plug_crypto_1_needs_both_secrets_and_the_aad(self) -> None:
        right, wrong = LEGACY["secret"].encode(), LEGACY["wrong"].encode()
        aad, text = LEGACY["aad"].encode(), LEGACY["text"]
        assert decrypt(text, right, sign_secret=right, aad=aad) == LEGACY["message"].encode()
        assert decrypt(text, right, sign_secret=right, aad=b"wrong aad") is None
        assert decrypt(text, wrong, sign_secret=right, aad=aad) is None
        assert decrypt(text, right, sign_secret=wrong, aad=aad) is None
        assert decrypt(text, wrong, sign_secret=wrong, aad=aad) is None

    def made(self, key: bytes, content_key: bytes) -> str:
        """A message put together after the layout: wrapped key (ciphertext, tag, iv), iv, ciphertext, tag."""
        wrapped = AESGCM(key).encrypt(b"w" * 12, content_key, b"") + b"w" * 12
        sealed = AESGCM(content_key).encrypt(b"i" * 12, MESSAGE, b"A128GCM")
        return ".".join([b64(b"A128GCM"), *map(b64, (wrapped, b"i" * 12, sealed[:-16], sealed[-16:]))])

    @pytest.mark.parametrize("size", [16, 24, 32])
    @pytest.mark.parametrize("content_size", [16, 24, 32])
    def test_keys_of_all_three_sizes_are_read(self, size: int, content_size: int) -> None:
        assert decrypt(self.made(KEY[:size], KEY[:content_size]), KEY[:size]) == MESSAGE

    @pytest.mark.parametrize("part", [1, 2, 3, 4])
    @pytest.mark.parametrize("other", ["", "!", b64(bytes(11)), b64(bytes(44))])
    def test_a_message_with_another_part_is_refused(self, part: int, other: str) -> None:
        parts = self.made(KEY, KEY[:16]).split(".")
        parts[part] = other
        assert decrypt(".".join(parts), KEY) is None

    def test_a_message_with_other_than_four_parts_is_refused(self) -> None:
        text = self.made(KEY, KEY[:16])
        assert decrypt(text + ".", KEY) is None
        assert decrypt(text.rpartition(".")[0], KEY) is None
        assert decrypt("QTEyOEdDTQ.", KEY) is None


class TestWithoutCryptography:
    @pytest.fixture(autouse=True)
    def _without(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)

    def test_the_error_says_what_to_install(self) -> None:
        with pytest.raises(ConfigurationError, match=r"pip install 'broadwing\[crypto\]'"):
            encrypt(MESSAGE, KEY, iv=IV)
        with pytest.raises(ConfigurationError, match=r"pip install 'broadwing\[crypto\]'"):
            decrypt("XCP.", KEY)
