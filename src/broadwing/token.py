"""Tokens that clients carry: signed or encrypted data with a time limit, the same bytes as Phoenix.Token's.

A Phoenix application and a Broadwing one that share `secret_key_base` accept each other's tokens, so one can log users
in and the other serve their sockets.

Source: phoenix `lib/phoenix/token.ex`; plug_crypto `lib/plug/crypto.ex`.
"""

import math
import secrets
import time
from typing import Any, Final, Protocol, TypeAlias

from msgspec import UNSET, UnsetType

from broadwing import encryptor
from broadwing.core import etf, verifier
from broadwing.core.verifier import KeyDigest
from broadwing.core.xchacha import IV_BYTES
from broadwing.exceptions import (
    ConfigurationError,
    EtfError,
    MissingSecret,
    TokenExpired,
    TokenInvalid,
    TokenMissing,
)

_MIN_KEY_BASE_BYTES: Final = 20  # Phoenix's limit for a key base given as text
_DAY: Final = 86_400
_INFINITY: Final = etf.Atom("infinity")
# Keys of the oldest bodies, %{data: ..., signed: ...}; like {data, signed} of plug_crypto 1.1 they name no max_age.
_DATA: Final = etf.Atom("data")
_SIGNED: Final = etf.Atom("signed")


class HasSecretKeyBase(Protocol):
    """An endpoint, or whatever else knows the secret."""

    @property
    def secret_key_base(self) -> str | None: ...


class HasEndpoint(Protocol):
    """A socket, a channel, or whatever else knows its endpoint."""

    @property
    def endpoint(self) -> HasSecretKeyBase | None: ...


Context: TypeAlias = str | HasSecretKeyBase | HasEndpoint
"""Where the key base comes from: itself, at least 20 bytes long, or an object that has or leads to one."""


class Token:
    """Sign, verify, encrypt and decrypt tokens.

    The arguments `key_iterations`, `key_length` and `key_digest` say how the key is derived (PBKDF2) from the key base
    and the salt; both sides have to use the same. Deriving takes about 0.3 ms and is done once, as keys are cached;
    afterwards signing or verifying takes about 0.02 ms and encrypting or decrypting 0.1 ms.
    """

    @staticmethod
    def sign(
        context: Context,
        salt: str,
        data: Any,
        *,
        signed_at: float | None = None,
        max_age: float = _DAY,
        key_iterations: int = 1000,
        key_length: int = 32,
        key_digest: KeyDigest = "sha256",
        compressed: bool = False,
    ) -> str:
        """Make a token that everybody can read and nobody can change.

        Args:
            context: Endpoint, socket, channel, or the key base itself (a `str` of at least 20 bytes).
            salt: Names the use, e.g. `"user socket"`; a token for one salt is invalid under any other.
            data: What to carry: `None`, bool, int, float, str, bytes, list, tuple, dict, `Atom`.
            signed_at: Seconds since 1970 from which the age counts; now when left out.
            max_age: Seconds until the token expires, unless `verify` says otherwise; `math.inf` for never.
            key_iterations: Rounds of PBKDF2.
            key_length: Bytes of the derived key.
            key_digest: Hash in PBKDF2; the signature is HMAC-SHA256 in any case.
            compressed: Deflate the data when that makes it smaller.

        Returns:
            ASCII text that fits a URL as it is.

        Raises:
            EtfError: `data` holds a value that no Erlang term holds, or is larger than 1 MB.
            MissingSecret: The context has no key base.
            ConfigurationError: The key base is too short, or another argument is out of range.
        """
        key = _key(context, salt, key_iterations, key_length, key_digest)
        return verifier.sign(_body(data, signed_at, max_age, compressed), key)

    @staticmethod
    def verify(
        context: Context,
        salt: str,
        token: str | None,
        *,
        max_age: float | UnsetType = UNSET,
        key_iterations: int = 1000,
        key_length: int = 32,
        key_digest: KeyDigest = "sha256",
        now: float | None = None,
    ) -> Any:
        """Return the data of a token made by `sign`.

        Args:
            context: As for `sign`.
            salt: As for `sign`.
            token: What the client sent; a value that is no `str` counts as invalid.
            max_age: Seconds a token may be old, in place of what was signed in; `math.inf` for any age.
            key_iterations, key_length, key_digest: As for `sign`.
            now: Seconds since 1970 at which to judge the age; the system's clock when left out.

        Raises:
            TokenMissing: `token` is `None`.
            TokenInvalid: It is not one of ours, was changed, or was signed in the future.
            TokenExpired: It is ours, and too old.
            MissingSecret: The context has no key base.
            ConfigurationError: The key base is too short, or another argument is out of range.
        """
        key = _key(context, salt, key_iterations, key_length, key_digest)
        now_ms = _now_ms(now)
        limit = _limit(max_age)
        return _accept(verifier.verify(_text(token), key), limit, now_ms)

    @staticmethod
    def encrypt(
        context: Context,
        secret: str,
        data: Any,
        *,
        signed_at: float | None = None,
        max_age: float = _DAY,
        key_iterations: int = 1000,
        key_length: int = 32,
        key_digest: KeyDigest = "sha256",
        compressed: bool = False,
    ) -> str:
        """Make a token that only the holders of the key base can read. Needs the `crypto` extra.

        Args:
            context: As for `sign`.
            secret: Names the use, as `salt` does for `sign`.
            data: As for `sign`.
            signed_at, max_age, key_iterations, key_digest: As for `sign`.
            key_length: 32; the cipher takes no other.
            compressed: As for `sign`. The token's length then tells something of the data.

        Raises:
            EtfError: As for `sign`.
            MissingSecret: The context has no key base.
            ConfigurationError: As for `sign`; also when the `cryptography` package is not installed.
        """
        key = _key(context, secret, key_iterations, key_length, key_digest)
        body = _body(data, signed_at, max_age, compressed)
        return encryptor.encrypt(body, key, iv=secrets.token_bytes(IV_BYTES))

    @staticmethod
    def decrypt(
        context: Context,
        secret: str,
        token: str | None,
        *,
        max_age: float | UnsetType = UNSET,
        key_iterations: int = 1000,
        key_length: int = 32,
        key_digest: KeyDigest = "sha256",
        now: float | None = None,
    ) -> Any:
        """Return the data of a token made by `encrypt`; those of plug_crypto 1 are read too.

        Args:
            context: As for `verify`.
            secret: As for `encrypt`.
            token, max_age, key_iterations, key_digest, now: As for `verify`.
            key_length: As for `encrypt`; 16 and 24 read tokens of plug_crypto 1 that were made so.

        Raises:
            TokenMissing, TokenInvalid, TokenExpired: As for `verify`.
            MissingSecret: The context has no key base.
            ConfigurationError: As for `verify`; also when the `cryptography` package is not installed.
        """
        key = _key(context, secret, key_iterations, key_length, key_digest)
        now_ms = _now_ms(now)
        limit = _limit(max_age)
        return _accept(encryptor.decrypt(_text(token), key), limit, now_ms)


