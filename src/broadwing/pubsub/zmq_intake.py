"""What comes in from the other nodes: read in bounded turns, judged, and delivered once."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

import zmq

from broadwing.pubsub.adapter import Receive
from broadwing.pubsub.zmq_frames import (
    ASK,
    BYE,
    DIRECT,
    HELLO,
    MESSAGES,
    READ,
    Hello,
    read_addressee,
    read_head,
    read_hello,
    read_records,
    read_token,
)
from broadwing.pubsub.zmq_peer import Socket

logger = logging.getLogger("broadwing.pubsub")

# What one turn of the loop may spend with messages of other nodes, in seconds.
TURN: Final = 0.002
# Senders remembered, so that none is heard twice: more than any mesh has nodes, scripts that publish once included.
REMEMBERED: Final = 10_000


class Intake:
    """Reads a PULL socket in the loop.

    Args:
        node_name: This node's name.
        node_id: This node's id.
        receive: Takes messages.
        greeted: Takes hellos, with the sender's id.
        asked: Takes goodbyes and questions, with the sender's id and the token, and whether the sender leaves.
        answered: Takes answers, with the sender's id and the token of the question.

    Attributes:
        refused: Frames that were not ours, or damaged, and were dropped.
    """

    def __init__(
        self,
        node_name: str,
        node_id: bytes,
        receive: Receive,
        greeted: Callable[[bytes, Hello], None],
        asked: Callable[[bytes, bytes, bool], None],
        answered: Callable[[bytes, bytes], None],
    ) -> None:
        self.refused = 0
        self._name = node_name
        self._id = node_id
        self._receive = receive
        self._greeted = greeted
        self._asked = asked
        self._answered = answered
        self._heard: dict[bytes, int] = {}
        self._pull: Socket | None = None
        self._draining = False
        self._loop = asyncio.get_running_loop()

    def attach(self, pull: Socket) -> None:
        """Begin to read."""
        self._pull = pull
        self._loop.add_reader(pull.fileno(), self._readable)
        self._loop.call_soon(self._readable)

    def detach(self) -> None:
        """Stop reading, and close the socket."""
        pull, self._pull = self._pull, None
        if pull is not None:
            self._loop.remove_reader(pull.fileno())
            pull.close()

    def _readable(self) -> None:
        if not self._draining:
            self._drain()

    def _drain(self) -> None:
        # A descriptor of ZeroMQ tells of what comes after the socket was found empty. So it is read until it is; when that
        # takes too long, the rest is read in the loop's next turn.
        self._draining = False
        deadline = self._loop.time() + TURN
        while (pull := self._pull) is not None:
            try:
                data = pull.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            self.take(data)
            if self._loop.time() > deadline:
                self._draining = True
                self._loop.call_soon(self._drain)
                return

    def last(self, sender: bytes) -> int:
        """The number of the last frame of a node; 0: none is remembered."""
        return self._heard.get(sender, 0)

    def take(self, data: bytes) -> None:
        """Judge and deliver a frame."""
        records: Sequence[tuple[str, bytes]] = ()
        try:
            kind, sender, number, start = read_head(data)
            if number <= self._heard.get(sender, 0):
                return  # it came before, or something newer did
            if kind == MESSAGES:
                if sender != self._id:
                    records = read_records(data, start)
            elif kind == DIRECT:
                name, start = read_addressee(data, start)
                if name == self._name:
                    records = read_records(data, start)
            elif kind == HELLO:
                self._greeted(sender, read_hello(data, start))
            elif kind in (BYE, ASK):
                self._asked(sender, read_token(data, start), kind == BYE)
            elif kind == READ:
                self._answered(sender, read_token(data, start))
            else:
                raise ValueError(f"a frame of kind {kind}, which this release does not know")
        except ValueError as error:
            self.refused += 1
            if self.refused == 1 or self.refused % 1000 == 0:  # a stranger must not fill the log
                logger.warning("dropped a frame that is not ours (%d so far): %s", self.refused, error)
            return
        if sender not in self._heard and len(self._heard) >= REMEMBERED:
            del self._heard[next(iter(self._heard))]
        self._heard[sender] = number
        for topic, message in records:
            try:
                self._receive(topic, message)
            except Exception:  # whoever took the message has to answer for it, not those who wait for the next
                logger.exception("a message on %.80r could not be delivered", topic)
