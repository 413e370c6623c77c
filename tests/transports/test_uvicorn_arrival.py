"""The first bytes of a connection decide whether it is a line from then on or uvicorn's HTTP protocol."""

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from broadwing import Endpoint
from broadwing.transports.uvicorn_arrival import Arrival
from broadwing.transports.uvicorn_http import HttpProtocol
from tests.support.background import Background, background, until
from tests.support.hostile import ROOM, HostSocket
from tests.support.wire import CLOSE, EOF, TEXT, client_frame, upgrade_headers, wire


async def _says_hello(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": scope["path"]})
        await receive()
    else:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture(scope="module")
def served() -> Iterator[Background]:
    endpoint = Endpoint(_says_hello, check_origin=False)
    endpoint.socket("/socket", HostSocket)
    endpoint.socket("/rooms/:room", HostSocket)
    with background(endpoint, lifespan="off") as server:
        yield server


def connections(served: Background) -> list[type]:
    return [type(each) for each in served.server.server_state.connections if isinstance(each, Arrival | HttpProtocol)]


def test_a_client_that_upgrades_leaves_uvicorns_books(served: Background) -> None:
    with wire(served.port, ROOM) as line:
        line.heartbeat()
        assert connections(served) == []


def test_frames_in_the_segment_of_the_request_are_taken(served: Background) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in upgrade_headers().items())
    with wire(served.port) as line:
        early = client_frame(TEXT, b'[null,"h","phoenix","heartbeat",{}]')
        line.send(f"GET {ROOM} HTTP/1.1\r\n{lines}\r\n".encode() + early)
        assert line.answer().status == 101
        assert line.message()[1] == "h"


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_request_in_pieces_is_served_all_the_same(served: Background, size: int) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in upgrade_headers().items())
    whole = f"GET {ROOM} HTTP/1.1\r\n{lines}\r\n".encode()
    with wire(served.port) as line:
        line.line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(whole), size):
            line.send(whole[at : at + size])
        assert line.answer().status == 101
        line.heartbeat()


def test_a_path_may_be_escaped(served: Background) -> None:
    with wire(served.port) as line:
        assert line.upgrade("/rooms/a%20b/websocket?vsn=2.0.0").status == 101
        line.heartbeat()


def test_plain_http_is_uvicorns_with_keep_alive_and_may_upgrade_later(served: Background) -> None:
    with wire(served.port) as line:
        for _ in range(2):
            line.request("GET", "/", {"Host": "localhost"})
            assert line.answer().body == b"hello"
        assert connections(served) == [HttpProtocol]
        assert line.upgrade(ROOM).status == 101
        line.heartbeat()
        assert connections(served) == []


def test_an_upgrade_for_a_route_of_the_application_is_uvicorns(served: Background) -> None:
    with wire(served.port) as line:
        assert line.upgrade("/elsewhere").status == 101
        assert line.frame().payload == b"/elsewhere"


def test_who_comes_and_goes_without_a_word_leaves_nothing(served: Background) -> None:
    with wire(served.port):
        until(lambda: connections(served) == [Arrival])
    until(lambda: connections(served) == [])


def test_who_has_not_said_a_word_is_closed_when_the_server_stops() -> None:
    endpoint = Endpoint(check_origin=False)
    endpoint.socket("/socket", HostSocket)
    with background(endpoint) as server, wire(server.port) as line:
        until(lambda: connections(server) == [Arrival])
        server.stop()
        assert line.frame() == EOF


def test_connect_is_told_the_address_of_the_client_when_it_wants_to_know() -> None:
    asked: list[Any] = []

    class Curious(HostSocket):
        async def connect(self, params: Any, info: Any) -> None:
            asked.append(info["peer_data"]["address"])

    endpoint = Endpoint(check_origin=False)
    endpoint.socket("/curious", Curious, websocket={"connect_info": ["peer_data"]})
    with background(endpoint) as server, wire(server.port, "/curious/websocket?vsn=2.0.0") as line:
        line.heartbeat()
    assert asked == ["127.0.0.1"]


def test_it_works_on_the_loop_of_the_standard_library() -> None:
    endpoint = Endpoint(check_origin=False)
    endpoint.socket("/socket", HostSocket)
    with background(endpoint, new_loop=asyncio.new_event_loop) as server, wire(server.port, ROOM) as line:
        line.heartbeat()
        line.send_frame(CLOSE, b"\x03\xe8")
        assert line.close_code() == 1000
