"""A WebSocket client made of bytes: it can say what no library says, and sees exactly what comes back."""

import contextlib
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from broadwing.core.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT
from tests.core.framing import client as client_frame
from tests.support.background import dial

__all__ = ["BINARY", "CLOSE", "CONTINUATION", "EOF", "PING", "PONG", "TEXT", "Frame", "Wire", "client_frame", "wire"]

# The example of RFC 6455 section 1.3.
KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


class Frame(NamedTuple):
    """A frame of the server."""

    opcode: int
    payload: bytes
    fin: bool = True
    rsv: int = 0

    @property
    def code(self) -> int:
        """The close code; 1005 when there is none."""
        return int.from_bytes(self.payload[:2]) if self.payload else 1005


EOF = Frame(-1, b"")
"""The end of the stream."""


class Answer(NamedTuple):
    """The head of an HTTP answer, and its body."""

    status: int
    headers: dict[str, str]
    body: bytes


class Wire:
    """One connection."""

    def __init__(self, line: socket.socket) -> None:
        self.line = line
        self._rest = b""

    # The handshake.

    def request(self, method: str, target: str, headers: Mapping[str, str | list[str]]) -> None:
        """Write a request head."""
        lines = [f"{method} {target} HTTP/1.1"]
        for name, value in headers.items():
            lines += [f"{name}: {each}" for each in ([value] if isinstance(value, str) else value)]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def answer(self) -> Answer:
        """Read an HTTP answer."""
        head = self._read_until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        length = int(headers.get("content-length", "0"))
        return Answer(int(head[0].split()[1]), headers, self._read(length))

    def upgrade(self, target: str, headers: Mapping[str, str | list[str]] | None = None) -> Answer:
        """Ask for a WebSocket and read the answer."""
        self.request("GET", target, {**upgrade_headers(), **(headers or {})})
        return self.answer()

    # Frames.

    def send(self, data: bytes) -> None:
        """Write bytes as they are."""
        self.line.sendall(data)

    def send_frame(self, opcode: int, payload: bytes | str = b"", *, fin: bool = True, rsv: int = 0) -> None:
        """Write one masked frame."""
        data = payload.encode() if isinstance(payload, str) else payload
        self.send(client_frame(opcode, data, fin=fin, rsv=rsv))

    def send_message(self, *message: Any) -> None:
        """Write a message of wire version 2.0.0."""
        self.send_frame(TEXT, json.dumps(message))

    def frame(self) -> Frame:
        """Read one frame, or `EOF`; a connection that is reset counts as ended."""
        try:
            first, second = self._read(2)
            length = second & 0x7F
            assert second < 0x80, "a server masks no frame (RFC 6455 section 5.1)"
            if length >= 126:
                length = int.from_bytes(self._read(2 if length == 126 else 8))
            return Frame(first & 0x0F, self._read(length), first >= 0x80, first >> 4 & 7)
        except (EOFError, ConnectionResetError):
            return EOF

    def message(self) -> Any:
        """Read one message of wire version 2.0.0."""
        frame = self.frame()
        assert frame.opcode == TEXT, frame
        return json.loads(frame.payload)

    def frames(self) -> Iterator[Frame]:
        """Read frames until the stream ends."""
        while (frame := self.frame()) != EOF:
            yield frame

    def close_code(self) -> int:
        """Read on until the server closes; its code. Behind the close there must be nothing but the end."""
        for frame in self.frames():
            if frame.opcode == CLOSE:
                assert len(frame.payload) == 2, "close reasons are empty"
                assert self.frame() == EOF, "data after a close frame (RFC 6455 section 5.5.1)"
                return frame.code
        raise AssertionError("the stream ended without a close frame")

    def is_alive(self) -> bool:
        """Whether a ping is answered."""
        self.send_frame(PING, b"alive?")
        return any(frame == Frame(PONG, b"alive?") for frame in self.frames())

    def join(self, topic: str, ref: str = "1") -> None:
        """Join a channel; it must succeed."""
        self.send_message(ref, ref, topic, "phx_join", {})
        assert self.message() == [ref, ref, topic, "phx_reply", {"response": {}, "status": "ok"}]

    def heartbeat(self, ref: str = "h") -> None:
        """Send a heartbeat and read its answer, which must be the next message."""
        self.send_message(None, ref, "phoenix", "heartbeat", {})
        assert self.message() == [None, ref, "phoenix", "phx_reply", {"response": {}, "status": "ok"}]

    def _read(self, length: int) -> bytes:
        parts, left = [self._rest[:length]], length - len(self._rest)
        self._rest = self._rest[length:]
        while left > 0:
            data = self.line.recv(min(left, 262_144))
            if not data:
                raise EOFError
            parts.append(data[:left])
            self._rest = data[left:]
            left -= len(data)
        return b"".join(parts)

    def _read_until(self, end: bytes) -> bytes:
        data = self._rest
        while end not in data:
            more = self.line.recv(65_536)
            if not more:
                raise EOFError(data)
            data += more
        found, _, self._rest = data.partition(end)
        return found


def upgrade_headers() -> dict[str, str | list[str]]:
    """The headers of RFC 6455 section 1.2."""
    return {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
    }


@contextlib.contextmanager
def wire(
    port: int,
    target: str | None = None,
    *,
    headers: Mapping[str, str | list[str]] | None = None,
    tls: ssl.SSLContext | None = None,
    receive_buffer: int | None = None,
) -> Iterator[Wire]:
    """Connect, and open a WebSocket at `target` if one is given."""
    with contextlib.closing(dial(port, tls=tls, receive_buffer=receive_buffer)) as line:
        connection = Wire(line)
        if target is not None:
            answer = connection.upgrade(target, headers)
            assert (answer.status, answer.headers.get("sec-websocket-accept")) == (101, ACCEPT), answer
        yield connection
