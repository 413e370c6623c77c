"""Handshakes as they were recorded from Phoenix 1.8.12 on Bandit, over every way into a mount.

The recordings' mounts: /socket as by default; /origin for `//example.com` alone; /auth with `auth_token`; /errh with its own
`error_handler`. The parameter `refuse` chooses what `connect` does.
"""

import json
import logging
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from broadwing import Channel, ConnectError, Endpoint, RawSocket, Socket
from broadwing.transports import websocket_uvicorn
from broadwing.types import ConnectInfo, Params
from tests.support.background import LEAN, LEAN_BEHIND_H11, PLAIN_ASGI, TIMEOUT, Background, background
from tests.support.flood import Flood
from tests.support.wire import ACCEPT, TEXT, Frame, client_frame, upgrade_headers, wire

SOCKET = "/socket/websocket"
INFO = ("peer_data", "uri", "user_agent", "x_headers", "sec_websocket_headers", "trace_context_headers")
BEARER = "base64url.bearer.phx."


class RoomChannel(Channel):
    async def join(self, params: Any) -> None: ...


class UserSocket(Socket):
    channels = {"room:*": RoomChannel}  # noqa: RUF012 - typed as ClassVar in Socket

    async def connect(self, params: Params, info: ConnectInfo) -> None:
        match params.get("refuse"):
            case "error":
                raise ConnectError
            case "raise":
                raise RuntimeError("boom in connect")
            case str(reason):
                raise ConnectError(reason)


class TellingSocket(RawSocket):
    """Tells its client what `connect` was told."""

    async def connect(self, params: Params, info: ConnectInfo) -> None:
        self.told = {"params": params, "info": dict(info)}

    async def init(self) -> None:
        self.push(json.dumps(self.told))

    async def handle_in(self, data: str | bytes) -> str | bytes:
        return data


class GatedSocket(RawSocket):
    """Lets nobody in until the gate is open."""

    gate: threading.Event

    def connect(self, params: Params, info: ConnectInfo) -> None:  # type: ignore[override] # plain functions run in a thread
        assert self.gate.wait(5)

    async def handle_in(self, data: str | bytes) -> str | bytes:
        return data


def answers(reason: Any) -> Any:
    match reason:
        case "rate_limit":
            return 429, "Too many requests"
        case "with headers":
            return 503, b'{"retry":true}', {"Retry-After": "5", "Content-Type": "application/json"}
        case "raising":
            raise RuntimeError("boom in error_handler")
        case "splitting":
            return 403, "", {"X-Reason": "a\r\nset-cookie: b"}
        case "no answer":
            return "403"
    return 403, ""


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"hello from {request.url.path}")


async def parrot(websocket: WebSocket) -> None:
    await websocket.accept(subprotocol="parrot")
    async for text in websocket.iter_text():
        await websocket.send_text(text.upper())


async def refusing(websocket: WebSocket) -> None:
    await websocket.close()


def make_endpoint() -> Endpoint:
    app = Starlette(
        routes=[Route("/hello", hello), WebSocketRoute("/parrot", parrot), WebSocketRoute("/refusing", refusing)]
    )
    endpoint = Endpoint(app)
    endpoint.socket("/socket", UserSocket)
    endpoint.socket("/origin", UserSocket, websocket={"check_origin": ["//example.com"]})
    endpoint.socket("/auth", TellingSocket, auth_token=True)
    endpoint.socket("/errh", UserSocket, websocket={"error_handler": answers})
    endpoint.socket("/sub", UserSocket, websocket={"subprotocols": ["mqtt", "sip"]})
    endpoint.socket("/tell/:room/:_hidden", TellingSocket, websocket={"connect_info": INFO, "path": "/ws/:leaf"})
    endpoint.socket("/gated", GatedSocket)
    return endpoint


@pytest.fixture(scope="module", params=[LEAN, LEAN_BEHIND_H11, PLAIN_ASGI])
def served(request: pytest.FixtureRequest) -> Iterator[Background]:
    with background(make_endpoint(), request.param) as each:
        yield each


