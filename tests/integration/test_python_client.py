"""The Python client with the real server, over every transport and in both wire versions."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from broadwing.client import (
    BufferFull,
    Channel,
    ChannelClosed,
    ConnectFailed,
    JoinError,
    JoinTimeout,
    PayloadMisfit,
    PushError,
    PushTimeout,
    Socket,
    connect,
)
from broadwing.core.client.effects import ChannelStatus, Status
from broadwing.exceptions import ConfigurationError, LocalProtocolError
from tests.support.app import MOUNTS, Ground, make_endpoint
from tests.support.background import TIMEOUT
from tests.support.client import V1, V2
from tests.support.loopback import HOST, free_port
from tests.support.server import ASGI, LEAN, Served, serve

LONGPOLL = "longpoll"


class Place:
    """A served endpoint, and clients of it.

    Attributes:
        endpoint: The endpoint.
        served: Its server.
        transport: `lean`, `asgi` or `longpoll`.
        vsn: The wire version.
    """

    def __init__(self, endpoint: Ground, served: Served, transport: str, vsn: str) -> None:
        self.endpoint = endpoint
        self.served = served
        self.transport = transport
        self.vsn = vsn
        self.sockets: list[Socket] = []

    @property
    def kind(self) -> str:
        """As the client says it."""
        return LONGPOLL if self.transport == LONGPOLL else "websocket"

    async def connect(self, mount: str = "/socket", **options: Any) -> Socket:
        """A client that is connected."""
        socket = connect(self.served.url(mount), **{"transport": self.kind, "vsn": self.vsn, "proxy": None, **options})
        self.sockets.append(socket)
        await socket.connect(TIMEOUT)
        return socket

    async def join(self, topic: str = "room:lobby", params: Any = None, **options: Any) -> Channel:
        """A channel of a client of its own."""
        return await (await self.connect(**options)).join(topic, params, timeout=TIMEOUT)


async def _place(transport: str, vsn: str, *mounts: str) -> AsyncIterator[Place]:
    endpoint = make_endpoint(*mounts)
    async with serve(endpoint, LEAN if transport == LONGPOLL else transport) as served:
        place = Place(endpoint, served, transport, vsn)
        try:
            yield place
        finally:
            endpoint.gate.set()
            for socket in place.sockets:
                await socket.close()
            assert [task for task in asyncio.all_tasks() if task.get_name().startswith("broadwing client")] == []


@pytest.fixture(params=[(t, v) for t in (LEAN, ASGI, LONGPOLL) for v in (V1, V2)], ids="-".join)
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """Every transport, both versions."""
    async for each in _place(*request.param):
        yield each


@pytest.fixture(params=[LEAN, LONGPOLL])
async def place_v2(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """For what does not depend on the wire version, or needs 2.0.0."""
    async for each in _place(request.param, V2):
        yield each


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(TIMEOUT):
        while not condition():
            await asyncio.sleep(0.002)


class Note(msgspec.Struct):
    """A payload."""

    body: str
    stars: int = 0


@dataclass
class Plain:
    """The same as a dataclass."""

    body: str


class TestMessages:
    async def test_a_push_is_answered(self, place: Place) -> None:
        channel = await place.join()
        payload = {"hello": "wörld", "n": [1, 2.5, None], "nested": {"a": True}}
        assert await channel.push("echo", payload, timeout=TIMEOUT) == payload
        assert await channel.push("reply_ok", timeout=TIMEOUT) == {}

    async def test_a_join_is_answered(self, place: Place) -> None:
        channel = await place.join("room:reply", {"last_seen": 3})
        assert channel.response == {"got": {"last_seen": 3}, "n": 1}
        assert channel.status is ChannelStatus.JOINED

    async def test_the_parameters_of_a_join_may_be_a_function(self, place: Place) -> None:
        counter = iter(range(1, 100))
        channel = await place.join("room:reply", lambda: {"call": next(counter)})
        assert channel.response["got"]["call"] < next(counter)

    async def test_a_reply_with_another_status_raises(self, place: Place) -> None:
        channel = await place.join()
        with pytest.raises(PushError) as caught:
            await channel.push("reply_error_map", {}, timeout=TIMEOUT)
        assert (caught.value.status, caught.value.response) == ("error", {"reason": "bad"})
        with pytest.raises(PushError, match="teapot"):
            await channel.push("reply_custom", timeout=TIMEOUT)

    async def test_a_push_that_is_not_answered_times_out(self, place: Place) -> None:
        channel = await place.join()
        with pytest.raises(PushTimeout, match=r"channel\.send") as caught:
            await channel.push("noreply", timeout=0.05)
        assert caught.value.sent

    async def test_broadcasts_and_pushes_are_read_in_order(self, place: Place) -> None:
        channel, other = await place.join(), await place.join()
        for number in range(5):
            channel.send("new_msg", {"body": number})
        for reader in (channel, other):
            async with asyncio.timeout(TIMEOUT):
                assert [(await anext(reader)).payload for _ in range(5)] == [{"body": n} for n in range(5)]
        channel.send("push_me", {"a": 1})
        message = await channel.receive(TIMEOUT)
        assert (message.topic, message.event, message.payload) == ("room:lobby", "pushed", {"a": 1})
        assert message.ref is None
        assert message.join_ref == (None if place.vsn == V1 else channel.join_ref)

    async def test_bytes_travel_both_ways(self, place_v2: Place) -> None:
        channel = await place_v2.join()
        data = bytes(range(256))
        assert await channel.push("echo", data, timeout=TIMEOUT) == data
        channel.send("bin_push", data)
        assert (await channel.receive(TIMEOUT)).payload == data
        channel.send("new_msg", data)
        assert (await channel.receive(TIMEOUT)).payload == data

    async def test_a_hundred_and_fifty_pushes_at_once_arrive_in_order(self, place_v2: Place) -> None:
        channel = await place_v2.join("story:all")
        async with asyncio.TaskGroup() as group:
            for number in range(150):
                group.create_task(channel.push("record", number, timeout=TIMEOUT))
        assert [payload for _, payload in place_v2.endpoint.handled] == list(range(150))


class TestTypes:
    async def test_a_reply_becomes_what_was_asked_for(self, place_v2: Place) -> None:
        channel = await place_v2.join()
        note = await channel.push("echo", Note("hi", 2), reply_type=Note, timeout=TIMEOUT)
        assert note == Note("hi", 2)
        assert await channel.push("echo", Note("hi"), reply_type=Plain, timeout=TIMEOUT) == Plain("hi")

    async def test_a_misfit_names_the_field(self, place_v2: Place) -> None:
        channel = await place_v2.join()
        with pytest.raises(PayloadMisfit, match=r"'stars'.*Expected `int`, got `str`") as caught:
            await channel.push("echo", {"body": "hi", "stars": "many"}, reply_type=Note, timeout=TIMEOUT)
        assert caught.value.field == "stars"
        with pytest.raises(PayloadMisfit) as caught:
            await channel.push("echo", {}, reply_type=Note, timeout=TIMEOUT)
        assert caught.value.field == "body"

    async def test_pydantic_models_do_too(self, place_v2: Place) -> None:
        pydantic = pytest.importorskip("pydantic")
        Model = pydantic.create_model("Model", body=(str, ...))  # noqa: N806 - a class
        channel = await place_v2.join()
        assert await channel.push("echo", {"body": "hi"}, reply_type=Model, timeout=TIMEOUT) == Model(body="hi")
        with pytest.raises(PayloadMisfit) as caught:
            await channel.push("echo", {"body": 1}, reply_type=Model, timeout=TIMEOUT)
        assert caught.value.field == "body"

    async def test_messages_and_callbacks_are_typed_where_asked(self, place_v2: Place) -> None:
        errors: list[Exception] = []
        socket = await place_v2.connect(on_exception=errors.append)
        channel = socket.channel("room:lobby")
        notes: list[Note] = []
        channel.on("new_msg", notes.append, type=Note)
        await channel.join(TIMEOUT)
        channel.send("new_msg", {"body": "hi"})
        assert (await channel.receive(TIMEOUT)).decode(Note) == Note("hi")
        channel.send("new_msg", {"body": 7})
        message = await channel.receive(TIMEOUT)
        with pytest.raises(PayloadMisfit, match="'body'"):
            message.decode(Note)
        assert notes == [Note("hi")]
        (error,) = errors
        assert isinstance(error, PayloadMisfit)
        assert error.field == "body"


class TestJoins:
    async def test_a_refused_join_raises_with_the_response(self, place: Place) -> None:
        socket = await place.connect()
        with pytest.raises(JoinError) as caught:
            await socket.join("room:private", timeout=TIMEOUT)
        assert caught.value.response == {"reason": "unauthorized"}
        with pytest.raises(JoinError, match="unmatched topic"):
            await socket.join("nowhere", timeout=TIMEOUT)
        assert socket._channels == {}

    async def test_a_join_without_answer_times_out_and_can_be_tried_again(self, place: Place) -> None:
        socket = await place.connect()
        with pytest.raises(JoinTimeout):
            await socket.join("story:slow", timeout=0.05)
        place.endpoint.gate.set()
        channel = await socket.join("story:slow", timeout=TIMEOUT)
        assert await channel.push("recall", timeout=TIMEOUT) == {"user_id": None}

    async def test_joining_a_topic_again_ends_the_channel_that_had_it(self, place: Place) -> None:
        socket = await place.connect()
        first = await socket.join("room:lobby", timeout=TIMEOUT)
        second = await socket.join("room:lobby", timeout=TIMEOUT)
        assert first.status is ChannelStatus.CLOSED
        with pytest.raises(ChannelClosed):
            await first.receive(TIMEOUT)
        assert await second.push("echo", {"a": 1}, timeout=TIMEOUT) == {"a": 1}

    async def test_a_leave_is_confirmed_and_ends_what_reads(self, place: Place) -> None:
        channel = await place.join()
        closed: list[int] = []
        channel.on_close(lambda: closed.append(1))
        reader = asyncio.create_task(anext(aiter(channel), None))
        await asyncio.sleep(0)
        assert await channel.leave(TIMEOUT) == {}
        async with asyncio.timeout(TIMEOUT):
            assert await reader is None
        assert closed == [1]
        with pytest.raises(LocalProtocolError, match="after its end"):
            channel.send("echo")
        assert await channel.leave(TIMEOUT) is None

    async def test_the_server_may_end_a_channel(self, place: Place) -> None:
        channel = await place.join()
        channel.send("stop_normal")
        async with asyncio.timeout(TIMEOUT):
            assert [message async for message in channel] == []
        assert channel.status is ChannelStatus.CLOSED

    async def test_a_channel_that_crashed_is_joined_again_and_sends_what_waited(self, place: Place) -> None:
        socket = await place.connect(rejoin_after=lambda tries: 0.01)
        channel = socket.channel("room:lobby")
        told: list[Any] = []
        channel.on_error(told.append)
        channel.on_join(lambda response: told.append("joined"))
        await channel.join(TIMEOUT)
        first_ref = channel.join_ref
        channel.send("raise")
        await until(lambda: len(told) > 1)
        assert await channel.push("echo", {"n": 1}, timeout=TIMEOUT) == {"n": 1}
        assert told == ["joined", {"reason": "channel_crash"}, "joined"]
        assert channel.join_ref != first_ref


class TestCancellation:
    async def test_a_cancelled_push_leaves_nothing_and_its_reply_is_ignored(self, place: Place) -> None:
        channel = await place.join("story:cancel")
        socket = channel._socket
        push = asyncio.create_task(channel.push("wait", {"late": True}, timeout=TIMEOUT))
        await until(lambda: socket._futures)
        push.cancel()
        with pytest.raises(asyncio.CancelledError):
            await push
        assert socket._futures == {}
        assert socket._state.channels.waiting == 0
        place.endpoint.gate.set()
        assert await channel.push("recall", timeout=TIMEOUT) == {"user_id": None}

    async def test_a_cancelled_push_that_waits_is_never_sent(self, place: Place) -> None:
        socket = await place.connect()
        channel = socket.channel("story:slow")
        join = asyncio.create_task(channel.join(TIMEOUT))
        await until(lambda: channel.status is ChannelStatus.JOINING)
        push = asyncio.create_task(channel.push("record", "cancelled", timeout=TIMEOUT))
        await until(lambda: socket._futures)
        push.cancel()
        await asyncio.gather(push, return_exceptions=True)
        place.endpoint.gate.set()
        await join
        await channel.push("record", "kept", timeout=TIMEOUT)
        assert place.endpoint.handled == [("story:slow", "kept")]

    async def test_a_cancelled_join_leaves_nothing(self, place: Place) -> None:
        socket = await place.connect()
        join = asyncio.create_task(socket.join("story:slow", timeout=TIMEOUT))
        await until(lambda: socket._channels)
        join.cancel()
        await asyncio.gather(join, return_exceptions=True)
        assert socket._channels == {}
        place.endpoint.gate.set()
        channel = await socket.join("story:slow", timeout=TIMEOUT)
        assert channel.is_joined

    async def test_closing_tells_whoever_waits(self, place: Place) -> None:
        channel = await place.join("story:waiting")
        socket = channel._socket
        push = asyncio.create_task(channel.push("wait", timeout=TIMEOUT))
        join = asyncio.create_task(socket.join("story:slow", timeout=TIMEOUT))
        await until(lambda: len(socket._channels) == 2 and socket._futures)
        await socket.close()
        for task in (push, join):
            with pytest.raises(ChannelClosed):
                await task
        assert socket.status is Status.CLOSED
        await socket.close()

    async def test_an_attempt_to_connect_can_be_cancelled(self, place_v2: Place) -> None:
        asked = asyncio.Event()

        async def params() -> dict[str, Any]:
            asked.set()
            await asyncio.Event().wait()
            raise AssertionError("never")

        socket = connect(place_v2.served.url("/socket"), params=params, transport=place_v2.kind, proxy=None)
        attempt = asyncio.create_task(socket.connect(TIMEOUT))
        await asked.wait()
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        assert socket.status is Status.CLOSED
        assert socket._lines._lines == {}


class TestConnections:
    async def test_parameters_and_token_are_asked_for_at_every_connect(self) -> None:
        async for place in _place(LEAN, V2, "/auth"):
            asked: list[str] = []

            def params() -> dict[str, Any]:
                asked.append("params")  # noqa: B023 - used within this turn
                return {"user_id": f"u{len(asked)}", "nested": {"a": ["x"]}}  # noqa: B023

            async def token() -> str:
                return f"tökén {len(asked)}"  # noqa: B023

            socket = await place.connect("/auth", params=params, auth_token=token)
            channel = await socket.join("room:lobby", timeout=TIMEOUT)
            channel.send("disconnect_me")
            await until(lambda: len(asked) == 2 and channel.is_joined)  # noqa: B023
            seen = [(sent["user_id"], sent["nested"], info["auth_token"]) for sent, info in place.endpoint.connected]
            assert seen == [("u1", {"a": ["x"]}, "tökén 1"), ("u2", {"a": ["x"]}, "tökén 2")]

    async def test_long_polling_carries_the_token_in_a_header(self) -> None:
        async for place in _place(LONGPOLL, V2, "/auth"):
            await place.connect("/auth", auth_token="s3cret")
            ((_, info),) = place.endpoint.connected
            assert info["auth_token"] == "s3cret"

    async def test_a_server_that_sends_its_client_away_finds_it_back(self, place: Place) -> None:
        socket = await place.connect(params={"user_id": "7"})
        codes: list[int] = []
        socket.on_close(lambda code, reason: codes.append(code))
        opened: list[int] = []
        socket.on_open(lambda: opened.append(1))
        channel = await socket.join("room:lobby", timeout=TIMEOUT)
        place.endpoint.broadcast("users_socket:7", "disconnect", {})
        await until(lambda: opened)
        assert await channel.push("echo", {"again": True}, timeout=TIMEOUT) == {"again": True}
        assert codes == [3410 if place.kind == LONGPOLL else 1001]

    async def test_a_disconnect_lasts_until_the_next_connect(self, place: Place) -> None:
        channel = await place.join()
        socket = channel._socket
        await socket.disconnect()
        assert socket.status is Status.CLOSED
        assert channel.status is ChannelStatus.ERRORED
        push = asyncio.create_task(channel.push("echo", {"n": 1}, timeout=TIMEOUT))
        await socket.connect(TIMEOUT)
        assert await push == {"n": 1}

    async def test_every_message_can_be_listened_to(self, place_v2: Place) -> None:
        socket = await place_v2.connect()
        heard: list[str] = []
        remove = socket.on_message(lambda message: heard.append(message.event))
        channel = await socket.join("room:lobby", timeout=TIMEOUT)
        channel.send("new_msg", {"body": "hi"})
        await channel.receive(TIMEOUT)
        await until(lambda: heard == ["phx_reply", "new_msg"])
        remove()
        remove()
        await channel.push("echo", timeout=TIMEOUT)
        assert heard == ["phx_reply", "new_msg"]

    async def test_a_ping_measures_the_way(self, place: Place) -> None:
        socket = await place.connect()
        seconds = await socket.ping()
        assert seconds is not None
        assert 0 < seconds < TIMEOUT
        assert socket.latency == seconds
        await socket.disconnect()
        assert await socket.ping() is None

    async def test_a_refused_connection_says_so_at_once(self, place: Place) -> None:
        with pytest.raises(ConnectFailed) as caught:
            await place.connect(params={"refuse": "error", "secret": "tell nobody"})
        assert caught.value.status == 403
        assert "tell nobody" not in str(caught.value)
        assert place.sockets[-1].status is Status.CLOSED
        assert len(place.endpoint.connected) == 1

    @pytest.mark.parametrize("kind", ["websocket", LONGPOLL])
    async def test_where_nobody_listens_connecting_ends_in_time(self, kind: str) -> None:
        where = f"{HOST}:{free_port()}/socket"
        socket = connect(f"ws://{where}", transport=kind, proxy=None)
        errors: list[BaseException] = []
        socket.on_error(errors.append)
        with pytest.raises(ConnectFailed, match=f"{where} within 0.3 s"):
            await socket.connect(0.3)
        assert len(errors) > 1  # it was tried again in that time
        assert socket.status is Status.CLOSED

    async def test_without_waiting_joins_wait_instead(self, place: Place) -> None:
        socket = connect(place.served.url("/socket"), transport=place.kind, vsn=place.vsn, proxy=None)
        place.sockets.append(socket)
        await socket.connect(timeout=0)
        assert socket.status is Status.CONNECTING
        channel = await socket.join("room:lobby", timeout=TIMEOUT)
        assert channel.is_joined

    async def test_a_block_closes_what_it_opened(self, place: Place) -> None:
        url = place.served.url("/socket")
        async with connect(url, transport=place.kind, vsn=place.vsn, open_timeout=TIMEOUT, proxy=None) as socket:
            channel = await socket.join("story:block", timeout=TIMEOUT)
            channel.send("record", "the last word")
        assert channel.status is ChannelStatus.CLOSED
        await until(lambda: place.endpoint.handled == [("story:block", "the last word")])

    async def test_no_secret_gets_into_the_log(self, place: Place, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.DEBUG):
            socket = await place.connect(params={"token": "tell-nobody"})
            await socket.join("room:lobby", timeout=TIMEOUT)
        ours = [
            r.getMessage()
            for r in caplog.records
            if r.name.startswith(("broadwing.client", "websockets", "httpx", "httpcore"))
        ]
        assert [text for text in ours if "tell-nobody" in text] == []
        if place.kind == LONGPOLL:
            assert any("/socket/longpoll" in text for text in ours)


class TestBounds:
    async def test_pushes_beyond_the_limit_are_refused(self, place_v2: Place) -> None:
        socket = await place_v2.connect(max_pending=3)
        channel = await socket.join("story:full", timeout=TIMEOUT)
        waiting = [asyncio.create_task(channel.push("wait", n, timeout=TIMEOUT)) for n in range(3)]
        await until(lambda: len(socket._futures) == 3)
        with pytest.raises(BufferFull, match="max_pending"):
            await channel.push("wait", 4)
        with pytest.raises(BufferFull):
            channel.send("wait", 4)
        place_v2.endpoint.gate.set()
        assert await asyncio.gather(*waiting) == [0, 1, 2]
        assert await channel.push("wait", 5, timeout=TIMEOUT) == 5

    async def test_messages_that_are_not_read_are_bounded(self, place_v2: Place) -> None:
        socket = await place_v2.connect(max_queue=2, overflow="drop_oldest")
        channel = await socket.join("room:lobby", timeout=TIMEOUT)
        for number in range(5):
            channel.send("new_msg", {"n": number})
        await until(lambda: channel.dropped == 3)
        assert [(await channel.receive(TIMEOUT)).payload for _ in range(2)] == [{"n": 3}, {"n": 4}]

    async def test_receive_ends_in_time(self, place_v2: Place) -> None:
        channel = await place_v2.join()
        with pytest.raises(TimeoutError):
            await channel.receive(0.01)


class TestUse:
    async def test_what_callbacks_raise_is_reported_and_keeps_nothing_from_others(
        self, place_v2: Place, caplog: pytest.LogCaptureFixture
    ) -> None:
        socket = await place_v2.connect()
        channel = socket.channel("room:lobby")
        heard: list[Any] = []

        def fail(payload: Any) -> None:
            raise RuntimeError("the callback's own")

        channel.on("new_msg", fail)
        channel.on("new_msg", heard.append)
        await channel.join(TIMEOUT)
        channel.send("new_msg", {"n": 1})
        await channel.receive(TIMEOUT)
        assert heard == [{"n": 1}]
        assert "the callback's own" in caplog.text

    async def test_a_report_that_fails_is_logged(self, place_v2: Place, caplog: pytest.LogCaptureFixture) -> None:
        def fail(error: Any) -> None:
            raise RuntimeError("twice")

        socket = await place_v2.connect(on_exception=fail)
        channel = socket.channel("room:lobby")
        channel.on("new_msg", fail)
        await channel.join(TIMEOUT)
        channel.send("new_msg")
        await channel.receive(TIMEOUT)
        assert "on_exception failed" in caplog.text

    async def test_coroutine_functions_are_refused_as_callbacks(self, place_v2: Place) -> None:
        socket = await place_v2.connect()
        channel = socket.channel("room:lobby")

        async def callback(*_: Any) -> None: ...

        registrations: list[Callable[[], object]] = [
            lambda: channel.on("e", callback),
            lambda: channel.on_join(callback),
            lambda: channel.on_error(callback),
            lambda: channel.on_close(callback),
            lambda: socket.on_open(callback),
            lambda: socket.on_close(callback),
            lambda: socket.on_error(callback),
            lambda: socket.on_message(callback),
        ]
        for register in registrations:
            with pytest.raises(ConfigurationError, match="async for"):
                register()

    async def test_before_the_join_nothing_can_be_pushed(self, place_v2: Place) -> None:
        channel = (await place_v2.connect()).channel("room:lobby")
        with pytest.raises(LocalProtocolError, match="before joining"):
            await channel.push("echo")
        with pytest.raises(LocalProtocolError, match="before joining"):
            channel.send("echo")

    async def test_what_has_no_json_form_is_refused_where_it_is_pushed(self, place: Place) -> None:
        channel = await place.join()
        with pytest.raises(LocalProtocolError, match="no JSON form"):
            channel.send("echo", {"x": object()})
        if place.vsn == V1:
            with pytest.raises(LocalProtocolError, match="no binary frames"):
                channel.send("echo", b"bytes")
        else:
            with pytest.raises(LocalProtocolError, match="unable to convert event"):
                channel.send("e" * 256, b"bytes")

    async def test_a_function_for_parameters_that_fails_at_the_join_raises_there(self, place_v2: Place) -> None:
        socket = await place_v2.connect()

        def params() -> Any:
            raise KeyError("no token yet")

        with pytest.raises(KeyError):
            await socket.join("room:lobby", params)
        assert socket._channels == {}

    @pytest.mark.parametrize("options", [{"vsn": "2.0"}, {"transport": "carrier pigeon"}, {"url": "nowhere"}])
    def test_options_that_mean_nothing_are_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError):
            connect(**{"url": "ws://localhost/socket", **options})

    async def test_what_is_printed_shows_no_parameters(self, place_v2: Place) -> None:
        url = place_v2.served.url("/socket?token=tell-nobody")
        socket = connect(url.replace("ws://", "ws://me:tell-nobody@"))
        assert repr(socket) == f"<Socket {place_v2.served.url('/socket')} closed>"
        assert repr(socket.channel("room:lobby")) == "<Channel 'room:lobby' closed>"


async def test_where_websockets_are_refused_long_polling_takes_their_place() -> None:
    endpoint = make_endpoint()
    socket_class, options = MOUNTS["/socket"]
    endpoint.socket("/polled", socket_class, websocket=False, **options)
    async with serve(endpoint) as served:
        url = served.url("/polled")
        async with connect(url, longpoll_fallback=TIMEOUT, open_timeout=TIMEOUT, proxy=None) as socket:
            assert socket.transport == LONGPOLL
            channel = await socket.join("room:lobby", timeout=TIMEOUT)
            assert await channel.push("echo", {"n": 1}, timeout=TIMEOUT) == {"n": 1}
        async with connect(
            served.url("/socket"), longpoll_fallback=TIMEOUT, open_timeout=TIMEOUT, proxy=None
        ) as socket:
            assert socket.transport == "websocket"
