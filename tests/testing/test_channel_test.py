"""The test kit in plain functions: what Phoenix's ChannelTest promises, and what a client sees."""

import asyncio
import dataclasses
import datetime
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from broadwing import (
    Broadcast,
    Channel,
    ConfigurationError,
    ConnectError,
    Endpoint,
    Error,
    JoinError,
    LocalProtocolError,
    Ok,
    Socket,
    Stop,
    intercept,
    on,
)
from broadwing.testing import (
    Capture,
    Deadlock,
    Exactly,
    PlainChannel,
    PlainChannelTest,
    VirtualClock,
    channel_test,
)


class Point(msgspec.Struct):
    x: int
    at: datetime.date


@dataclasses.dataclass
class Size:
    width: int


ended: list[Any] = []
infos: list[Any] = []


class RoomChannel(Channel):
    async def join(self, params: Any) -> Any:
        """Admit by the topic."""
        match self.topic.partition(":")[2]:
            case "closed":
                raise JoinError({"reason": "closed"})
            case "broken":
                raise ZeroDivisionError("join of a broken room")
            case "odd":
                return "neither nothing nor a mapping"
            case "slow":
                await asyncio.sleep(60)
        self.assign(joined=True)
        return {"params": params}

    @on("echo")
    async def echo(self, payload: Any) -> Any:
        return payload

    @on("point")
    async def point(self, point: Point) -> Ok:
        return Ok({"type": type(point).__name__, "at": type(point.at).__name__})

    @on("ok")
    async def ok(self) -> Ok:
        return Ok()

    @on("refuse")
    async def refuse(self) -> Error:
        return Error({"reason": "full"})

    @on("quiet")
    async def quiet(self) -> None:
        pass

    @on("push")
    async def do_push(self, payload: Any) -> None:
        self.push("pushed", payload)

    @on("push_unencodable")
    async def push_unencodable(self) -> None:
        self.push("pushed", {"lock": threading.Lock()})

    @on("shout")
    async def shout(self, payload: Any) -> None:
        self.broadcast("shout", payload)

    @on("whisper")
    async def whisper(self, payload: Any) -> None:
        self.broadcast_from("shout", payload)

    @on("later")
    async def later(self, payload: Any) -> None:
        ref = self.socket_ref()
        await asyncio.sleep(payload["seconds"])
        self.reply(ref, {"later": True})

    @on("in_a_thread")
    def in_a_thread(self, payload: Any) -> Any:
        self.push("pushed", {"thread": threading.current_thread().name})
        return payload

    @on("crash")
    async def crash(self) -> None:
        raise ValueError("a fault in crash")

    @on("stop")
    async def stop_now(self) -> Stop:
        return Stop("normal")

    @on("stop_with_reply")
    async def stop_with_reply(self, payload: Any) -> Stop:
        return Stop("shutdown", Ok(payload) if payload else Ok())

    @on("hang_at_the_end")
    async def hang_at_the_end(self) -> Ok:
        self.assign(hang=True)
        return Ok()

    @on("listen")
    async def listen(self, payload: Any) -> Ok:
        self.subscribe(payload["topic"])
        return Ok()

    @intercept("filtered")
    async def filtered(self, payload: Any) -> Stop | None:
        if payload.get("stop"):
            return Stop("shutdown")
        self.push("filtered", {**payload, "for": self.assigns.get("name")})
        return None

    async def handle_info(self, message: Any) -> Any:
        infos.append(message)
        match message:
            case Broadcast():
                self.push("heard", {"topic": message.topic, "payload": message.payload})
            case ("push", payload):
                self.push("info", payload)
            case ("broadcast", payload):
                self.broadcast("info", payload)
            case "stop":
                return Stop("normal")
        return None

    async def terminate(self, reason: Any) -> None:
        ended.append(reason)
        if self.assigns.get("hang"):
            await asyncio.sleep(3600)


class PlainRoom(Channel):
    async def join(self, params: Any) -> None:
        """Admit everybody."""