@pytest.fixture(scope="module")
def lean() -> Iterator[Background]:
    with background(make_endpoint(), LEAN) as each:
        yield each


def without(*names: str, **other: str) -> dict[str, str | list[str]]:
    kept = {name: value for name, value in upgrade_headers().items() if name not in names}
    return {**kept, **{name.replace("_", "-"): value for name, value in other.items()}}


# What is let in and what is not.


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        (f"{SOCKET}?vsn=2.0.0", {}, 101),
        (SOCKET, {}, 101),  # serves 1.0.0
        (f"{SOCKET}?vsn=2.0.9", {}, 101),  # "~> 2.0.0" allows it
        (f"{SOCKET}?vsn=2.1.0", {}, 403),
        (f"{SOCKET}?vsn=3.0.0", {}, 403),
        (f"{SOCKET}?vsn=123.1.1", {}, 403),
        (f"{SOCKET}?vsn=abc", {}, 403),
        (f"{SOCKET}?vsn=2", {}, 403),
        (f"{SOCKET}?vsn[a]=1", {}, 403),
        (f"{SOCKET}?vsn[]=2.0.0", {}, 403),
        (f"{SOCKET}/?vsn=2.0.0", {}, 101),
        (f"{SOCKET}?vsn=2.0.0&refuse=error", {}, 403),
        (f"{SOCKET}?vsn=2.0.0&refuse=reason", {}, 403),
        (f"{SOCKET}?vsn=2.0.0&refuse=raise", {}, 500),
        (f"{SOCKET}?vsn=2.0.0&a=%ff", {}, 400),
        ("/origin/websocket?vsn=2.0.0", {"Origin": "http://evil.test"}, 403),
        ("/origin/websocket?vsn=2.0.0", {"Origin": "https://example.com"}, 101),
        ("/origin/websocket?vsn=2.0.0", {}, 101),
        ("/sub/websocket?vsn=2.0.0", {"Sec-WebSocket-Protocol": "sip, mqtt"}, 101),
        ("/sub/websocket?vsn=2.0.0", {}, 101),
        ("/sub/websocket?vsn=2.0.0", {"Sec-WebSocket-Protocol": "wamp"}, 403),
        ("/socket/nosuch", {}, 403),  # the application's business: Starlette refuses what it has no route for
        ("/errh/websocket?refuse=rate_limit", {}, 429),
        ("/errh/websocket?refuse=with%20headers", {}, 503),
        ("/errh/websocket?refuse=raising", {}, 500),
        ("/errh/websocket?refuse=no%20answer", {}, 500),
        ("/errh/websocket", {}, 101),
    ],
)
def test_a_handshake_is_answered_as_recorded(
    served: Background, target: str, headers: Mapping[str, str], status: int
) -> None:
    with wire(served.port) as line:
        answer = line.upgrade(target, headers)
        assert answer.status == status
        if status == 101:
            assert answer.headers["sec-websocket-accept"] == ACCEPT
            assert answer.headers["upgrade"].lower() == "websocket"
            assert answer.headers["connection"].lower() == "upgrade"
        elif status == 403:
            assert answer.body == b""


def test_the_error_handler_chooses_body_and_headers(served: Background) -> None:
    with wire(served.port) as line:
        answer = line.upgrade("/errh/websocket?refuse=rate_limit")
        assert (answer.status, answer.body) == (429, b"Too many requests")
    with wire(served.port) as line:
        answer = line.upgrade("/errh/websocket?refuse=with%20headers")
        assert (answer.status, answer.body) == (503, b'{"retry":true}')
        assert answer.headers["retry-after"] == "5"
        assert answer.headers["content-type"] == "application/json"


def test_an_answer_that_would_be_two_is_not_sent(lean: Background) -> None:
    # Response splitting (CWE-113).
    with wire(lean.port) as line:
        answer = line.upgrade("/errh/websocket?refuse=splitting")
        assert answer.status == 500
        assert "set-cookie" not in answer.headers


