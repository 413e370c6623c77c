"""Masked CSRF tokens: what a page hands its client to show that it can read the session.

The session keeps a state of 24 characters. Each page gets it XORed with a fresh mask, so that no two are alike and
compression over many requests does not leak it (the BREACH attack).

Source: plug `lib/plug/csrf_protection.ex`.
"""

import base64
import hmac
from typing import Any, Final

from broadwing.core.verifier import b64url_decode

RANDOM_BYTES: Final = 18
"""Randomness in a state and in a mask; 24 characters of base64."""
_STATE_CHARACTERS: Final = 24
_MASKED_CHARACTERS: Final = 32


def mask(left: bytes, right: bytes) -> bytes:
    """XOR of two equally long values."""
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def masked_compare(plain: bytes, masked: bytes, used_mask: bytes) -> bool:
    """Whether `masked` is `plain` under `used_mask`, in time that depends on the lengths alone."""
    if not len(plain) == len(masked) == len(used_mask):
        return False
    return hmac.compare_digest(mask(plain, used_mask), masked)


def state(random: bytes) -> str:
    """A new state for a session, from 18 random bytes."""
    return _check(random)


def token(session_state: str, random: bytes) -> str:
    """A client's token for a session's state: 56 characters, different for each of the 18 random bytes given."""
    used_mask = _check(random)
    masked = mask(session_state.encode(), used_mask.encode())
    return base64.urlsafe_b64encode(masked).decode("ascii") + used_mask


def _check(random: bytes) -> str:
    if len(random) != RANDOM_BYTES:
        raise ValueError(f"a CSRF state or mask is made of {RANDOM_BYTES} random bytes, not {len(random)}")
    return base64.urlsafe_b64encode(random).decode("ascii")


def valid(session_state: Any, client_token: Any) -> bool:
    """Whether a client's token fits what the session holds; whatever the two are, nothing is raised."""
    if not isinstance(session_state, str) or not isinstance(client_token, str):
        return False
    if not session_state.isascii() or not client_token.isascii():
        return False
    if len(session_state) != _STATE_CHARACTERS or len(client_token) != _MASKED_CHARACTERS + _STATE_CHARACTERS:
        return False
    masked = b64url_decode(client_token[:_MASKED_CHARACTERS])
    used_mask = client_token[_MASKED_CHARACTERS:].encode()
    return masked is not None and masked_compare(session_state.encode(), masked, used_mask)
