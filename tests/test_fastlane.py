"""The way of a broadcast: one frame per format, slices for large rooms, and order all the same."""

import asyncio
import itertools
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from broadwing import Channel, Endpoint, LocalProtocolError, Ok, Socket, fastlane, intercept, on
from broadwing.socket import Routes
from tests.support.background import TIMEOUT
from tests.support.client import V1, V2
from tests.support.memory import MemoryLine, line


class Room(Channel):
    """Lets everybody in."""

    async def join(self, params: Any) -> None:
        """Yes."""

    @on("e")
    async def e(self) -> Any:
        """Reply."""
        return Ok()

    @on("all")
    async def all(self) -> Any:
        """Broadcast, push, broadcast, reply."""
        self.broadcast("before", {})
        self.push("pushed", {})
        self.broadcast("after", {})
        return Ok()

    @on("push")
    async def push_it(self) -> None:
        """Push."""
        self.push("pushed", {})


class Picky(Room):
    """Intercepts."""

    @intercept("secret")
    async def secret(self, payload: Any) -> None:
        """Say that it came this way."""
        self.push("secret", {"picked": payload["n"]})


class User(Socket):
    """Everybody."""

    channels: ClassVar[Routes] = {"room": Room, "other": Room, "picky": Picky}


async def members(endpoint: Endpoint, count: int, topic: str = "room", vsn: str = V2) -> list[MemoryLine]:
    """Clients that have joined a topic."""
    lines = [await line(User, endpoint=endpoint, vsn=vsn) for _ in range(count)]
    for each in lines:
        await each.join(topic)
    return lines


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """One whose rooms are large from the fifth member on."""
    made = Endpoint()
    made.fastlane.slice = 4
    yield made
    assert made.fastlane.pending == {}


async def drained(endpoint: Endpoint) -> None:
    """Wait until everything is written."""
    async with asyncio.timeout(TIMEOUT):
        while endpoint.fastlane.pending:
            await asyncio.sleep(0)


async def test_all_clients_of_one_format_are_written_the_same_object(endpoint: Endpoint) -> None:
    lines = [*await members(endpoint, 2), *await members(endpoint, 2, vsn=V1)]
    endpoint.broadcast("room", "e", {"n": 1})
    frames = [each.frames[0] for each in lines]
    assert frames[0] is frames[1]
    assert frames[2] is frames[3]
    assert frames[0] == (1, b'[null,null,"room","e",{"n":1}]')
    assert frames[2] == (1, b'{"event":"e","payload":{"n":1},"ref":null,"topic":"room"}')
    assert endpoint.fastlane.deliveries == 4


def written(lines: list[MemoryLine]) -> list[int]:
    """How many frames each client has been written and not taken yet."""
    return [len(each.written) for each in lines]


async def test_a_small_room_is_written_at_the_end_of_the_turn_and_a_large_one_in_slices(endpoint: Endpoint) -> None:
    lines = await members(endpoint, 10)
    small = await members(endpoint, 4, "other")
    endpoint.broadcast("room", "e", {"n": 1})
    endpoint.broadcast("other", "e", {"n": 2})
    endpoint.broadcast("other", "e", {"n": 3})
    assert written([*lines, *small]) == [0] * 14
    await asyncio.sleep(0)
    assert written(small) == [2] * 4
    assert 0 < sum(written(lines)) < 10
    await drained(endpoint)
    assert [each.take() for each in lines] == [[(None, None, "room", "e", {"n": 1})]] * 10


async def test_broadcasts_replies_and_pushes_of_a_topic_keep_their_order(endpoint: Endpoint) -> None:
    lines = await members(endpoint, 10)
    last = lines[-1]
    endpoint.broadcast("room", "first", {})
    last.send_text("1", "2", "room", "e")
    last.send_text("1", "3", "room", "push")
    await last.settle()
    endpoint.broadcast("room", "second", {})
    last.send_text("1", "4", "room", "phx_leave")
    await last.settle()
    await drained(endpoint)
    assert [each.event for each in last.take()] == ["first", "phx_reply", "pushed", "second", "phx_reply", "phx_close"]
    assert [each.event for each in lines[0].take()] == ["first", "second"]


@pytest.mark.parametrize("count", [2, 10])
def test_what_is_broadcast_while_the_loop_stands_still_is_written_at_once(endpoint: Endpoint, count: int) -> None:
    with asyncio.Runner() as runner:
        lines = runner.run(members(endpoint, count))
        endpoint.broadcast("room", "e", {})
        assert written(lines) == [1] * count
        endpoint.broadcast("room", "f", {})
        assert written(lines) == [2] * count


