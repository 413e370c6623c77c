"""The client's automaton with a clock that the test turns, and a server that answers when the test says so."""

from typing import Any

from broadwing.core.client import effects as e
from broadwing.core.client.state import ClientOptions, ClientState
from broadwing.core.codec import Body, body

LOBBY = "room:lobby"


class Machine:
    """A client, and what it wanted since the test looked last.

    Attributes:
        now: The time.
        state: The automaton.
    """

    def __init__(self, **options: Any) -> None:
        self.now = 100.0
        # Without chance: the longest that the default may wait.
        table = [0.05, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1.0, 2.0]
        defaults = {"reconnect_after": lambda tries: table[tries - 1] if tries <= len(table) else 5.0}
        self.state = ClientState(ClientOptions(**{**defaults, **options}))

    @property
    def channels(self) -> Any:
        """The part with the channels."""
        return self.state.channels

    def take(self) -> list[e.Effect]:
        """What it wants done."""
        taken = list(self.state.effects)
        self.state.effects.clear()
        return taken

    def sent(self) -> list[tuple[str | None, str | None, str, str]]:
        """What it sends: join_ref, ref, topic and event; everything else it wants is forgotten."""
        return [(p.join_ref, p.ref, p.topic, p.event) for p in (x.push for x in self.take() if isinstance(x, e.Send))]

    def of(self, kind: type[Any]) -> list[Any]:
        """Effects of one kind; all others are forgotten."""
        return [effect for effect in self.take() if isinstance(effect, kind)]

    def wait(self, seconds: float) -> None:
        """Let time pass, deadline by deadline."""
        end = self.now + seconds
        while (when := self.state.next_deadline()) is not None and when <= end:
            self.now = max(self.now, when)
            self.state.tick(self.now)
        self.now = end

    # The connection.

    def generation(self) -> int:
        """Of the connection it has just asked for; everything else it wants is forgotten."""
        return [effect.generation for effect in self.take() if isinstance(effect, e.Open)][-1]

    def open(self) -> int:
        """Connect."""
        self.state.connect(self.now)
        generation = self.generation()
        self.state.opened(generation, self.now)
        return generation

    def reopen(self) -> int:
        """The connection it has asked for by itself opens."""
        generation = self.generation()
        self.state.opened(generation, self.now)
        return generation

    def receive(
        self, generation: int, join_ref: Any, ref: Any, event: str, payload: Any = None, topic: str = LOBBY
    ) -> None:
        """A message comes."""
        message = e.Message(join_ref, ref, topic, event, {} if payload is None else payload)
        self.state.received(generation, message, self.now)

    def reply(
        self,
        generation: int,
        ref: Any,
        status: str = "ok",
        response: Any = None,
        *,
        join_ref: Any = None,
        topic: str = LOBBY,
    ) -> None:
        """A reply comes."""
        payload = {"status": status, "response": {} if response is None else response}
        self.receive(generation, join_ref, ref, "phx_reply", payload, topic)

    # Channels.

    def channel(self, topic: str = LOBBY) -> e.ChannelState:
        """A channel that is not joined."""
        return e.ChannelState(topic, Body(b"{}"))

    def join(self, timeout: float = 10.0, topic: str = LOBBY) -> e.ChannelState:
        """Ask to join."""
        channel = self.channel(topic)
        self.channels.join(channel, timeout, self.now)
        return channel

    def joined(self, topic: str = LOBBY) -> tuple[int, e.ChannelState]:
        """Connect, and join; nothing is left to do."""
        generation = self.open()
        channel = self.join(topic=topic)
        self.reply(generation, channel.join_ref, topic=topic)
        self.take()
        return generation, channel

    def push(
        self, channel: e.ChannelState, event: str = "e", timeout: float = 10.0, *, wants_reply: bool = True
    ) -> e.Push:
        """Push an event."""
        push = e.Push(channel.topic, event, body({}), timeout, wants_reply)
        self.channels.push(channel, push, self.now)
        return push
