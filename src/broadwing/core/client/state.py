"""A client of channels without a loop, a socket, a clock or chance: calls in, effects out.

    what happens                    what it leads to (`effects`)
    connect, disconnect, tick ──▶   Open, Close
    opened, failed, closed    ──▶   Connected, Disconnected, Send (joins)
    received                  ──▶   Joined, Deliver, Settled, Errored, Ended
    join, push, leave         ──▶   Send, now or later

The behaviour is that of the JavaScript client (js/src/socket.js, fallback.js, heartbeat.js), in seconds.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from broadwing.core.client.backoff import RetryAfter, rejoin_after
from broadwing.core.client.channels import EMPTY, Channels
from broadwing.core.client.deadlines import Deadlines
from broadwing.core.client.effects import (
    LONGPOLL,
    WEBSOCKET,
    Close,
    Connected,
    Disconnected,
    Effect,
    Message,
    Open,
    Ponged,
    Push,
    Send,
    Status,
)

NORMAL: Final = 1000
ABNORMAL: Final = 1006


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """How a client behaves. Durations are in seconds.

    Attributes:
        reconnect_after: Wait before a lost connection is made again.
        rejoin_after: Wait before a failed join is tried again.
        heartbeat_interval: How often an open WebSocket is asked for a sign of life; one that stays without an answer for
            another interval is dead.
        transport: The kind of connection to begin with.
        longpoll_fallback: How long a WebSocket may take to open, and again to answer, before long polling takes its place;
            `None` stays with WebSockets.
    """

    reconnect_after: RetryAfter
    rejoin_after: RetryAfter = rejoin_after
    heartbeat_interval: float = 30.0
    transport: str = WEBSOCKET
    longpoll_fallback: float | None = None


class ClientState:
    """One client: a connection that is kept up, and the channels that share it.

    Attributes:
        channels: The channels.
        effects: What is to be done, in order; whoever does it takes it out.
        status: Where the connection is.
        kind: The kind of connection in use.
        latency: Seconds that the last heartbeat or ping took there and back.
    """

    def __init__(self, options: ClientOptions) -> None:
        self.effects: deque[Effect] = deque()
        self.status = Status.CLOSED
        self.kind = options.transport
        self.latency: float | None = None
        self._options = options
        self._deadlines = Deadlines()
        self.channels = Channels(self.effects, self._deadlines, options.rejoin_after)
        self._generation = 0
        self._tries = 0
        self._heartbeat: str | None = None
        self._pings: dict[str, float] = {}
        self._is_proven = False

    # What the application wants.

    def connect(self, now: float) -> None:
        """Connect, unless that is under way; lost connections are made again until `disconnect`."""
        if self.status is Status.CLOSED:
            self._tries = 0
            self._open(now)

    def disconnect(self, code: int = NORMAL, reason: str = "") -> None:
        """End the connection, and make no other until `connect`. Channels stay, and join again then."""
        if self.status is not Status.CLOSED:
            self._drop(code, reason)
            self._lost("connection_closed")
            self._finish(code, reason)

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """End the connection and all channels."""
        self.channels.close()
        self.disconnect(code, reason)

    def ping(self, now: float) -> str | None:
        """Measure the time to the server and back; ends in `Ponged` with the returned ref. `None` when not connected."""
        if self.status is not Status.OPEN:
            return None
        ref = self.channels.make_ref()
        self._pings[ref] = now
        self._send_heartbeat(ref)
        return ref

    # What time and the connection do.

    def next_deadline(self) -> float | None:
        """When `tick` has something to do; `None` for never."""
        return self._deadlines.next()

    def tick(self, now: float) -> None:
        """Do what is due."""
        self._deadlines.run(now)

    def opened(self, generation: int, now: float) -> None:
        """The connection that was asked for is open."""
        if generation != self._generation or self.status is not Status.CONNECTING:
            return
        self.status = Status.OPEN
        self._tries = 0
        self._deadlines.cancel("fallback")
        if self.kind == WEBSOCKET:
            self._next_heartbeat(now)
        self.effects.append(Connected())
        self.channels.opened(now)
        if self._may_fall_back and self._options.longpoll_fallback is not None:
            # Some proxies let a WebSocket open and then swallow what it carries.
            self._deadlines.set("fallback", now + self._options.longpoll_fallback, self._fall_back)
            self.ping(now)

    def failed(self, generation: int, now: float) -> None:
        """The connection that was asked for could not be made."""
        if generation != self._generation or self.status is not Status.CONNECTING:
            return
        if self._may_fall_back:
            self._fall_back(now)
        else:
            self._ended("connection_error", ABNORMAL, "", now)

    def closed(self, generation: int, code: int, reason: str, now: float) -> None:
        """The connection has ended."""
        if generation == self._generation and self.status is Status.OPEN:
            self._ended("connection_closed", code, reason, now)

    def received(self, generation: int, message: Message, now: float) -> bool:
        """A message came over the connection; returns whether it still counts."""
        if generation != self._generation or self.status is not Status.OPEN:
            return False
        self._answered(message.ref, now)
        self.channels.received(message, now)
        return True

    # The connection.

    @property
    def _may_fall_back(self) -> bool:
        # A WebSocket that has answered once does get through; when it fails later, the server is away and not the path.
        return self._options.longpoll_fallback is not None and self.kind == WEBSOCKET and not self._is_proven

    def _open(self, now: float) -> None:
        self._generation += 1
        self.status = Status.CONNECTING
        if self._may_fall_back and self._options.longpoll_fallback is not None:
            self._deadlines.set("fallback", now + self._options.longpoll_fallback, self._fall_back)
        self.effects.append(Open(self._generation, self.kind))

    def _drop(self, code: int, reason: str) -> None:
        if self.status in (Status.CONNECTING, Status.OPEN):
            self.effects.append(Close(self._generation, code, reason))
        self._generation += 1

    def _lost(self, reason: str) -> None:
        for key in ("heartbeat", "fallback", "reconnect"):
            self._deadlines.cancel(key)
        self._heartbeat = None
        for ref in self._pings:
            self.effects.append(Ponged(ref, None))
        self._pings = {}
        self.channels.failed(reason)

    def _finish(self, code: int, reason: str) -> None:
        self.status = Status.CLOSED
        self.effects.append(Disconnected(code, reason, again=False))

    def _ended(self, why: str, code: int, reason: str, now: float) -> None:
        self._lost(why)
        if code == NORMAL:  # the server means it
            self._finish(code, reason)
        else:
            self._reconnect(code, reason, now)

    def _reconnect(self, code: int, reason: str, now: float) -> None:
        def try_again(now: float) -> None:
            self._tries += 1
            self._open(now)

        self.status = Status.WAITING
        self._deadlines.set("reconnect", now + self._options.reconnect_after(self._tries + 1), try_again)
        self.effects.append(Disconnected(code, reason, again=True))

    def _fall_back(self, now: float) -> None:
        self._drop(NORMAL, "")
        if self.status is Status.OPEN:
            self._lost("connection_closed")
        self.kind = LONGPOLL
        self._open(now)

    # Signs of life.

    def _next_heartbeat(self, now: float) -> None:
        self._deadlines.set("heartbeat", now + self._options.heartbeat_interval, self._beat)

    def _beat(self, now: float) -> None:
        if self._heartbeat is not None:
            self._drop(NORMAL, "heartbeat timeout")
            self._lost("heartbeat_timeout")
            self._reconnect(ABNORMAL, "heartbeat timeout", now)
            return
        self._heartbeat = self.ping(now)
        self._next_heartbeat(now)

    def _send_heartbeat(self, ref: str) -> None:
        self.effects.append(Send(Push("phoenix", "heartbeat", EMPTY, ref=ref)))

    def _answered(self, ref: object, now: float) -> None:
        sent = self._pings.pop(ref, None) if isinstance(ref, str) else None
        if sent is None:
            return
        assert isinstance(ref, str)
        self.latency = now - sent
        self.effects.append(Ponged(ref, self.latency))
        self._is_proven = self._is_proven or self.kind == WEBSOCKET
        self._deadlines.cancel("fallback")
        if ref == self._heartbeat:
            self._heartbeat = None
            self._next_heartbeat(now)
