"""HChaCha20 against draft-irtf-cfrg-xchacha-03, section 2.2.1 (in spec/vectors/token.json)."""

import json
from pathlib import Path
from typing import Any

import pytest

from broadwing.core.xchacha import hchacha20, subkey_and_nonce

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "spec" / "vectors" / "token.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("vector", VECTORS["hchacha20"])
def test_the_subkey_is_the_published_one(vector: dict[str, str]) -> None:
    subkey = hchacha20(bytes.fromhex(vector["key"]), bytes.fromhex(vector["nonce"]))
    assert subkey.hex() == vector["subkey"]


def test_the_long_nonce_splits_into_subkey_and_a_nonce_that_begins_with_zeros() -> None:
    # Section 2.3: the last 8 bytes, prefixed with 4 NUL bytes.
    vector = VECTORS["hchacha20"][0]
    key, first = bytes.fromhex(vector["key"]), bytes.fromhex(vector["nonce"])
    assert subkey_and_nonce(key, first + b"12345678") == (bytes.fromhex(vector["subkey"]), b"\0\0\0\x0012345678")


@pytest.mark.parametrize(("key", "nonce"), [(31, 16), (33, 16), (32, 15), (32, 24)])
def test_keys_and_nonces_of_other_lengths_are_refused(key: int, nonce: int) -> None:
    with pytest.raises(ValueError, match=f"not {key} and {nonce}"):
        hchacha20(bytes(key), bytes(nonce))


@pytest.mark.parametrize("length", [12, 23, 25])
def test_a_long_nonce_has_24_bytes(length: int) -> None:
    with pytest.raises(ValueError, match=f"not {length}"):
        subkey_and_nonce(bytes(32), bytes(length))