class UserSocket(Socket):
    channels = {
        "room:*": RoomChannel,
        "vip:*": (RoomChannel, {"vip": True, "name": "of the route"}),
        "plain": PlainRoom,
    }

    async def connect(self, params: Any, info: Any) -> None:
        """Refuse without a name."""
        if "name" not in params:
            raise ConnectError("nameless")
        self.assign(name=params["name"], params=params, info=dict(info))

    def id(self) -> str | None:
        return f"user:{self.assigns['name']}"


@pytest.fixture
def test() -> Iterator[PlainChannelTest]:
    """A test of an endpoint of its own."""
    ended.clear()
    infos.clear()
    endpoint = Endpoint()
    endpoint.socket("/socket", UserSocket)
    with channel_test(endpoint) as test:
        yield test


@pytest.fixture
def room(test: PlainChannelTest) -> PlainChannel:
    """Ada in a room, with the test listening to it."""
    return test.subscribe_and_join("room:1", params={"name": "ada"})


# 130: sockets.


def test_a_blank_socket_is_there_without_connect_and_without_id(test: PlainChannelTest) -> None:
    socket = test.socket()
    assert (type(socket.server), socket.assigns, socket.server.transport) == (UserSocket, {}, "websocket")
    socket.join("room:1")


def test_a_blank_socket_has_the_assigns_and_the_id_that_the_test_gives(test: PlainChannelTest) -> None:
    socket = test.socket(UserSocket, assigns={"name": "grace"}, id="a name", transport="longpoll")
    assert (socket.assigns, socket.server.transport) == ({"name": "grace"}, "longpoll")
    test.broadcast("user:grace", "disconnect", {})
    test.broadcast("another", "disconnect", {})
    assert socket.closed_with is None
    test.broadcast("a name", "disconnect", {})
    assert socket.assert_disconnected() == 1001


# 131, 132, 151, 152: joining.


def test_a_join_gives_the_reply_and_a_channel_with_the_sockets_assigns(test: PlainChannelTest) -> None:
    channel = test.socket(assigns={"name": "grace"}).join("room:1", {"page": 2})
    assert channel.reply == {"params": {"page": 2}}
    assert channel.assigns == {"name": "grace", "joined": True}
    assert (channel.topic, channel.server.topic, channel.server.join_ref) == ("room:1", "room:1", channel.join_ref)


def test_the_assigns_of_a_route_are_the_channels(test: PlainChannelTest) -> None:
    channel = test.socket(assigns={"name": "grace"}).join("vip:1")
    assert channel.assigns == {"name": "of the route", "joined": True, "vip": True}


def test_a_join_without_a_payload_has_an_empty_one(test: PlainChannelTest) -> None:
    assert test.socket().join("room:1").reply == {"params": {}}


def test_keys_of_a_joins_payload_become_text(test: PlainChannelTest) -> None:
    payload = {1: {2: [{3: "c"}]}, "d": Size(4)}
    assert test.socket().join("room:1", payload).reply == {"params": {"1": {"2": [{"3": "c"}]}, "d": {"width": 4}}}


def test_a_refused_join_raises_with_what_the_client_sees(test: PlainChannelTest) -> None:
    with pytest.raises(JoinError) as refused:
        test.socket().join("room:closed")
    assert refused.value.response == {"reason": "closed"}


@pytest.mark.parametrize(
    ("topic", "word"), [("room:broken", "ZeroDivisionError"), ("room:odd", "expected None, a mapping")]
)
def test_a_join_that_crashes_tells_the_client_so_and_the_test_why(
    test: PlainChannelTest, topic: str, word: str
) -> None:
    with pytest.raises(JoinError) as refused:
        test.socket().join(topic)
    assert refused.value.response == {"reason": "join crashed"}
    assert word in "\n".join(refused.value.__notes__)


