"""Broadcasts over real lines, most of them to rooms that are written to in slices: order, members that go meanwhile, and what waits."""

import asyncio
import contextlib
import json
import random
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from broadwing import Broadcast, Endpoint, fastlane
from broadwing.core.codec import body
from broadwing.core.json_v2 import JsonV2
from broadwing.fastlane import MAX_WAITING, SLICE_MAX, Fastlane, Lane
from broadwing.pubsub.registry import Subscribers
from broadwing.transports.websocket_entrance import PLAIN
from tests.support.background import Background, background, until
from tests.support.hostile import ROOM, hostile_endpoint
from tests.support.wire import CLOSE, EOF, TEXT, Wire, client_frame, wire


class Room:
    """A room with more members than a slice.

    Attributes:
        members: Their lines.
    """

    def __init__(self, endpoint: Endpoint, served: Background, members: list[Wire]) -> None:
        self.endpoint = endpoint
        self.served = served
        self.members = members

    def shout(self, number: int) -> None:
        """Broadcast from the server."""
        self.endpoint.broadcast("room:a", "shout", {"n": number})

    def shout_all(self, count: int) -> None:
        """Broadcast the numbers below `count` in one go; callable from the test's thread."""
        self.served.loop.call_soon_threadsafe(self._shout_all, count)

    def _shout_all(self, count: int) -> None:
        for number in range(count):
            self.shout(number)

    def heard(self, line: Wire) -> int:
        """The next message of a member, which must be a shout."""
        message = line.message()
        assert message[:4] == [None, None, "room:a", "shout"], message
        number = message[4]["n"]
        assert isinstance(number, int)
        return number


@pytest.fixture
def large_room() -> Iterator[Room]:
    """With more members than any slice."""
    with filled(hostile_endpoint(), SLICE_MAX + 88) as room:
        yield room


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    """The same at a fifth of the size, slices as well."""
    monkeypatch.setattr(fastlane, "SLICE_MAX", 100)
    endpoint = hostile_endpoint()
    endpoint.fastlane.slice = 50
    with filled(endpoint, 120) as room:
        yield room


@contextlib.contextmanager
def filled(endpoint: Endpoint, size: int) -> Iterator[Room]:
    with background(endpoint) as served, contextlib.ExitStack() as stack:
        members = [stack.enter_context(wire(served.port, ROOM)) for _ in range(size)]
        for line in members:
            line.send_message("1", "1", "room:a", "phx_join", {})
        for line in members:
            assert line.message()[3] == "phx_reply"
        yield Room(endpoint, served, members)


def reset(*lines: Wire) -> None:
    """Go away without a word, so that what is written to the lines next finds nobody."""
    for line in lines:
        line.line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.line.close()


def test_everybody_gets_every_broadcast_in_order(large_room: Room) -> None:
    large_room.shout_all(20)
    for line in large_room.members:
        assert [large_room.heard(line) for _ in range(20)] == list(range(20))


def test_a_sender_sees_its_own_broadcast_before_the_reply_and_everybody_the_order_of_sending(large_room: Room) -> None:
    senders = [large_room.members[0], large_room.members[-1]]
    for number in range(10):
        for line in senders:
            line.send_message("1", f"e{number}", "room:a", "shout", {"n": number})
            line.send_message("1", f"r{number}", "room:a", "echo", {"n": number})
    seen: list[list[tuple[str, int]]] = []
    for line in large_room.members:
        messages = [line.message() for _ in range(30 if line in senders else 20)]
        seen.append([(m[3], m[4]["n"]) for m in messages if m[3] == "shout"])
        if line in senders:
            for number in range(10):
                shouts = [at for at, m in enumerate(messages) if m[3] == "shout" and m[4]["n"] == number]
                (reply,) = [at for at, m in enumerate(messages) if m[1] == f"r{number}"]
                assert shouts[0] < reply, "the reply overtook the sender's own broadcast"
    assert all(each == seen[0] for each in seen)


def test_who_says_something_and_closes_in_one_breath_sees_what_came_of_it_before_the_close() -> None:
    """And nothing behind the close (RFC 6455 section 5.5.1), whatever the others say in that same turn of the loop."""
    with filled(hostile_endpoint(), 3) as room:
        leaving, *others = room.members

        def say(ref: str, event: str) -> bytes:
            return client_frame(TEXT, json.dumps(["1", ref, "room:a", event, {"n": int(ref)}]).encode())

        breath = say("1", "shout") + say("2", "echo") + say("3", "shout")
        leaving.send(breath + client_frame(CLOSE, (1000).to_bytes(2)) + say("4", "shout"))
        assert room.heard(leaving) == 1
        assert leaving.message()[3:] == ["phx_reply", {"response": {"n": 2}, "status": "ok"}]
        assert room.heard(leaving) == 3
        assert leaving.close_code() == 1000
        room.shout_all(1)
        for line in others:
            assert [room.heard(line) for _ in range(3)] == [1, 3, 0]


