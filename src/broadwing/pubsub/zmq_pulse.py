"""Whether the other nodes still speak: a process can hang while the kernel of its machine goes on answering."""

import asyncio
from collections.abc import Callable, Collection

from broadwing.pubsub import zmq_peer
from broadwing.pubsub.zmq_peer import Peer


class Pulse:
    """Asks all peers every `HEARTBEAT` seconds, and gives up on those that say nothing for `HEARTBEAT_TIMEOUT`.

    ZeroMQ could ask by itself (ZMQ_HEARTBEAT_IVL), but libzmq 4.3.5 aborts the process that is asked if its queue was
    full when the connection broke: see decision 0011. These questions are messages like any other.

    A machine that vanished, and a way to a peer that is cut, are noticed by the kernel; what is left for here is a process
    that does not run. It is silent towards all, so it does not matter that its words arrive over another connection than
    the one they are about. Nor does it matter how long an answer waits behind other frames, because the peer asks as well.
    A peer that has been given up on is dialled again, but not judged until it has spoken: so a loop that is blocked for
    a minute loses its connection once, and a node that cannot reach us is not cut off time and again.

    Args:
        peers: Those that are judged, as they are at the time.
        last: The number of the last frame that a node with an id was heard with.
        ask: Sends a peer a question, whose answer also tells the peer's id.

    Attributes:
        ask: That.
    """

    def __init__(
        self, peers: Callable[[], Collection[Peer]], last: Callable[[bytes], int], ask: Callable[[Peer], None]
    ) -> None:
        self._peers = peers
        self._last = last
        self.ask = ask
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, if it has not."""
        if self._timer is None:
            self._timer = self._loop.call_later(zmq_peer.HEARTBEAT, self._round)

    def stop(self) -> None:
        """Ask no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _round(self) -> None:
        # Rounds are counted, not seconds: if this loop was blocked for long, others did not become silent by that.
        self._timer = None
        self.start()
        for peer in list(self._peers()):
            if not peer.connected:
                continue
            heard = self._last(peer.node_id) if peer.node_id is not None else 0
            if heard != peer.heard:
                peer.heard, peer.is_mute, peer.silence = heard, False, 0
            else:
                peer.silence += 1
            is_judged = peer.node_id is not None and not peer.is_mute
            if is_judged and peer.silence * zmq_peer.HEARTBEAT >= zmq_peer.HEARTBEAT_TIMEOUT:
                peer.is_mute = True
                peer.give_up("it does not answer")
            elif not peer.is_behind:  # else the questions would pile up, and it asks us
                self.ask(peer)