def test_a_topic_without_a_route_cannot_be_joined(test: PlainChannelTest) -> None:
    with pytest.raises(JoinError, match="unmatched topic"):
        test.socket().join("nowhere")


def test_a_join_may_take_longer_than_the_tests_timeout_only_when_told_so(test: PlainChannelTest) -> None:
    with pytest.raises(AssertionError, match=r"join\('room:slow'\): it was not answered within 1 s"):
        test.socket().join("room:slow")
    test.socket().join("room:slow", timeout=61)


def test_a_refused_join_leaves_no_subscription(test: PlainChannelTest) -> None:
    socket = test.socket()
    with pytest.raises(JoinError):
        socket.subscribe_and_join("room:closed")
    with pytest.raises(ConfigurationError, match="listens to none"):
        test.assert_broadcast("shout")
    socket.subscribe_and_join("room:1")
    test.refute_broadcast("shout")


def test_a_channel_class_can_be_tested_alone_on_any_topic() -> None:
    with channel_test(RoomChannel) as test:
        assert test.join("any topic", {"a": 1}).reply == {"params": {"a": 1}}


def test_a_socket_class_can_be_tested_without_an_endpoint() -> None:
    with channel_test(UserSocket) as test:
        assert test.connect({"name": "ada"}).assigns["name"] == "ada"


# 133, 134, 136: pushes and replies.


def test_a_push_arrives_and_fits_a_pattern_or_a_function(room: PlainChannel) -> None:
    for pattern in ({"body": "hi"}, {"body": str}, lambda payload: payload["n"] > 1, {"n": lambda n: n == 2}, ...):
        room.push("push", {"body": "hi", "n": 2})
        assert room.assert_push("pushed", pattern).payload == {"body": "hi", "n": 2}
    room.refute_push("pushed")


def test_the_first_push_that_fits_is_taken_and_the_others_stay(room: PlainChannel) -> None:
    for n in (1, 2, 3):
        room.push("push", {"n": n})
    room.assert_push("pushed", {"n": 2})
    assert [message.payload for message in room.socket.messages] == [{"n": 1}, {"n": 3}]
    assert room.assert_push("pushed").payload == {"n": 1}


def test_a_push_that_came_is_refuted_at_once(room: PlainChannel) -> None:
    room.push("push", {"n": 1})
    room.refute_push("pushed", {"n": 2})
    with pytest.raises(AssertionError, match=r"refute_push\('pushed', \{'n': 1\}\): it arrived"):
        room.refute_push("pushed", {"n": 1})


def test_an_ok_without_a_payload_is_an_empty_reply(room: PlainChannel) -> None:
    assert room.assert_reply(room.push("ok"), "ok", Exactly({})) == {}


def test_a_reply_holds_what_the_handler_returned(room: PlainChannel) -> None:
    assert room.assert_reply(room.push("echo", {"a": [1]}), "ok", {"a": [1]}) == {"a": [1]}
    room.assert_reply(room.push("refuse"), "error", {"reason": "full"})
    room.assert_reply(room.push("nobody knows this"), "error", {"reason": "unhandled event"})


def test_a_reply_belongs_to_its_ref(room: PlainChannel) -> None:
    first, second = room.push("echo", {"n": 1}), room.push("echo", {"n": 2})
    room.assert_reply(second, "ok", {"n": 2})
    room.assert_reply(first, "ok", {"n": 1})


def test_a_handler_that_does_not_reply_is_refuted(room: PlainChannel) -> None:
    room.refute_reply(room.push("quiet"))
    ref = room.push("ok")
    room.refute_reply(ref, "error")
    with pytest.raises(AssertionError, match="it arrived"):
        room.refute_reply(ref, "ok")


def test_a_reply_may_come_later(room: PlainChannel) -> None:
    ref = room.push("later", {"seconds": 60})
    room.refute_reply(ref, timeout=59)
    room.assert_reply(ref, "ok", {"later": True}, timeout=2)


