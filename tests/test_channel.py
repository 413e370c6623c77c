"""The channel runtime on a line without a network: what an application can do in a channel, and how it fails.

The stories in tests/integration hold the frames against Phoenix's; here are the rules behind them. Error texts quoted from
Phoenix 1.8.12 are marked as such.
"""

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import msgspec
import pytest

from broadwing import (
    Broadcast,
    Channel,
    Endpoint,
    Error,
    JoinError,
    LocalProtocolError,
    Ok,
    PubSub,
    Reply,
    Socket,
    Stop,
    channel_life,
    channel_runner,
    intercept,
    on,
)
from broadwing.pubsub.local import LocalAdapter
from broadwing.socket import Routes
from broadwing.socket_ref import SocketRef
from tests.support.client import V1, V2
from tests.support.memory import MemoryLine, error, line, ok
from tests.support.server import until

CRASH = {"reason": "channel_crash"}
UNMATCHED = error({"reason": "unmatched topic"})


def socket_of(*channels: type[Channel]) -> type[Socket]:
    """A socket with a route for each channel class: `a:*` for the first, `b:*` for the second."""

    class Each(Socket):
        """Everybody may connect."""

        channels: ClassVar[Routes] = {}

    Each.channels = {f"{letter}:*": channel for letter, channel in zip("abc", channels, strict=False)}
    return Each


