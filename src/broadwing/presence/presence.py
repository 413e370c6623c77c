"""Who is on a topic, told to the clients on it: `Presence`."""

from collections.abc import Callable, Hashable, Mapping
from types import MappingProxyType, TracebackType
from typing import Any, Protocol, Self, TypeAlias, runtime_checkable

from broadwing.bus import PubSub
from broadwing.core.presence.payloads import Diff, Entries, grouped
from broadwing.core.presence.roster import Roster, Rosters
from broadwing.exceptions import ConfigurationError, LocalProtocolError, NotTracked
from broadwing.presence.diffs import Diffs
from broadwing.presence.handover import Handover
from broadwing.presence.hooks import call, overrides
from broadwing.presence.keys import key_of
from broadwing.presence.owner import ChannelLike
from broadwing.presence.tracker import Tracker
from broadwing.types import Service

Where: TypeAlias = ChannelLike | str
"""A topic, or a channel on it."""


@runtime_checkable
class Home(Protocol):
    """A `broadwing.Endpoint`, which starts and stops what is attached to it."""

    @property
    def pubsub(self) -> PubSub:
        """Its bus."""
        ...

    def attach(self, service: Service) -> None:
        """Start and stop something with it."""
        ...


class Presence:
    """Who is on a topic, on all nodes together, told to the clients on it.

    Without a subclass it tracks and tells. A subclass enriches what is told, or watches:

        class RoomPresence(Presence):
            async def fetch(self, topic, entries):
                names = await names_of(entries)
                return {key: {**entry, "name": names[key]} for key, entry in entries.items()}

        presence = RoomPresence(endpoint)

    and in a channel, once it has joined:

        presence.track(self, user_id, {"online_at": time.time()})
        self.push("presence_state", await presence.list(self))

    Each change is sent as a `presence_diff` to the clients on the topic, by each node to its own. A presence ends with its channel,
    whatever ends that; the leaving client is not told of it.

    Delivery: a diff reaches who is on the topic, at most once and in order; whoever was away gets the state when it joins again.
    What happens on other nodes arrives within a `broadcast_period`.

    Source: Phoenix `lib/phoenix/presence.ex`.

    Args:
        home: The endpoint, which starts and stops it; or a `PubSub`, and then `start` and `stop`, or `async with`, are yours.
        name: By which the nodes know it, one for each presence of an endpoint; the class's name by default.
        diff_rate: Frames of diffs per second and topic, on this node, beyond which changes are put together: with 10,000 a
            room of 50 clients is told at once, one of 5,000 twice a second. 0: always at once.
        hook_timeout: Seconds that `fetch` and `handle_metas` may take for a diff.
        **options: Those of `Tracker`.

    Raises:
        ConfigurationError: An option or a hook of the subclass is wrong.

    Attributes:
        name: The name.
        tracker: What knows who is there; its `dirty_list` tells of nodes that are cut off, too.
    """

    def __init__(
        self,
        home: Home | PubSub,
        *,
        name: str | None = None,
        diff_rate: float = 10_000,
        hook_timeout: float = 5.0,
        **options: Any,
    ) -> None:
        if diff_rate < 0 or hook_timeout <= 0:
            raise ConfigurationError(
                f"diff_rate={diff_rate!r}, hook_timeout={hook_timeout!r}; accepted are 0 or more frames per second, and more than 0 s"
            )
        bus = home.pubsub if isinstance(home, Home) else home
        self.name = type(self).__name__ if name is None else name
        self._enriches = overrides(type(self), Presence, "fetch", "topic", "entries")
        follows = overrides(type(self), Presence, "handle_metas", "topic", "diff", "presences")
        self.tracker = Tracker(bus, name=self.name, handle_diff=self._changed, **options)
        self._diffs = Diffs(
            bus.engine,
            rate=diff_rate,
            timeout=hook_timeout,
            prepare=self._enrich if self._enriches else None,
            follow=self._follow if follows else None,
        )
        self._rosters = Rosters()
        self._channels: set[ChannelLike] = set()
        self._handover = Handover(f"the presence {self.name!r}")
        if isinstance(home, Home):
            home.attach(self)

    # What a subclass may say.

    def fetch(self, topic: str, entries: Entries) -> Any:
        """Enrich entries, for instance with one query for all of them; `async def` or plain `def`, which runs in a thread.

        Called for what `list` and `get_by_key` tell, and for the joins and the leaves of each diff, one diff after the other.

        Args:
            topic: Where.
            entries: Key to `{"metas": [...]}`; yours to change.

        Returns:
            An entry for each key, with its `metas` and what else clients shall know.

        What it raises comes out of `list` and `get_by_key`. Where a diff is concerned it is logged, as is taking longer than
        `hook_timeout`, and the diff is sent with the metas alone.
        """
        return entries

    def handle_metas(self, topic: str, diff: Diff, presences: Roster) -> Any:
        """Watch who comes and goes on this node's view of all topics; `async def` or plain `def`, which runs in a thread.

        Called after each diff, in order; the next one waits. The object itself is the place for what it wants to remember.

        Args:
            topic: Where.
            diff: `diff.joins` and `diff.leaves`, as `fetch` left them.
            presences: Everybody there after the diff: key to metas. Read-only, and good until the next diff.

        What it raises is logged, as is taking longer than `hook_timeout`.
        """

    # What channels and others do.

    def track(self, owner: Hashable, key: Any, meta: Any = None, *, topic: str | None = None) -> str:
        """Say that somebody is there. Callable from any thread.

        Args:
            owner: Who holds the presence: a channel, whose end ends it, or anything hashable, and then `untrack` is yours.
            key: Who is there, usually a user's id; several owners may have the same. What is no string counts as its JSON
                text: 7 is "7".
            meta: What is to be known: a mapping or annotated object; by default nothing.
            topic: Where; by default the channel's topic.

        Returns:
            The presence's `phx_ref`; "" when the channel has ended meanwhile, and nothing is tracked.

        Raises:
            AlreadyTracked: This owner has that key on that topic already; `update` changes it.
            LocalProtocolError: A value has no JSON form, or there is no topic.

        Cancellation: not a switch point.
        """
        place, name = _place(owner, topic), key_of(key)
        return self._handover.call(self._track, owner, place, name, {} if meta is None else meta)

    def untrack(self, owner: Hashable, key: Any = None, *, topic: str | None = None) -> None:
        """Say that somebody is no longer there; what is not tracked is no error. Callable from any thread.

        Args:
            owner: Who holds the presence.
            key: Who; left out, everything that the owner holds, on all topics or on `topic`.
            topic: Where; with a key by default the channel's topic.
        """
        place = _place(owner, topic) if key is not None else topic
        name = key_of(key) if key is not None else None
        self.tracker.untrack(owner, place, name)

    def update(
        self, owner: Hashable, key: Any, meta: Any | Callable[[dict[str, Any]], Any], *, topic: str | None = None
    ) -> str:
        """Change what is to be known; clients get it as a leave of the old meta and a join of the new one. From any thread.

        Args:
            owner: Who holds the presence.
            key: Who.
            meta: The new meta, or a function that makes it out of a copy of the old one, `phx_ref` included.
            topic: Where; by default the channel's topic.

        Returns:
            The new `phx_ref`; "" when the channel has ended meanwhile.

        Raises:
            NotTracked: This owner does not have that key on that topic.
            LocalProtocolError: As `track`.

        Cancellation: not a switch point.
        """
        place, name = _place(owner, topic), key_of(key)
        try:
            return self.tracker.update(owner, place, name, meta)
        except NotTracked:
            if isinstance(owner, ChannelLike) and owner.is_over:
                return ""
            raise

    async def list(self, where: Where) -> Mapping[str, Any]:
        """Everybody on a topic: the payload of a `presence_state`.

        A client that joins is sent it by the application, after its channel has joined: what changes from then on comes as diffs.

        Args:
            where: A topic, or a channel on it.

        Returns:
            Key to `{"metas": [...]}` and what `fetch` adds; nobody is `{}`.

        Cancellation: ends `fetch`.
        """
        topic = where if isinstance(where, str) else where.topic
        self._diffs.before_list(topic)
        return await self._fetched(topic, grouped(self.tracker.list(topic)))

    async def get_by_key(self, where: Where, key: Any) -> Any:
        """What `list` tells of one key; `None` when nobody of that key is there."""
        topic, name = where if isinstance(where, str) else where.topic, key_of(key)
        self._diffs.before_list(topic)
        metas = self.tracker.get_by_key(topic, name)
        return (await self._fetched(topic, grouped((name, meta) for meta in metas))).get(name)

    # Life-cycle.

    async def start(self) -> None:
        """Begin to hear of other nodes; an endpoint does it.

        Raises:
            LocalProtocolError: The bus is not started, or it was started already.
            ConfigurationError: Another presence of this name is on this node.
        """
        self._handover.settle()
        await self.tracker.start()

    async def stop(self) -> None:
        """Tell the other nodes that whoever is here leaves, and tell nobody anything more; an endpoint does it."""
        await self.tracker.stop()
        await self._diffs.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    # Inside.

    def _track(self, owner: Hashable, topic: str, key: str, meta: Any) -> str:
        if not isinstance(owner, ChannelLike):
            return self.tracker.track(owner, topic, key, meta)
        if owner.is_over:
            return ""
        ref = self.tracker.track(owner, topic, key, meta)
        if owner not in self._channels:
            self._channels.add(owner)
            owner.at_end(lambda: self._ended(owner))
        return ref

    def _ended(self, channel: ChannelLike) -> None:
        self._channels.discard(channel)
        self.tracker.untrack(channel)

    def _changed(self, diff: Mapping[str, tuple[Any, Any]]) -> None:
        self._diffs.add(diff)

    async def _enrich(self, topic: str, diff: Diff) -> Diff:
        return Diff(await self._fetched(topic, diff.joins), await self._fetched(topic, diff.leaves))

    async def _follow(self, topic: str, diff: Diff) -> None:
        await call(self.handle_metas, topic, diff, MappingProxyType(self._rosters.apply(topic, diff)))

    async def _fetched(self, topic: str, entries: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self._enriches or not entries:
            return entries
        keys = tuple(entries)
        fetched: Any = await call(self.fetch, topic, entries)
        lost = (
            [key for key in keys if key not in fetched or "metas" not in fetched[key]]
            if isinstance(fetched, Mapping)
            else keys
        )
        if lost:
            raise LocalProtocolError(
                f"{type(self).__name__}.fetch returned a {type(fetched).__name__} without an entry with `metas` for {lost[0]!r} on "
                f'{topic!r}; return {{key: {{**entry, "name": ...}} for key, entry in entries.items()}}'
            )
        return fetched  # type: ignore[no-any-return] # a mapping, as was just seen


def _place(owner: Hashable, topic: str | None) -> str:
    if topic is not None:
        return topic
    if isinstance(owner, ChannelLike):
        return owner.topic
    raise LocalProtocolError(
        f"an owner that is no channel, here a {type(owner).__name__}, is on no topic by itself; pass topic=..."
    )