def test_a_plain_handler_runs_in_a_thread_and_time_does_not_run_away_from_it(room: PlainChannel) -> None:
    ref = room.push("in_a_thread", {"n": 1})
    room.assert_reply(ref, "ok", {"n": 1}, timeout=30)
    assert room.assert_push("pushed").payload["thread"].startswith("broadwing-test")


# 135: payloads.


def test_keys_of_payloads_become_text_at_every_depth(room: PlainChannel) -> None:
    ref = room.push("echo", {1: [{2: "b"}], 3: {4: "d"}})
    room.assert_reply(ref, "ok", Exactly({"1": [{"2": "b"}], "3": {"4": "d"}}))


def test_objects_reach_the_handler_as_its_annotation_says(room: PlainChannel) -> None:
    ref = room.push("point", Point(1, datetime.date(2024, 2, 29)))
    room.assert_reply(ref, "ok", {"type": "Point", "at": "date"})


def test_bytes_go_both_ways(room: PlainChannel) -> None:
    assert room.assert_reply(room.push("echo", b"\0\xff"), "ok") == b"\0\xff"
    room.push("push", b"pushed")
    assert room.assert_push("pushed", bytes).payload == b"pushed"
    room.push("shout", b"broadcast")
    room.assert_push("shout", b"broadcast")
    room.assert_broadcast("shout", b"broadcast")


def test_a_payload_that_no_client_could_send_is_refused(room: PlainChannel) -> None:
    with pytest.raises(LocalProtocolError, match="no JSON form"):
        room.push("echo", {"body": "\ud800"})
    with pytest.raises(LocalProtocolError, match="object"):
        room.push("echo", {"body": object()})


def test_a_payload_that_no_client_could_be_sent_crashes_the_channel_here_too(room: PlainChannel) -> None:
    room.push("push_unencodable")
    room.assert_crashed()


def test_a_client_of_version_1_sees_the_same() -> None:
    with channel_test(UserSocket, wire="1.0.0") as test:
        room = test.subscribe_and_join("room:1", {"a": 1}, params={"name": "ada"})
        assert room.reply == {"params": {"a": 1}}
        room.assert_reply(room.push("echo", {"n": 1}), "ok", {"n": 1})
        room.push("shout", {"n": 2})
        room.assert_push("shout", {"n": 2})
        assert room.socket.assigns["params"]["vsn"] == "1.0.0"
        with pytest.raises(LocalProtocolError, match=r"1\.0\.0"):
            room.push("echo", b"bytes")


# 137 to 139: the end of a channel.


def test_a_channel_that_crashes_runs_terminate_and_is_not_closed(room: PlainChannel) -> None:
    room.push("crash")
    room.assert_crashed()
    room.refute_push("phx_close")
    ((kind, error),) = ended
    assert (kind, str(error)) == ("error", "a fault in crash")
    with pytest.raises(LookupError, match="a fault in crash"):
        _ = room.server


def test_a_channel_that_stops_is_closed_and_later_pushes_are_harmless(room: PlainChannel) -> None:
    room.push("stop")
    room.assert_closed()
    assert ended == ["normal"]
    room.assert_reply(room.push("echo", {}), "error", {"reason": "unmatched topic"})


@pytest.mark.parametrize("payload", [{}, {"n": 1}])
def test_a_channel_may_reply_and_stop(room: PlainChannel, payload: Any) -> None:
    room.assert_reply(room.push("stop_with_reply", payload), "ok", Exactly(payload))
    room.assert_closed()
    assert ended == ["shutdown"]


# 140, 143, 148: broadcasts.


def test_nothing_is_broadcast_before_something_is(room: PlainChannel) -> None:
    room.refute_broadcast("shout")
    room.push("shout", {"n": 1})
    room.assert_broadcast("shout", {"n": 1})
    room.refute_broadcast("shout")