# Requests that do not ask for a WebSocket, or not properly.


@pytest.mark.parametrize(
    ("method", "target", "status", "body"),
    [
        ("GET", f"{SOCKET}?vsn=2.0.0", 400, b"'connection' header must contain 'upgrade', got []"),
        ("POST", f"{SOCKET}?vsn=2.0.0", 400, b""),
        ("GET", "/socket", 404, b"Not Found"),
        ("GET", "/socket/nosuch", 404, b"Not Found"),
        ("GET", f"{SOCKET}?vsn=2.0.0&a=%ff", 400, None),
        ("GET", "/hello", 200, b"hello from /hello"),
    ],
)
def test_a_plain_request_is_answered_as_recorded(
    served: Background, method: str, target: str, status: int, body: bytes | None
) -> None:
    with wire(served.port) as line:
        line.request(method, target, {"Host": "localhost", "Content-Length": "0"})
        answer = line.answer()
        assert answer.status == status
        assert body is None or answer.body == body


def test_a_head_request_is_answered_with_400(served: Background) -> None:
    with wire(served.port) as line:
        line.request("HEAD", f"{SOCKET}?vsn=2.0.0", {"Host": "localhost"})
        assert line._read(12) == b"HTTP/1.1 400"


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (without("Sec-WebSocket-Key"), b"'sec-websocket-key' header is absent"),
        (without(Sec_WebSocket_Version="8"), b"'sec-websocket-version' header must equal '13', got [\"8\"]"),
        (without(Sec_WebSocket_Key="tooshort"), b"'sec-websocket-key' header must be 16 bytes in base64, got [\"tooshort\"]"),
    ],
)  # fmt: skip
def test_an_improper_upgrade_is_refused_with_what_is_wrong(
    lean: Background, headers: dict[str, str | list[str]], body: bytes
) -> None:
    with wire(lean.port) as line:
        line.request("GET", f"{SOCKET}?vsn=2.0.0", headers)
        answer = line.answer()
        assert (answer.status, answer.body) == (400, body)
        # RFC 6455 section 4.4.
        assert answer.headers["sec-websocket-version"] == "13"


@pytest.mark.parametrize("headers", [without("Sec-WebSocket-Key"), without(Sec_WebSocket_Version="8")])
def test_an_improper_upgrade_is_refused_by_every_server(
    served: Background, headers: dict[str, str | list[str]]
) -> None:
    with wire(served.port) as line:
        line.request("GET", f"{SOCKET}?vsn=2.0.0", headers)
        assert line.answer().status in (400, 426)


def test_an_upgrade_to_something_else_is_no_websocket(served: Background) -> None:
    with wire(served.port) as line:
        line.request("GET", SOCKET, {"Host": "localhost", "Connection": "Upgrade", "Upgrade": "h2c"})
        answer = line.answer()
        assert (answer.status, answer.body) == (400, b"'upgrade' header must contain 'websocket', got [\"h2c\"]")


def test_an_upgrade_by_post_is_refused(lean: Background) -> None:
    with wire(lean.port) as line:
        line.request("POST", SOCKET, {**upgrade_headers(), "Content-Length": "0"})
        answer = line.answer()
        assert (answer.status, answer.body) == (400, b"")


@pytest.mark.parametrize("value", ["keep-alive, Upgrade", "upgrade", "UPGRADE"])
def test_the_connection_header_is_a_list_without_regard_to_case(served: Background, value: str) -> None:
    with wire(served.port) as line:
        line.request("GET", SOCKET, without(Connection=value, Upgrade="WebSocket"))
        assert line.answer().status == 101


def test_a_request_may_come_byte_by_byte(lean: Background) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in upgrade_headers().items())
    with wire(lean.port) as line:
        for octet in f"GET {SOCKET} HTTP/1.1\r\n{head}\r\n".encode():
            line.send(bytes((octet,)))
        assert line.answer().status == 101
        line.send_frame(TEXT, '{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"}')
        assert line.frame().opcode == TEXT


