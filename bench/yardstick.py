"""The yardstick: the least that a server on asyncio can do for the same clients.

It understands joins, `new_msg` and `echo` of wire version 2.0.0 and nothing else: no routes, no handlers, no errors, no
limits, no slow readers. What is left is the price of the event loop, the JSON codec and the kernel, which every server
in Python pays. Figures as a ratio to it say what the server itself costs.

    python -m bench.yardstick --port 4001
"""

import argparse
import asyncio
import base64
import hashlib
import re
import ssl
from typing import Any

import msgspec
import uvloop

from bench.frames import CLOSE

# As many connections as the measured server lets wait, so that neither resets a handshake.
BACKLOG = 4_096

_KEY = re.compile(rb"\r\nsec-websocket-key: *([^\r]+)", re.IGNORECASE)
_ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: %b\r\n\r\n"
)

_decode = msgspec.json.Decoder(list[Any]).decode
_encode = msgspec.json.encode


def text_frame(message: list[Any]) -> bytes:
    """Encode a message and wrap it."""
    payload = _encode(message)
    size = len(payload)
    if size < 126:
        return b"\x81" + size.to_bytes(1, "big") + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


Rooms = dict[str, dict["Client", asyncio.WriteTransport]]


class Client(asyncio.Protocol):
    """One connection."""

    __slots__ = ("_line", "_rest", "_rooms", "_topic", "_upgraded")

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._topic = ""
        self._rest = b""
        self._upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        self._line: asyncio.WriteTransport = transport  # type: ignore[assignment] # a stream's transport writes

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the room."""
        room = self._rooms.get(self._topic)
        if room is not None:
            room.pop(self, None)

    def data_received(self, data: bytes) -> None:
        """Answer the handshake, then every whole frame."""
        if self._rest:
            data = self._rest + data
        if not self._upgraded:
            data = self._upgrade(data)
        while len(data) > 5:
            size, key = data[1] & 127, 2
            if size == 126:
                size, key = int.from_bytes(data[2:4], "big"), 4
            body = key + 4
            end = body + size
            if len(data) < end:
                break
            opcode = data[0] & 15
            if opcode == CLOSE:
                self._line.close()
                return
            if opcode > CLOSE:  # pings are nothing that the load client sends, and pongs need no answer
                data = data[end:]
                continue
            mask = (data[key:body] * (size // 4 + 1))[:size]
            plain = int.from_bytes(data[body:end], "big") ^ int.from_bytes(mask, "big")
            data = data[end:]
            self._answer(_decode(plain.to_bytes(size, "big")))
        self._rest = data

    def _upgrade(self, data: bytes) -> bytes:
        head, end, rest = data.partition(b"\r\n\r\n")
        found = _KEY.search(head)
        if not end or found is None:
            return data
        digest = hashlib.sha1(found[1].strip() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False)
        self._line.write(_ACCEPTED % base64.b64encode(digest.digest()))
        self._upgraded = True
        return rest

    def _answer(self, message: list[Any]) -> None:
        join_ref, ref, topic, event, payload = message
        if event == "new_msg":
            frame = text_frame([None, None, topic, event, {"body": payload["body"]}])
            for line in self._rooms[topic].values():
                line.write(frame)
            return
        if event == "phx_join":
            self._topic = topic
            self._rooms.setdefault(topic, {})[self] = self._line
            payload = {}
        self._line.write(text_frame([join_ref, ref, topic, "phx_reply", {"status": "ok", "response": payload}]))


async def listen(port: int = 0, tls: ssl.SSLContext | None = None) -> asyncio.Server:
    """Start on the loopback interface.

    Args:
        port: 0 chooses a free one.
        tls: A context with a certificate, for wss.
    """
    rooms: Rooms = {}
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: Client(rooms), "127.0.0.1", port, backlog=BACKLOG, ssl=tls)


async def serve(port: int, tls: ssl.SSLContext | None = None) -> None:
    """Listen until cancelled."""
    server = await listen(port, tls)
    await server.serve_forever()


def main() -> None:
    """Serve until ended by a signal."""
    parser = argparse.ArgumentParser(prog="python -m bench.yardstick", description="Serve the yardstick.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--certfile", help="certificate, for wss; with --keyfile")
    parser.add_argument("--keyfile")
    options = parser.parse_args()
    tls = None
    if options.certfile:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(options.certfile, options.keyfile)
    uvloop.run(serve(options.port, tls))


if __name__ == "__main__":
    main()