def test_a_broadcast_fits_a_pattern_or_a_function(room: PlainChannel, test: PlainChannelTest) -> None:
    room.push("shout", {"n": 1})
    kept = Capture(int)
    test.assert_broadcast("shout", {"n": kept}, topic="room:1")
    assert kept.value == 1
    room.push("shout", {"n": 2})
    with pytest.raises(AssertionError, match="it was broadcast"):
        room.refute_broadcast("shout", lambda payload: payload["n"] == 2)


def test_a_broadcast_is_pushed_to_every_client_of_the_topic(test: PlainChannelTest, room: PlainChannel) -> None:
    other = test.join("room:1", params={"name": "grace"})
    elsewhere = test.join("room:2", params={"name": "edsger"})
    room.push("shout", {"n": 1})
    room.assert_push("shout", {"n": 1})
    other.assert_push("shout", {"n": 1})
    elsewhere.refute_push("shout")
    room.push("whisper", {"n": 2})
    other.assert_push("shout", {"n": 2})
    room.refute_push("shout")


def test_a_broadcast_of_another_thread_is_pushed_too(test: PlainChannelTest, room: PlainChannel) -> None:
    thread = threading.Thread(target=test.endpoint.broadcast, args=("room:1", "shout", {"n": 1}))
    thread.start()
    thread.join()
    room.assert_push("shout", {"n": 1})


def test_the_application_may_broadcast_right_out_of_the_test(test: PlainChannelTest, room: PlainChannel) -> None:
    test.endpoint.broadcast("room:1", "filtered", {"n": 1})
    room.assert_push("filtered", Exactly({"n": 1, "for": "ada"}))


def test_a_broadcast_from_the_test_reaches_all_but_the_test(test: PlainChannelTest, room: PlainChannel) -> None:
    room.broadcast_from("shout", {"n": 1})
    room.assert_push("shout", {"n": 1})
    room.refute_broadcast("shout")
    unheard = test.join("room:2", params={"name": "grace"})
    unheard.broadcast_from("shout", {"n": 2})
    unheard.assert_push("shout", {"n": 2})


def test_a_broadcast_is_found_only_where_the_test_listens(test: PlainChannelTest) -> None:
    room = test.join("room:1", params={"name": "ada"})
    with pytest.raises(ConfigurationError, match="subscribe_and_join"):
        room.assert_broadcast("shout")
    test.subscribe("room:1")
    test.subscribe("room:1")
    room.push("shout", {"n": 1})
    room.assert_broadcast("shout")
    room.refute_broadcast("shout")
    test.unsubscribe("room:1")
    with pytest.raises(ConfigurationError, match="listens to none"):
        room.refute_broadcast("shout")


def test_a_channel_hears_topics_that_it_subscribed_to(test: PlainChannelTest, room: PlainChannel) -> None:
    room.assert_reply(room.push("listen", {"topic": "news"}), "ok")
    test.broadcast("news", "headline", {"n": 1})
    room.assert_push("heard", {"topic": "news", "payload": {"n": 1}})


# 141, 142, 150: connecting.


def test_a_refused_connect_raises(test: PlainChannelTest) -> None:
    with pytest.raises(ConnectError) as refused:
        test.connect()
    assert refused.value.reason == "nameless"


def test_a_client_connects_and_joins_by_the_sockets_routes(test: PlainChannelTest) -> None:
    socket = test.connect({"name": "ada"})
    assert type(socket.subscribe_and_join("room:1").server) is RoomChannel
    assert type(socket.join("plain").server) is PlainRoom
    test.broadcast("user:ada", "disconnect", {})
    assert socket.assert_disconnected(1001) == 1001


def test_parameters_become_what_a_query_makes_of_them(test: PlainChannelTest) -> None:
    params: dict[Any, Any] = {"name": "ada & co", 1: True, "page": {"size": 20, "of": None}, "tags": ["a", 2]}
    socket = test.connect(params, connect_info={"auth_token": "a token"})
    assert socket.assigns["params"] == {
        "name": "ada & co",
        "1": "true",
        "page": {"size": "20", "of": "null"},
        "tags": ["a", "2"],
        "vsn": "2.0.0",
    }
    assert socket.assigns["info"] == {"auth_token": "a token"}