async def test_many_writes_do_not_wait_for_the_end_of_the_turn(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastlane, "MAX_DUE", 5)
    lines = await members(endpoint, 2)
    for n in range(5):
        endpoint.broadcast("room", "e", {"n": n})
    assert written(lines) == [3, 3]
    await asyncio.sleep(0)
    assert [[m.payload["n"] for m in each.take()] for each in lines] == [[0, 1, 2, 3, 4]] * 2


async def test_a_room_that_grows_large_within_a_turn_keeps_its_order(endpoint: Endpoint) -> None:
    lines = await members(endpoint, 10)
    endpoint.broadcast("room", "large", {})  # so that slices are being written already
    small = await members(endpoint, 4, "other")
    endpoint.broadcast("other", "first", {})
    endpoint.fastlane.slice = 3
    endpoint.broadcast("other", "second", {})
    await drained(endpoint)
    assert [[m.event for m in each.take()] for each in small] == [["first", "second"]] * 4
    assert [len(each.frames) for each in lines] == [1] * 10


@pytest.mark.parametrize("rooms", ["small", "large"])
async def test_within_a_turn_broadcasts_replies_and_pushes_keep_their_order(endpoint: Endpoint, rooms: str) -> None:
    endpoint.fastlane.slice = 4 if rooms == "small" else 1
    one, other = await members(endpoint, 2)
    one.send_text("1", "2", "room", "all")
    one.send_text("1", "3", "room", "phx_leave")
    one.send_text("1", "4", "room", "e")
    assert written([one, other]) == [0, 0]
    await one.settle()
    await drained(endpoint)
    assert [each.event for each in one.take()] == [
        *("before", "pushed", "after", "phx_reply"),
        *("phx_reply", "phx_close", "phx_reply"),
    ]
    assert [each.event for each in other.take()] == ["before", "after"]


async def test_a_client_that_is_closed_has_been_written_what_came_before(endpoint: Endpoint) -> None:
    one, other = await members(endpoint, 2)
    endpoint.broadcast("room", "e", {})
    one.close(1000)
    assert written([one, other]) == [1, 1]
    endpoint.broadcast("room", "f", {})
    await asyncio.sleep(0)
    assert written([one, other]) == [1, 2]


async def test_a_client_whose_line_is_lost_is_written_nothing_more(endpoint: Endpoint) -> None:
    one, other = await members(endpoint, 2)
    endpoint.broadcast("room", "e", {})
    one.connection.closed(("shutdown", "closed"))
    await asyncio.sleep(0)
    assert written([one, other]) == [0, 1]


