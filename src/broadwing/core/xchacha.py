"""HChaCha20: a key and 16 bytes of nonce become the key of one message.

With it ChaCha20-Poly1305, whose own nonce is too short to be drawn at random, takes nonces of 24 bytes: the first 16 go
into the subkey, the last 8 into the cipher's nonce. OpenSSL has no HChaCha20, so the ten double rounds are done here;
about 0.1 ms per message.

Source: draft-irtf-cfrg-xchacha-03, section 2.2 and 2.3; RFC 8439, section 2.1 to 2.3.
"""

import struct
from typing import Final

KEY_BYTES: Final = 32
IV_BYTES: Final = 24
_CONSTANTS: Final = struct.unpack("<4I", b"expand 32-byte k")
_MASK: Final = 0xFFFFFFFF
# The words that each quarter round mixes: the four columns of the 4x4 state, then its four diagonals.
_QUARTERS: Final = (
    (0, 4, 8, 12),
    (1, 5, 9, 13),
    (2, 6, 10, 14),
    (3, 7, 11, 15),
    (0, 5, 10, 15),
    (1, 6, 11, 12),
    (2, 7, 8, 13),
    (3, 4, 9, 14),
)


def hchacha20(key: bytes, nonce: bytes) -> bytes:
    """Derive a 32-byte subkey.

    Args:
        key: 32 bytes.
        nonce: 16 bytes.

    Raises:
        ValueError: One of them has another length.
    """
    if len(key) != KEY_BYTES or len(nonce) != 16:
        raise ValueError(f"HChaCha20 takes a key of 32 and a nonce of 16 bytes, not {len(key)} and {len(nonce)}")
    state = [*_CONSTANTS, *struct.unpack("<8I", key), *struct.unpack("<4I", nonce)]
    for _ in range(10):
        for a, b, c, d in _QUARTERS:
            for x, y, z, left in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                state[x] = (state[x] + state[y]) & _MASK
                mixed = state[z] ^ state[x]
                state[z] = (mixed << left | mixed >> (32 - left)) & _MASK
    # Unlike ChaCha20's block, the initial state is not added: only words that hide it are given out.
    return struct.pack("<8I", *state[:4], *state[12:])


def subkey_and_nonce(key: bytes, iv: bytes) -> tuple[bytes, bytes]:
    """Split a 24-byte nonce: the key and the 12-byte nonce for ChaCha20-Poly1305 (section 2.3 of the draft)."""
    if len(iv) != IV_BYTES:
        raise ValueError(f"XChaCha20 takes a nonce of {IV_BYTES} bytes, not {len(iv)}")
    return hchacha20(key, iv[:16]), bytes(4) + iv[16:]
