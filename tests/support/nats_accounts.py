"""An operator, an account and a user of NATS, as `nsc` makes them: what credentials files are for."""

import json
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nkeys


class Key:
    """A pair of keys.

    Attributes:
        seed: The private half, as files hold it.
        public: The public half.
    """

    def __init__(self, kind: int) -> None:
        self.seed = bytes(nkeys.encode_seed(secrets.token_bytes(32), kind)).decode()
        self._pair = nkeys.from_seed(bytearray(self.seed.encode()))
        self.public = bytes(self._pair.public_key).decode()

    def issue(self, kind: str, subject: "Key", **claims: Any) -> str:
        """Sign claims about somebody."""
        body = {
            "jti": secrets.token_hex(16),
            "iat": 1_700_000_000,
            "iss": self.public,
            "name": kind,
            "sub": subject.public,
            "nats": {"type": kind, "version": 2, **claims},
        }
        head = {"typ": "JWT", "alg": "ed25519-nkey"}
        text = f"{_base64(json.dumps(head).encode())}.{_base64(json.dumps(body).encode())}"
        return f"{text}.{_base64(bytes(self._pair.sign(text.encode())))}"


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


@dataclass
class Accounts:
    """What a server and a client need.

    Attributes:
        config: The server's configuration.
        credentials: The user's file.
    """

    config: str
    credentials: Path


def make_accounts(folder: Path) -> Accounts:
    """Make them; files go to `folder`."""
    operator, account, user = (
        Key(kind) for kind in (nkeys.PREFIX_BYTE_OPERATOR, nkeys.PREFIX_BYTE_ACCOUNT, nkeys.PREFIX_BYTE_USER)
    )
    unlimited = {"subs": -1, "data": -1, "payload": -1}
    limits = {**unlimited, "imports": -1, "exports": -1, "wildcards": True, "conn": -1, "leaf": -1}
    account_jwt = operator.issue("account", account, limits=limits)
    user_jwt = account.issue("user", user, pub={}, sub={}, **unlimited)
    credentials = folder / "user.creds"
    credentials.write_text(
        f"-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )
    operator_jwt = operator.issue("operator", operator)
    config = f"operator: {operator_jwt}\nresolver: MEMORY\nresolver_preload: {{ {account.public}: {account_jwt} }}\n"
    return Accounts(config, credentials)
