"""Encrypted bytes as text: XChaCha20-Poly1305 under the prefix `XCP.`, and the older AES-GCM layout for reading.

This is the layout of Plug's MessageEncryptor, under encrypted tokens and encrypted session cookies. The ciphers come
from the `cryptography` package, which is looked for at the first use: most applications only sign.

Source: plug_crypto `lib/plug/crypto/message_encryptor.ex`; draft-irtf-cfrg-xchacha-03, section 2.3; RFC 7518, 4.7.
"""

from collections.abc import Iterable
from typing import Any, Final

from broadwing.core.verifier import b64url_decode, b64url_encode
from broadwing.core.xchacha import IV_BYTES, KEY_BYTES, subkey_and_nonce
from broadwing.exceptions import ConfigurationError

_XCHACHA: Final = "XCP."
_LEGACY: Final = "QTEyOEdDTQ."
_TAG_BYTES: Final = 16
_GCM_IV_BYTES: Final = 12
_AES_KEY_BYTES: Final = (16, 24, 32)
# The name of the first cipher; all later ones authenticate it still, so that old and new messages share one call.
DEFAULT_AAD: Final = b"A128GCM"


def _ciphers() -> tuple[Any, Any, type[Exception]]:
    try:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
    except ImportError as error:
        raise ConfigurationError(
            "encrypted tokens and sessions need the 'cryptography' package, which is not installed; "
            "run: pip install 'broadwing[crypto]'. Signed ones (Token.sign, Token.verify) work without it"
        ) from error
    return ChaCha20Poly1305, AESGCM, InvalidTag


def _joined(aad: bytes | Iterable[bytes]) -> bytes:
    return aad if isinstance(aad, bytes) else b"".join(aad)


def encrypt(message: bytes, key: bytes, *, iv: bytes, aad: bytes | Iterable[bytes] = DEFAULT_AAD) -> str:
    """Encrypt `message`; nobody without `key` can read or change it.

    Args:
        message: Any bytes.
        key: 32 bytes.
        iv: 24 bytes from a cryptographic random source, never used before with this key.
        aad: What the reader must know as well; parts count as their concatenation.

    Raises:
        ConfigurationError: The key has another length, or `cryptography` is not installed.
    """
    if len(key) != KEY_BYTES:
        raise ConfigurationError(f"encryption takes a key of {KEY_BYTES} bytes, not {len(key)}; leave key_length at 32")
    chacha, _, _ = _ciphers()
    subkey, nonce = subkey_and_nonce(key, iv)
    sealed = chacha(subkey).encrypt(nonce, message, _joined(aad))
    # The library puts the tag last, Erlang's binding hands it over apart; the layout has it before the ciphertext.
    return _XCHACHA + b64url_encode(iv + sealed[-_TAG_BYTES:] + sealed[:-_TAG_BYTES])


def decrypt(
    text: str, key: bytes, *, sign_secret: bytes = b"", aad: bytes | Iterable[bytes] = DEFAULT_AAD
) -> bytes | None:
    """The message of a text made by `encrypt` with `key`, or `None` for any other text.

    Args:
        text: What a peer sent.
        key: 32 bytes; messages of plug_crypto 1 may use 16 or 24.
        sign_secret: Second secret of messages of plug_crypto 1; newer ones have none.
        aad: As it was given to `encrypt`.

    Raises:
        ConfigurationError: The key has another length, or `cryptography` is not installed.
    """
    if len(key) not in _AES_KEY_BYTES:
        raise ConfigurationError(
            f"decryption takes a key of 32, 24 or 16 bytes, not {len(key)}; leave key_length at 32"
        )
    chacha, aes, invalid_tag = _ciphers()
    try:
        if text.startswith(_XCHACHA) and len(key) == KEY_BYTES:
            return _open_xchacha(chacha, text[len(_XCHACHA) :], key, _joined(aad))
        if text.startswith(_LEGACY):
            return _open_legacy(aes, text[len(_LEGACY) :], key, sign_secret, _joined(aad))
    except invalid_tag:
        pass
    return None


def _open_xchacha(chacha: Any, text: str, key: bytes, aad: bytes) -> bytes | None:
    data = b64url_decode(text)
    if data is None or len(data) < IV_BYTES + _TAG_BYTES:
        return None
    subkey, nonce = subkey_and_nonce(key, data[:IV_BYTES])
    tag, ciphertext = data[IV_BYTES : IV_BYTES + _TAG_BYTES], data[IV_BYTES + _TAG_BYTES :]
    message: bytes = chacha(subkey).decrypt(nonce, ciphertext + tag, aad)
    return message


def _open_legacy(aes: Any, text: str, key: bytes, sign_secret: bytes, aad: bytes) -> bytes | None:
    parts = [b64url_decode(part) for part in text.split(".", 4)]
    if len(parts) != 4:
        return None
    wrapped, iv, ciphertext, tag = parts
    if wrapped is None or iv is None or ciphertext is None or tag is None:
        return None
    if len(iv) != _GCM_IV_BYTES or len(tag) != _TAG_BYTES:
        return None
    if len(wrapped) - _TAG_BYTES - _GCM_IV_BYTES not in _AES_KEY_BYTES:
        return None
    content_key = aes(key).decrypt(wrapped[-_GCM_IV_BYTES:], wrapped[:-_GCM_IV_BYTES], sign_secret)
    message: bytes = aes(content_key).decrypt(iv, ciphertext + tag, aad)
    return message
