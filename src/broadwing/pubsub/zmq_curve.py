"""Keys of a mesh: CURVE encrypts and authenticates, and only known public keys may connect."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import zmq
from zmq.auth import load_certificate
from zmq.utils import z85

from broadwing.exceptions import ConfigurationError

_DOMAIN: Final = b"broadwing"

_HOW: Final = (
    "make one with `python -c \"import zmq.auth; zmq.auth.create_certificates('.', 'cluster')\"`, "
    "which writes cluster.key (public) and cluster.key_secret (both keys)"
)


@dataclass(frozen=True, slots=True)
class Curve:
    """Keys, all in Z85.

    Attributes:
        public: This node's own.
        secret: This node's own.
        server: The public key under which the other nodes are reached.
        allowed: Public keys that may connect to this node.
    """

    public: bytes
    secret: bytes
    server: bytes
    allowed: frozenset[bytes]

    def serve(self, socket: "zmq.Socket[bytes]") -> None:
        """Let only those with an allowed key connect to a socket that is about to be bound."""
        socket.curve_server = True
        socket.curve_secretkey = self.secret
        socket.zap_domain = _DOMAIN

    def dial(self, socket: "zmq.Socket[bytes]", server: bytes) -> None:
        """Show this node's key, and talk only to who has `server`'s secret one."""
        socket.curve_publickey = self.public
        socket.curve_secretkey = self.secret
        socket.curve_serverkey = server


def load(key: str | None, server: str | None, allowed: str | None) -> Curve | None:
    """Read the files that a URL names.

    Args:
        key: A certificate with both keys of this node, usually one pair for all nodes.
        server: A certificate with the public key of the other nodes, if it is not this node's own.
        allowed: A certificate, or a directory of them, whose owners may connect besides this node's own key.

    Returns:
        `None` when no file is named.

    Raises:
        ConfigurationError: A file cannot be read, lacks a key, or the set is incomplete.
    """
    if key is None:
        if server is not None or allowed is not None:
            raise ConfigurationError(
                "curve_server_key and curve_allowed need curve_key, the file with this node's own two keys; "
                f"without it the mesh would be neither encrypted nor closed; {_HOW}"
            )
        return None
    public, secret = _certificate(Path(key))
    if secret is None:
        raise ConfigurationError(
            f"curve_key={key} has no secret key; it has to be the file that ends in .key_secret; {_HOW}"
        )
    known = {public}
    if allowed is not None:
        place = Path(allowed)
        files = sorted(place.glob("*.key")) if place.is_dir() else [place]
        if not files:
            raise ConfigurationError(f"curve_allowed={allowed} is a directory without a file *.key")
        known.update(_certificate(file)[0] for file in files)
    return Curve(public, secret, _certificate(Path(server))[0] if server else public, frozenset(known))


def _certificate(path: Path) -> tuple[bytes, bytes | None]:
    try:
        public, secret = load_certificate(path)
        for key in (public, secret):
            if key is not None and len(z85.decode(key)) != 32:
                raise ValueError(f"a key has {len(key)} characters instead of 40")
    except (OSError, ValueError, KeyError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is no certificate of ZeroMQ ({error}); {_HOW}") from error
    return public, secret


class Doorkeeper:
    """Answers libzmq's questions who may connect (ZAP, RFC 27), in the loop instead of a thread of its own.

    Args:
        context: Whose sockets ask.
        curve: Who is allowed.

    Attributes:
        socket: Call `answer` when it can be read.
        refused: How many were turned away.
    """

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", curve: Curve) -> None:
        self._allowed = frozenset(z85.decode(key) for key in curve.allowed)
        self.refused = 0
        self.socket: zmq.Socket[bytes] = context.socket(zmq.REP)
        self.socket.linger = 0
        self.socket.bind("inproc://zeromq.zap.01")

    def answer(self) -> list[str]:
        """Answer what was asked.

        Returns:
            The addresses that were turned away.
        """
        turned_away: list[str] = []
        while True:
            try:
                version, request, _domain, address, _identity, mechanism, *keys = self.socket.recv_multipart(
                    zmq.NOBLOCK
                )
            except zmq.Again:
                return turned_away
            welcome = mechanism == b"CURVE" and len(keys) == 1 and keys[0] in self._allowed
            answer = (b"200", b"OK") if welcome else (b"400", b"this public key is not allowed here")
            self.socket.send_multipart([version, request, *answer, b"", b""], zmq.NOBLOCK)
            if not welcome:
                self.refused += 1
                turned_away.append(address.decode(errors="replace"))