def test_a_websocket_may_follow_ordinary_requests_on_one_connection(served: Background) -> None:
    with wire(served.port) as line:
        for _ in range(2):
            line.request("GET", "/hello", {"Host": "localhost"})
            assert line.answer().body == b"hello from /hello"
        assert line.upgrade(f"{SOCKET}?vsn=2.0.0").status == 101
        line.heartbeat()


def test_an_upgrade_behind_an_unanswered_request_does_not_mix_the_answers(lean: Background) -> None:
    with wire(lean.port) as line:
        head = "".join(f"{name}: {value}\r\n" for name, value in upgrade_headers().items())
        pipelined = f"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\nGET {SOCKET} HTTP/1.1\r\n{head}\r\n"
        line.send(pipelined.encode())
        assert line.answer().status == 400


# auth_token, as Phoenix's `lib/phoenix/transports/websocket.ex` has it. Departure: a token that cannot be decoded is the client's fault, 400 and not 500.


@pytest.mark.parametrize(
    ("offered", "status", "chosen", "token"),
    [
        (f"phoenix, {BEARER}czNjcmV0", 101, "phoenix", "s3cret"),
        (f"{BEARER}czNjcmV0, phoenix", 101, "phoenix", "s3cret"),
        (f"{BEARER}czNjcmV0", 101, None, "s3cret"),
        ("phoenix", 101, "phoenix", None),
        (None, 101, None, None),
        ("chat", 403, None, None),
        (f"phoenix, {BEARER}!!!", 400, None, None),
        (f"phoenix, {BEARER}-_-_", 400, None, None),
        (f"phoenix, {BEARER}czNjcmV0, {BEARER}czNjcmV0", 101, "phoenix", None),
    ],
)
def test_a_token_comes_as_a_subprotocol(
    served: Background, offered: str | None, status: int, chosen: str | None, token: str | None
) -> None:
    with wire(served.port) as line:
        answer = line.upgrade("/auth/websocket", {} if offered is None else {"Sec-WebSocket-Protocol": offered})
        assert (answer.status, answer.headers.get("sec-websocket-protocol")) == (status, chosen)
        if status == 101:
            assert json.loads(line.frame().payload)["info"] == {"auth_token": token}


def test_subprotocols_are_ignored_where_nothing_is_configured(served: Background) -> None:
    with wire(served.port) as line:
        answer = line.upgrade(SOCKET, {"Sec-WebSocket-Protocol": f"phoenix, {BEARER}czNjcmV0"})
        assert (answer.status, answer.headers.get("sec-websocket-protocol")) == (101, None)


@pytest.mark.parametrize(("offered", "chosen"), [("sip, mqtt", "mqtt"), ("wamp,sip", "sip"), ("sip", "sip")])
def test_the_servers_order_of_subprotocols_decides(served: Background, offered: str, chosen: str) -> None:
    with wire(served.port) as line:
        answer = line.upgrade("/sub/websocket", {"Sec-WebSocket-Protocol": offered})
        assert (answer.status, answer.headers.get("sec-websocket-protocol")) == (101, chosen)


def test_a_refused_subprotocol_is_logged_without_the_token(
    served: Background, caplog: pytest.LogCaptureFixture
) -> None:
    with wire(served.port) as line:
        offered = f"chat, {BEARER}czNjcmV0"
        assert line.upgrade("/auth/websocket", {"Sec-WebSocket-Protocol": offered}).status == 403
    (record,) = [record for record in caplog.records if record.name == "broadwing.transport"]
    assert record.levelno == logging.ERROR
    assert "chat" in record.getMessage()
    assert "czNjcmV0" not in record.getMessage()


# What connect is told.


def test_path_variables_are_parameters_and_win_over_the_query(served: Background) -> None:
    with wire(served.port, "/tell/lobby/x/ws/oak?room=kitchen&a[b]=1&vsn=9") as line:
        told = json.loads(line.frame().payload)
    assert told["params"] == {"room": "lobby", "leaf": "oak", "a": {"b": "1"}, "vsn": "9"}


