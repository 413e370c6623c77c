"""Session cookies as Plug writes them, so that a page served by Phoenix or by Python can vouch for a socket.

A browser sends its cookies with every WebSocket handshake, whichever site opened it. The session is therefore handed
out only to a client that also shows the CSRF token of a page of ours.

Source: plug `lib/plug/session/cookie.ex`, `lib/plug/conn/cookies.ex`; phoenix `lib/phoenix/socket/transport.ex`.
"""

import secrets
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, Final

from broadwing import encryptor
from broadwing.core import csrf, etf, verifier
from broadwing.core.verifier import KeyDigest
from broadwing.core.xchacha import IV_BYTES
from broadwing.exceptions import ConfigurationError, EtfError, MissingSecret

_MIN_KEY_BASE_BYTES: Final = 64  # Plug refuses less for cookies: they last long and can be attacked offline
_WHITESPACE: Final = frozenset(" \t\r\n\v\f")


def make_csrf_state() -> str:
    """A new CSRF state, 24 characters, to be put into the session under its `csrf_token_key`."""
    return csrf.state(secrets.token_bytes(csrf.RANDOM_BYTES))


def make_csrf_token(state: str) -> str:
    """A CSRF token for a page, 56 characters: different at each call, valid as long as the session holds `state`.

    The page's client sends it as the parameter `_csrf_token` when it connects.

    Raises:
        ValueError: `state` did not come from `make_csrf_state`.
    """
    return csrf.token(state, secrets.token_bytes(csrf.RANDOM_BYTES))


@dataclass(frozen=True, slots=True)
class CookieSession:
    """Where the session is found and how it is protected: the options of Plug's cookie store.

    Args:
        key: Name of the cookie.
        signing_salt: Names the use of the signing key; the same as in the application that writes the cookie.
        encryption_salt: Given when the cookie is encrypted rather than signed; needs the `crypto` extra.
        csrf_token_key: Key inside the session that holds the CSRF state.
        key_iterations: Rounds of PBKDF2.
        key_length: Bytes of the derived keys; 32 when encrypted.
        key_digest: Hash in PBKDF2.

    Raises:
        ConfigurationError: `signing_salt` is empty, or `key` cannot be a cookie's name.
    """

    key: str = "_app_key"
    _: KW_ONLY
    signing_salt: str
    encryption_salt: str | None = None
    csrf_token_key: str = "_csrf_token"  # noqa: S105 - the name of a key, no secret
    key_iterations: int = 1000
    key_length: int = 32
    key_digest: KeyDigest = "sha256"

    def __post_init__(self) -> None:
        if not self.signing_salt:
            raise ConfigurationError(
                "CookieSession needs signing_salt=..., the same text as in the application that writes the cookie"
            )
        if not self.key or not self.key.isascii() or _WHITESPACE.intersection(self.key) or set("=;") & set(self.key):
            raise ConfigurationError(f"{self.key!r} cannot be a cookie's name: ASCII without blanks, '=' and ';'")

    def load(
        self,
        secret_key_base: str | None,
        cookie_header: str | None,
        csrf_token: str | None,
        *,
        check_csrf: bool = True,
    ) -> dict[Any, Any] | None:
        """Read the session a client sent.

        Args:
            secret_key_base: The endpoint's secret, at least 64 bytes.
            cookie_header: Value of the `cookie` header; several are joined by `"; "`.
            csrf_token: The client's `_csrf_token` parameter.
            check_csrf: Whether the session is withheld from a client without the right token.

        Returns:
            The session, a fresh dict; `None` when the cookie or the CSRF token is missing or invalid.

        Raises:
            MissingSecret: There is no `secret_key_base`.
            ConfigurationError: It is too short, or the cookie is encrypted and `cryptography` is not installed.
        """
        key_base = _checked(secret_key_base)
        cookie = None if cookie_header is None else find_cookie(cookie_header, self.key)
        if cookie is None:
            return None
        body = self._open(key_base, cookie)
        if body is None:
            return None
        try:
            session = etf.decode(body)
        except EtfError:
            return None
        if not isinstance(session, dict):
            return None
        if check_csrf and not csrf.valid(session.get(self.csrf_token_key), csrf_token):
            return None
        return session

    def dump(self, secret_key_base: str | None, session: Mapping[str, Any]) -> str:
        """Make the cookie's value for `session`; it needs no quoting in a `set-cookie` header.

        Args:
            secret_key_base: The endpoint's secret, at least 64 bytes.
            session: Values that are external terms: `None`, bool, int, float, str, bytes, list, tuple, dict.

        Raises:
            EtfError: A value is no external term.
            MissingSecret: There is no `secret_key_base`.
            ConfigurationError: It is too short, or encryption is wanted and `cryptography` is not installed.
        """
        key_base = _checked(secret_key_base)
        body = etf.encode(dict(session))
        if self.encryption_salt is None:
            return verifier.sign(body, self._derive(key_base, self.signing_salt))
        key = self._derive(key_base, self.encryption_salt)
        return encryptor.encrypt(body, key, iv=secrets.token_bytes(IV_BYTES))

    def _open(self, key_base: str, cookie: str) -> bytes | None:
        signing_key = self._derive(key_base, self.signing_salt)
        if self.encryption_salt is None:
            return verifier.verify(cookie, signing_key)
        key = self._derive(key_base, self.encryption_salt)
        return encryptor.decrypt(cookie, key, sign_secret=signing_key)

    def _derive(self, key_base: str, salt: str) -> bytes:
        return verifier.derive_key(
            key_base, salt, iterations=self.key_iterations, length=self.key_length, digest=self.key_digest
        )


def _checked(secret_key_base: str | None) -> str:
    if not secret_key_base:
        raise MissingSecret(
            "session cookies need the endpoint's secret_key_base; give it one: Endpoint(secret_key_base=...)"
        )
    if len(secret_key_base.encode()) < _MIN_KEY_BASE_BYTES:
        raise ConfigurationError(
            f"a secret_key_base of {len(secret_key_base.encode())} bytes is too short for session cookies; at least "
            f"{_MIN_KEY_BASE_BYTES} are needed. Make one with: python -c 'import secrets; print(secrets.token_urlsafe(48))'"
        )
    return secret_key_base


def find_cookie(header: str, name: str) -> str | None:
    """The value of the first cookie called `name`, read as Plug reads it: no quotes, no escapes.

    The first counts because browsers send the one with the longest path first (RFC 6265, section 5.4). A pair with
    blanks in its name, or with line breaks or tabs in its value, is skipped.
    """
    for pair in header.split(";"):
        found, equals, value = pair.lstrip(" \t").partition("=")
        if equals and found == name and not (_WHITESPACE - {" "}).intersection(value):
            return value.rstrip(" ")
    return None
