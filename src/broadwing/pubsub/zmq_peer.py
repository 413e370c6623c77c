"""One other node as this one sees it: a socket to send to it, redialled for as long as the node may come back."""

import asyncio
import logging
import random
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Final, cast

import zmq

from broadwing.pubsub.zmq_curve import Curve

logger = logging.getLogger("broadwing.pubsub")

Socket = zmq.Socket[bytes]
Context = zmq.Context[Socket]

# Frames that ZeroMQ holds for one node, on either side. Few, because it counts frames and memory is bytes: a busy frame
# has 64 KiB. What does not fit waits here, where bytes are counted.
HIGH_WATER: Final = 64
# Seconds between questions whether a node is still there, and how long it may be silent, or its machine. The second is also
# how long a loop may be blocked before it is cut off.
HEARTBEAT: Final = 2.5
HEARTBEAT_TIMEOUT: Final = 10.0
# Seconds a connection may take to be made, handshake included.
DIAL_TIMEOUT: Final = 5.0
# Seconds before it is tried again: at first, and at most. Doubled in between, with up to half as much of chance, so that a
# node that comes back does not meet all others in one moment.
REDIAL: Final = 0.05
REDIAL_MAX: Final = 2.0
# A node that is too slow is mentioned in the log this often, in seconds.
MENTION: Final = 10.0

_FAILED: Final = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
_WATCHED: Final = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED | _FAILED
_EVENT: Final = struct.Struct("=Hi")  # zmq_socket_monitor(3)
_numbers = count()


@dataclass(frozen=True, slots=True)
class Wiring:
    """What the peers of a node have in common.

    Attributes:
        context: ZeroMQ's.
        loop: The loop.
        curve: Keys, if there are any.
        queue_bytes: Most bytes that may wait for one peer here.
        opened: Called when a peer can be sent to.
        closed: Called with the reason when it no longer can, or could not be reached; it is dialled again unless
            `close` is called.
    """

    context: Context
    loop: asyncio.AbstractEventLoop
    curve: Curve | None
    queue_bytes: int
    opened: Callable[["Peer"], None]
    closed: Callable[["Peer", str], None]


