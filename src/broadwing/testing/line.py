"""A client's line without a network: what a client sends is handed in, what it would be sent goes into an inbox."""

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from broadwing.channel_runner import ChannelRunner
from broadwing.connection import Connection
from broadwing.core.codec import BYTES, ENCODE_ERRORS, decode, encode, unencodable
from broadwing.core.frames import BINARY, TEXT
from broadwing.core.json_v2 import BROADCAST, PUSH
from broadwing.exceptions import LocalProtocolError
from broadwing.testing.inbox import Inbox, Received


class _Frames:
    """Frames are the opcode and the message."""

    def frame(self, opcode: int, data: bytes) -> tuple[int, bytes]:
        return opcode, data

    def is_large(self, frame: Any) -> bool:
        return False


_FORMAT: Final = _Frames()


class Line:
    """A transport, and the client at its other end, who speaks the wire version `vsn`.

    Attributes:
        inbox: What the client has been sent.
        closed_with: The close code, once the line is down; 1000 when the client closed it.
    """

    format = _FORMAT

    def __init__(self, connection: Connection, name: str, vsn: str) -> None:
        self.connection = connection
        self.name = name
        self.vsn = vsn
        self.inbox = Inbox()
        self.closed_with: int | None = None
        self._refs = 0
        self._reading = True
        self._unread: deque[tuple[int, bytes]] = deque()
        self._left: list[ChannelRunner] = []
        connection.opened(self)

    # The transport contract.

    @property
    def sink(self) -> "Line":
        """The line takes frames itself."""
        return self

    def write(self, frame: Any) -> None:
        """Take a frame."""
        if self.closed_with is None:
            self.inbox.put(received(self.vsn, *frame))

    write_large = write

    def send(self, opcode: int, data: bytes) -> None:
        """Take a message."""
        self.write((opcode, data))

    def close(self, code: int, reason: str = "") -> None:
        """End the line."""
        self.connection.closing()
        if self.closed_with is None:
            self.closed_with = code
            self._left = self.connection.runners
            self.connection.closed(("shutdown", "closed"))
            self.inbox.end()

    def pause_reading(self) -> None:
        """Keep what the client sends."""
        self._reading = False

    def resume_reading(self) -> None:
        """Hand on what was kept, and what comes."""
        self._reading = True
        while self._unread and self._reading and self.closed_with is None:
            self.connection.received(*self._unread.popleft())

    # The client.

    @property
    def at_work(self) -> list[Any]:
        """The tasks of channels that still work, those of a closed line among them."""
        runners = {*self.connection.runners, *self._left}
        return [runner.task for runner in runners if runner.task is not None]

    def ref(self) -> str:
        """The next of the client's numbers."""
        self._refs += 1
        return str(self._refs)

    def say(self, join_ref: str | None, ref: str, topic: str, event: str, payload: Any) -> None:
        """Send a message as this client does; once the line is down it gets nowhere.

        Raises:
            LocalProtocolError: The wire version cannot carry the payload.
        """
        frame = said(self.vsn, join_ref, ref, topic, event, payload)
        if self.closed_with is not None:
            return
        if self._reading and not self._unread:
            self.connection.received(*frame)
        else:
            self._unread.append(frame)


def said(vsn: str, join_ref: str | None, ref: str, topic: str, event: str, payload: Any) -> tuple[int, bytes]:
    """Write a client's message."""
    if isinstance(payload, BYTES):
        if vsn == "1.0.0":
            raise LocalProtocolError("a payload of bytes cannot be pushed over wire version 1.0.0; use wire='2.0.0'")
        fields = [(field or "").encode() for field in (join_ref, ref, topic, event)]
        return BINARY, bytes((PUSH, *map(len, fields))) + b"".join(fields) + bytes(payload)
    try:
        if vsn == "1.0.0":
            named = {"topic": topic, "event": event, "payload": payload, "ref": ref, "join_ref": join_ref}
            return TEXT, encode(named)
        return TEXT, encode((join_ref, ref, topic, event, payload))
    except ENCODE_ERRORS as error:
        raise unencodable(error) from error


def received(vsn: str, opcode: int, data: bytes) -> Received:
    """Read a server's message."""
    if opcode == TEXT:
        value = decode(data)
        if vsn == "1.0.0":
            return Received(value["topic"], value["event"], value["payload"], value["ref"])
        join_ref, ref, topic, event, payload = value
        return Received(topic, event, payload, ref, join_ref)
    kind = data[0]
    names: tuple[str, ...] = ("join_ref", "topic", "event")
    if kind != PUSH:
        names = ("topic", "event") if kind == BROADCAST else ("join_ref", "ref", "topic", "status")
    sizes, at = data[1 : 1 + len(names)], 1 + len(names)
    fields: dict[str, str] = {}
    for name, size in zip(names, sizes, strict=True):
        fields[name] = data[at : at + size].decode()
        at += size
    return _binary(fields, data[at:])


def _binary(fields: Mapping[str, str], data: bytes) -> Received:
    if "status" in fields:
        payload = {"status": fields["status"], "response": data}
        return Received(fields["topic"], "phx_reply", payload, fields["ref"], fields["join_ref"])
    return Received(fields["topic"], fields["event"], data, None, fields.get("join_ref"))