def test_percent_escapes_in_the_path_are_decoded(served: Background) -> None:
    with wire(served.port, "/tell/caf%C3%A9/x/ws/a%20b") as line:
        assert json.loads(line.frame().payload)["params"] == {"room": "café", "leaf": "a b"}


def test_connect_is_told_what_the_mount_asks_for(served: Background) -> None:
    headers = {
        "User-Agent": "test",
        "X-One": "1",
        "X-Two": "2",
        "Traceparent": "00-abc-def-01",
        "Host": "chat.example:8080",
    }
    with wire(served.port, "/tell/lobby/x/ws/oak?vsn=2.0.0", headers=headers) as line:
        info = json.loads(line.frame().payload)["info"]
        peer = line.line.getsockname()
    assert info["peer_data"] == {"address": peer[0], "port": peer[1], "ssl_cert": None}
    assert info["uri"] == {
        "scheme": "http",
        "host": "chat.example",
        "port": 8080,
        "path": "/tell/lobby/x/ws/oak",
        "query": "vsn=2.0.0",
    }
    assert info["user_agent"] == "test"
    assert info["x_headers"] == [["x-one", "1"], ["x-two", "2"]]
    assert info["trace_context_headers"] == [["traceparent", "00-abc-def-01"]]
    assert ["sec-websocket-version", "13"] in info["sec_websocket_headers"]


@pytest.mark.parametrize("kind", [LEAN, LEAN_BEHIND_H11, PLAIN_ASGI])
@pytest.mark.parametrize("trusted", [True, False])
def test_forwarded_headers_count_when_they_come_from_a_trusted_proxy(kind: str, trusted: bool) -> None:
    headers = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
    allowed = "127.0.0.1" if trusted else "192.0.2.1"
    with (
        background(make_endpoint(), kind, forwarded_allow_ips=allowed) as served,
        wire(served.port, "/tell/lobby/x/ws/oak", headers=headers) as line,
    ):
        info = json.loads(line.frame().payload)["info"]
    assert info["peer_data"]["address"] == ("203.0.113.7" if trusted else "127.0.0.1")
    assert info["uri"]["scheme"] == ("https" if trusted else "http")


def test_forwarded_headers_mean_nothing_when_they_are_switched_off() -> None:
    headers = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
    with (
        background(make_endpoint(), proxy_headers=False) as served,
        wire(served.port, "/tell/lobby/x/ws/oak", headers=headers) as line,
    ):
        info = json.loads(line.frame().payload)["info"]
    assert (info["peer_data"]["address"], info["uri"]["scheme"]) == ("127.0.0.1", "http")


# Paths that are not ours go to uvicorn's own implementation, and through it to the application.


def test_the_applications_own_websockets_keep_working(served: Background) -> None:
    with connect(served.url("/parrot"), subprotocols=["parrot"]) as client:  # type: ignore[list-item] # a NewType
        assert client.subprotocol == "parrot"
        for text in ("hello", "x" * 100_000, "é"):
            client.send(text)
            assert client.recv(timeout=TIMEOUT) == text.upper()
        client.close(3_000)
        with pytest.raises(ConnectionClosed):
            client.recv()


def test_the_application_may_refuse_its_own_websockets(served: Background) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(served.url("/refusing"))
    assert refused.value.response.status_code == 403


def test_uvicorns_settings_count_for_the_applications_own_websockets() -> None:
    with background(make_endpoint(), ws_max_size=1_000) as served:
        with connect(served.url("/parrot"), subprotocols=["parrot"]) as client:  # type: ignore[list-item] # a NewType
            client.send("x" * 1_001)
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(timeout=TIMEOUT)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        # Ours are not concerned.
        with wire(served.port, "/tell/lobby/x/ws/oak") as line:
            line.frame()
            line.send_frame(TEXT, "x" * 2_000)
            assert line.frame() == Frame(TEXT, b"x" * 2_000)


