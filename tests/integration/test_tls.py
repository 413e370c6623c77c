"""The lean path over TLS, on uvloop and on asyncio's own loop: the same behaviour, whose transports differ in every detail."""

import asyncio
import json
import logging
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvloop
from websockets.asyncio.client import connect

from broadwing import Endpoint, RawSocket
from broadwing.transports import websocket
from broadwing.types import ConnectInfo, Params
from tests.support.background import LEAN, PLAIN_ASGI, Background, background, until
from tests.support.certificates import Certificates, make_certificates
from tests.support.echo import EchoSocket
from tests.support.hostile import ROOM, HostSocket
from tests.support.wire import BINARY, CLOSE, EOF, PING, PONG, TEXT, Frame, wire

ECHO, TELL = "/raw/websocket", "/tell/websocket"
LIMIT = 1_048_576


class TellingSocket(RawSocket):
    """Tells its client about its certificate."""

    async def connect(self, params: Params, info: ConnectInfo) -> None:
        certificate = info["peer_data"]["ssl_cert"]
        self.told = {"scheme": info["uri"]["scheme"], "cert": certificate.hex() if certificate else None}

    async def init(self) -> None:
        self.push(json.dumps(self.told))

    async def handle_in(self, data: str | bytes) -> None: ...


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def trusting(certificates: Certificates) -> ssl.SSLContext:
    return certificates.trusting()


@pytest.fixture(scope="module")
def endpoint() -> Endpoint:
    endpoint = Endpoint(check_origin=False)
    endpoint.socket("/socket", HostSocket)
    endpoint.socket("/short", HostSocket, websocket={"timeout": 0.4})
    endpoint.socket("/brisk", HostSocket, websocket={"timeout": 2.0})
    endpoint.socket("/raw", EchoSocket)
    endpoint.socket("/tell", TellingSocket, websocket={"connect_info": ["peer_data", "uri"]})
    return endpoint


