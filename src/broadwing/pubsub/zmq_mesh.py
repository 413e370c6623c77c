"""All nodes that a node knows, itself included: who is dialled, who is who, and whether everybody hears everybody."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Final

from broadwing.pubsub.zmq_curve import Curve
from broadwing.pubsub.zmq_frames import ASK, BYE, HELLO, READ, Hello, hello
from broadwing.pubsub.zmq_peer import Context, Peer, Wiring
from broadwing.pubsub.zmq_places import Places
from broadwing.pubsub.zmq_pulse import Pulse
from broadwing.pubsub.zmq_settings import Settings

logger = logging.getLogger("broadwing.pubsub")

# How long a subscription waits for a node that was found and does not send to us yet, in seconds.
SETTLE: Final = 1.0
# Hellos kept from addresses that are not known; a look finds them or they are strangers.
ANNOUNCED: Final = 1000
# How often a node that is behind is tried again, in seconds.
AGAIN: Final = 0.005


class Mesh:
    """The peers of a node, from its start to its stop.

    Args:
        node_name: This node's name.
        node_id: This node's id.
        settings: Sizes and keys.
        places: Where nodes are.
        context: ZeroMQ's.
        say: Sends a peer a frame of a kind with some content.
        last: The number of the last frame that a node with an id was heard with.

    Attributes:
        address: Where others reach this node, as far as it knows; else empty.
        peers: The other nodes by address.
        hint: Set when somebody spoke who is not known.
        progress: Set when anything changed.
    """

    def __init__(
        self,
        node_name: str,
        node_id: bytes,
        settings: Settings,
        places: Places,
        context: Context,
        say: Callable[[Peer, int, bytes], None],
        last: Callable[[bytes], int],
    ) -> None:
        self.address = ""
        self.peers: dict[str, Peer] = {}
        self.hint = asyncio.Event()
        self.progress = asyncio.Event()
        self._name = node_name
        self._id = node_id
        self._places = places
        self._say = say
        self._is_dialled = settings.is_dialled
        self._curve: Curve | None = settings.curve
        self._loop = asyncio.get_running_loop()
        self._wiring = Wiring(context, self._loop, settings.curve, settings.queue_bytes, self._opened, self._closed)
        self._myself: Peer | None = None
        self._selves: set[str] = set()  # dialled, and turned out to be this node
        self._announced: dict[str, tuple[bytes, str]] = {}  # said hello before this node found them
        self._unsettled: dict[Peer, asyncio.TimerHandle] = {}
        self._waiting: list[asyncio.Future[None]] = []
        self._asked: dict[bytes, Peer] = {}  # tokens of goodbyes and questions without an answer
        self._again: asyncio.TimerHandle | None = None
        self._pulse = Pulse(self.peers.values, last, lambda peer: say(peer, ASK, peer.token))
        self._forgotten = 0

    @property
    def dropped(self) -> int:
        """Messages that some peer did not get, counted for each peer."""
        return self._forgotten + sum(peer.dropped for peer in self.peers.values())

    @property
    def is_settled(self) -> bool:
        """Every known node was reached or tried, and those that are there send to this one too."""
        return (
            self._myself is not None
            and self._myself.connected
            and not self._unsettled
            and all(peer.connected or peer.attempts for peer in self.peers.values())
        )

    def is_read(self, tokens: set[bytes]) -> bool:
        """Nothing waits for a peer, and all who were asked have answered, or are gone."""
        return self._asked.keys().isdisjoint(tokens) and not any(peer.is_behind for peer in self.peers.values())

    def settled(self) -> asyncio.Future[None] | None:
        """What to await until all nodes that were found send to this one; `None`: they do."""
        if not self._unsettled:
            return None
        future = self._loop.create_future()
        self._waiting.append(future)
        return future

    def bound(self, reached: str, address: str) -> None:
        """This node listens.

        Args:
            reached: Where it reaches itself.
            address: Where others reach it; empty if that is not known.
        """
        self.address = address
        own_key = self._curve.public if self._curve is not None else None
        self._myself = Peer(self._wiring, reached, secrets.token_bytes(8), own_key)
        self._myself.dial()
        self._pulse.start()

    def look(self, addresses: set[str]) -> None:
        """Dial nodes that are new, and forget those that are neither found nor connected."""
        self._selves &= addresses
        for address in addresses - self.peers.keys() - self._selves:
            peer = self.peers[address] = Peer(self._wiring, address, secrets.token_bytes(8))
            peer.node_id, peer.name = self._announced.pop(address, (None, None))
            peer.dial()
        for peer in [peer for address, peer in self.peers.items() if address not in addresses]:
            # One that is connected is there, whatever a name server with half an answer says.
            if not peer.connected:
                self._forget(peer)

    def greeted(self, sender: bytes, greeting: Hello) -> None:
        """A node has said who it is."""
        if sender == self._id:
            self._met_itself(greeting.token)
            return
        if greeting.name == self._name:
            logger.error("another node of the bus calls itself %s too; give each node a name of its own", self._name)
        peer = self.peers.get(greeting.address)
        if peer is not None:
            peer.node_id, peer.name = sender, greeting.name
            self._settle(peer)
            if not peer.connected:
                peer.dial()  # it is there, so there is no need to wait for the next try
        elif greeting.address and greeting.address not in self._selves:
            if len(self._announced) >= ANNOUNCED:
                del self._announced[next(iter(self._announced))]
            self._announced[greeting.address] = sender, greeting.name
            self.hint.set()
            for peer in self.peers.values():  # one of them, if we know it by another address
                if peer.connected and peer.node_id is None:
                    self._pulse.ask(peer)

    def send(self, peers: Sequence[Peer], frame: bytes, messages: int) -> None:
        """Send a frame to some peers; none of them holds up another."""
        behind = False
        for peer in peers:
            peer.send(frame, messages)
            behind = behind or peer.is_behind
        if behind:
            self._try_again()

    def called(self, name: str) -> list[Peer]:
        """Who has a name, or might have it."""
        if name == self._name:
            return [self._myself] if self._myself is not None else []
        others = self.peers.values()
        return [peer for peer in others if peer.name == name] or [peer for peer in others if peer.name is None]

    def hang_up(self, linger: float = 0.0) -> None:
        """Leave all peers; `bound` and `look` begin again."""
        self._pulse.stop()
        if self._again is not None:
            self._again.cancel()
            self._again = None
        for peer in list(self.peers.values()):
            self._forget(peer, linger)
        if self._myself is not None:
            self._myself.close()
            self._myself = None
        self._selves.clear()
        self._release()  # nobody waits for a peer that is no more

    def ask(self, *, leaves: bool) -> set[bytes]:
        """Ask all who can answer to do so once they have read everything, and say whether this node leaves.

        Returns:
            Tokens for `is_read`, and for `forget_questions` in the end.
        """
        tokens = set()
        for peer in self.peers.values():
            if peer.connected and peer.node_id is not None:
                token = secrets.token_bytes(8)
                tokens.add(token)
                self._asked[token] = peer
                self._say(peer, BYE if leaves else ASK, token)
        return tokens

    def forget_questions(self, tokens: set[bytes]) -> None:
        """Nobody waits for the answers any more."""
        for token in tokens:
            self._asked.pop(token, None)

    def asked(self, sender: bytes, token: bytes, leaves: bool) -> None:
        """A node asks, or says goodbye; what it sent before was read."""
        known = [peer for peer in self.peers.values() if peer.node_id == sender]
        for peer in known:
            peer.leaves = peer.leaves or leaves
        # Where nodes are reached at other addresses than they know of, the answer goes to all that may have asked.
        for peer in known or [peer for peer in self.peers.values() if peer.node_id is None]:
            self._say(peer, READ, token)

    def answered(self, sender: bytes, token: bytes) -> None:
        """A node has read everything that was sent before this token."""
        self._asked.pop(token, None)
        for peer in self.peers.values():
            if peer.token == token:
                peer.node_id = sender
                self._settle(peer)
        self.progress.set()

    def _opened(self, peer: Peer) -> None:
        if peer is not self._myself:
            if self._is_dialled and peer.node_id is None and peer not in self._unsettled:
                self._unsettled[peer] = self._loop.call_later(SETTLE, self._give_up, peer)
            self._greet(peer)
            if peer.node_id is None:
                self._pulse.ask(peer)
        self.progress.set()

    def _closed(self, peer: Peer, why: str) -> None:
        self._settle(peer)
        self.forget_questions({token for token, asked in self._asked.items() if asked is peer})
        gone = peer is not self._myself and self._places.is_gone(peer.address)
        if gone or (peer.leaves and peer.attempts == 1):
            logger.info("node %s has left the bus", peer.name or peer.address)
        if gone:
            self._forget(peer)
        elif peer.leaves:
            pass  # it may come back to its address, and nobody misses it until then
        elif peer.attempts == 1:
            # Once per loss: a node that is gone for hours is dialled all the time, and not worth a line each.
            logger.warning("node %s cannot be reached: %s; dialling until it can", peer.name or peer.address, why)
        self.progress.set()

    def _greet(self, peer: Peer) -> None:
        self._say(peer, HELLO, hello(peer.token, self._name, self.address))

    def _met_itself(self, token: bytes) -> None:
        for peer in list(self.peers.values()):
            if peer.token == token:
                self._selves.add(peer.address)
                self._forget(peer)
                if not self.address:
                    self.address = peer.address
                    for other in self.peers.values():
                        if other.connected:
                            self._greet(other)

    def _forget(self, peer: Peer, linger: float = 0.0) -> None:
        peer.close(linger)
        self._settle(peer)
        self.forget_questions({token for token, asked in self._asked.items() if asked is peer})
        if self.peers.pop(peer.address, None) is not None:
            self._forgotten += peer.dropped

    def _settle(self, peer: Peer) -> None:
        timer = self._unsettled.pop(peer, None)
        if timer is not None:
            timer.cancel()
            if not self._unsettled:
                self._release()

    def _give_up(self, peer: Peer) -> None:
        logger.warning(
            "node %s can be reached, but does not reach this one: its list lacks %s, or it cannot connect there; "
            "what is published on it does not arrive here",
            peer.address,
            self.address or "this node's address",
        )
        self._settle(peer)
        self.progress.set()

    def _release(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
        self.progress.set()

    def _try_again(self) -> None:
        if self._again is None:
            self._again = self._loop.call_later(AGAIN, self._catch_up)

    def _catch_up(self) -> None:
        self._again = None
        done = [peer.flush() for peer in (self._myself, *self.peers.values()) if peer is not None]
        if not all(done):
            self._try_again()
        self.progress.set()
