"""A client of Phoenix Channels for Python: of Broadwing's servers and of Phoenix's.

    from broadwing.client import connect

    async with connect("ws://localhost:4000/socket", params={"token": token}) as socket:
        channel = await socket.join("room:lobby")
        reply = await channel.push("new_msg", {"body": "hi"})
        async for message in channel:
            print(message.event, message.payload)

It needs the extra `client`: `pip install broadwing[client]`. Scripts without a loop use `broadwing.client.sync`.
"""

from broadwing.client.channel import Channel
from broadwing.client.errors import (
    BufferFull,
    ChannelClosed,
    ClientError,
    ConnectFailed,
    Disconnected,
    JoinError,
    JoinTimeout,
    PayloadMisfit,
    PushError,
    PushTimeout,
)
from broadwing.client.payloads import Message
from broadwing.client.presence import Presence
from broadwing.client.socket import Socket

connect = Socket
"""`async with connect(url, ...) as socket:`; see `Socket`."""

__all__ = [
    "BufferFull",
    "Channel",
    "ChannelClosed",
    "ClientError",
    "ConnectFailed",
    "Disconnected",
    "JoinError",
    "JoinTimeout",
    "Message",
    "PayloadMisfit",
    "Presence",
    "PushError",
    "PushTimeout",
    "Socket",
    "connect",
]