@pytest.fixture(scope="module", params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def served(request: pytest.FixtureRequest, endpoint: Endpoint, certificates: Certificates) -> Iterator[Background]:
    new_loop: Callable[[], asyncio.AbstractEventLoop] = request.param
    with background(endpoint, new_loop=new_loop, ssl_certfile=str(certificates.server)) as each:
        yield each


def test_a_story(served: Background, trusting: ssl.SSLContext) -> None:
    with wire(served.port, ROOM, tls=trusting) as one, wire(served.port, ROOM, tls=trusting) as other:
        one.join("room:a")
        other.join("room:a")
        one.heartbeat()
        one.send_message("1", "2", "room:a", "shout", {"hello": "there"})
        for line in (one, other):
            assert line.message() == [None, None, "room:a", "shout", {"hello": "there"}]
        one.send_message("1", "3", "room:a", "echo", {"n": 1})
        assert one.message() == ["1", "3", "room:a", "phx_reply", {"response": {"n": 1}, "status": "ok"}]
        one.send_message("1", "4", "room:a", "phx_leave", {})
        assert [one.message()[3], one.message()[3]] == ["phx_reply", "phx_close"]
        one.send_frame(PING, b"x")
        assert one.frame() == Frame(PONG, b"x")


async def test_messages_of_any_size_come_back_through_websockets(
    served: Background, trusting: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "CLOSE_TIMEOUT", 600.0)  # a close that waited for it would fail
    # Its client for asyncio: the one for threads reads and writes one TLS connection from two threads, which OpenSSL
    # does not allow.
    async with connect(served.url(ECHO), ssl=trusting, server_hostname="localhost", max_size=None) as client:
        for size in (0, 1, 125, 126, 16_383, 16_384, 16_385, 70_000, 5_000_000):
            await client.send("x" * size)
            assert await client.recv() == "x" * size
        await client.close()
        assert client.protocol.close_rcvd is not None
        assert client.protocol.close_rcvd.code == 1000


@pytest.mark.parametrize(("opcode", "payload", "code"), [(3, b"", 1002), (TEXT, b"\xff", 1007), (CLOSE, b"\x00", 1002)])
def test_a_broken_rule_is_answered_and_ends_the_connection(
    served: Background,
    trusting: ssl.SSLContext,
    opcode: int,
    payload: bytes,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websocket, "CLOSE_TIMEOUT", 600.0)  # a close that waited for it would fail
    with wire(served.port, ECHO, tls=trusting) as line:
        line.send_frame(opcode, payload)
        assert line.close_code() == code


def test_a_silent_client_is_closed(served: Background, trusting: ssl.SSLContext) -> None:
    with wire(served.port, "/short/websocket?vsn=2.0.0", tls=trusting) as line:
        line.join("room:a")
        assert line.close_code() == 1002


def test_a_refused_handshake_is_answered(served: Background, trusting: ssl.SSLContext) -> None:
    with wire(served.port, tls=trusting) as line:
        assert line.upgrade("/socket/websocket?vsn=9.9.9").status == 403
        assert line.frame() == EOF


def test_clients_that_vanish_leave_nothing(
    served: Background, trusting: ssl.SSLContext, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    entrance = endpoint.websocket_entrance("/socket/websocket")
    assert entrance is not None
    with wire(served.port, ROOM, tls=trusting) as staying:
        staying.join("room:gone")
        for _ in range(30):
            with wire(served.port, ROOM, tls=trusting) as line:
                line.join("room:gone")
                line.send(b"\x81\xfe")
        for number in range(20):
            endpoint.broadcast("room:gone", "shout", {"n": number})
        assert [staying.message()[4]["n"] for _ in range(20)] == list(range(20))
        until(lambda: len(entrance[0].sweeper.members) == 1)
    # asyncio itself warns of writes to lines that are going; that is all it may say.
    assert [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR] == []


def test_a_reader_that_stalls_is_closed_with_4001(
    served: Background, trusting: ssl.SSLContext, endpoint: Endpoint
) -> None:
    slow = endpoint.statistics.slow_readers
    sent = 0
    with (
        wire(served.port, ROOM, tls=trusting, receive_buffer=4_096) as line,
        wire(served.port, ROOM, tls=trusting) as neighbour,
    ):
        line.join("room:slow")
        neighbour.join("room:slow")
        while endpoint.statistics.slow_readers == slow:
            endpoint.broadcast("room:slow", "shout", {"n": sent, "pad": "x" * 60_000})
            assert neighbour.message()[4]["n"] == sent
            sent += 1
            assert sent * 60_000 < 20 * LIMIT
        heard = []
        while (frame := line.frame()).opcode == TEXT:
            heard.append(json.loads(frame.payload)[4]["n"])
        assert heard == list(range(len(heard)))
        assert (frame.opcode, frame.code) == (CLOSE, 4001)
        neighbour.heartbeat()


def test_a_reader_that_stalls_for_good_is_let_go_of(
    served: Background, trusting: ssl.SSLContext, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "CLOSE_TIMEOUT", 0.2)
    entrance = endpoint.websocket_entrance("/brisk/websocket")
    assert entrance is not None
    slow = endpoint.statistics.slow_readers
    with wire(served.port, "/brisk/websocket?vsn=2.0.0", tls=trusting, receive_buffer=4_096) as line:
        line.join("room:slow")
        while endpoint.statistics.slow_readers == slow:
            served.run(lambda: endpoint.broadcast("room:slow", "shout", {"pad": "x" * 60_000}))
        until(lambda: not entrance[0].sweeper.members)


def test_messages_larger_than_the_limit_reach_a_reader_even_in_a_row(
    served: Background, trusting: ssl.SSLContext, endpoint: Endpoint
) -> None:
    # Behind the first, which the kernel has not taken yet, TLS adds to the second what its records need.
    slow = endpoint.statistics.slow_readers
    with wire(served.port, ROOM, tls=trusting, receive_buffer=4_096) as line:
        line.join("room:large")

        def both() -> None:
            for _ in range(2):
                endpoint.broadcast("room:large", "shout", {"pad": "x" * 1_500_000})

        served.run(both)
        assert [len(line.message()[4]["pad"]) for _ in range(2)] == [1_500_000] * 2
        line.heartbeat()
    assert endpoint.statistics.slow_readers == slow


def test_a_drain_reaches_clients_over_tls(certificates: Certificates, trusting: ssl.SSLContext) -> None:
    for new_loop in (uvloop.new_event_loop, asyncio.new_event_loop):
        endpoint = Endpoint(check_origin=False)
        endpoint.socket("/socket", HostSocket)
        with background(endpoint, new_loop=new_loop, ssl_certfile=str(certificates.server)) as each:
            with wire(each.port, ROOM, tls=trusting) as line:
                line.join("room:a")
                each.server.should_exit = True
                closing = line.frame()
                assert (closing.opcode, closing.code) == (CLOSE, 1012)
                line.send_frame(CLOSE, closing.payload)
                assert line.frame() == EOF
            each.stop()
            assert each.tasks_left == []


@pytest.mark.parametrize("presented", [True, False])
def test_connect_is_told_the_clients_certificate(
    certificates: Certificates, endpoint: Endpoint, presented: bool
) -> None:
    settings: dict[str, Any] = {
        "ssl_certfile": str(certificates.server),
        "ssl_ca_certs": str(certificates.authority),
        "ssl_cert_reqs": ssl.CERT_OPTIONAL,
    }
    context = certificates.trusting(with_client=presented)
    with background(endpoint, LEAN, **settings) as each, wire(each.port, TELL, tls=context) as line:
        told = json.loads(line.frame().payload)
    assert told == {"scheme": "https", "cert": certificates.client_der.hex() if presented else None}


def test_under_plain_asgi_there_is_no_certificate_to_tell_of(
    certificates: Certificates, endpoint: Endpoint, trusting: ssl.SSLContext
) -> None:
    with (
        background(endpoint, PLAIN_ASGI, ssl_certfile=str(certificates.server)) as each,
        wire(each.port, TELL, tls=trusting) as line,
    ):
        assert json.loads(line.frame().payload) == {"scheme": "https", "cert": None}


def test_a_client_that_speaks_no_tls_harms_nobody(served: Background, trusting: ssl.SSLContext) -> None:
    with wire(served.port, ECHO, tls=trusting) as line:
        with wire(served.port) as plain:
            plain.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert plain.line.recv(1_024) != b"HTTP"
        line.send_frame(BINARY, b"x")
        assert line.frame() == Frame(BINARY, b"x")
