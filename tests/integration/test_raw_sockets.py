"""Raw sockets: protocols of one's own beside channels, over every transport.

The conformance tests of RFC 6455 talk to one as well; here is what is particular to them.
"""

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Literal
from urllib.parse import quote

import httpx
import pytest

from broadwing import (
    Broadcast,
    ConfigurationError,
    ConnectError,
    Endpoint,
    LocalProtocolError,
    RawSocket,
    Reply,
    Stop,
    TokenInvalid,
)
from broadwing.intake import MAX_QUEUED
from broadwing.types import ConnectInfo, Params
from tests.support.background import LEAN, PLAIN_ASGI, TIMEOUT, Background, background, until
from tests.support.wire import BINARY, CLOSE, PING, PONG, TEXT, Frame, Wire, client_frame, wire

PATH = "/desk/websocket"


class DeskSocket(RawSocket):
    """Does what it is told.

    Attributes:
        ended: Name and reason of those that have ended.
        open: By name.
    """

    ended: ClassVar[list[tuple[str, Any]]] = []
    open: ClassVar[dict[str, "DeskSocket"]] = {}

    async def connect(self, params: Params, info: ConnectInfo) -> None:
        self.name = str(params.get("name", ""))
        match params.get("refuse"):
            case "error":
                raise ConnectError("no")
            case "token":
                raise TokenInvalid
            case "push":
                self.push("too early")
        self.params = params
        self.busy = 0

    async def init(self) -> None:
        self.open[self.name] = self
        self.push(f"welcome {self.transport}")

    async def handle_in(self, data: str | bytes) -> Any:
        if isinstance(data, bytes):
            return data[::-1]
        order, _, rest = data.partition(" ")
        self.busy += 1
        assert self.busy == 1, "two at a time"
        try:
            return await self._obey(order, rest)
        finally:
            self.busy -= 1

    async def _obey(self, order: str, rest: str) -> Any:
        match order:
            case "params":
                return json.dumps(self.params)
            case "twice":
                self.push(rest)
                self.push(rest.encode())
            case "later":
                self.send_info(rest)
                return "first"
            case "slowly":
                await asyncio.sleep(0.001)
                return rest
            case "stop":
                return Stop("normal", rest or None)
            case "stop-badly":
                return Stop(("error", rest), Reply("last words"))
            case "close":
                self.close(int(rest))
            case "ping":
                return str(self.ping(rest.encode()))
            case "thread":
                await asyncio.to_thread(self.push, f"from a thread: {rest}")
            case "listen":
                self.subscription = self.endpoint.subscribe(rest, self.send_info)
                return "listening"
            case "raise":
                raise RuntimeError(rest)
            case "cancelled":
                raise asyncio.CancelledError
            case "number":
                return 7
            case "surrogate":
                return "\ud800"
            case _:
                return data_of(order, rest)
        return None

    async def handle_info(self, message: Any) -> Any:
        if isinstance(message, Broadcast):
            return f"{message.topic} {message.event} {json.dumps(message.payload)}"
        return f"info: {message}"

    async def terminate(self, reason: Any) -> None:
        self.open.pop(self.name, None)
        self.ended.append((self.name, reason))


def data_of(order: str, rest: str) -> str:
    return f"{order} {rest}".strip()


class ControlSocket(RawSocket):
    """Tells of control frames."""

    async def handle_in(self, data: str | bytes) -> None:
        self.ping(data if isinstance(data, bytes) else data.encode())

    async def handle_control(self, opcode: Literal["ping", "pong"], payload: bytes) -> str:
        return f"{opcode}: {payload.decode()}"


class PlainSocket(RawSocket):
    """Of plain functions, which run in threads."""

    def connect(self, params: Params, info: ConnectInfo) -> None:  # type: ignore[override] # so it is promised
        self.thread = threading.current_thread().name

    def handle_in(self, data: str | bytes) -> str:  # type: ignore[override]
        time.sleep(0.01)
        return f"{data!r} {'server' in (self.thread, threading.current_thread().name)}"


class StuckSocket(RawSocket):
    """Handles nothing until the gate opens."""

    gate: ClassVar[asyncio.Event]

    async def handle_in(self, data: str | bytes) -> str | bytes:
        await self.gate.wait()
        return data


