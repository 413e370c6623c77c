"""What can go wrong for a client.

ClientError
├── ConnectFailed           no connection could be made in time, or the server refused it
├── Disconnected            the connection was closed for good
├── JoinError               the server refused a join
├── JoinTimeout             a join was not answered in time; also a TimeoutError
├── PushError               a push was answered with another status than "ok"
├── PushTimeout             a push was not answered in time; also a TimeoutError
├── ChannelClosed           the channel or the client ended before the answer
├── BufferFull              too much waits to be sent
└── PayloadMisfit           a payload is not of the type that was asked for
"""

from typing import Any

from broadwing.exceptions import BroadwingError


class ClientError(BroadwingError):
    """Root of what `broadwing.client` raises, besides errors in its use."""


class ConnectFailed(ClientError, ConnectionError):
    """There is no connection: nobody listens, the handshake was refused, or it took too long.

    Attributes:
        status: HTTP status of the refusal, if the server answered.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Disconnected(ClientError, ConnectionError):
    """The server closed the connection for good (1000), so nothing more will arrive until `socket.connect()`.

    Attributes:
        code: The close code.
        reason: The server's reason, often empty.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"the connection was closed with {code} {reason}".rstrip())
        self.code = code
        self.reason = reason


class JoinError(ClientError):
    """The server refused to let the client into a topic.

    Not `broadwing.JoinError`, which a channel of a server raises: one that goes on to a client of one's own should be
    raised on purpose.

    Attributes:
        topic: The topic.
        response: What the server said, e.g. `{"reason": "unauthorized"}`.
    """

    def __init__(self, topic: str, response: Any) -> None:
        super().__init__(f"the join of {topic!r} was refused: {response!r}")
        self.topic = topic
        self.response = response


class JoinTimeout(ClientError, TimeoutError):
    """A join was not answered in time, or there was no connection in all that time.

    Attributes:
        topic: The topic.
    """

    def __init__(self, topic: str, timeout: float, last: BaseException | None) -> None:
        because = f"; the last attempt to connect failed with {last!r}" if last is not None else ""
        super().__init__(f"the join of {topic!r} was not answered within {timeout:g} s{because}")
        self.topic = topic


class PushError(ClientError):
    """A push was answered with `error`, or a status of the application's own.

    Attributes:
        topic: Where it went.
        event: What was pushed.
        status: The reply's status.
        response: The reply's response.
    """

    def __init__(self, topic: str, event: str, status: str, response: Any) -> None:
        super().__init__(f"{event!r} on {topic!r} was answered with {status}: {response!r}")
        self.topic = topic
        self.event = event
        self.status = status
        self.response = response


class PushTimeout(ClientError, TimeoutError):
    """A push was not answered in time. If it was sent the server may have handled it; if not, it never will be sent.

    Attributes:
        topic: Where it was to go.
        event: What was pushed.
        sent: Whether it had been sent.
    """

    def __init__(self, topic: str, event: str, timeout: float, sent: bool) -> None:
        what = (
            "sent and not answered; use channel.send() for events that have no reply"
            if sent
            else "not sent: not joined"
        )
        super().__init__(f"{event!r} on {topic!r} timed out after {timeout:g} s, {what}")
        self.topic = topic
        self.event = event
        self.sent = sent


class ChannelClosed(ClientError):
    """The channel was left, closed by the server, or ended with its client, before there was an answer.

    Attributes:
        topic: The channel's topic.
    """

    def __init__(self, topic: str, event: str) -> None:
        super().__init__(f"{topic!r} was closed before {event!r} was answered")
        self.topic = topic


class BufferFull(ClientError):
    """So many messages wait to be sent or answered that one more is refused; see `max_pending`."""


class PayloadMisfit(ClientError):
    """A payload is not what the given type says.

    Attributes:
        field: Where, as a path such as `body` or `users[0].name`; empty for the payload itself.
    """

    def __init__(self, what: str, field: str, message: str) -> None:
        where = f" in its field {field!r}" if field else ""
        super().__init__(f"{what} does not fit{where}: {message}")
        self.field = field