class Open(Channel):
    """Lets everybody in, and remembers how it ended."""

    ended: ClassVar[list[Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.ended = []

    async def join(self, params: Any) -> Any:
        """Yes."""

    async def terminate(self, reason: Any) -> None:
        """Remember."""
        self.ended.append(reason)


# Sending.


async def test_a_push_reaches_this_client_alone() -> None:
    """checklist 126"""

    class Room(Open):
        @on("go")
        async def go(self) -> None:
            self.push("pushed", {"n": 1})

    socket, endpoint = socket_of(Room), Endpoint()
    one, two = await line(socket, endpoint=endpoint), await line(socket, endpoint=endpoint)
    await one.join("a:1")
    await two.join("a:1")
    one.send_text("1", "2", "a:1", "go")
    assert await one.next() == [("1", None, "a:1", "pushed", {"n": 1})]
    assert two.take() == []


async def test_broadcasts_reach_everybody_and_broadcast_from_all_but_the_sender() -> None:
    """checklist 123, 124"""

    class Room(Open):
        @on("all")
        async def all(self) -> None:
            self.broadcast("e", {"to": "all"})

        @on("others")
        async def others(self) -> None:
            self.broadcast_from("e", {"to": "others"})

    socket, endpoint = socket_of(Room), Endpoint()
    one, two = await line(socket, endpoint=endpoint), await line(socket, endpoint=endpoint)
    await one.join("a:1")
    await two.join("a:1")
    await one.join("a:2", "2")
    one.send_text("1", "3", "a:1", "all")
    assert await one.next() == await two.next() == [(None, None, "a:1", "e", {"to": "all"})]
    one.send_text("1", "4", "a:1", "others")
    assert await two.next() == [(None, None, "a:1", "e", {"to": "others"})]
    assert one.take() == []


async def test_broadcast_from_skips_its_sender_and_no_other_subscriber() -> None:
    """checklist 125"""
    endpoint, got = Endpoint(), list[Broadcast]()
    mine, other = endpoint.subscribe("t", got.append), list[Broadcast]()
    endpoint.subscribe("t", other.append)
    endpoint.broadcast_from(mine, "t", "e", {"n": 1})
    endpoint.local_broadcast_from(mine, "t", "f", {"n": 2})
    assert got == []
    assert [(each.event, each.payload) for each in other] == [("e", {"n": 1}), ("f", {"n": 2})]


@pytest.mark.parametrize("what", ["push", "broadcast", "broadcast_from"])
async def test_nothing_can_be_sent_before_the_join_is_done(what: str, caplog: pytest.LogCaptureFixture) -> None:
    """checklist 110"""

    class Room(Channel):
        async def join(self, params: Any) -> None:
            getattr(self, what)("e", {})

    client = await line(socket_of(Room))
    assert await client.join("a:1") == error({"reason": "join crashed"})
    # The sentence is Phoenix's; what follows it is how to do it here.
    assert "can only be called after the socket has finished joining" in caplog.text
    assert "Use self.send_info(message) in join" in caplog.text


async def test_a_join_may_leave_work_to_itself_for_afterwards() -> None:
    class Room(Channel):
        async def join(self, params: Any) -> None:
            self.send_info(("welcome", params["name"]))

        async def handle_info(self, message: Any) -> None:
            self.push(message[0], {"name": message[1]})

    client = await line(socket_of(Room))
    client.send_text("1", "1", "a:1", "phx_join", {"name": "Ada"})
    assert await client.next(2) == [
        ("1", "1", "a:1", "phx_reply", ok()),
        ("1", None, "a:1", "welcome", {"name": "Ada"}),
    ]


@pytest.mark.parametrize("payload", ["text", 5, None, [1], True])
async def test_a_push_that_is_no_map_says_what_came_and_what_to_do(
    payload: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """checklist 112"""

    class Room(Open):
        @on("go")
        async def go(self) -> None:
            self.push("e", payload)

    client = await line(socket_of(Room))
    await client.join("a:1")
    client.send_text("1", "2", "a:1", "go")
    assert await client.next() == [("1", "1", "a:1", "phx_error", CRASH)]
    # The words up to the colon are Phoenix's.
    assert "expected payload to be a map, got: " in caplog.text
    assert "put the value under a key" in caplog.text


async def test_a_value_without_a_json_form_is_named_with_what_is_accepted(caplog: pytest.LogCaptureFixture) -> None:
    class Room(Open):
        @on("go")
        async def go(self) -> Any:
            return {"a": object()}

    client = await line(socket_of(Room))
    await client.join("a:1")
    client.send_text("1", "2", "a:1", "go")
    assert await client.next() == [("1", "1", "a:1", "phx_error", CRASH)]
    assert "a payload held a object, which has no JSON form; accepted are dict, list" in caplog.text


@pytest.mark.parametrize(("vsn", "reason"), [(V2, None), (V1, "has no binary frames")])
async def test_bytes_can_be_sent_to_clients_of_version_2_alone(
    vsn: str, reason: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """checklist 73, 112"""

    class Room(Open):
        @on("go")
        async def go(self) -> Any:
            return Ok(b"\x00\xff")

    client = await line(socket_of(Room), vsn=vsn)
    await client.join("a:1")
    client.send_text("1", "2", "a:1", "go")
    if reason is None:
        await until(lambda: client.frames)
        # A binary reply: 01, sizes of join_ref, ref, topic and status, these, the data.
        assert client.frames == [(2, b"\x01\x01\x01\x03\x02" + b"12a:1ok" + b"\x00\xff")]
    else:
        assert await client.next() == [(None, "1", "a:1", "phx_error", CRASH)]
        assert reason in caplog.text


@pytest.mark.parametrize("only_v1", [True, False])
async def test_a_binary_broadcast_skips_version_1_with_a_warning(
    only_v1: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A departure: in Phoenix it crashes the sender."""
    socket, endpoint = socket_of(Open), Endpoint()
    old = await line(socket, endpoint=endpoint, vsn=V1)
    await old.join("a:1")
    new = await line(socket, endpoint=endpoint)
    if not only_v1:
        await new.join("a:1")
    endpoint.broadcast("a:1", "e", b"\x01")
    assert old.frames == []
    assert new.frames == ([] if only_v1 else [(2, b"\x02\x03\x01a:1e\x01")])
    assert "does not reach clients of wire version 1.0.0" in caplog.text
    endpoint.broadcast("a:1", "e", {"n": 1})
    assert old.take() == [(None, None, "a:1", "e", {"n": 1})]


async def test_everything_that_sends_may_be_called_from_a_thread() -> None:
    class Room(Open):
        @on("go")
        def go(self) -> Any:
            assert threading.current_thread() is not threading.main_thread()
            self.push("one", {})
            self.broadcast("two", {})
            ref = self.socket_ref()
            self.reply(ref, {"three": True})
            self.broadcast_from("not for me", {})
            self.send_info("four")
            return {"five": True}

        def handle_info(self, message: Any) -> None:  # type: ignore[override] # a plain def runs in a thread
            self.push(message, {})
            self.stop("shutdown")

    client = await line(socket_of(Room))
    await client.join("a:1")
    client.send_text("1", "2", "a:1", "go")
    assert [(each.event, each.ref) for each in await client.next(6)] == [
        ("one", None),
        ("two", None),
        ("phx_reply", "2"),
        ("phx_reply", "2"),
        ("four", None),
        ("phx_close", "1"),
    ]
    assert Room.ended == ["shutdown"]


# Replying.


async def test_a_kept_ref_replies_later_and_as_often_as_one_likes() -> None:
    """checklist 127, 128"""
    kept: list[SocketRef] = []

    class Room(Open):
        @on("go")
        async def go(self) -> None:
            kept.append(self.socket_ref())

    client = await line(socket_of(Room))
    await client.join("a:1")
    client.send_text("1", "2", "a:1", "go")
    client.send_text("1", "3", "a:1", "go")
    await client.settle()
    second, first = kept[1], kept[0]
    second.reply({"n": 1})
    first.reply(status="error")
    first.reply([1, 2], status="weird")
    first.reply(Error({"n": 2}))
    assert client.take() == [
        ("1", "3", "a:1", "phx_reply", ok({"n": 1})),
        ("1", "2", "a:1", "phx_reply", error({})),
        ("1", "2", "a:1", "phx_reply", {"status": "weird", "response": [1, 2]}),
        ("1", "2", "a:1", "phx_reply", error({"n": 2})),
    ]


async def test_a_ref_cannot_be_kept_where_there_is_none() -> None:
    """checklist 129: before the join is done, outside of a message, and for a message that has no ref"""
    raised: list[str] = []

    class Room(Open):
        def keep(self) -> None:
            with pytest.raises(LocalProtocolError) as caught:
                self.socket_ref()
            raised.append(str(caught.value))

        async def join(self, params: Any) -> None:
            self.keep()
            self.send_info("now")

        async def handle_info(self, message: Any) -> None:
            self.keep()

        @on("go")
        async def go(self) -> None:
            self.keep()

    client = await line(socket_of(Room))
    await client.join("a:1")
    client.send_text("1", None, "a:1", "go")
    await client.settle()
    # Phoenix's sentence up to the semicolon.
    sentence = "socket refs can only be generated for a socket that has joined with a push ref; "
    assert [each.startswith(sentence) for each in raised] == [True, True, True]


class Point(msgspec.Struct):
    """An annotated object."""

    x: int


@pytest.mark.parametrize(
    ("returned", "payload"),
    [
        (None, None),
        ({}, ok()),
        ({"a": 1}, ok({"a": 1})),
        (Point(1), ok({"x": 1})),
        (Ok(), ok()),
        (Ok([1]), ok([1])),
        (Error(), error({})),
        (Error("no"), error("no")),
        (Reply(None), {"status": "ok", "response": None}),
        (Reply([1, 2], "weird"), {"status": "weird", "response": [1, 2]}),
    ],
)
async def test_what_a_handler_returns_is_its_reply(returned: Any, payload: Any) -> None:
    """checklist 109"""

    class Room(Open):
        @on("go")
        async def go(self) -> Any:
            return returned

    client = await line(socket_of(Room))
    await client.join("a:1")
    client.send_text("1", "2", "a:1", "go")
    await client.settle()
    expected = [] if payload is None else [("1", "2", "a:1", "phx_reply", payload)]
    assert client.take() == expected


@pytest.mark.parametrize("returned", ["text", 5, True, [1], ("ok", {}), {1, 2}, JoinError()])
async def test_what_is_no_reply_crashes_with_the_accepted_forms(
    returned: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """checklist 112"""

    class Room(Open):
        @on("go")
        async def go(self) -> Any:
            return returned

    client = await line(socket_of(Room))
    await client.join("a:1")
    client.send_text("1", "2", "a:1", "go")
    assert await client.next() == [("1", "1", "a:1", "phx_error", CRASH)]
    assert f"a handler of Room returned {type(returned).__name__!r}; expected None, a mapping" in caplog.text


@pytest.mark.parametrize("where", ["handle_info", "intercept"])
@pytest.mark.parametrize("returned", [{"a": 1}, Ok(), Stop("normal", Ok())])
async def test_what_answers_no_message_may_not_reply(
    where: str, returned: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """checklist 112"""

    class Room(Open):
        async def handle_info(self, message: Any) -> Any:
            return returned

        @intercept("e")
        async def out(self, payload: Any) -> Any:
            return returned

        @on("go")
        async def go(self) -> None:
            if where == "handle_info":
                self.send_info("x")
            else:
                self.broadcast("e", {})

    client = await line(socket_of(Room))
    await client.join("a:1")
    client.send_text("1", "2", "a:1", "go")
    assert await client.next() == [("1", "1", "a:1", "phx_error", CRASH)]
    assert "expected None or Stop(reason), as there is no message to reply to" in caplog.text


# Joining.


@pytest.mark.parametrize("returned", ["text", 5, [1], True, Stop("normal")])
async def test_a_join_that_returns_what_is_no_reply_says_what_it_may(
    returned: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """checklist 110"""

    class Room(Channel):
        async def join(self, params: Any) -> Any:
            return returned

    client = await line(socket_of(Room))
    assert await client.join("a:1") == error({"reason": "join crashed"})
    assert f"join of Room returned {type(returned).__name__!r}; expected None, a mapping" in caplog.text


@pytest.mark.parametrize("response", [None, {"reason": "no"}, "no", ["n", 0], b"bytes"])
async def test_a_refusal_may_be_any_json_value(response: Any) -> None:
    class Room(Channel):
        async def join(self, params: Any) -> Any:
            raise JoinError(response)

    client = await line(socket_of(Room))
    client.send_text("1", "1", "a:1", "phx_join")
    if isinstance(response, bytes):
        await until(lambda: client.frames)
        assert client.frames == [(2, b"\x01\x01\x01\x03\x05" + b"11a:1error" + response)]
    else:
        assert await client.reply() == error({} if response is None else response)
    assert client.connection.runners == []


async def test_a_refusal_without_a_json_form_is_a_crash(caplog: pytest.LogCaptureFixture) -> None:
    class Room(Channel):
        async def join(self, params: Any) -> Any:
            raise JoinError({"why": object()})

    client = await line(socket_of(Room))
    assert await client.join("a:1") == error({"reason": "join crashed"})
    assert "which has no JSON form" in caplog.text


async def test_a_join_may_return_an_error_instead_of_raising_it() -> None:
    class Room(Channel):
        async def join(self, params: Any) -> Any:
            return Error({"reason": "full"})

    client = await line(socket_of(Room))
    assert await client.join("a:1") == error({"reason": "full"})
    client.send_text("1", "2", "a:1", "e")
    assert client.take() == [(None, "2", "a:1", "phx_reply", UNMATCHED)]


async def test_a_channel_that_cannot_even_be_made_refuses_the_join(caplog: pytest.LogCaptureFixture) -> None:
    class Room(Open):
        def __init__(self) -> None:
            """Forgets the argument."""

    client = await line(socket_of(Room))
    assert await client.join("a:1") == error({"reason": "join crashed"})
    assert "Room on 'a:1' could not be made" in caplog.text


async def test_a_plain_join_and_connect_run_in_threads() -> None:
    class Room(Channel):
        def join(self, params: Any) -> Any:
            return {"thread": threading.current_thread() is not threading.main_thread()}

    class User(Socket):
        channels: ClassVar[Routes] = {"a:*": Room}

        def connect(self, params: Any, info: Any) -> None:  # type: ignore[override] # a plain def runs in a thread
            self.assigns["thread"] = threading.current_thread() is not threading.main_thread()

    client = await line(User)
    assert client.connection.socket.assigns == {"thread": True}
    assert await client.join("a:1") == ok({"thread": True})


@pytest.mark.parametrize("where", ["topic", "join_ref", "ref"])
async def test_what_is_kept_of_a_join_is_bounded(where: str) -> None:
    """A topic of a megabyte, times a hundred joins, times every connection: the peer must not choose that."""
    client = await line(socket_of(Open))
    fields = {"join_ref": "1", "ref": "1", "topic": "a:1"}
    fields[where] = "a:" + "x" * 1_023
    join_ref, ref, topic = fields.values()
    client.send_text(join_ref, ref, topic, "phx_join")
    assert client.take() == [(join_ref, ref, topic, "phx_reply", error({"reason": "topic or ref too long"}))]
    assert client.connection.runners == []


async def test_no_broadcast_comes_before_the_reply_of_a_join_that_waits_for_the_bus() -> None:
    """The reply is the first frame of a join. The bus confirms the topic, then the channel listens to it."""

    class SlowBus(LocalAdapter):
        is_alone = False
        confirmed: asyncio.Future[None]

        def subscribe(self, topic: str) -> Awaitable[None] | None:
            if not topic.startswith("a:"):
                return None
            self.confirmed = asyncio.get_running_loop().create_future()
            return self.confirmed

        def publish(self, topic: str, data: bytes) -> None:
            """There is nobody else."""

    bus = SlowBus()
    endpoint = Endpoint(pubsub=PubSub(bus))
    try:
        client = await line(socket_of(Open), endpoint=endpoint)
        client.send_text("1", "1", "a:1", "phx_join")
        await until(lambda: hasattr(bus, "confirmed"))
        endpoint.broadcast("a:1", "early", {})
        await asyncio.sleep(0)
        assert client.take() == []
        bus.confirmed.set_result(None)
        assert await client.next() == [("1", "1", "a:1", "phx_reply", ok())]
        endpoint.broadcast("a:1", "late", {})
        assert client.take() == [(None, None, "a:1", "late", {})]
        client.close(1000)
        await client.settle()
    finally:
        await endpoint.stop()


# Assigns.


async def test_each_channel_has_its_own_copy_of_the_assigns() -> None:
    """checklist 21, 151"""
    seen: list[dict[str, Any]] = []

    class Room(Open):
        async def join(self, params: Any) -> None:
            seen.append(dict(self.assigns))
            self.assign({"room": self.topic}, extra=1)
            self.assign(lambda assigns: {"double": assigns["extra"] * 2})
            self.assigns["last"] = True
            seen.append(dict(self.assigns))

    class User(Socket):
        channels: ClassVar[Routes] = {"a:static": (Room, {"from": "route", "user": "route"}), "a:*": Room}

        async def connect(self, params: Any, info: Any) -> None:
            self.assign(user="ada")

    client = await line(User)
    await client.join("a:static", "1")
    await client.join("a:other", "2")
    later = {"extra": 1, "double": 2, "last": True}
    assert seen == [
        {"user": "route", "from": "route"},
        {"user": "route", "from": "route", "room": "a:static", **later},
        {"user": "ada"},
        {"user": "ada", "room": "a:other", **later},
    ]
    assert client.connection.socket.assigns == {"user": "ada"}


async def test_a_channel_knows_its_socket_endpoint_topic_and_join_ref() -> None:
    endpoint, seen = Endpoint(), list[Any]()

    class Room(Open):
        async def join(self, params: Any) -> None:
            seen.extend((self.socket, self.endpoint, self.topic, self.join_ref, self.socket.transport))

    client = await line(socket_of(Room), endpoint=endpoint)
    await client.join("a:1", "7")
    assert seen == [client.connection.socket, endpoint, "a:1", "7", "websocket"]


async def test_a_channel_may_do_everything_by_hand() -> None:
    """checklist 72: where Phoenix lets any process be a channel, `handle_in` takes every event, and `stop` ends it"""

    class Room(Open):
        async def join(self, params: Any) -> Any:
            if params == "error":
                raise JoinError({"reason": "no"})
            return {"got": params["ok"]}  # crashes for anything else

        async def handle_in(self, event: str, payload: Any) -> Any:
            if event == "close":
                self.stop()
            else:
                self.push(f"{event}ed", payload)

    client = await line(socket_of(Room))
    assert await client.join("a:1", "1", "error") == error({"reason": "no"})
    assert await client.join("a:1", "2", "crash") == error({"reason": "join crashed"})
    assert await client.join("a:1", "3", {"ok": 1}) == ok({"got": 1})
    client.send_text("3", "4", "a:1", "any", {"n": 1})
    client.send_text("3", "5", "a:1", "close")
    assert await client.next(2) == [("3", None, "a:1", "anyed", {"n": 1}), ("3", "3", "a:1", "phx_close", {})]


# What is not an event.


async def test_info_without_a_handle_info_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    class Room(Open):
        @on("go")
        async def go(self) -> Any:
            self.send_info({"lost": True})
            return Ok()

    client = await line(socket_of(Room))
    await client.join("a:1")
    client.send_text("1", "2", "a:1", "go")
    assert await client.reply() == ok()
    await client.settle()
    # The words are Phoenix's.
    assert "received unexpected message in handle_info: {'lost': True}" in caplog.text
    assert client.take() == []


async def test_subscribing_twice_delivers_twice_and_unsubscribing_ends_both() -> None:
    class Room(Open):
        @on("on")
        async def listen(self) -> Any:
            self.subscribe("news")
            self.subscribe("news")
            self.subscribe("weather")
            return Ok()

        @on("off")
        def silence(self) -> Any:  # from a thread
            self.unsubscribe("news")
            self.unsubscribe("unheard of")
            return Ok()

        async def handle_info(self, message: Any) -> None:
            assert isinstance(message, Broadcast)
            self.push("heard", {"topic": message.topic, "event": message.event, **message.payload})

    endpoint = Endpoint()
    client = await line(socket_of(Room), endpoint=endpoint)
    await client.join("a:1")
    client.send_text("1", "2", "a:1", "on")
    assert await client.reply() == ok()
    endpoint.broadcast("news", "e", {"n": 1})
    heard = ("1", None, "a:1", "heard", {"topic": "news", "event": "e", "n": 1})
    assert await client.next(2) == [heard, heard]
    client.send_text("1", "3", "a:1", "off")
    assert await client.reply() == ok()
    endpoint.broadcast("news", "e", {"n": 2})
    endpoint.broadcast("weather", "e", {"n": 3})
    assert [each.payload["n"] for each in await client.next()] == [3]
    client.close(1000)
    await client.settle()
    assert endpoint.pubsub.registry.topics == {}


async def test_a_subscription_made_while_the_channel_ends_ends_with_it() -> None:
    class Room(Open):
        async def terminate(self, reason: Any) -> None:
            self.subscribe("news")

    endpoint = Endpoint()
    client = await line(socket_of(Room), endpoint=endpoint)
    await client.join("a:1")
    client.send_text("1", "2", "a:1", "phx_leave")
    await client.next(2)
    await client.settle()
    assert endpoint.pubsub.registry.topics == {}


@pytest.mark.parametrize("end", ["leave", "stop", "crash", "rejoin", "close"])
async def test_what_is_to_be_called_at_the_end_is_called_once_whatever_the_end_is(end: str) -> None:
    called: list[str] = []

    class Room(Open):
        async def join(self, params: Any) -> None:
            self.at_end(lambda: called.append("at the end"))
            self.subscribe("news")
            self.unsubscribe("news")

        @on("stop")
        async def stop_it(self) -> Stop:
            return Stop("normal")

        @on("crash")
        async def crash(self) -> None:
            raise RuntimeError("boom")

        async def terminate(self, reason: Any) -> None:
            assert self.is_over
            called.append("terminate")

    client = await line(socket_of(Room))
    await client.join("a:1")
    assert called == []
    match end:
        case "close":
            client.close(1000)
            assert called == ["at the end"]
        case "rejoin":
            client.send_text("2", "2", "a:1", "phx_join")
        case "leave":
            client.send_text("1", "2", "a:1", "phx_leave")
        case _:
            client.send_text("1", "2", "a:1", end)
    await client.settle()
    assert called == ["at the end", "terminate"]


async def test_at_the_end_of_a_channel_that_is_over_is_now_and_of_one_that_did_not_join_its_refusal() -> None:
    channels: list[Channel] = []
    called: list[str] = []

    class Room(Open):
        async def join(self, params: Any) -> None:
            channels.append(self)
            self.at_end(lambda: called.append("refused"))
            raise JoinError

    client = await line(socket_of(Room))
    await client.join("a:1")
    assert called == ["refused"]
    assert channels[0].is_over
    channels[0].at_end(lambda: called.append("now"))
    assert called == ["refused", "now"]


async def test_a_channel_that_holds_nothing_has_nothing_to_hold_it_with() -> None:
    client = await line(socket_of(Open))
    await client.join("a:1")
    (runner,) = client.connection.runners
    assert runner.subscriptions is None


async def test_a_channel_that_also_subscribes_to_its_own_topic_hears_it_twice() -> None:
    class Room(Open):
        async def join(self, params: Any) -> None:
            self.subscribe(self.topic)

        async def handle_info(self, message: Any) -> None:
            self.push("heard", message.payload)

    endpoint = Endpoint()
    client = await line(socket_of(Room), endpoint=endpoint)
    await client.join("a:1")
    endpoint.broadcast("a:1", "e", {"n": 1})
    assert await client.next(2) == [
        (None, None, "a:1", "e", {"n": 1}),
        ("1", None, "a:1", "heard", {"n": 1}),
    ]


# Intercepting.


async def test_an_intercept_handler_gets_its_payload_as_annotated() -> None:
    """checklist 50"""

    class Room(Open):
        @intercept("move")
        async def move(self, payload: Point) -> None:
            self.push("moved", {"x": payload.x + 1})

        @intercept("blob")
        async def blob(self, payload: bytes) -> None:
            self.push("blob", {"size": len(payload)})

        @intercept("bare")
        async def bare(self) -> None:
            self.push("bare", {})

    endpoint = Endpoint()
    client = await line(socket_of(Room), endpoint=endpoint)
    await client.join("a:1")
    endpoint.broadcast("a:1", "move", {"x": 1})
    endpoint.broadcast("a:1", "blob", b"123")
    endpoint.broadcast("a:1", "bare", {"x": "ignored"})
    assert [(each.event, each.payload) for each in await client.next(3)] == [
        ("moved", {"x": 2}),
        ("blob", {"size": 3}),
        ("bare", {}),
    ]


async def test_an_intercepted_payload_that_does_not_fit_crashes_the_channel(caplog: pytest.LogCaptureFixture) -> None:
    class Room(Open):
        @intercept("move")
        async def move(self, payload: Point) -> None:
            raise AssertionError("must not run")

    endpoint = Endpoint()
    client = await line(socket_of(Room), endpoint=endpoint)
    await client.join("a:1")
    endpoint.broadcast("a:1", "move", {"x": "one"})
    assert await client.next() == [("1", "1", "a:1", "phx_error", CRASH)]
    assert "the broadcast of 'move' on 'a:1' does not fit" in caplog.text


# Ending.


@pytest.mark.parametrize(
    ("reason", "event", "logged"),
    [
        ("normal", "phx_close", False),
        ("shutdown", "phx_close", False),
        (("shutdown", "any detail"), "phx_close", False),
        ("other", "phx_error", True),
        (("error", "why"), "phx_error", True),
        (None, "phx_error", True),
    ],
)
async def test_the_reason_says_whether_it_ended_well(
    reason: Any, event: str, logged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """checklist 111"""

    class Room(Open):
        @on("stop")
        async def stop_it(self) -> Any:
            return Stop(reason)

        @on("later")
        async def later(self) -> None:
            self.stop(reason)

        async def handle_info(self, message: Any) -> Any:
            return Stop(reason)

        @on("info")
        async def info(self) -> None:
            self.send_info("x")

    client = await line(socket_of(Room))
    for ref, how in enumerate(("stop", "later", "info")):
        await client.join("a:1", f"{ref}")
        client.send_text(f"{ref}", "9", "a:1", how)
        ((join_ref, own_ref, _, ended, _),) = await client.next()
        assert (join_ref, own_ref, ended) == (f"{ref}", f"{ref}", event)
    assert Room.ended == [reason] * 3
    assert (f"Room on 'a:1' stopped: {reason!r}; its client is told phx_error" in caplog.text) is logged


async def test_stop_with_a_reply_of_its_own_status_and_a_bad_reason_replies_then_errs() -> None:
    """checklist 111"""

    class Room(Open):
        @on("go")
        async def go(self) -> Any:
            return Stop("broken", Reply({"n": 1}, "weird"))

    client = await line(socket_of(Room))
    await client.join("a:1")
    client.send_text("1", "2", "a:1", "go")
    assert await client.next(2) == [
        ("1", "2", "a:1", "phx_reply", {"status": "weird", "response": {"n": 1}}),
        ("1", "1", "a:1", "phx_error", CRASH),
    ]


async def test_stop_ends_the_channel_after_what_waits() -> None:
    class Room(Open):
        @on("go")
        async def go(self) -> Any:
            await asyncio.sleep(0)
            self.stop()
            return Ok()

        @on("e")
        async def e(self) -> Any:
            return Ok()

    client = await line(socket_of(Room))
    await client.join("a:1")
    for ref, event in (("2", "go"), ("3", "e"), ("4", "e")):
        client.send_text("1", ref, "a:1", event)
    # All three were there before the first was handled, and with it the stop came to be.
    assert [(each.event, each.ref) for each in await client.next(4)] == [
        ("phx_reply", "2"),
        ("phx_reply", "3"),
        ("phx_reply", "4"),
        ("phx_close", "1"),
    ]


async def _await_cancelled(channel: Channel) -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def _cancel_oneself(channel: Channel) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def _time_out(channel: Channel) -> None:
    async with asyncio.timeout(0):
        await asyncio.sleep(1)


def _stop_iteration(channel: Channel) -> None:
    next(iter(()))


@pytest.mark.parametrize("crash", [_await_cancelled, _cancel_oneself, _time_out, _stop_iteration])
@pytest.mark.parametrize("where", ["join", "event", "info", "out"])
async def test_whatever_a_handler_raises_ends_its_own_channel(
    crash: Callable[[Channel], Any], where: str, caplog: pytest.LogCaptureFixture
) -> None:
    """checklist 61: a cancellation out of what a handler awaited is no reason to fall silent, and neither is StopIteration"""

    async def fail(self: Any, payload: Any = None) -> None:
        await crash(self)

    def fail_in_a_thread(self: Any, payload: Any = None) -> None:
        crash(self)

    failing: Any = fail if asyncio.iscoroutinefunction(crash) else fail_in_a_thread

    class Room(Open):
        if where == "join":
            join = failing
        if where == "info":
            handle_info = failing
        go = on("go")(failing) if where == "event" else None
        out = intercept("e")(failing) if where == "out" else None

    endpoint = Endpoint()
    client = await line(socket_of(Room, Open), endpoint=endpoint)
    await client.join("b:1", "9")
    reply = await client.join("a:1")
    if where == "join":
        assert reply == error({"reason": "join crashed"})
    else:
        assert reply == ok()
        if where == "event":
            client.send_text("1", "2", "a:1", "go")
        elif where == "out":
            endpoint.broadcast("a:1", "e", {})
        else:
            client.connection.runners[1].send_info("x")
        assert await client.next() == [("1", "1", "a:1", "phx_error", CRASH)]
        assert len(Room.ended) == 1
    assert "crashed" in caplog.text
    client.send_text("1", "3", "a:1", "go")
    assert await client.next() == [(None, "3", "a:1", "phx_reply", UNMATCHED)]
    endpoint.broadcast("b:1", "still", {})
    assert await client.next() == [(None, None, "b:1", "still", {})]


async def test_terminate_is_called_once_and_what_it_raises_is_not_in_the_way(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[Any] = []

    class Room(Open):
        async def terminate(self, reason: Any) -> None:
            calls.append(reason)
            self.send_info("nobody takes this")
            raise RuntimeError("boom in terminate")

        @on("raise")
        async def raise_(self) -> None:
            raise ValueError("boom")

    client = await line(socket_of(Room))
    await client.join("a:1")
    client.send_text("1", "2", "a:1", "raise")
    assert await client.next() == [("1", "1", "a:1", "phx_error", CRASH)]
    ((kind, raised),) = calls
    assert (kind, str(raised)) == ("error", "boom")
    assert "terminate of Room on 'a:1' raised" in caplog.text
    await client.join("a:1", "3")
    client.send_text("3", "4", "a:1", "phx_leave")
    assert [each.event for each in await client.next(2)] == ["phx_reply", "phx_close"]
    client.close(1000)
    await client.settle()
    assert calls[1:] == [("shutdown", "left")]


async def test_a_new_join_waits_for_terminate_and_does_not_call_it_twice() -> None:
    """The old channel has crashed and is cleaning up; that is neither cut short nor done again."""
    gate, calls = asyncio.Event(), list[Any]()

    class Room(Open):
        async def terminate(self, reason: Any) -> None:
            calls.append(reason)
            await gate.wait()
            calls.append("done")

        @on("raise")
        async def raise_(self) -> None:
            raise ValueError("boom")

    client = await line(socket_of(Room))
    await client.join("a:1")
    client.send_text("1", "2", "a:1", "raise")
    await until(lambda: calls)
    client.send_text("3", "3", "a:1", "phx_join")
    client.send_text("3", "4", "a:1", "unheard of")
    await asyncio.sleep(0)
    assert client.take() == []
    gate.set()
    assert [(each.event, each.ref) for each in await client.next(3)] == [
        ("phx_error", "1"),
        ("phx_reply", "3"),
        ("phx_reply", "4"),
    ]
    assert [calls[0][0], *calls[1:]] == ["error", "done"]
    client.close(1000)
    await client.settle()


async def test_a_channel_that_does_not_make_way_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(channel_life, "SHUTDOWN_GRACE", 0.01)
    gate = asyncio.Event()

    class Room(Open):
        @on("cling")
        async def cling(self) -> None:
            while not gate.is_set():
                try:
                    await gate.wait()
                except asyncio.CancelledError:
                    continue

    endpoint = Endpoint()
    client = await line(socket_of(Room), endpoint=endpoint)
    await client.join("a:1")
    client.send_text("1", "2", "a:1", "cling")
    await asyncio.sleep(0)
    client.send_text("3", "3", "a:1", "phx_join")
    assert [(each.event, each.ref) for each in await client.next(2)] == [("phx_reply", "3"), ("phx_close", "1")]
    assert "did not end within 0.01 s of a newer join of its topic" in caplog.text
    endpoint.broadcast("a:1", "e", {})
    assert [each.event for each in client.take()] == ["e"]
    gate.set()
    await client.settle()
    client.close(1000)
    await client.settle()


async def test_a_hundred_joins_of_one_topic_at_once_leave_one_channel() -> None:
    class Room(Open):
        async def terminate(self, reason: Any) -> None:
            await asyncio.sleep(0)
            await super().terminate(reason)

    endpoint = Endpoint()
    client = await line(socket_of(Room), endpoint=endpoint)
    await client.join("a:1", "0")
    for n in range(1, 101):
        client.send_text(f"{n}", f"{n}", "a:1", "phx_join")
    await client.settle()
    received = client.take()
    replies = {each.ref: each.payload for each in received if each.event == "phx_reply"}
    assert set(replies) == {f"{n}" for n in range(1, 101)}
    assert replies["100"] == ok()
    accepted = {ref for ref, payload in replies.items() if payload == ok()} - {"100"} | {"0"}
    assert {each.ref for each in received if each.event == "phx_close"} == accepted
    assert len(Room.ended) == len(accepted)
    assert endpoint.pubsub.registry.count("a:1") == 1
    client.close(1000)
    await client.settle()


async def test_a_join_that_ignores_being_superseded_does_not_come_back_from_the_dead() -> None:
    gate = asyncio.Event()

    class Room(Open):
        async def join(self, params: Any) -> None:
            while params.get("slow") and not gate.is_set():
                try:
                    await gate.wait()
                except asyncio.CancelledError:
                    gate.set()

    endpoint = Endpoint()
    client = await line(socket_of(Room), endpoint=endpoint)
    client.send_text("1", "1", "a:1", "phx_join", {"slow": True})
    await asyncio.sleep(0)
    client.send_text("2", "2", "a:1", "phx_join")
    assert [(each.ref, each.payload) for each in await client.next(2)] == [
        ("1", error({"reason": "superseded by a newer join"})),
        ("2", ok()),
    ]
    assert endpoint.pubsub.registry.count("a:1") == 1
    assert Room.ended == []


async def test_a_channel_without_terminate_ends_with_its_line_without_a_task() -> None:
    class Room(Channel):
        async def join(self, params: Any) -> None:
            """Yes."""

    endpoint = Endpoint()
    client = await line(socket_of(Room), endpoint=endpoint)
    await client.join("a:1")
    (runner,) = client.connection.runners
    client.close(1000)
    assert runner.task is None
    assert runner.status == channel_life.CLOSED
    assert endpoint.pubsub.registry.topics == {}


@pytest.mark.parametrize("cleans_up", [True, False])
async def test_nothing_of_a_connection_that_ended_waits_for_the_garbage_collector(cleans_up: bool) -> None:
    """A collector that runs rarely is cheap; one that has to run often costs every connect."""

    class Room(Channel):
        async def join(self, params: Any) -> None:
            if params.get("refuse"):
                await asyncio.sleep(0)  # so that there is something to look at before it is refused
                raise JoinError()

        if cleans_up:

            async def terminate(self, reason: Any) -> None:
                """Look like one that does."""

        @on("e")
        async def e(self) -> Any:
            return Ok()

    client = await line(socket_of(Room))
    await client.join("a:left", "1")
    await client.join("a:stays", "2")
    runners = list(client.connection.runners)
    gone: list[weakref.ref[Any]] = [weakref.ref(each) for runner in runners for each in (runner, runner.channel)]
    gone.append(weakref.ref(client.connection.socket))
    client.send_text("3", "3", "a:refused", "phx_join", {"refuse": True})
    gone.append(weakref.ref(client.connection.runners[2].channel))
    client.send_text("1", "4", "a:left", "phx_leave")
    client.send_text("2", "5", "a:stays", "e")
    await client.next(4)
    client.close(1000)
    await client.settle()
    gc.disable()
    try:
        del client.connection, client, runners
        await asyncio.sleep(0)
        assert [each() for each in gone] == [None] * 6
    finally:
        gc.enable()


async def test_a_line_that_goes_down_during_a_join_ends_the_channel_that_comes_of_it() -> None:
    """checklist 62"""
    gate = asyncio.Event()

    class Room(Open):
        async def join(self, params: Any) -> None:
            await gate.wait()

    endpoint = Endpoint()
    client = await line(socket_of(Room), endpoint=endpoint)
    client.send_text("1", "1", "a:1", "phx_join")
    await asyncio.sleep(0)
    client.close(1000)
    gate.set()
    await client.settle()
    assert Room.ended == [("shutdown", "closed")]
    assert endpoint.pubsub.registry.topics == {}
    assert client.frames == []


# Bounds.


async def test_a_client_that_sends_faster_than_its_handlers_work_is_not_read_on() -> None:
    gate = asyncio.Event()

    class Room(Open):
        @on("e")
        async def e(self) -> None:
            await gate.wait()

    client = await line(socket_of(Room))
    await client.join("a:1")
    for _ in range(1_000):
        client.send_text("1", None, "a:1", "e")
    assert client.reading
    client.send_text("1", None, "a:1", "e")
    assert not client.reading
    assert client.connection.endpoint.statistics.readers_paused == 1
    gate.set()
    await client.settle()
    assert client.reading
    assert client.pauses == 1


async def test_what_waits_is_also_counted_in_bytes() -> None:
    gate = asyncio.Event()

    class Room(Open):
        @on("e")
        async def e(self, payload: Any) -> None:
            await gate.wait()

    client = await line(socket_of(Room))
    await client.join("a:1")
    for _ in range(3):
        client.send_text("1", None, "a:1", "e", {"x": "x" * 6_000_000})
    assert not client.reading
    gate.set()
    await client.settle()
    assert client.reading


@pytest.mark.parametrize("event", ["phx_join", "phx_leave"])
async def test_joins_and_leaves_count_among_what_waits(event: str) -> None:
    """A client could otherwise pile them up behind a slow handler without end."""
    gate = asyncio.Event()

    class Room(Open):
        @on("e")
        async def e(self) -> None:
            await gate.wait()

        async def terminate(self, reason: Any) -> None:
            await gate.wait()

    client = await line(socket_of(Room))
    await client.join("a:1")
    client.send_text("1", None, "a:1", "e")
    await asyncio.sleep(0)
    for _ in range(1_001):
        client.send_text("1" if event == "phx_leave" else None, None, "a:1", event)
    assert not client.reading
    gate.set()
    await client.settle()
    assert client.reading
    client.close(1000)
    await client.settle()


async def test_a_channel_that_falls_behind_what_is_broadcast_to_it_is_ended(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its own client's events are answered all the same."""
    monkeypatch.setattr(channel_runner, "MAX_MAILBOX", 10)
    gate = asyncio.Event()

    class Room(Open):
        @on("e")
        async def e(self) -> Any:
            return Ok()

        @intercept("slow")
        async def slow(self) -> None:
            await gate.wait()

    endpoint = Endpoint()
    client = await line(socket_of(Room), endpoint=endpoint)
    await client.join("a:1")
    endpoint.broadcast("a:1", "slow", {})
    await asyncio.sleep(0)
    client.send_text("1", "2", "a:1", "e")
    for _ in range(50):
        endpoint.broadcast("a:1", "slow", {})
    gate.set()
    assert await client.next(2) == [
        ("1", "1", "a:1", "phx_error", CRASH),
        (None, "2", "a:1", "phx_reply", UNMATCHED),
    ]
    await client.settle()
    assert Room.ended == [("error", "mailbox overflow")]
    assert endpoint.statistics.mailbox_overflows == 1
    assert caplog.text.count("messages waiting and is ended") == 1
    assert client.reading


# The unreadable.


@pytest.mark.parametrize(
    "text",
    [
        '["1","2","a:1","e",{"a":NaN}]',
        r'["1","2","a:1","e",{"a":"\ud800"}]',
        '["1","2","a:1","unheard of",{oops}]',
        '["1","2","a:1","phx_join",{oops}]',
        "[" * 5_000 + "]" * 5_000,
    ],
)
async def test_a_payload_that_is_no_json_closes_the_connection(text: str, caplog: pytest.LogCaptureFixture) -> None:
    """checklist 115"""

    class Room(Open):
        @on("e")
        async def e(self, payload: Any) -> None:
            raise AssertionError("must not run")

    client = await line(socket_of(Room))
    await client.join("a:1")
    client.connection.received(1, text.encode())
    assert client.closed_with == 1011
    await client.settle()
    assert Room.ended == [("shutdown", "closed")]
    assert "closing a connection with 1011" in caplog.text


@pytest.mark.parametrize("value", [5, None, True, ["a:1"], {"a": 1}])
async def test_topics_and_events_that_are_no_strings_match_nothing(value: Any) -> None:
    client = await line(socket_of(Open))
    await client.join("a:1")
    client.send_text("1", "2", value, "phx_join")
    client.send_text("1", "3", value, "e")
    assert client.take() == [(None, "2", value, "phx_reply", UNMATCHED), (None, "3", value, "phx_reply", UNMATCHED)]
    client.send_text("1", "4", "a:1", value)
    assert await client.next() == [("1", "4", "a:1", "phx_reply", error({"reason": "unhandled event"}))]


async def test_only_disconnect_on_the_sockets_own_topic_ends_a_connection() -> None:
    """checklist 23"""

    class User(Socket):
        channels: ClassVar[Routes] = {"a:*": Open}

        def id(self) -> str | None:
            return "user:1"

    endpoint = Endpoint()
    client = await line(User, endpoint=endpoint)
    endpoint.broadcast("user:1", "anything", {})
    endpoint.broadcast("user:2", "disconnect", {})
    assert client.closed_with is None
    endpoint.broadcast("user:1", "disconnect", b"any payload")
    assert client.closed_with == 1001
    assert endpoint.pubsub.registry.topics == {}


async def test_log_lines_show_no_secrets_whatever_became_of_the_payload(caplog: pytest.LogCaptureFixture) -> None:
    """checklist 60"""

    class Login(msgspec.Struct):
        name: str
        password: str

    class Room(Channel):
        async def join(self, params: Login) -> None:
            """Yes."""

        @on("many")
        async def many(self, payload: dict[str, Login]) -> None:
            """Nested where a repr would show it."""

    Room.join.__annotations__["params"] = Login
    Room.many.__annotations__["payload"] = dict[str, Login]
    client = await line(socket_of(Room))
    caplog.set_level(logging.DEBUG)
    await client.join("a:1", params={"name": "ada", "password": "secret"})
    client.send_text("1", "2", "a:1", "many", {"a": {"name": "ada", "password": "secret"}})
    await client.settle()
    assert "'name': 'ada', 'password': '[FILTERED]'" in caplog.text
    assert "{'a': {'name': 'ada', 'password': '[FILTERED]'}}" in caplog.text
    assert "secret" not in caplog.text


async def test_a_payload_too_deep_to_be_shown_is_still_handled(caplog: pytest.LogCaptureFixture) -> None:
    class Room(Open):
        @on("e")
        async def e(self, payload: Any) -> Any:
            return Ok()

    client = await line(socket_of(Room))
    caplog.set_level(logging.DEBUG)
    text = '["1","1","a:1","%s",' + "[" * 700 + "]" * 700 + "]"
    client.connection.received(1, (text % "phx_join").encode())
    assert await client.reply() == ok()
    client.connection.received(1, (text % "e").encode())
    assert await client.reply() == ok()
    assert caplog.text.count("that cannot be shown") == 2


def test_the_base_methods_that_an_application_supplies_do_nothing_by_themselves() -> None:
    channel: Any = object.__new__(Channel)
    with pytest.raises(AssertionError, match="without its own join"):
        asyncio.run(channel.join(None))
    with pytest.raises(AssertionError, match="only when overridden"):
        asyncio.run(channel.handle_in("e", None))
    asyncio.run(channel.terminate("normal"))


def test_a_line_is_a_transport() -> None:
    assert MemoryLine.format.is_large(b"") is False
