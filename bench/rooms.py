"""Rooms of the load client: broadcasts are sent, their deliveries counted and timed."""

import asyncio
import time

from bench.lines import Crew, Line, push_frame


class Room:
    """One topic and its members; the first publishes anew whenever a broadcast has reached all.

    Attributes:
        left: Deliveries still to come, by the mark of their broadcast.
        times: Seconds from each push to its last delivery.
        rounds: Broadcasts that have reached all.
    """

    __slots__ = ("_concert", "_sent", "_topic", "left", "members", "rounds", "times")

    def __init__(self, concert: "Concert", topic: str) -> None:
        self._concert = concert
        self._topic = topic
        self._sent: dict[bytes, float] = {}
        self.members: list[Member] = []
        self.left: dict[bytes, int] = {}
        self.times: list[float] = []
        self.rounds = 0

    def publish(self) -> None:
        """Send the next broadcast."""
        self._concert.sequence += 1
        body = f"#{self._concert.sequence:010}"
        mark = body.encode()
        self.left[mark] = len(self.members)
        self._sent[mark] = time.perf_counter()
        (self._concert.publisher or self.members[0]).send(push_frame(self._topic, "new_msg", body))

    def arrived(self, mark: bytes) -> None:
        """Take the last delivery of a broadcast."""
        now = time.perf_counter()
        del self.left[mark]
        self.times.append(now - self._sent.pop(mark))
        self.rounds += 1
        if now < self._concert.deadline:
            self.publish()
        elif not self.left:
            self._concert.ended()


class Member(Line):
    """A connection that counts what is broadcast in its room."""

    __slots__ = ("_room",)

    def __init__(self, crew: Crew, topic: str, room: Room) -> None:
        super().__init__(crew, topic)
        self._room = room
        room.members.append(self)

    def message(self, data: bytes) -> None:
        """Count a delivery by its mark, `#` and ten digits."""
        at = data.find(b"#")
        mark = data[at : at + 11]
        left = self._room.left
        count = left.get(mark, 0)
        if count > 1:
            left[mark] = count - 1
        elif count:
            self._room.arrived(mark)
        elif b'"new_msg"' in data:  # others, such as a reply to the push, are none of our business
            self.fail(f"a broadcast arrived more often than there are members, or was never sent: {data[:200]!r}")


class Concert:
    """All rooms of a scenario.

    Args:
        crew: Who connects.
        connections: How many, in all.
        rooms: How many topics they are spread over.
        window: Broadcasts in flight per topic.

    Attributes:
        publisher: Who publishes instead of the first member of each room.
    """

    def __init__(self, crew: Crew, connections: int, rooms: int = 1, window: int = 1) -> None:
        self._crew = crew
        self._connections = connections
        self._window = window
        self._done: asyncio.Future[None] = crew.loop.create_future()
        self._playing = 0
        self._rooms = [Room(self, f"room:{number}") for number in range(rooms)]
        self.publisher: Line | None = None
        self.sequence = 0
        self.deadline = 0.0

    async def join(self) -> None:
        """Connect and join with all."""
        rooms = self._rooms
        lines = (
            Member(self._crew, f"room:{number % len(rooms)}", rooms[number % len(rooms)])
            for number in range(self._connections)
        )
        await self._crew.join(lines, self._connections)

    async def play(self, seconds: float) -> int:
        """Broadcast for so long, or until `deadline` is moved, and return the deliveries when all have arrived."""
        before = self.deliveries
        self._done = self._crew.loop.create_future()
        self._playing = len(self._rooms)
        self.deadline = time.perf_counter() + seconds
        for room in self._rooms:
            room.times.clear()
            for _ in range(self._window):
                room.publish()
        await self._crew.until(self._done, "broadcasting", lambda: self.deliveries)
        return self.deliveries - before

    def ended(self) -> None:
        """Take notice that one room has no broadcast left."""
        self._playing -= 1
        if not self._playing:
            self._done.set_result(None)

    @property
    def deliveries(self) -> int:
        """Deliveries of all broadcasts that have reached everybody."""
        return sum(room.rounds * len(room.members) for room in self._rooms)

    @property
    def times(self) -> list[float]:
        """Seconds to the last subscriber, of all broadcasts since `play` was called."""
        return [seconds for room in self._rooms for seconds in room.times]