async def test_a_client_that_is_closed_because_of_a_write_is_written_nothing_more(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its end leads to is written all the same, behind what was due."""
    one, other = await members(endpoint, 2)

    def overflow(frame: Any) -> None:
        one.written.append(frame)
        one.close(1008)
        endpoint.broadcast("room", "left", {})

    monkeypatch.setattr(one, "write", overflow)
    for n in range(3):
        endpoint.broadcast("room", "e", {"n": n})
    await asyncio.sleep(0)
    assert written([one]) == [1]
    assert [each.event for each in other.take()] == ["e", "e", "e", "left"]


async def test_other_topics_of_a_client_do_not_wait(endpoint: Endpoint) -> None:
    lines = await members(endpoint, 10)
    last = lines[-1]
    await last.join("other", "2")
    endpoint.broadcast("room", "e", {})
    endpoint.broadcast("other", "f", {})
    assert [each.event for each in last.take()] == ["f"]
    await drained(endpoint)
    assert [each.event for each in last.take()] == ["e"]


async def test_two_large_rooms_take_turns(endpoint: Endpoint) -> None:
    one, two = await members(endpoint, 12), await members(endpoint, 12, "other")
    endpoint.broadcast("room", "e", {})
    endpoint.broadcast("other", "e", {})
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert any(each.frames for each in one)
    assert any(each.frames for each in two)
    assert not all(each.frames for each in one)
    await drained(endpoint)
    assert all(len(each.frames) == 1 for each in (*one, *two))


async def test_who_publishes_without_pause_is_held_up_and_nothing_is_lost(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastlane, "MAX_WAITING", 3)
    lines = await members(endpoint, 10)
    for n in range(10):
        endpoint.broadcast("room", "e", {"n": n})
    assert [len(each.frames) for each in lines] == [7] * 10  # written on the spot, all but the last three
    await drained(endpoint)
    assert [[m.payload["n"] for m in each.take()] for each in lines] == [list(range(10))] * 10


async def test_flush_writes_everything_at_once(endpoint: Endpoint) -> None:
    lines = await members(endpoint, 10)
    endpoint.broadcast("room", "e", {"n": 1})
    endpoint.broadcast("room", "e", {"n": 2})
    endpoint.fastlane.flush()
    assert [len(each.frames) for each in lines] == [2] * 10
    endpoint.broadcast("room", "e", {"n": 3})
    await drained(endpoint)
    assert [len(each.frames) for each in lines] == [3] * 10


async def test_a_sender_is_skipped_in_every_slice(endpoint: Endpoint) -> None:
    lines = await members(endpoint, 10)
    (runner,) = lines[7].connection.runners
    runner.channel.broadcast_from("e", {})
    await drained(endpoint)
    assert [len(each.frames) for each in lines] == [1] * 7 + [0] + [1] * 2


async def test_a_line_that_refuses_a_frame_does_not_keep_it_from_the_others(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uvloop raises when a line went down since the subscribers were listed."""
    lines = await members(endpoint, 3)
    large = await members(endpoint, 10, "other")

    def refuse(frame: Any) -> None:
        raise RuntimeError("the handler is closed")

    for each in (lines[0], large[0], large[9]):
        monkeypatch.setattr(each, "write", refuse)
    endpoint.broadcast("room", "e", {})
    endpoint.broadcast("other", "e", {})
    await drained(endpoint)
    assert [len(each.frames) for each in lines] == [0, 1, 1]
    assert [len(each.frames) for each in large] == [0, *[1] * 8, 0]


async def test_a_frame_that_could_fill_a_buffer_is_written_with_care(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = await members(endpoint, 10)
    careful: list[MemoryLine] = []
    monkeypatch.setattr(type(lines[0].format), "is_large", lambda self, frame: len(frame[1]) > 1_000)
    monkeypatch.setattr(MemoryLine, "write_large", lambda self, frame: careful.append(self))
    endpoint.broadcast("room", "e", {"x": "x" * 2_000})
    await drained(endpoint)
    assert careful == lines
    assert [len(each.frames) for each in lines] == [0] * 10


async def test_only_members_of_an_intercepting_class_are_asked(endpoint: Endpoint) -> None:
    """checklist 50"""
    (picky,) = await members(endpoint, 1, "picky")
    plain: list[Any] = []
    endpoint.subscribe("picky", plain.append)
    endpoint.broadcast("picky", "secret", {"n": 1})
    endpoint.broadcast("picky", "public", {"n": 2})
    await picky.settle()
    assert [(each.event, each.payload) for each in picky.take()] == [("public", {"n": 2}), ("secret", {"picked": 1})]
    assert [each.event for each in plain] == ["secret", "public"]


async def test_a_payload_that_one_version_cannot_carry_reaches_nobody(endpoint: Endpoint) -> None:
    """checklist 112"""
    lines = [*await members(endpoint, 1), *await members(endpoint, 1, vsn=V1)]
    with pytest.raises(LocalProtocolError, match="expected broadcasted payload to be a map, got: "):
        endpoint.broadcast("room", "e", "text")
    assert [each.frames for each in lines] == [[], []]
    old = await members(endpoint, 1, "other", vsn=V1)
    endpoint.broadcast("other", "e", "text")
    assert old[0].take() == [(None, None, "other", "e", "text")]


async def test_a_binary_frame_has_room_for_255_bytes_of_each_field(endpoint: Endpoint) -> None:
    """checklist 16"""
    (one,) = await members(endpoint, 1)
    endpoint.broadcast("room", "e" * 255, b"x")
    assert one.frames == [(2, b"\x02\x04\xff" + b"room" + b"e" * 255 + b"x")]
    with pytest.raises(LocalProtocolError, match="unable to convert event to binary: it has 256 bytes"):
        endpoint.broadcast("room", "e" * 256, b"x")


async def test_nobody_is_written_to_after_it_left_in_the_middle_of_a_fan_out(endpoint: Endpoint) -> None:
    lines = await members(endpoint, 10)
    endpoint.broadcast("room", "e", {})
    lines[9].close(1000)
    await drained(endpoint)
    assert [len(each.frames) for each in lines] == [1] * 9 + [0]


@pytest.mark.parametrize(("turn", "expected"), [(fastlane.TURN * 2, fastlane.SLICE_MIN), (fastlane.TURN / 2, 100)])
async def test_the_slices_follow_the_clock(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, turn: float, expected: int
) -> None:
    """Long turns make them smaller, down to a bound; short turns make them larger again."""
    ticks = itertools.count(1)
    monkeypatch.setattr(time, "thread_time", lambda: next(ticks) * turn)
    await members(endpoint, 40)
    endpoint.fastlane.slice = 36
    for _ in range(10):
        endpoint.broadcast("room", "e", {})
    await drained(endpoint)
    if expected == fastlane.SLICE_MIN:
        assert endpoint.fastlane.slice == expected
    else:
        assert endpoint.fastlane.slice >= expected
