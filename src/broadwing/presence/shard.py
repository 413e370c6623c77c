"""One shard of a tracker on one node: puts what it has to say on the bus, and takes in what others say."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from itertools import count

from broadwing.core.codec import Body
from broadwing.core.messages import Broadcast
from broadwing.core.presence.participant import Outcome, Participant, Periods
from broadwing.core.presence.parts import PART, Assembly, split
from broadwing.core.presence.replica import Change, Replica
from broadwing.core.presence.state import Diff
from broadwing.core.presence.wire import Message, TransferRequest, decode_message, encode_message
from broadwing.exceptions import EnvelopeError, PubSubUnavailable
from broadwing.presence.pace import Pace
from broadwing.pubsub.health import Health
from broadwing.pubsub.pubsub import PubSub
from broadwing.types import Loggable

logger = logging.getLogger("broadwing.presence")


class Shard:
    """Some of the topics of a tracker.

    Args:
        pubsub: The bus.
        topic: Where the shards of this number, on all nodes, speak to each other.
        replica: Which life of which node this is.
        periods: How long things take.
        max_delta_sizes: How much of the past is kept.
        pace: This node's time.
        report: Called with who has come and gone.
        tell: Called with what became of another node.
        log_level: For lines about nodes and transfers.

    Attributes:
        participant: What decides.
        topic: The same.
        dropped: Messages that were not ours.
    """

    def __init__(
        self,
        pubsub: PubSub,
        topic: str,
        replica: Replica,
        periods: Periods,
        max_delta_sizes: Sequence[int],
        pace: Pace,
        report: Callable[[Diff], None],
        tell: Callable[[Change], None],
        log_level: Loggable,
    ) -> None:
        self.participant = Participant(replica, periods, max_delta_sizes)
        self.topic = topic
        self.dropped = 0
        self._pubsub = pubsub
        self._pace = pace
        self._report = report
        self._tell = tell
        self._log_level = log_level
        self._assembly = Assembly()
        self._numbers = count(1)

    def open(self) -> Awaitable[None] | None:
        """Listen; returns what to await until others are sure to be heard, or `None`: they are."""
        return self._pubsub.attach(self.topic, self, self)[1]

    def close(self) -> None:
        """Listen no more."""
        self._pubsub.detach(self.topic, self)

    def tick(self) -> None:
        """Do what is due."""
        if self._pubsub.is_alone:
            self.participant.state.take_delta()  # there is nobody to tell
        else:
            self._take(self.participant.tick(self._pace.now(), can_send=self._can_send))

    def leave(self) -> None:
        """Say goodbye, if there is a way to."""
        if self._can_send and not self._pubsub.is_alone:
            outgoing = self.participant.goodbye()
            self._send(outgoing.node, outgoing.message)

    def write(self, message: Broadcast) -> None:
        """Take a message from the bus, as its subscriber."""
        try:
            heard = self._read(message)
        except EnvelopeError as error:
            self.dropped += 1
            if self.dropped == 1 or self.dropped % 1000 == 0:  # a stranger on the bus must not fill the log
                logger.warning(
                    "node %s: dropped a message on %r that is not a tracker's (%d so far): %s",
                    self.participant.replica.name,
                    self.topic,
                    self.dropped,
                    error,
                )
            return
        if heard is not None:
            if isinstance(heard, TransferRequest):
                self._log("is asked by %s for what it has missed", heard.sender.name)
            self._take(self.participant.receive(heard, self._pace.now()))

    def _read(self, message: Broadcast) -> Message | None:
        event, data = message.event, message.body.data
        if not message.body.binary:
            raise EnvelopeError(f"{event[:40]!r} came as JSON")
        if event == PART:
            whole = self._assembly.add(data)
            if whole is None:
                return None
            event, data = whole
        return decode_message(event, data)

    @property
    def _can_send(self) -> bool:
        return self._pubsub.is_started and self._pubsub.health is not Health.DOWN

    def _take(self, outcome: Outcome) -> None:
        for outgoing in outcome.outgoing:
            self._send(outgoing.node, outgoing.message)
        for change in outcome.changes:
            self._log("sees %s %s", change.replica.name, change.status.value)
        if outcome.diff:
            self._report(outcome.diff)
        for change in outcome.changes:
            self._tell(change)

    def _send(self, node: str | None, message: Message) -> None:
        # What is not sent now is what a message that was lost is: others find that they have missed something, and ask.
        try:
            for event, data in split(self.participant.replica.name, next(self._numbers), *encode_message(message)):
                envelope = Broadcast(self.topic, event, Body(data, True))
                if node is None:
                    self._pubsub.broadcast(self.topic, envelope, self)
                else:
                    self._pubsub.direct_broadcast(node, self.topic, envelope)
        except PubSubUnavailable as error:
            self._log("could not send: %s", error)
        except EnvelopeError as error:
            logger.error("node %s: presences of %r cannot be sent: %s", message.sender.name, self.topic, error)

    def _log(self, text: str, *values: object) -> None:
        if self._log_level is not None:
            logger.log(self._log_level, f"node %s: %s {text}", self.participant.replica.name, self.topic, *values)