def _key(context: Context, salt: str, iterations: int, length: int, digest: KeyDigest) -> bytes:
    if not isinstance(salt, str):
        raise ConfigurationError(f"the salt must be a str that names the token's use, not a {type(salt).__name__}")
    return verifier.derive_key(_key_base(context), salt, iterations=iterations, length=length, digest=digest)


def _key_base(context: Context) -> str:
    if isinstance(context, str):
        if len(context.encode()) < _MIN_KEY_BASE_BYTES:
            raise ConfigurationError(
                f"a key base of {len(context.encode())} bytes is too short; at least {_MIN_KEY_BASE_BYTES} are needed. "
                "Make one with: python -c 'import secrets; print(secrets.token_urlsafe(48))'"
            )
        return context
    for holder in (context, getattr(context, "endpoint", None)):
        key_base = getattr(holder, "secret_key_base", None)
        if key_base:
            if not isinstance(key_base, str):
                raise ConfigurationError(f"secret_key_base must be a str, not {type(key_base).__name__}")
            return key_base
    raise MissingSecret(
        f"no secret_key_base found in {type(context).__name__}; give an endpoint made with secret_key_base=..., a socket "
        f"or channel of it, or the key base itself as a str of at least {_MIN_KEY_BASE_BYTES} bytes"
    )


def _is_number(value: Any) -> bool:
    # NaN, the one value that is not equal to itself, would pass every comparison with an age.
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _limit(max_age: float | UnsetType) -> float | UnsetType:
    if max_age is not UNSET and not _is_number(max_age):
        raise ConfigurationError(f"max_age takes seconds as int or float, or math.inf, not {max_age!r:.40}")
    return max_age


def _milliseconds(name: str, seconds: float) -> int:
    if _is_number(seconds) and abs(product := seconds * 1000) != math.inf:
        return int(product)
    raise ConfigurationError(f"{name} takes seconds since 1970 as int or float, not {seconds!r:.40}")


def _now_ms(now: float | None) -> int:
    return time.time_ns() // 1_000_000 if now is None else _milliseconds("now", now)


def _body(data: Any, signed_at: float | None, max_age: float, compressed: bool) -> bytes:
    signed = _now_ms(None) if signed_at is None else _milliseconds("signed_at", signed_at)
    limit = _INFINITY if max_age == math.inf else _limit(max_age)
    if limit == -math.inf:
        raise ConfigurationError("max_age cannot be -math.inf in a token; 0 makes one that has expired already")
    return etf.encode((data, signed, limit), compressed=compressed)


def _text(token: Any) -> str:
    if token is None:
        raise TokenMissing("there is no token")
    if not isinstance(token, str):
        # Parameters are the client's: `?token[]=x` makes a list of it.
        raise TokenInvalid(f"a token is a str, not a {type(token).__name__}")
    return token


def _accept(body: bytes | None, max_age: float | UnsetType, now_ms: int) -> Any:
    """The data of an authenticated body, if it is young enough."""
    if body is None:
        raise TokenInvalid("the token was not made with this key base and salt, or was changed on the way")
    data, signed, limit = _parts(body)
    if max_age is not UNSET:
        limit = max_age
    if limit in (_INFINITY, math.inf):
        return data
    # Whoever has the key can sign anything; it is still the token that is at fault then, not the program.
    if not _is_number(limit) or not isinstance(signed, int) or isinstance(signed, bool):
        raise TokenInvalid("the token's time of signing or max_age is no number")
    if limit <= 0:
        raise TokenExpired("the token has a max_age of 0 or less")
    if signed > now_ms:
        raise TokenInvalid("the token was signed in the future; compare the clocks of the machines")
    lifetime_ms = limit * 1000
    # A float near the largest becomes infinite here: such a token never expires.
    if lifetime_ms != math.inf and signed + int(lifetime_ms) < now_ms:
        raise TokenExpired("the token is older than its max_age")
    return data


def _parts(body: bytes) -> tuple[Any, Any, Any]:
    try:
        term = etf.decode(body)
    except EtfError as error:
        raise TokenInvalid(f"the token's body cannot be read: {error}") from error
    if isinstance(term, tuple) and len(term) == 3:
        return term
    if isinstance(term, tuple) and len(term) == 2:
        return *term, _DAY
    if isinstance(term, dict) and _DATA in term and _SIGNED in term:
        return term[_DATA], term[_SIGNED], _DAY
    raise TokenInvalid("the token's body is not {data, signed_at, max_age}")
