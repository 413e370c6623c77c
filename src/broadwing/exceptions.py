"""Every error Broadwing raises, by who can act on it.

BroadwingError
├── ConfigurationError      the application's set-up is wrong; fix the code or the options
│   └── MissingSecret       no `secret_key_base` where one is needed
├── LocalProtocolError      this side broke a rule of channels, e.g. pushed before joining
│   ├── AlreadyTracked      a presence is there already
│   └── NotTracked          a presence to update is not there
├── RemoteProtocolError     the peer broke a rule of the wire; carries the close code it gets
│   ├── InvalidMessage      a message that no serializer can read
│   └── BadRequest          an HTTP request that is answered with an error status
│       └── VersionError    no serializer fits the `vsn` a client asks for
│           └── InvalidVersion  that `vsn` is no version at all
├── EtfError                a value that no external term holds, or bytes that are no acceptable one
├── PubSubUnavailable       the bus between nodes cannot take a message now
├── EnvelopeError           a message on the bus that is not one of ours
├── JoinError               raised by `Channel.join` to refuse a client
├── client.ClientError      what `broadwing.client` raises; a tree of its own in client/errors.py
├── ConnectError            raised by `Socket.connect` to refuse a connection
└── TokenError
    ├── TokenMissing        there was no token at all
    ├── TokenInvalid        not ours: malformed, another secret, or changed on the way
    └── TokenExpired        ours, but too old
"""

from typing import Any


class BroadwingError(Exception):
    """Root of all errors that Broadwing raises on purpose."""


class ConfigurationError(BroadwingError):
    """The application's set-up is wrong: an option, a route, a missing method."""


class MissingSecret(ConfigurationError):
    """A token or session needs `secret_key_base` and none is configured."""


class LocalProtocolError(BroadwingError):
    """The application used a channel or socket in a way the protocol does not allow."""


class AlreadyTracked(LocalProtocolError):
    """This owner tracks this key on this topic already."""


class NotTracked(LocalProtocolError):
    """This owner does not track this key on this topic."""


class RemoteProtocolError(BroadwingError):
    """The peer broke a rule of the wire.

    Attributes:
        code: WebSocket close code the peer is sent.
    """

    def __init__(self, message: str, code: int = 1002) -> None:
        super().__init__(message)
        self.code = code


class InvalidMessage(RemoteProtocolError):
    """A frame arrived whole, but no message can be read from it; the connection ends with 1011."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 1011)


class BadRequest(RemoteProtocolError):
    """An HTTP request that is refused before anything is built for it.

    Attributes:
        status: HTTP status of the answer.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class VersionError(BadRequest):
    """No serializer of the mount fits the `vsn` that a client asks for; answered with 403, the text is for the log."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 403)


class InvalidVersion(VersionError):
    """The `vsn` that a client asks for is not `MAJOR.MINOR.PATCH`."""


class EtfError(BroadwingError):
    """A value has no external term form, or bytes are no external term that is accepted."""


class PubSubUnavailable(BroadwingError):
    """The adapter's way to the other nodes is full or closed."""


class EnvelopeError(BroadwingError):
    """A message on the bus cannot be read: foreign, damaged, or of another version."""


class JoinError(BroadwingError):
    """Raise it in `Channel.join` to refuse the client.

    Args:
        response: What the client finds in its error reply, e.g. `{"reason": "unauthorized"}`.
    """

    def __init__(self, response: Any = None) -> None:
        super().__init__(response)
        self.response: Any = {} if response is None else response


class ConnectError(BroadwingError):
    """Raise it in `Socket.connect` to refuse the connection.

    Args:
        reason: Handed to the mount's `error_handler`; the client sees what that answers (403 by default).
    """

    def __init__(self, reason: Any = None) -> None:
        super().__init__(reason)
        self.reason = reason


class TokenError(BroadwingError):
    """A token was not accepted."""


class TokenMissing(TokenError):
    """There was no token: `None` was given."""


class TokenInvalid(TokenError):
    """The token is not one of ours, or was changed on the way."""


class TokenExpired(TokenError):
    """The token is ours, but older than its `max_age`."""
