"""The parts that brokers' adapters share: frames, URLs, pauses between attempts."""

import asyncio
import logging
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadwing.exceptions import ConfigurationError
from broadwing.pubsub.broker_frames import Frames
from broadwing.pubsub.broker_life import FIRST_DELAY, LONGEST_DELAY, Life, delays
from broadwing.pubsub.broker_url import Host, parse
from broadwing.pubsub.redis_line import command
from tests.support.background import TIMEOUT

ANY = frozenset({"a", "b"})

# Frames


def test_a_frame_looks_as_its_description_says() -> None:
    frames = Frames()
    head = frames.plain
    assert (head[:3], head[3], head[4], len(head)) == (b"\xb7BW", 1, 0, 13)
    sender = head[5:]
    assert frames.with_topic("ü", b"data") == b"\xb7BW\x01\x01" + sender + b"\x00\x00\x00\x02\xc3\xbcdata"
    assert frames.to_node("a", b"") == b"\xb7BW\x01\x03" + sender + b"\x00\x00\x00\x01a"
    assert Frames().plain[5:] != sender


@given(topic=st.text(), data=st.binary())
def test_what_one_node_writes_another_reads(topic: str, data: bytes) -> None:
    one, two = Frames(), Frames()
    assert two.read(topic, one.plain + data) == (topic, data)
    assert two.read(topic, one.with_topic(topic, data)) == (topic, data)
    assert two.read(None, one.to_node(topic, data)) == (topic, data)
    assert one.read(topic, one.plain + data) is None
    assert one.read(topic, one.with_topic(topic, data)) is None
    assert one.read(None, one.to_node(topic, data)) == (topic, data)


def test_half_a_surrogate_pair_travels() -> None:
    assert Frames().read(None, Frames().to_node("\ud83e", b"")) == ("\ud83e", b"")


@given(data=st.binary())
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for topic in ("a", None):
        for frame in (data, b"\xb7BW" + data, b"\xb7BW\x01" + data, b"\xb7BW\x01\x01" + bytes(8) + data):
            try:
                Frames().read(topic, frame)
            except ValueError:
                continue


@pytest.mark.parametrize("length", range(14, 19))
def test_a_frame_that_ends_within_its_topic_is_damaged(length: int) -> None:
    with pytest.raises(ValueError, match="within its topic"):
        Frames().read("ab", Frames().with_topic("ab", b"")[:length])


def test_what_a_frame_is_refused_for_is_said() -> None:
    frames = Frames()
    for topic, frame, reason in (
        (None, b"{}", "expected a message of Broadwing"),
        ("a", frames.plain[:9], "within its head"),
        ("a", b"\xb7BW\x07" + bytes(9), "version 7"),
        ("a", Frames().with_topic("b", b""), "for 'b' came on 'a'"),
        (None, Frames().plain, "does not say what its topic is"),
    ):
        with pytest.raises(ValueError, match=reason):
            frames.read(topic, frame)


def test_commands_are_written_as_the_protocol_of_redis_says() -> None:
    # RESP: an array of bulk strings.
    assert command(b"PING") == b"*1\r\n$4\r\nPING\r\n"
    assert command(b"SUBSCRIBE", "ü".encode()) == b"*2\r\n$9\r\nSUBSCRIBE\r\n$2\r\n\xc3\xbc\r\n"
    assert command(b"PUBLISH", b"a", b"\0\r\n") == b"*3\r\n$7\r\nPUBLISH\r\n$1\r\na\r\n$3\r\n\0\r\n\r\n"


# URLs


def test_a_url_is_taken_apart() -> None:
    url = parse("x+y://us%40er:p%3Aw@h1,h2:2,[::1]:3,[fe80::1]/pa%20th/x?a=1%202&b=c", default_port=9, accepted=ANY)
    assert (url.scheme, url.username, url.password) == ("x+y", "us@er", "p:w")
    assert url.hosts == (Host("h1", 9), Host("h2", 2), Host("::1", 3), Host("fe80::1", 9))
    assert (url.path, url.options) == ("pa th/x", {"a": "1 2", "b": "c"})
    assert url.shown == "x+y://h1:9,h2:2,[::1]:3,[fe80::1]:9/pa th/x"


@pytest.mark.parametrize(
    ("credentials", "expected"),
    [("", (None, None)), ("u@", ("u", None)), (":p@", (None, "p")), ("u:@", ("u", "")), ("u:p@", ("u", "p"))],
)
def test_credentials_may_be_whole_half_or_none(credentials: str, expected: tuple[str | None, str | None]) -> None:
    url = parse(f"x://{credentials}h", default_port=1, accepted=ANY)
    assert (url.username, url.password) == expected


def test_no_host_is_this_machine() -> None:
    assert parse("x://", default_port=1, accepted=ANY).hosts == (Host("localhost", 1),)
    assert parse("x://:5", default_port=1, accepted=ANY).hosts == (Host("localhost", 5),)


@given(st.text())
def test_any_url_is_read_or_refused(text: str) -> None:
    try:
        url = parse(f"x://{text}", default_port=1, accepted=ANY)
    except ConfigurationError:
        return
    assert all(0 < host.port < 65_536 for host in url.hosts)


# Lives


def test_pauses_grow_up_to_a_bound_and_differ() -> None:
    one, two = list(islice(delays(), 20)), list(islice(delays(), 20))
    assert one != two
    for number, pause in enumerate(one):
        middle = min(FIRST_DELAY * 2**number, LONGEST_DELAY)
        assert middle * 0.5 <= pause <= middle * 1.5


async def test_a_session_that_fails_by_a_bug_is_followed_by_another_and_told_with_its_place(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "broadwing.pubsub")
    ups: list[bool] = []
    sessions = 0

    async def session() -> None:
        nonlocal sessions
        sessions += 1
        if sessions == 1:
            raise ZeroDivisionError("a bug of the test")
        if sessions == 2:
            life.up()
            return
        life.up()
        await asyncio.Event().wait()

    life = Life("the line", session, lambda: ups.append(life.is_up))
    life.start()
    await life.settled()
    async with asyncio.timeout(TIMEOUT):
        while sessions < 3:
            await asyncio.sleep(0.001)
    assert ups == [False, True, False, True]
    first, again, second, again_too = caplog.records
    assert first.exc_info
    assert first.message == "the line: a bug of the test; trying again"
    assert again.message == again_too.message == "the line is connected again"
    assert second.message == "the line: the connection was closed; trying again"
    await life.stop()
    await life.stop()
    assert ups == [False, True, False, True, False]


async def test_renewing_a_life_that_was_stopped_does_not_begin_it_again() -> None:
    sessions = 0

    async def session() -> None:
        nonlocal sessions
        sessions += 1
        await asyncio.Event().wait()

    life = Life("the line", session, lambda: None)
    await life.renew()
    assert sessions == 0
    life.start()
    await asyncio.sleep(0)
    await life.renew()
    await asyncio.sleep(0)
    assert sessions == 2
    await life.stop()
    await life.renew()
    assert sessions == 2
