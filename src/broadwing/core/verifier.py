"""Signed bytes as text: `protected.payload.signature`, each part base64url without padding.

This is the layout of Plug's MessageVerifier, under tokens, long-poll sessions and session cookies alike. Keys are
derived from one secret by PBKDF2, with a salt for each use.

Source: plug_crypto `lib/plug/crypto/message_verifier.ex` and `key_generator.ex`; RFC 7515, section 3.1; RFC 8018, 5.2.
"""

import base64
import hashlib
import hmac
import re
from functools import lru_cache
from typing import Final, Literal, get_args

from broadwing.exceptions import ConfigurationError

Digest = Literal["sha256", "sha384", "sha512"]
"""Hashes that sign a message."""
KeyDigest = Literal["sha1", "sha224", "sha256", "sha384", "sha512"]
"""Hashes that PBKDF2 may use."""

_HEADERS: Final[dict[Digest, str]] = {"sha256": "SFMyNTY", "sha384": "SFMzODQ", "sha512": "SFM1MTI"}
_DIGESTS: Final[dict[str, Digest]] = {header: digest for digest, header in _HEADERS.items()}
_KEY_DIGESTS: Final = get_args(KeyDigest)
_BASE64URL: Final = re.compile(r"([A-Za-z0-9_-]*)(={0,2})")
# The largest C int, OpenSSL's limit for both numbers.
_MAX_INT: Final = 2**31 - 1


def b64url_encode(data: bytes) -> str:
    """Base64 in the URL alphabet, without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def b64url_decode(text: str) -> bytes | None:
    """The bytes, or `None` when `text` is not base64url. Padding may be there, but then it has to be right."""
    match = _BASE64URL.fullmatch(text)
    # The standard library skips letters outside the alphabet and takes both alphabets; neither may pass here.
    if match is None or len(match[1]) % 4 == 1 or (match[2] and len(text) % 4):
        return None
    return base64.urlsafe_b64decode(match[1] + "=" * (-len(match[1]) % 4))


# 256: an application has a handful of secrets and salts, and a bound holds if it takes salts from its users after all.
@lru_cache(maxsize=256)
def _pbkdf2(secret: bytes, salt: bytes, iterations: int, length: int, digest: str) -> bytes:
    return hashlib.pbkdf2_hmac(digest, secret, salt, iterations, length)


def derive_key(
    secret: str | bytes,
    salt: str | bytes,
    *,
    iterations: int = 1000,
    length: int = 32,
    digest: KeyDigest = "sha256",
) -> bytes:
    """Derive a key for one use from a secret shared by many; the last 256 keys are kept.

    Args:
        secret: The key base; `str` counts as its UTF-8 bytes.
        salt: Names the use.
        iterations: At least 1. The default is Phoenix's: key bases are random, so guessing is not the danger.
        length: Bytes of the key, at least 1.
        digest: Hash that PBKDF2 uses.

    Raises:
        ConfigurationError: A number or the digest is out of range.
    """
    numbers: dict[str, object] = {"iterations": iterations, "length": length}
    for name, number in numbers.items():
        if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= _MAX_INT:
            raise ConfigurationError(f"key {name} must be a whole number from 1 to {_MAX_INT}, not {number!r:.40}")
    if digest not in _KEY_DIGESTS:
        raise ConfigurationError(f"key digest must be one of {', '.join(_KEY_DIGESTS)}, not {digest!r:.40}")
    return _pbkdf2(_bytes(secret), _bytes(salt), iterations, length, digest)


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def sign(message: bytes, key: bytes, *, digest: Digest = "sha256") -> str:
    """Sign `message`; everyone can read it, nobody without `key` can change it."""
    signed = f"{_HEADERS[digest]}.{b64url_encode(message)}"
    return f"{signed}.{b64url_encode(hmac.digest(key, signed.encode('ascii'), digest))}"


def verify(token: str, key: bytes) -> bytes | None:
    """The message of a token made by `sign` with `key`, or `None` for any other text.

    The header may name any of the three hashes. That gives nobody a choice worth having: all are HMACs under the same
    key, and there is no "none".
    """
    # At most four parts, however many dots were sent.
    parts = token.split(".", 3)
    if len(parts) != 3:
        return None
    header, payload, signature = parts
    digest = _DIGESTS.get(header)
    given = b64url_decode(signature)
    message = b64url_decode(payload)
    if digest is None or given is None or message is None:
        return None
    # Over the text as it came, before anything in it is believed; the comparison's time depends on the length alone.
    expected = hmac.digest(key, f"{header}.{payload}".encode("ascii"), digest)
    return message if hmac.compare_digest(expected, given) else None