def test_the_first_message_may_follow_the_applications_answer_at_once(served: Background) -> None:
    # The transport changes hands between the two implementations; nothing may fall between them.
    for _ in range(20):
        with wire(served.port) as line:
            assert line.upgrade("/parrot").status == 101
            line.send(client_frame(TEXT, b"a") + client_frame(TEXT, b"b"))
            assert [line.frame(), line.frame()] == [Frame(TEXT, b"A"), Frame(TEXT, b"B")]


def test_without_an_application_there_is_nobody_at_other_paths() -> None:
    endpoint = Endpoint()
    endpoint.socket("/socket", UserSocket)
    with background(endpoint) as served, wire(served.port) as line:
        assert line.upgrade("/elsewhere").status == 403


def test_without_another_implementation_other_paths_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_uvicorn, "_fallback", lambda: None)
    with background(make_endpoint()) as served:
        with wire(served.port) as line:
            assert line.upgrade("/parrot").status == 501
        with wire(served.port, f"{SOCKET}?vsn=2.0.0") as line:
            line.heartbeat()


# Clients that do not wait.


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    GatedSocket.gate = threading.Event()
    yield GatedSocket.gate
    GatedSocket.gate.set()


def test_what_a_client_sends_before_it_is_answered_is_kept(lean: Background, gate: threading.Event) -> None:
    with wire(lean.port) as line:
        line.request("GET", "/gated/websocket", upgrade_headers())
        with wire(lean.port, f"{SOCKET}?vsn=2.0.0") as other:
            other.heartbeat()  # by now the first request has been read
        line.send_frame(TEXT, "early")
        line.send_frame(TEXT, "bird")
        gate.set()
        assert line.answer().status == 101
        assert [line.frame(), line.frame()] == [Frame(TEXT, b"early"), Frame(TEXT, b"bird")]


def test_a_client_that_floods_a_handshake_is_cut_off(lean: Background, gate: threading.Event) -> None:
    with wire(lean.port) as line:
        line.request("GET", "/gated/websocket", upgrade_headers())
        with wire(lean.port, f"{SOCKET}?vsn=2.0.0") as other:
            other.heartbeat()
            Flood(line, bytes(1_000)).until_cut_off()
            other.heartbeat()


def test_a_client_that_leaves_during_its_handshake_leaves_nothing(lean: Background, gate: threading.Event) -> None:
    with wire(lean.port) as line:
        line.request("GET", "/gated/websocket", upgrade_headers())
        with wire(lean.port, f"{SOCKET}?vsn=2.0.0") as other:
            other.heartbeat()
    gate.set()
    with wire(lean.port, f"{SOCKET}?vsn=2.0.0") as other:
        other.heartbeat()


def test_an_address_that_is_too_long_is_answered_with_414(lean: Background) -> None:
    # Phoenix on Bandit draws the line at 10,000 bytes of request line; here it is 128 KiB for the whole head.
    with wire(lean.port) as line:
        line.send(f"GET {SOCKET}?a={'x' * 200_000} HTTP/1.1\r\n".encode())
        assert line.answer().status == 414


def test_headers_without_end_are_answered_with_431(lean: Background) -> None:
    with wire(lean.port) as line:
        line.send(f"GET {SOCKET} HTTP/1.1\r\nHost: localhost\r\n".encode())
        Flood(line, b"".join(b"X-%d: %b\r\n" % (number, b"x" * 100) for number in range(1_000))).until_cut_off()
    with wire(lean.port) as line:
        line.send(f"GET {SOCKET} HTTP/1.1\r\nHost: localhost\r\nX-Long: {'x' * 131_072}".encode())
        assert line.answer().status == 431


def test_blank_lines_without_end_are_refused(lean: Background) -> None:
    with wire(lean.port) as line:
        line.send(b"\r\n" * 70_000)
        assert line.answer().status == 431