def make_endpoint() -> Endpoint:
    StuckSocket.gate = asyncio.Event()
    endpoint = Endpoint(secret_key_base="x" * 64)
    endpoint.socket("/desk", DeskSocket, longpoll=True)
    endpoint.socket("/desk/:room", DeskSocket, websocket={"path": "/nested/:leaf"})
    endpoint.socket("/sub", DeskSocket, websocket={"subprotocols": ["one", "two"], "check_origin": ["//example.com"]})
    endpoint.socket("/control", ControlSocket)
    endpoint.socket("/plain", PlainSocket)
    endpoint.socket("/stuck", StuckSocket)
    return endpoint


@pytest.fixture(scope="module", params=[LEAN, PLAIN_ASGI])
def either(request: pytest.FixtureRequest) -> Iterator[Background]:
    with background(make_endpoint(), request.param) as served:
        yield served


@pytest.fixture(scope="module")
def endpoint() -> Endpoint:
    return make_endpoint()


@pytest.fixture(scope="module")
def lean(endpoint: Endpoint) -> Iterator[Background]:
    with background(endpoint, LEAN) as served:
        yield served


@pytest.fixture
def line(either: Background, request: pytest.FixtureRequest) -> Iterator[Wire]:
    with wire(either.port, f"{PATH}?name={quote(request.node.name)}") as connection:
        assert said(connection) == "welcome websocket"
        yield connection


@pytest.fixture
def reason(request: pytest.FixtureRequest) -> Callable[[], Any]:
    """Why the line of this test ended."""

    def ended() -> Any:
        until(lambda: any(name == request.node.name for name, _ in DeskSocket.ended))
        (found,) = [why for name, why in DeskSocket.ended if name == request.node.name]
        return found

    return ended


def said(line: Wire) -> str:
    frame = line.frame()
    assert frame.opcode == TEXT, frame
    return frame.payload.decode()


def closed(line: Wire, code: int) -> None:
    frame = line.frame()
    assert (frame.opcode, frame.code) == (CLOSE, code)
    line.send_frame(CLOSE, frame.payload)


# Answers and pushes.


def test_text_is_answered_with_text_and_bytes_with_bytes(line: Wire) -> None:
    line.send_frame(TEXT, "hello")
    assert said(line) == "hello"
    line.send_frame(BINARY, b"\x00\x01\xff")
    assert line.frame() == Frame(BINARY, b"\xff\x01\x00")


def test_a_handler_may_push_as_often_as_it_likes(line: Wire) -> None:
    line.send_frame(TEXT, "twice é")
    assert line.frame() == Frame(TEXT, "é".encode())
    assert line.frame() == Frame(BINARY, "é".encode())


def test_messages_to_oneself_come_to_handle_info_after_the_answer(line: Wire) -> None:
    line.send_frame(TEXT, "later on")
    assert said(line) == "first"
    assert said(line) == "info: on"


def test_pushes_may_come_from_any_thread(line: Wire, request: pytest.FixtureRequest) -> None:
    line.send_frame(TEXT, "thread a")
    assert said(line) == "from a thread: a"
    DeskSocket.open[request.node.name].push("from the test")
    assert said(line) == "from the test"
    DeskSocket.open[request.node.name].send_info("from the test")
    assert said(line) == "info: from the test"


def test_a_socket_may_listen_to_topics(endpoint: Endpoint, lean: Background) -> None:
    with wire(lean.port, f"{PATH}?name=listener") as line:
        assert said(line).startswith("welcome")
        line.send_frame(TEXT, "listen news")
        assert said(line) == "listening"
        endpoint.broadcast("news", "flash", {"n": 1})
        assert said(line) == 'news flash {"n": 1}'


def test_one_message_is_handled_at_a_time_and_in_order(line: Wire) -> None:
    line.send(b"".join(client_frame(TEXT, b"slowly %d" % number) for number in range(200)))
    assert [said(line) for _ in range(200)] == [str(number) for number in range(200)]


def test_plain_functions_run_in_threads(either: Background) -> None:
    with wire(either.port, "/plain/websocket") as line:
        line.send(client_frame(TEXT, b"a") + client_frame(BINARY, b"b"))
        assert [said(line), said(line)] == ["'a' False", "b'b' False"], "run in the loop's thread"


# Ends.


def test_stop_ends_with_1000_after_its_reply(line: Wire, reason: Callable[[], Any]) -> None:
    line.send(client_frame(TEXT, b"stop good bye") + client_frame(TEXT, b"never handled"))
    assert said(line) == "good bye"
    closed(line, 1000)
    assert reason() == "normal"