def test_a_client_that_is_not_sent_away_stays(test: PlainChannelTest) -> None:
    socket = test.connect({"name": "ada"})
    with pytest.raises(AssertionError, match="still open after 1 s"):
        socket.assert_disconnected()
    test.broadcast("user:ada", "disconnect", {})
    with pytest.raises(AssertionError, match="was closed with 1001"):
        socket.assert_disconnected(1012)
    with pytest.raises(AssertionError, match="before the connection was closed with 1001"):
        socket.assert_push("shout")


def test_one_of_several_sockets_has_to_be_named() -> None:
    class OtherSocket(Socket):
        channels = {"*": PlainRoom}

    endpoint = Endpoint()
    with channel_test(endpoint) as test, pytest.raises(ConfigurationError, match="none"):
        test.connect()
    endpoint.socket("/socket", UserSocket)
    endpoint.socket("/other", OtherSocket)
    with channel_test(endpoint) as test:
        with pytest.raises(ConfigurationError, match="UserSocket, OtherSocket"):
            test.connect()
        assert type(test.connect(socket=OtherSocket).server) is OtherSocket


# 144: handle_out and handle_info.


def test_an_interceptor_may_push_something_else_or_stop(test: PlainChannelTest, room: PlainChannel) -> None:
    test.broadcast("room:1", "filtered", {"n": 1})
    room.assert_push("filtered", {"n": 1, "for": "ada"})
    test.broadcast("room:1", "filtered", {"stop": True})
    room.assert_closed()
    assert ended == ["shutdown"]


def test_what_the_server_sends_itself_may_push_broadcast_and_stop(room: PlainChannel) -> None:
    room.send_info(("push", {"n": 1}))
    room.assert_push("info", {"n": 1})
    room.send_info(("broadcast", {"n": 2}))
    room.assert_broadcast("info", {"n": 2})
    room.send_info("stop")
    room.assert_closed()
    assert infos == [("push", {"n": 1}), ("broadcast", {"n": 2}), "stop"]


def test_the_servers_object_can_be_called_in_its_loop(test: PlainChannelTest, room: PlainChannel) -> None:
    async def ask() -> Any:
        await asyncio.sleep(0)
        return asyncio.get_running_loop().is_running(), room.server.assigns["name"]

    assert test.run(ask) == (True, "ada")
    test.run(room.server.push, "pushed", {"n": 1})
    room.assert_push("pushed", {"n": 1})


# 145, 146: leaving and closing.


def test_a_leave_is_answered_and_closes_the_channel(room: PlainChannel) -> None:
    room.assert_reply(room.leave(), "ok", Exactly({}))
    room.assert_closed()
    room.refute_push("phx_error")
    assert ended == [("shutdown", "left")]
    room.assert_reply(room.leave(), "ok", Exactly({}))
    assert ended == [("shutdown", "left")]


def test_a_close_ends_the_channel_and_twice_is_harmless(room: PlainChannel) -> None:
    room.close()
    assert (ended, room.socket.closed_with) == ([("shutdown", "closed")], 1000)
    room.close()
    room.push("echo", {})
    assert ended == [("shutdown", "closed")]


def test_a_close_that_does_not_wait_cuts_off_a_terminate_that_hangs(room: PlainChannel, test: PlainChannelTest) -> None:
    room.assert_reply(room.push("hang_at_the_end"), "ok")
    before = test.clock.time()
    room.close(timeout=0)
    assert ended == [("shutdown", "closed")]
    assert test.clock.time() - before < 1


def test_a_channel_that_does_not_let_itself_be_cancelled_fails_the_test() -> None:
    class Stubborn(Channel):
        async def join(self, params: Any) -> None:
            """Admit everybody."""

        async def terminate(self, reason: Any) -> None:
            for _ in range(2):
                try:
                    await asyncio.sleep(100)
                except asyncio.CancelledError:
                    continue

    with pytest.raises(AssertionError, match=r"1 channel\(s\) went on for 6 s"), channel_test(Stubborn) as test:
        test.join("a topic")


