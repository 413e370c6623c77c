"""A connection with its channels, telling what happens on it."""

import asyncio
from time import monotonic
from typing import Any

from broadwing.client import (
    Channel,
    ClientError,
    ConnectFailed,
    Disconnected,
    JoinError,
    JoinTimeout,
    Message,
    Presence,
    PushError,
    PushTimeout,
    Socket,
    connect,
)
from broadwing.client.presence import DIFF_EVENT, STATE_EVENT
from broadwing.console.records import Record, Tell
from broadwing.console.settings import Exit, Settings


class Session:
    """One connection.

    Args:
        settings: The command line.
        tell: Gets what happens.

    Attributes:
        socket: The client.
        channels: Channels by topic.
        presences: Who is there, by topic.
        is_quiet: Whether nothing is told any more, as what follows is the end.
    """

    def __init__(self, settings: Settings, tell: Tell) -> None:
        self.socket: Socket = connect(
            settings.url,
            params=settings.params,
            auth_token=settings.token,
            vsn=settings.vsn,
            transport=settings.transport,
            timeout=settings.timeout,
            open_timeout=settings.timeout,
        )
        self.channels: dict[str, Channel] = {}
        self.presences: dict[str, Presence] = {}
        self.is_quiet = False
        self._tell = tell
        self._readers: dict[Channel, asyncio.Task[None]] = {}
        self._is_open = False
        self.socket.on_open(self._opened)
        self.socket.on_close(self._lost)

    async def open(self) -> Exit:
        """Connect."""
        try:
            await self.socket.connect()
        except ConnectFailed as error:
            self._told("failed", reason=str(error))
            return Exit.UNREACHABLE
        return Exit.OK

    async def close(self) -> None:
        """End it, without a word."""
        self.is_quiet = True
        await self.socket.close()
        await asyncio.gather(*self._readers.values(), return_exceptions=True)

    async def join(self, topic: str, payload: Any) -> Exit:
        """Join a topic, and tell all that comes from there."""
        channel = self.socket.channel(topic, payload)
        presence = Presence(channel)
        self._follow(channel, presence)
        try:
            await channel.join()
        except JoinError as error:
            self._told("refused", topic=topic, response=error.response)
            return Exit.REFUSED
        except JoinTimeout as error:
            self._told("failed", topic=topic, reason=str(error))
            return Exit.TIMEOUT
        except ClientError as error:
            self._told("failed", topic=topic, reason=str(error))
            return Exit.CLOSED
        self.channels[topic] = channel
        self.presences[topic] = presence
        self._readers[channel] = asyncio.create_task(self._read(channel), name=f"broadwing console: {topic}")
        return Exit.OK

    async def push(self, topic: str, event: str, payload: Any, *, quiet_timeout: bool = False) -> Exit:
        """Push, and tell the reply.

        Args:
            topic: The topic.
            event: The event.
            payload: Its payload.
            quiet_timeout: Say nothing when no reply comes, as many events have none.
        """
        began = monotonic()
        fields: dict[str, Any] = {"topic": topic, "event": event}
        try:
            response = await self.channels[topic].push(event, payload)
        except PushError as error:
            self._told("reply", **fields, status=error.status, response=error.response, ms=_ms(began))
            return Exit.ERROR
        except PushTimeout as error:
            if not quiet_timeout:
                self._told("failed", **fields, reason=str(error))
            return Exit.TIMEOUT
        except ClientError as error:
            self._told("failed", **fields, reason=str(error))
            return Exit.CLOSED
        self._told("reply", **fields, status="ok", response=response, ms=_ms(began))
        return Exit.OK

    async def leave(self, topic: str) -> None:
        """Leave a topic."""
        await self.channels[topic].leave()

    async def ping(self) -> None:
        """Measure, and tell."""
        seconds = await self.socket.ping()
        if seconds is None:
            self._told("note", text="there is no connection")
        else:
            self._told("pong", ms=round(seconds * 1000, 1))

    def _opened(self) -> None:
        self._is_open = True
        self._told("connected", transport=self.socket.transport)

    def _lost(self, code: int, reason: str) -> None:
        if self._is_open:  # and not for each attempt to connect again
            self._told("disconnected", code=code, reason=reason or None)
        self._is_open = False

    def _told(self, kind: str, **fields: Any) -> None:
        if not self.is_quiet:
            self._tell(Record(kind, fields))

    def _follow(self, channel: Channel, presence: Presence) -> None:
        topic = channel.topic
        channel.on_join(lambda response: self._told("joined", topic=topic, response=response))
        channel.on_error(lambda reason: self._told("lost", topic=topic, reason=reason))
        channel.on_close(lambda: self._closed(channel))

        def came(key: str, before: Any, joined: Any) -> None:
            known = [meta["phx_ref"] for meta in before["metas"]] if before is not None else []
            # A state often holds what a diff tells once more.
            if new := [meta for meta in joined["metas"] if meta["phx_ref"] not in known]:
                self._told("present", topic=topic, key=key, metas=_metas(new))

        presence.on_join(came)
        presence.on_leave(lambda key, _, left: self._told("absent", topic=topic, key=key, metas=_metas(left["metas"])))

    def _closed(self, channel: Channel) -> None:
        if self.channels.get(channel.topic) is channel:
            del self.channels[channel.topic]
            del self.presences[channel.topic]
            self._told("closed", topic=channel.topic)

    async def _read(self, channel: Channel) -> None:
        try:
            async for message in channel:
                self._read_one(message)
        except Disconnected as error:
            self._told("closed", topic=channel.topic, reason=str(error))
        finally:
            self._readers.pop(channel, None)

    def _read_one(self, message: Message) -> None:
        if message.event not in (STATE_EVENT, DIFF_EVENT):
            self._told("message", topic=message.topic, event=message.event, payload=message.payload)


def _metas(metas: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without the references, which mean nothing to people."""
    return [{key: value for key, value in meta.items() if not key.startswith("phx_ref")} for meta in metas]


def _ms(began: float) -> float:
    return round((monotonic() - began) * 1000, 1)