def test_stop_for_a_bad_reason_ends_with_1011(line: Wire, reason: Callable[[], Any]) -> None:
    line.send_frame(TEXT, "stop-badly x")
    assert said(line) == "last words"
    closed(line, 1011)
    assert reason() == ("error", "x")


@pytest.mark.parametrize(
    "order", ["raise boom", "number", "surrogate", "cancelled", "close 99", "close 1005", "close 5000"]
)
def test_a_handler_that_fails_ends_with_1011(
    line: Wire, reason: Callable[[], Any], order: str, caplog: pytest.LogCaptureFixture
) -> None:
    line.send_frame(TEXT, order)
    closed(line, 1011)
    kind, error = reason()
    assert kind == "error"
    assert isinstance(error, asyncio.CancelledError if order == "cancelled" else RuntimeError | LocalProtocolError)
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == [
        "DeskSocket crashed; its connection is closed"
    ]


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
def test_a_socket_may_close_with_a_code_of_its_own(line: Wire, reason: Callable[[], Any], code: int) -> None:
    line.send(client_frame(TEXT, b"close %d" % code) + client_frame(TEXT, b"never handled"))
    closed(line, code)
    assert reason() == ("shutdown", "disconnected" if code == 1001 else "closed")


def test_what_had_come_before_the_client_left_is_handled_before_terminate(lean: Background) -> None:
    with wire(lean.port, f"{PATH}?name=leaver") as line:
        assert said(line).startswith("welcome")
        socket = DeskSocket.open["leaver"]
        handled: list[str] = []
        obey = socket._obey

        async def noting(order: str, rest: str) -> Any:
            assert not any(name == "leaver" for name, _ in DeskSocket.ended)
            handled.append(rest)
            return await obey(order, rest)

        socket._obey = noting  # type: ignore[method-assign] # of this one socket
        line.send(b"".join(client_frame(TEXT, b"slowly %d" % number) for number in range(20)) + client_frame(CLOSE))
    until(lambda: any(name == "leaver" for name, _ in DeskSocket.ended))
    assert handled == [str(number) for number in range(20)]


# Control frames.


def test_pings_are_answered_and_pongs_ignored_without_handle_control(line: Wire) -> None:
    line.send_frame(PING, b"x")
    assert line.frame() == Frame(PONG, b"x")
    line.send_frame(PONG, b"y")
    line.send_frame(TEXT, "hello")
    assert said(line) == "hello"


def test_handle_control_gets_pings_and_pongs(lean: Background) -> None:
    with wire(lean.port, "/control/websocket") as line:
        line.send_frame(PING, b"are you there?")
        assert line.frame() == Frame(PONG, b"are you there?")
        assert said(line) == "ping: are you there?"
        line.send_frame(PONG, b"unasked")
        assert said(line) == "pong: unasked"
        line.send_frame(TEXT, "mark")
        assert line.frame() == Frame(PING, b"mark")
        line.send_frame(PONG, b"mark")
        assert said(line) == "pong: mark"


def test_a_socket_may_ping_where_the_transport_can(either: Background, line: Wire) -> None:
    line.send_frame(TEXT, "ping hello")
    # Departure under plain ASGI, which has no pings: `ping` says so.
    if isinstance(either.server.config.ws, str):
        assert said(line) == "False"
    else:
        assert line.frame() == Frame(PING, b"hello")
        assert said(line) == "True"


def test_a_ping_has_room_for_125_bytes(line: Wire) -> None:
    line.send_frame(TEXT, f"ping {'x' * 126}")
    closed(line, 1011)


# The way in.


def test_parameters_and_path_variables_reach_connect(either: Background) -> None:
    with wire(either.port, "/desk/kitchen/nested/oak?a[b]=1&room=hall&vsn=7") as line:
        assert said(line) == "welcome websocket"
        line.send_frame(TEXT, "params")
        assert json.loads(said(line)) == {"room": "kitchen", "leaf": "oak", "a": {"b": "1"}, "vsn": "7"}


@pytest.mark.parametrize(("refuse", "status"), [("error", 403), ("token", 403), ("push", 500)])
def test_connect_may_refuse(either: Background, refuse: str, status: int) -> None:
    with wire(either.port) as line:
        assert line.upgrade(f"{PATH}?refuse={refuse}").status == status


