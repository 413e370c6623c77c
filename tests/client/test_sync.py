"""The client for scripts: the same calls, blocking, against a real server in a thread of its own."""

import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from broadwing.client import ChannelClosed, ConnectFailed, JoinError, PushError, PushTimeout
from broadwing.client.sync import Socket, connect
from broadwing.core.client.effects import ChannelStatus, Status
from broadwing.exceptions import ConfigurationError, LocalProtocolError
from tests.support.app import make_endpoint
from tests.support.background import TIMEOUT, Background, background
from tests.support.loopback import HOST, free_port


@pytest.fixture(scope="module")
def served() -> Iterator[Background]:
    """The server."""
    with background(make_endpoint()) as each:
        yield each


@pytest.fixture(params=["websocket", "longpoll"])
def socket(request: pytest.FixtureRequest, served: Background) -> Iterator[Socket]:
    """A client."""
    url = served.url("/socket")
    with connect(url, transport=request.param, timeout=TIMEOUT, open_timeout=TIMEOUT, proxy=None) as each:
        yield each
    assert [thread for thread in threading.enumerate() if thread.name == "broadwing client"] == []


class Note(msgspec.Struct):
    """A payload."""

    body: str


def test_a_script_joins_pushes_and_reads(socket: Socket) -> None:
    channel = socket.join("room:reply", {"last_seen": 3})
    assert channel.response == {"got": {"last_seen": 3}, "n": 1}
    assert channel.status is ChannelStatus.JOINED
    assert channel.push("echo", {"body": "hi"}) == {"body": "hi"}
    assert channel.push("echo", {"body": "hi"}, reply_type=Note) == Note("hi")
    channel.send("new_msg", {"n": 1})
    assert channel.receive(TIMEOUT).payload == {"n": 1}
    assert (socket.status, channel.dropped) == (Status.OPEN, 0)
    assert socket.ping() is not None


def test_a_loop_over_messages_ends_with_the_channel(socket: Socket) -> None:
    channel = socket.join("room:lobby")
    for number in range(3):
        channel.send("new_msg", {"n": number})
    read: list[Any] = []
    for message in channel:
        read.append(message.payload["n"])
        if len(read) == 3:
            assert channel.leave() == {}
    assert read == [0, 1, 2]


def test_errors_are_those_of_the_asyncio_client(socket: Socket) -> None:
    with pytest.raises(JoinError) as caught:
        socket.join("room:private")
    assert caught.value.response == {"reason": "unauthorized"}
    channel = socket.join("room:lobby")
    with pytest.raises(PushError):
        channel.push("reply_error")
    with pytest.raises(PushTimeout):
        channel.push("noreply", timeout=0.05)
    with pytest.raises(TimeoutError):
        channel.receive(timeout=0.01)


def test_callbacks_run_in_the_thread_of_the_loop(socket: Socket) -> None:
    channel = socket.channel("room:lobby")
    heard: list[Any] = []
    happened = threading.Event()
    channel.on_join(lambda response: heard.append((threading.current_thread().name, response)))
    channel.on_error(heard.append)
    channel.on_close(happened.set)
    remove = channel.on("new_msg", lambda note: heard.append(note.body), type=Note)
    assert channel.join() == {}
    channel.send("new_msg", {"body": "hi"})
    channel.receive(TIMEOUT)
    remove()
    channel.send("new_msg", {"body": "nobody hears"})
    channel.receive(TIMEOUT)
    channel.leave()
    assert happened.wait(TIMEOUT)
    assert heard == [("broadwing client", {}), "hi"]


def test_a_callback_that_waits_is_told_that_it_must_not(served: Background) -> None:
    errors: list[Exception] = []
    happened = threading.Event()

    def remember(error: Exception) -> None:
        errors.append(error)
        happened.set()

    with connect(served.url("/socket"), on_exception=remember, open_timeout=TIMEOUT, proxy=None) as socket:
        channel = socket.join("room:lobby", timeout=TIMEOUT)
        channel.on("new_msg", lambda payload: channel.push("echo"))
        channel.send("new_msg")
        assert happened.wait(TIMEOUT)
    (error,) = errors
    assert isinstance(error, LocalProtocolError)
    assert "from one of its callbacks" in str(error)


def test_several_threads_may_share_a_socket(socket: Socket) -> None:
    channel = socket.join("room:lobby")
    replies: list[Any] = []
    threads = [threading.Thread(target=lambda n=n: replies.append(channel.push("echo", {"n": n}))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert sorted(reply["n"] for reply in replies) == list(range(8))


def test_a_disconnect_lasts_until_the_next_connect(socket: Socket) -> None:
    channel = socket.join("room:lobby")
    socket.disconnect()
    assert socket.status is Status.CLOSED
    socket.connect(TIMEOUT)
    assert channel.push("echo", {"n": 1}) == {"n": 1}


def test_after_the_end_calls_say_so(socket: Socket) -> None:
    channel = socket.join("room:lobby")
    socket.close()
    socket.close()
    with pytest.raises(LocalProtocolError, match="after its close"):
        channel.push("echo")
    assert repr(channel) == "<Channel 'room:lobby' closed>"
    assert "closed" in repr(socket)


def test_another_thread_that_reads_is_told_of_the_end(served: Background) -> None:
    socket = connect(served.url("/socket"), open_timeout=TIMEOUT, proxy=None)
    socket.connect()
    channel = socket.join("room:lobby", timeout=TIMEOUT)
    ended: list[BaseException] = []

    def read() -> None:
        try:
            channel.receive()
        except (ChannelClosed, LocalProtocolError) as error:
            ended.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    socket.close()
    reader.join(TIMEOUT)
    assert len(ended) == 1


def test_where_nobody_listens_no_thread_is_left() -> None:
    with (
        pytest.raises(ConnectFailed),
        connect(f"ws://{HOST}:{free_port()}/socket", open_timeout=0.1, proxy=None),
    ):
        pytest.fail("connected")
    assert [thread for thread in threading.enumerate() if thread.name == "broadwing client"] == []


def test_options_that_mean_nothing_leave_no_thread() -> None:
    with pytest.raises(ConfigurationError):
        connect("ws://localhost/socket", vsn="3")
    assert [thread for thread in threading.enumerate() if thread.name == "broadwing client"] == []