# 149.


def test_a_channel_without_handle_info_warns_and_goes_on(
    test: PlainChannelTest, caplog: pytest.LogCaptureFixture
) -> None:
    channel = test.socket().join("plain")
    with caplog.at_level(logging.WARNING):
        channel.send_info("what is this")
        channel.assert_reply(channel.leave(), "ok")
    assert "PlainRoom on 'plain' received unexpected message in handle_info: 'what is this'" in caplog.text


# The kit itself.


def test_channels_of_one_socket_do_not_take_each_others_messages(test: PlainChannelTest) -> None:
    socket = test.connect({"name": "ada"})
    one, two = socket.join("room:1"), socket.join("room:2")
    ref = two.push("push", {"n": 2})
    one.refute_push("pushed")
    socket.refute_push("pushed", topic="room:1")
    socket.assert_push("pushed", {"n": 2}, topic="room:2")
    socket.refute_reply(ref)
    socket.assert_reply(socket.push("phoenix", "heartbeat"), "ok")


def test_a_client_that_sends_more_than_the_server_reads_is_read_later(room: PlainChannel) -> None:
    first = room.push("later", {"seconds": 1})
    refs = [room.push("echo", {"n": n}) for n in range(1200)]
    room.assert_reply(first, "ok", timeout=2)
    for n, ref in enumerate(refs):
        room.assert_reply(ref, "ok", {"n": n})


def test_an_endpoint_is_tested_again_and_again(test: PlainChannelTest) -> None:
    endpoint = Endpoint()
    endpoint.socket("/socket", UserSocket)
    for n in range(3):
        with channel_test(endpoint) as one:
            room = one.join("room:1", params={"name": "ada"})
            one.endpoint.broadcast("room:1", "shout", {"n": n})
            room.assert_push("shout", {"n": n})
        assert not endpoint.is_started


def test_a_plain_test_in_a_coroutine_says_what_to_do() -> None:
    async def main() -> None:
        with channel_test(PlainRoom):
            pass

    with pytest.raises(ConfigurationError, match=r"async with ChannelTest"):
        asyncio.run(main())


def test_what_cannot_be_tested_is_refused() -> None:
    wrong: Any = RoomChannel.join
    with pytest.raises(ConfigurationError, match="expected an Endpoint"):
        channel_test(wrong)
    with pytest.raises(ConfigurationError, match="not open"):
        channel_test(PlainRoom).connect()


def test_a_function_of_the_tests_own_that_nothing_can_wake_ends() -> None:
    async def wait_for_ever() -> None:
        await asyncio.get_running_loop().create_future()

    with (
        channel_test(PlainRoom, virtual_time=VirtualClock(patience=0.01)) as test,
        pytest.raises(Deadlock, match="wait_for_ever"),
    ):
        test.run(wait_for_ever)


def test_an_endpoint_that_does_not_start_leaves_nothing_open() -> None:
    class Broken(Endpoint):
        async def start(self) -> None:
            raise OSError("no bus")

    endpoint = Broken()
    handlers = list(logging.getLogger("broadwing").handlers)
    with pytest.raises(OSError, match="no bus"), channel_test(endpoint):
        pass
    assert logging.getLogger("broadwing").handlers == handlers
    assert "start" not in vars(endpoint)


def test_real_time_is_to_be_had() -> None:
    with channel_test(RoomChannel, virtual_time=False, refute_timeout=0.01) as test:
        room = test.join("room:1")
        before = time.monotonic()
        room.refute_push("pushed", timeout=0.05)
        assert time.monotonic() - before > 0.04
        room.assert_reply(room.push("later", {"seconds": 0.01}), "ok", timeout=30)
        with pytest.raises(ConfigurationError, match="real time"):
            _ = test.clock