def test_a_plain_request_is_told_what_it_lacks(either: Background) -> None:
    with wire(either.port) as line:
        line.request("GET", PATH, {"Host": "localhost"})
        answer = line.answer()
        assert (answer.status, answer.body) == (400, b"'connection' header must contain 'upgrade', got []")


def test_origins_and_subprotocols_are_judged_as_for_sockets(either: Background) -> None:
    for headers, status, chosen in (
        ({"Origin": "https://evil.test"}, 403, None),
        ({"Origin": "https://example.com"}, 101, None),
        ({"Sec-WebSocket-Protocol": "two, one"}, 101, "one"),
        ({"Sec-WebSocket-Protocol": "three"}, 403, None),
    ):
        with wire(either.port) as line:
            answer = line.upgrade("/sub/websocket", headers)
            assert (answer.status, answer.headers.get("sec-websocket-protocol")) == (status, chosen)


def test_a_raw_socket_needs_a_handle_in_of_its_own() -> None:
    class Silent(RawSocket): ...

    with pytest.raises(ConfigurationError, match="Silent has no handle_in of its own"):
        Endpoint().socket("/silent", Silent)


def test_a_raw_socket_has_no_channels_to_log() -> None:
    with pytest.raises(ConfigurationError, match="unknown keys"):
        Endpoint().socket("/desk", DeskSocket, log_join=10)


def test_nothing_can_be_sent_before_there_is_a_connection() -> None:
    socket = DeskSocket(Endpoint(), "websocket")
    calls: list[Callable[[], object]] = [
        lambda: socket.push("x"),
        lambda: socket.ping(),
        lambda: socket.close(),
        lambda: socket.send_info("x"),
    ]
    for call in calls:
        with pytest.raises(LocalProtocolError, match="there is no connection yet"):
            call()


async def test_an_unexpected_info_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    await ControlSocket(Endpoint(), "websocket").handle_info("what?")
    assert "ControlSocket received unexpected message in handle_info: 'what?'" in caplog.text


# Back-pressure.


def test_a_client_that_sends_faster_than_it_is_handled_is_not_read_on(lean: Background, endpoint: Endpoint) -> None:
    lean.run(StuckSocket.gate.clear)
    paused = endpoint.statistics.readers_paused
    with wire(lean.port, "/stuck/websocket") as line:
        total = 3 * MAX_QUEUED
        line.send(client_frame(TEXT, b"x") * total)
        until(lambda: endpoint.statistics.readers_paused == paused + 1)
        lean.run(StuckSocket.gate.set)
        assert [said(line) for _ in range(total)] == ["x"] * total


def test_a_flooded_mailbox_ends_the_connection(
    lean: Background, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    overflows = endpoint.statistics.mailbox_overflows
    with wire(lean.port, f"{PATH}?name=flooded") as line:
        assert said(line).startswith("welcome")
        socket = DeskSocket.open["flooded"]

        def flood() -> None:
            for number in range(10_010):
                socket.send_info(number)

        lean.run(flood)
        while (frame := line.frame()).opcode == TEXT:
            pass
        assert (frame.opcode, frame.code) == (CLOSE, 1011)
    until(lambda: any(name == "flooded" for name, _ in DeskSocket.ended))
    assert ("flooded", ("error", "mailbox overflow")) in DeskSocket.ended
    assert endpoint.statistics.mailbox_overflows == overflows + 1
    assert "handles them more slowly than they come" in caplog.text


# Over long polling.


def test_a_raw_socket_over_long_polling(lean: Background) -> None:
    with httpx.Client(base_url=lean.url("", "http"), timeout=TIMEOUT) as client:
        token = client.get("/desk/longpoll?name=poller&a=1").json()["token"]

        def poll() -> list[str]:
            answer = client.get("/desk/longpoll", params={"token": token}).json()
            assert answer["status"] == 200
            return list(answer["messages"])

        def post(text: str) -> None:
            answer = client.post("/desk/longpoll", params={"token": token}, content=text)
            assert answer.json()["status"] == 200

        assert poll() == ["welcome longpoll"]
        post("hello")
        assert poll() == ["hello"]
        post("params")
        assert json.loads(poll()[0]) == {"name": "poller", "a": "1"}
        DeskSocket.open["poller"].send_info("x")
        assert poll() == ["info: x"]
        post("ping x")
        assert poll() == ["False"]
        post("stop good bye")
        until(lambda: ("poller", "normal") in DeskSocket.ended)
        assert client.get("/desk/longpoll", params={"token": token}).json()["status"] == 410
