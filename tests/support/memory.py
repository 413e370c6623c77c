"""A client's line without a network: what is written to it is kept, what a client would send is handed in."""

import asyncio
from typing import Any

from broadwing import Endpoint
from broadwing.channel_runner import ChannelRunner
from broadwing.connection import Connection
from broadwing.core.frames import BINARY, TEXT
from broadwing.core.json_v1 import JsonV1
from broadwing.core.json_v2 import JsonV2
from broadwing.core.serializer import Serializer
from broadwing.mounts import SocketMount
from broadwing.socket import Socket
from tests.support.background import TIMEOUT
from tests.support.client import V1, V2, Message, decode, encode

_SERIALIZERS: dict[str, Serializer] = {V1: JsonV1(), V2: JsonV2()}


class MemoryFormat:
    """Frames are the opcode and the message."""

    def frame(self, opcode: int, data: bytes) -> tuple[int, bytes]:
        """Wrap."""
        return opcode, data

    def is_large(self, frame: Any) -> bool:
        """None is."""
        return False


_FORMAT = MemoryFormat()


class MemoryLine:
    """A transport, and the client behind it.

    Attributes:
        written: What has been written so far and the client has not taken yet.
        closed_with: The close code, once the server closed.
        reading: Whether the server reads from this client.
        pauses: How often it stopped reading.
    """

    name = "websocket"
    format = _FORMAT

    def __init__(self, connection: Connection, vsn: str = V2) -> None:
        self.connection = connection
        self.vsn = vsn
        self.written: list[tuple[int, bytes]] = []
        self.closed_with: int | None = None
        self.reading = True
        self.pauses = 0
        self._left: list[ChannelRunner] = []
        connection.opened(self)

    # The transport contract.

    @property
    def sink(self) -> "MemoryLine":
        """The line takes frames itself."""
        return self

    def write(self, frame: Any) -> None:
        """Keep a frame."""
        self.written.append(frame)

    def write_large(self, frame: Any) -> None:
        """As any other."""
        self.written.append(frame)

    def send(self, opcode: int, data: bytes) -> None:
        """Keep a message."""
        self.written.append((opcode, data))

    def close(self, code: int, reason: str = "") -> None:
        """End the line."""
        self.connection.closing()
        if self.closed_with is None:
            self.closed_with = code
            self._left = self.connection.runners
            self.connection.closed(("shutdown", "closed"))

    def pause_reading(self) -> None:
        """Note it."""
        self.pauses += self.reading
        self.reading = False

    def resume_reading(self) -> None:
        """Note it."""
        self.reading = True

    # The client.

    @property
    def frames(self) -> list[tuple[int, bytes]]:
        """What the client has not taken yet, once all that is due in this turn of the loop is written."""
        self.connection.endpoint.fastlane.settle()
        return self.written

    def send_text(self, join_ref: Any, ref: Any, topic: Any, event: Any, payload: Any = None) -> None:
        """Send a message as this client does; no payload is an empty one."""
        text = encode(self.vsn, join_ref, ref, topic, event, {} if payload is None else payload)
        self.connection.received(TEXT, text.encode())

    def send_binary(self, join_ref: str, ref: str, topic: str, event: str, data: bytes) -> None:
        """Send a binary push."""
        fields = [field.encode() for field in (join_ref, ref, topic, event)]
        self.connection.received(BINARY, bytes((0, *map(len, fields))) + b"".join(fields) + data)

    def take(self) -> list[Message]:
        """Take the text messages that have come."""
        frames, self.written = self.frames, []
        assert all(opcode == TEXT for opcode, _ in frames), frames
        return [decode(self.vsn, data.decode()) for _, data in frames]

    async def next(self, count: int = 1) -> list[Message]:
        """Wait for `count` messages and take them."""
        async with asyncio.timeout(TIMEOUT):
            while len(self.frames) < count:
                await asyncio.sleep(0.001)
        assert len(self.frames) == count, self.frames
        return self.take()

    async def reply(self) -> Any:
        """Wait for one reply and take its payload."""
        (message,) = await self.next()
        assert message.event == "phx_reply", message
        return message.payload

    async def join(self, topic: str, join_ref: Any = "1", params: Any = None) -> Any:
        """Join and return the reply's payload."""
        self.send_text(join_ref, join_ref, topic, "phx_join", params)
        return await self.reply()

    async def settle(self) -> None:
        """Wait until every channel has handled what it has."""
        async with asyncio.timeout(TIMEOUT):
            while any(runner.task is not None for runner in (*self.connection.runners, *self._left)):
                await asyncio.sleep(0.001)
        self._left.clear()


async def line(socket: type[Socket], *, endpoint: Endpoint | None = None, vsn: str = V2, **params: Any) -> MemoryLine:
    """Connect a client to a socket class."""
    mount = SocketMount(endpoint or Endpoint(), socket)
    connection = await mount.connect("websocket", {"vsn": vsn, **params}, {})
    return MemoryLine(connection, vsn)


def ok(response: Any = None) -> dict[str, Any]:
    """The payload of an ok reply."""
    return {"status": "ok", "response": {} if response is None else response}


def error(response: Any) -> dict[str, Any]:
    """The payload of an error reply."""
    return {"status": "error", "response": response}