def test_a_backlog_beyond_the_bound_is_written_through_and_loses_nothing(room: Room) -> None:
    count = MAX_WAITING + 100

    def shout() -> int:
        for number in range(count):
            room.shout(number)
        return max(len(jobs) for jobs in room.endpoint.fastlane.pending.values())

    assert room.served.run(shout) <= MAX_WAITING
    frames = [room.members[0].frame() for _ in range(count)]
    assert [json.loads(frame.payload)[4]["n"] for frame in frames] == list(range(count))
    stream = b"".join(b"\x81" + bytes((len(frame.payload),)) + frame.payload for frame in frames)
    for line in room.members[1:]:
        assert line._read(len(stream)) == stream
    until(lambda: not room.endpoint.fastlane.pending)


def test_members_that_vanish_during_a_fan_out_take_nobodys_frames_with_them(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    # uvloop refuses to write to a transport that has closed, with a RuntimeError in the middle of the slice.
    vanishing = random.Random(3).sample(room.members, 40)
    going = threading.Thread(target=reset, args=vanishing)
    room.shout_all(100)
    going.start()
    for line in room.members:
        if line not in vanishing:
            assert [room.heard(line) for _ in range(100)] == list(range(100))
    going.join()
    until(lambda: room.endpoint.pubsub.registry.count("room:a") == len(room.members) - 40)
    room.shout(100)
    assert {room.heard(line) for line in room.members if line not in vanishing} == {100}
    assert [record for record in caplog.records if record.exc_info or record.name == "asyncio"] == []


def test_members_that_leave_during_a_fan_out_get_what_was_sent_before_and_nothing_after(room: Room) -> None:
    leaving = room.members[-1]
    leaving.send_message("1", "l", "room:a", "phx_leave", {})
    room.shout_all(50)
    messages = [leaving.message()]
    while messages[-1][3] != "phx_close":
        messages.append(leaving.message())
    shouts = [message[4]["n"] for message in messages[:-2]]
    assert shouts == list(range(len(shouts)))
    assert messages[-2][1:4] == ["l", "room:a", "phx_reply"]
    for line in room.members[:-1]:
        assert [room.heard(line) for _ in range(50)] == list(range(50))
    leaving.heartbeat()


def test_members_that_join_during_a_fan_out_get_their_reply_first(room: Room) -> None:
    with wire(room.served.port, ROOM) as late:
        room.shout_all(100)
        late.send_message("1", "1", "room:a", "phx_join", {})
        assert late.message()[:4] == ["1", "1", "room:a", "phx_reply"]
        room.shout(100)
        heard = [room.heard(late)]
        while heard[-1] != 100:
            heard.append(room.heard(late))
        assert heard == list(range(101 - len(heard), 101))


def test_no_frame_follows_the_close_of_a_member_that_is_sent_away_during_a_fan_out(room: Room) -> None:
    # RFC 6455 section 5.5.1.
    def shout_and_close() -> int:
        for number in range(50):
            room.shout(number)
        assert room.endpoint.fastlane.pending, "the room is not written to in slices"
        lines: Any = list(room.endpoint.websocket_entrance("/socket/websocket")[0].sweeper.members)  # type: ignore[index] # mounted
        for line in lines[::2]:
            line.close(4000)
        return len(lines[::2])

    closed = room.served.run(shout_and_close)
    ends = 0
    for line in room.members:
        heard = []
        while (frame := line.frame()).opcode == TEXT:
            heard.append(json.loads(frame.payload)[4]["n"])
            if len(heard) == 50:
                break
        assert heard == list(range(len(heard)))
        if frame.opcode == CLOSE:
            ends += 1
            line.send_frame(CLOSE, frame.payload)
            assert line.frame() == EOF, "data after a close frame"
        else:
            assert len(heard) == 50
    assert ends == closed


class Sink:
    """A subscriber's line that may refuse."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.got: list[Any] = []

    def write(self, data: Any) -> None:
        if self.error is not None:
            raise self.error
        self.got.append(data)


@pytest.mark.parametrize("size", [10, 2_000])
async def test_a_line_that_refuses_a_frame_keeps_it_from_nobody_else(
    size: int, caplog: pytest.LogCaptureFixture
) -> None:
    # A RuntimeError is uvloop's word for a line that has gone; anything else is a fault worth a log line.
    fastlane, subscribers = Fastlane(), Subscribers("room:a")
    sinks = [Sink({3: RuntimeError("gone"), 7: AttributeError("broken")}.get(number % 10)) for number in range(size)]
    lane = Lane(JsonV2(), PLAIN, frozenset())
    subscribers.groups[lane] = dict(enumerate(sinks))
    for number in range(3):
        fastlane.dispatch(subscribers, Broadcast("room:a", "shout", body({"n": number})), None)
    while fastlane.due or fastlane.pending:
        await asyncio.sleep(0)
    assert {len(sink.got) for sink in sinks if sink.error is None} == {3}
    assert len([record for record in caplog.records if record.exc_info]) == 3 * size // 10