class Peer:
    """A node to send to.

    libzmq could reconnect by itself, but repeats a failed handshake every 50 ms without end and never repeats a refused
    one; so it is told not to, and every way a connection can end leads to one place here.

    Args:
        wiring: What all peers share.
        address: Where the node is.
        token: What this node calls the connection in its hello.
        server_key: The public key that the node must have, with CURVE.

    Attributes:
        connected: The handshake is done.
        attempts: How often it could not be reached since it last could.
        dropped: Messages of the bus that were lost for this node, because it was gone or too slow. What is broadcast on one
            topic in one turn of the loop is one.
        node_id: The id it says hello with, once it did.
        name: Its name on the bus, likewise.
        leaves: It has said goodbye.
        heard: The number of the last frame it was heard with; this and the rest is kept by `Pulse`.
        silence: Rounds of questions without a sign of life.
        is_mute: It was given up on for its silence and has not spoken since.
    """

    __slots__ = (
        *("_backlog", "_backlog_bytes", "_mentioned", "_monitor", "_push", "_server_key", "_timer", "_unmentioned"),
        *("_wiring", "address", "attempts", "connected", "dropped", "heard", "is_mute", "leaves", "name"),
        *("node_id", "silence", "token"),
    )

    def __init__(self, wiring: Wiring, address: str, token: bytes, server_key: bytes | None = None) -> None:
        self._wiring = wiring
        self.address = address
        self.token = token
        self._server_key = server_key
        self._push: Socket | None = None
        self._monitor: Socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._backlog: deque[tuple[bytes, int]] = deque()
        self._backlog_bytes = 0
        self._mentioned = float("-inf")
        self._unmentioned = 0
        self.connected = False
        self.attempts = 0
        self.dropped = 0
        self.node_id: bytes | None = None
        self.name: str | None = None
        self.leaves = False
        self.heard = 0
        self.silence = 0
        self.is_mute = False

    @property
    def is_behind(self) -> bool:
        """Something waits here; call `flush` now and then."""
        return bool(self._backlog)

    def dial(self) -> None:
        """Connect, anew if need be."""
        self._hang_up()
        wiring = self._wiring
        push = self._push = wiring.context.socket(zmq.PUSH)
        push.linger = 0
        push.immediate = True  # no queue for a node that is not there, so nothing old for the one that comes back
        push.sndhwm = HIGH_WATER
        push.reconnect_ivl = -1
        # The kernel tells of a machine that vanished, whether or not anything is on its way there. ZMQ_HEARTBEAT_IVL would as
        # well, but a PING can abort the process that gets it; see `Pulse`, which notices the rest.
        step = max(1, round(HEARTBEAT_TIMEOUT / 4))
        push.tcp_keepalive, push.tcp_keepalive_idle, push.tcp_keepalive_intvl = 1, step, step
        push.tcp_keepalive_cnt = max(1, round(HEARTBEAT_TIMEOUT / step) - 1)
        push.tcp_maxrt = round(HEARTBEAT_TIMEOUT * 1000)  # TCP_USER_TIMEOUT, where there is one
        push.ipv6 = "[" in self.address
        if wiring.curve is not None:
            wiring.curve.dial(push, self._server_key or wiring.curve.server)
        place = f"inproc://monitor-{next(_numbers)}"  # a name is free again only some time after its socket is closed
        push.monitor(place, _WATCHED)
        self._monitor = wiring.context.socket(zmq.PAIR)
        self._monitor.linger = 0
        self._monitor.connect(place)
        # A descriptor of ZeroMQ tells of what comes after the socket was found empty, and not before.
        wiring.loop.add_reader(self._monitor.fileno(), self._observe)
        wiring.loop.call_soon(self._observe)
        self._timer = wiring.loop.call_later(DIAL_TIMEOUT, self._lost, "it does not answer")
        push.connect(self.address)

    def send(self, frame: bytes, messages: int) -> None:
        """Send a frame of so many messages, or keep it if the node is slow, or drop it if it is too slow or gone."""
        if not self.connected:
            self.dropped += messages
        elif (self._backlog and not self.flush()) or not self._put(frame):
            self._keep(frame, messages)

    def flush(self) -> bool:
        """Send what waits here, as far as the node takes it.

        Returns:
            Whether nothing is left.
        """
        backlog = self._backlog
        while backlog:
            if not self._put(backlog[0][0]):
                return False
            self._backlog_bytes -= len(backlog.popleft()[0])
        return True

    def give_up(self, why: str) -> None:
        """Take the connection for broken, and dial again."""
        self._lost(why)

    def close(self, linger: float = 0.0) -> None:
        """Hang up for good; ZeroMQ may take `linger` seconds to send what it holds."""
        self._hang_up(linger)

    def _put(self, frame: bytes) -> bool:
        push = self._push
        if push is None:
            return False
        try:
            push.send(frame, zmq.NOBLOCK)
            return True
        except zmq.Again:
            pass
        # `send` looks only once a millisecond whether there is room again; asking for EVENTS looks now.
        if not cast("int", push.get(zmq.EVENTS)) & zmq.POLLOUT:
            return False
        try:
            push.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def _keep(self, frame: bytes, messages: int) -> None:
        if self._backlog_bytes + len(frame) <= self._wiring.queue_bytes:
            self._backlog.append((frame, messages))
            self._backlog_bytes += len(frame)
        else:
            self._drop(messages)

    def _drop(self, messages: int) -> None:
        self.dropped += messages
        self._unmentioned += messages
        now = self._wiring.loop.time()
        if now - self._mentioned >= MENTION:
            self._mentioned = now
            logger.warning(
                "node %s does not keep up; %d messages were dropped for it, %d since it is known. The others got them",
                self.name or self.address,
                self._unmentioned,
                self.dropped,
            )
            self._unmentioned = 0

    def _observe(self) -> None:
        while (monitor := self._monitor) is not None:
            try:
                description = monitor.recv_multipart(zmq.NOBLOCK)[0]
            except zmq.Again:
                return
            event, value = _EVENT.unpack(description)
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._reached()
            elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                self._lost(f"it refuses this node's key ({value}); its curve_allowed has to name the public one")
            elif event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                self._lost("only one side has keys (curve_key)")
            elif event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
                self._lost(
                    "it is no node of this bus, or its keys do not fit this node's (curve_key, curve_server_key)"
                )
            elif self.connected:
                self._lost("the connection broke")
            else:
                self._lost("nobody listens there")

    def _reached(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.attempts = 0
        self.silence = 0
        self.leaves = False
        self.connected = True
        self._wiring.opened(self)

    def _lost(self, why: str) -> None:
        lost = sum(messages for _, messages in self._backlog)
        self._hang_up()
        self.dropped += lost
        self.attempts += 1
        pause = min(REDIAL * 2 ** min(self.attempts - 1, 10), REDIAL_MAX)
        self._timer = self._wiring.loop.call_later(pause * random.uniform(1.0, 1.5), self.dial)  # noqa: S311 - no secret
        self._wiring.closed(self, why)

    def _hang_up(self, linger: float = 0.0) -> None:
        self.connected = False
        self._backlog.clear()
        self._backlog_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        monitor, self._monitor = self._monitor, None
        push, self._push = self._push, None
        if monitor is not None and push is not None:
            self._wiring.loop.remove_reader(monitor.fileno())
            push.disable_monitor()
            monitor.close()
            push.close(round(linger * 1000))
