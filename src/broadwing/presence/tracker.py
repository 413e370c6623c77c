"""Who or what is present, on all nodes, without a database and without any node in charge."""

import asyncio
import logging
import random
import secrets
import zlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias, TypeVar

from broadwing.bus import PubSub
from broadwing.core.codec import decode, encode
from broadwing.core.presence.deltas import Meta
from broadwing.core.presence.replica import Change, Replica
from broadwing.core.presence.state import Changes, Diff, Metas, Presences
from broadwing.core.presence.wire import check_place, meta_of
from broadwing.core.topics import TRACKERS
from broadwing.exceptions import AlreadyTracked, ConfigurationError, LocalProtocolError, NotTracked
from broadwing.presence.handover import Handover
from broadwing.presence.pace import Pace
from broadwing.presence.refs import Refs
from broadwing.presence.settings import checked
from broadwing.presence.shard import Shard
from broadwing.types import Loggable, Unsubscribe

__all__ = ["Changes", "Diff", "Meta", "NodeStatus", "Tracker"]

logger = logging.getLogger("broadwing.presence")

NodeStatus: TypeAlias = Literal["up", "down", "permdown"]
"""What another node is: heard of, silent for `down_period`, or gone for good."""

_T = TypeVar("_T")


class Tracker:
    """Presences by topic and key, known to every node of a bus.

    Whoever is tracked on any node is listed on all of them, until it is untracked or its node is gone. Nodes tell each other of changes
    once per `broadcast_period`; what one has missed, it asks for. Works with any bus and without sockets.

        async with PubSub("redis://localhost") as pubsub, Tracker(pubsub, name="workers") as tracker:
            tracker.track("me", "queue:mail", "worker 7", {"since": 1700000000})
            alive = tracker.list("queue:mail")

    All that is not a coroutine may be called in the loop, where it does not wait, and from any other thread, where it waits for the loop.
    Before `start` and after `stop` nothing is present; `track` and `update` raise then.

    Source: phoenix_pubsub `lib/phoenix/tracker.ex`.

    Args:
        pubsub: The bus, started before the tracker; `endpoint.pubsub` is an endpoint's.
        name: What trackers of one kind are called on all nodes.
        shards: How many parts the topics are divided into, each with its own messages. The same on all nodes. One will do up to some ten
            thousand presences.
        broadcast_period: Seconds between two heartbeats that tell of changes.
        max_silent_periods: Periods without a change after which a heartbeat is sent nonetheless.
        down_period: Seconds without a heartbeat after which a node is down, and what it tracks has left. By default
            `broadcast_period * max_silent_periods * 2`.
        permdown_period: Seconds without a heartbeat after which a node is forgotten.
        clock_sample_periods: Periods over which is collected who knows what, before what was missed is asked for.
        max_delta_sizes: How many changes are kept, in generations, for nodes that have missed some; who has missed more is sent everything.
        log_level: Level of log lines about other nodes; `None` for silence.
        permdown_on_shutdown: Whether `stop` tells the others, so that what is tracked here leaves at once and not after `down_period`.
        handle_diff: Called in the loop with who has come and gone on which topics, here or elsewhere, once the tracker lists it so. What it
            raises is logged. An update is a join of the new meta and a leave of the old one.

    Raises:
        ConfigurationError: The periods contradict each other, or a number is out of range.
    """

    def __init__(
        self,
        pubsub: PubSub,
        *,
        name: str = "tracker",
        shards: int = 1,
        broadcast_period: float = 1.5,
        max_silent_periods: int = 10,
        down_period: float | None = None,
        permdown_period: float = 1200.0,
        clock_sample_periods: int = 2,
        max_delta_sizes: Sequence[int] = (100, 1_000, 10_000),
        log_level: Loggable = None,
        permdown_on_shutdown: bool = True,
        handle_diff: Callable[[Diff], object] | None = None,
    ) -> None:
        self._settings = checked(
            shards,
            broadcast_period,
            max_silent_periods,
            down_period,
            permdown_period,
            clock_sample_periods,
            max_delta_sizes,
        )
        self.name = name
        self.broadcast_period = broadcast_period
        self.down_period = self._settings.periods.down_period
        self.permdown_on_shutdown = permdown_on_shutdown
        self._handle_diff = handle_diff
        self._bus = pubsub.engine
        self._log_level = log_level
        self._observers: list[list[Callable[[str, NodeStatus], object]]] = []
        self._shards: list[Shard] = []
        self._refs: list[Refs] = []
        self._owners: dict[Hashable, _Owner] = {}
        self._last_owner = 0
        self._handover = Handover(f"the tracker {name!r}")
        self._pace: Pace | None = None
        self._ticking: asyncio.Task[None] | None = None

    # Tracking.

    def track(self, owner: Hashable, topic: str, key: str, meta: Mapping[str, Any]) -> str:
        """Make a key present on a topic until it is untracked.

        Args:
            owner: On whose behalf: what `untrack` names, for example a channel. It never leaves this node.
            topic: Where.
            key: Who, for example a user's id. Several owners may track the same key, and each has its meta.
            meta: What there is to know, a JSON object of at most 64 KB; kept as a copy, with `phx_ref` in it.

        Returns:
            The `phx_ref`, which no other presence has.

        Raises:
            AlreadyTracked: This owner tracks this key on this topic.
            LocalProtocolError: The meta has no JSON form, something is too long, or the tracker is not started.
        """
        return self._handover.call(self._track, owner, topic, key, meta)

    def _track(self, owner: Hashable, topic: str, key: str, meta: Mapping[str, Any]) -> str:
        check_place(topic, key)
        made = meta_of(meta)
        number, shard = self._writable(topic)
        known = self._owners.get(owner)
        if known is None:
            self._last_owner += 1
            known = _Owner(str(self._last_owner))
        elif shard.participant.state.get(topic, known.id, key) is not None:
            raise AlreadyTracked(
                f"{owner!r} tracks {key!r} on {topic!r} already; `update` changes its meta, `untrack` ends it"
            )
        ref = made["phx_ref"] = self._refs[number].next()
        self._owners[owner] = known
        known.presences += 1
        self._report(shard.participant.join(topic, known.id, key, made))
        return ref

    def untrack(self, owner: Hashable, topic: str | None = None, key: str | None = None) -> None:
        """End one presence of an owner, all of a topic, or all; what is not there is no error.

        Raises:
            LocalProtocolError: There is a key without a topic.
        """
        if topic is None and key is not None:
            raise LocalProtocolError(f"untrack(owner, key={key!r}) without a topic; name both, or neither")
        self._handover.call(self._untrack, owner, topic, key)

    def _untrack(self, owner: Hashable, topic: str | None, key: str | None) -> None:
        known = self._owners.get(owner)
        if known is None:
            return
        for shard in self._shards if topic is None else [self._shards[self._number(topic)]]:
            participant = shard.participant
            if topic is None:
                diff = participant.leave_all(known.id)
            elif key is None:
                diff = {}
                for entry in participant.state.owned(known.id):
                    if entry.topic == topic:
                        for changes in participant.leave(topic, known.id, entry.key).values():
                            diff.setdefault(topic, Changes([], [])).leaves.extend(changes.leaves)
            else:
                diff = participant.leave(topic, known.id, key)
            known.presences -= sum(len(changes.leaves) for changes in diff.values())
            if known.presences == 0:
                self._owners.pop(owner, None)
            if diff:
                self._report(diff)

    def update(
        self,
        owner: Hashable,
        topic: str,
        key: str,
        meta: Mapping[str, Any] | Callable[[dict[str, Any]], Mapping[str, Any]],
    ) -> str:
        """Give a presence another meta.

        Args:
            owner: As for `track`.
            topic: As for `track`.
            key: As for `track`.
            meta: The meta, or a function that makes it of the one there is, a copy with its `phx_ref`. From another thread it is called in
                the loop.

        Returns:
            The new `phx_ref`; the meta has the one before it as `phx_ref_prev`.

        Raises:
            NotTracked: This owner does not track this key on this topic.
            LocalProtocolError: As for `track`.
        """
        return self._handover.call(self._update, owner, topic, key, meta)

    def _update(self, owner: Hashable, topic: str, key: str, meta: Any) -> str:
        check_place(topic, key)
        number, shard = self._writable(topic)
        known = self._owners.get(owner)
        old = None if known is None else shard.participant.state.get(topic, known.id, key)
        if old is None:
            raise NotTracked(
                f"{owner!r} does not track {key!r} on {topic!r}, so there is nothing to update; `track` it"
            )
        made = meta_of(meta(decode(encode(old.meta))) if callable(meta) else meta)
        ref = made["phx_ref"] = self._refs[number].next()
        made["phx_ref_prev"] = old.meta["phx_ref"]
        self._report(shard.participant.update(old, made))
        return ref

    # Reading.

    def list(self, topic: str) -> Presences:
        """Who is present on a topic, on this node and all others that are up.

        Returns:
            Keys and metas: keys in the order in which they came to this node, the metas of one key together. The metas are
            the tracker's own and must not be changed.
        """
        return self._read(topic, lambda shard: shard.participant.state.list(topic), [])

    def dirty_list(self, topic: str) -> Presences:
        """The same, with what was tracked by nodes that are down and not yet forgotten."""
        return self._read(topic, lambda shard: shard.participant.state.dirty_list(topic), [])

    def get_by_key(self, topic: str, key: str) -> Metas:
        """The metas of one key on a topic, one for each owner; costs their number."""
        return self._read(topic, lambda shard: shard.participant.state.get_by_key(topic, key), [])

    def _read(self, topic: str, reader: Callable[[Shard], _T], otherwise: _T) -> _T:
        if not self._shards:
            return otherwise
        return self._handover.call(lambda: reader(self._shards[self._number(topic)]) if self._shards else otherwise)

    # Other nodes.

    @property
    def node_name(self) -> str:
        """This node's name on the bus."""
        return self._bus.node_name

    @property
    def replicas(self) -> dict[str, NodeStatus]:
        """Names of the other nodes that were heard of, with `"up"` or `"down"`, as the first shard sees them."""
        if not self._shards:
            return {}
        return {name: status.value for name, status in self._shards[0].participant.replicas.statuses.items()}

    def on_replica(self, observer: Callable[[str, NodeStatus], object]) -> Unsubscribe:
        """Call `observer` with the name of another node and what became of it, in the loop; the returned function ends it.

        A node that is gone for good while it was up is first `"down"`, then `"permdown"`. Seen by the first shard; when it is called,
        that shard's presences are listed accordingly.
        """
        entry = [observer]
        self._observers.append(entry)

        def forget() -> None:
            self._observers = [other for other in self._observers if other is not entry]

        return forget

    # Life-cycle.

    @property
    def is_started(self) -> bool:
        """Whether it takes part."""
        return bool(self._shards)

    async def start(self) -> None:
        """Take part; `async with` does it. Returns when the bus has confirmed that others are heard.

        What others track is known after `clock_sample_periods` periods or so.

        Raises:
            LocalProtocolError: The bus is not started, or the tracker is already.
            ConfigurationError: Another tracker of this name is on this node.
        """
        if self._handover.has_ended:
            self._end()  # nobody stopped it, and its loop is gone
        if self._shards:
            raise LocalProtocolError(
                f"the tracker {self.name!r} was started already; stop it first, or make another one"
            )
        if not self._bus.is_started:
            raise LocalProtocolError(
                f"the tracker {self.name!r} was started before its bus; write `async with pubsub, Tracker(pubsub) as tracker:`, or start "
                "the endpoint first"
            )
        topics = [f"{TRACKERS}{self.name}_shard{number}" for number in range(self._settings.shards)]
        if self._bus.registry.count(topics[0]):
            raise ConfigurationError(
                f"there is a tracker named {self.name!r} on this node already, and it would be taken for this one; give each its own name"
            )
        loop = self._handover.settle()
        self._pace = Pace(loop.time, 1.5 * self.broadcast_period)
        # Unique without any clock: two lives of one node must not be taken for one.
        replica = Replica(self._bus.node_name, secrets.randbits(62))
        self._shards = [self._shard(topic, replica, first=number == 0) for number, topic in enumerate(topics)]
        self._refs = [Refs(f"{replica.name} {replica.vsn} {topic}") for topic in topics]
        try:
            for confirmed in [shard.open() for shard in self._shards]:
                if confirmed is not None:
                    await confirmed
        except BaseException:  # cancelled: nobody would stop what nobody got hold of
            self._end()
            raise
        self._ticking = loop.create_task(self._tick_for_ever(), name=f"ticks of tracker {self.name}")

    def _shard(self, topic: str, replica: Replica, *, first: bool) -> Shard:
        assert self._pace is not None
        tell = self._tell if first else _ignore
        return Shard(
            self._bus,
            topic,
            replica,
            self._settings.periods,
            self._settings.max_delta_sizes,
            self._pace,
            self._report,
            tell,
            self._log_level,
        )

    async def stop(self) -> None:
        """Leave, with a goodbye if `permdown_on_shutdown` says so; idempotent. Nothing is present here afterwards.

        What is tracked here is not reported to this node's `handle_diff`.
        """
        await self._stop(self.permdown_on_shutdown)

    async def graceful_permdown(self) -> None:
        """Tell the others that this node is gone for good, and stop. The presences of this node leave at once everywhere."""
        await self._stop(True)

    async def _stop(self, says_goodbye: bool) -> None:
        task, self._ticking = self._ticking, None
        if task is not None:
            if says_goodbye:
                for shard in self._shards:
                    shard.leave()
            self._end()
            task.cancel()
            await asyncio.wait((task,))

    def _end(self) -> None:
        shards, self._shards = self._shards, []
        for shard in shards:
            shard.close()
        self._owners.clear()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def _tick_for_ever(self) -> None:
        # Not all nodes at the same moment, though they were started together.
        await asyncio.sleep(random.uniform(0, 0.25) * self.broadcast_period)  # noqa: S311 - nothing is secret about it
        assert self._pace is not None
        while True:
            stood_still = self._pace.tick()
            for shard in self._shards:
                if stood_still > self.broadcast_period:
                    shard.participant.speak_soon()  # the others may take this node for down
                try:
                    shard.tick()
                except Exception:  # a fault of one shard must not end the others, nor all ticks to come
                    logger.exception("a tick of %s failed", shard.topic)
            await asyncio.sleep(self.broadcast_period)

    # Inside.

    def _number(self, topic: str) -> int:
        # The same on every node and in every start, which Python's `hash` is not.
        return zlib.crc32(topic.encode("utf-8", "surrogatepass")) % self._settings.shards

    def _writable(self, topic: str) -> tuple[int, Shard]:
        if not self._shards:
            raise LocalProtocolError(
                f"the tracker {self.name!r} is not started, so nothing can be tracked; enter `async with tracker:` first"
            )
        number = self._number(topic)
        return number, self._shards[number]

    def _report(self, diff: Diff) -> None:
        if self._handle_diff is not None:
            try:
                self._handle_diff(diff)
            except Exception:  # the application's fault; who is present has changed all the same
                logger.exception("handle_diff of the tracker %r raised", self.name)

    def _tell(self, change: Change) -> None:
        for (observer,) in list(self._observers):
            try:
                observer(change.replica.name, change.status.value)
            except Exception:  # an observer's fault must not reach what it observes
                logger.exception("an observer of the nodes of tracker %r raised", self.name)


class _Owner:
    __slots__ = ("id", "presences")

    def __init__(self, id_: str) -> None:
        self.id = id_
        self.presences = 0


def _ignore(change: Change) -> None:
    """The first shard tells of nodes."""
