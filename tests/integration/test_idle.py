"""Idle timeouts: only what the client sends counts, and no timer is kept per connection.

As recorded from Phoenix on Bandit: 1002, and the end of the stream. The exactness is a tenth of the timeout.
"""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from broadwing import Endpoint
from broadwing.transports import websocket
from tests.support.background import LEAN, PLAIN_ASGI, Background, background, until
from tests.support.hostile import HostSocket
from tests.support.wire import CLOSE, EOF, PING, PONG, TEXT, Frame, Wire, client_frame, upgrade_headers, wire

TIMEOUT = 0.25
IDLE = 1002
ROOM, LONG = "/socket/websocket?vsn=2.0.0", "/long/websocket?vsn=2.0.0"


def make_endpoint() -> Endpoint:
    endpoint = Endpoint(check_origin=False)
    endpoint.socket("/socket", HostSocket, websocket={"timeout": TIMEOUT})
    endpoint.socket("/long", HostSocket)
    return endpoint


@pytest.fixture(scope="module")
def endpoint() -> Endpoint:
    return make_endpoint()


@pytest.fixture(scope="module")
def lean(endpoint: Endpoint) -> Iterator[Background]:
    with background(endpoint) as served:
        yield served


@pytest.fixture(scope="module", params=[LEAN, PLAIN_ASGI])
def either(request: pytest.FixtureRequest) -> Iterator[Background]:
    with background(make_endpoint(), request.param) as served:
        yield served


def closed_after(line: Wire) -> float:
    """Seconds until the server closes."""
    started = time.monotonic()
    frame = line.frame()
    while frame.opcode == TEXT:
        frame = line.frame()
    assert (frame.opcode, frame.code) == (CLOSE, IDLE)
    return time.monotonic() - started


def test_a_silent_client_is_closed_with_1002(either: Background) -> None:
    with wire(either.port, ROOM) as line:
        line.join("room:a")
        assert TIMEOUT * 0.7 < closed_after(line) < TIMEOUT * 1.5 + 0.2


def test_the_end_of_the_stream_follows_at_once(lean: Background) -> None:
    with wire(lean.port, ROOM) as line:
        assert line.close_code() == IDLE


def test_a_client_silent_from_its_handshake_on_is_closed(lean: Background) -> None:
    with wire(lean.port, ROOM) as line:
        assert TIMEOUT * 0.7 < closed_after(line) < TIMEOUT * 1.5 + 0.2


def test_one_heartbeat_is_answered_and_buys_one_timeout(either: Background) -> None:
    with wire(either.port, ROOM) as line:
        time.sleep(TIMEOUT * 0.6)
        line.heartbeat()
        assert TIMEOUT * 0.7 < closed_after(line) < TIMEOUT * 1.5 + 0.2


@pytest.mark.parametrize(
    "traffic",
    [
        client_frame(TEXT, b'[null,"h","phoenix","heartbeat",{}]'),
        client_frame(PING, b"x"),
        client_frame(PONG, b"x"),
        b"\x82\xff" + (9_000_000).to_bytes(8) + bytes(4),  # a large frame that has only begun
    ],
    ids=["messages", "pings", "pongs", "bytes of a frame"],
)
def test_any_bytes_of_the_client_count(lean: Background, traffic: bytes) -> None:
    # Departure under plain ASGI: the server keeps pings and pongs to itself, so only messages count there.
    with wire(lean.port, ROOM) as line:
        started = last = time.monotonic()
        while last - started < TIMEOUT * 1.2:
            line.send(traffic if last == started or traffic[1] != 0xFF else bytes(100))
            time.sleep(TIMEOUT / 3)
            last = time.monotonic()
        line.send(bytes(100) if traffic[1] == 0xFF else traffic)
        assert TIMEOUT * 0.7 < closed_after(_without_pongs(line)) < TIMEOUT * 1.5 + 0.2


def _without_pongs(line: Wire) -> Wire:
    frame = line.frame

    def skipping() -> Frame:
        while (each := frame()).opcode == PONG:
            pass
        return each

    line.frame = skipping  # type: ignore[method-assign] # of this one line
    return line


def test_what_the_server_sends_does_not_count(either: Background, endpoint: Endpoint) -> None:
    with wire(either.port, ROOM) as talking, wire(either.port, ROOM) as listening:
        listening.join("room:a")
        talking.join("room:a")
        started = time.monotonic()
        talking.line.settimeout(0.02)
        for number in range(1_000):
            talking.send_message("1", str(number), "room:a", "shout", {})
            time.sleep(TIMEOUT / 10)
            listening.line.settimeout(0.005)
            try:
                frame = listening.frame()
            except TimeoutError:
                continue
            if frame.opcode == CLOSE:
                break
            assert frame.opcode == TEXT
        assert frame.code == IDLE
        assert TIMEOUT * 0.7 < time.monotonic() - started < TIMEOUT * 1.5 + 0.5


def test_others_are_not_concerned(lean: Background) -> None:
    with wire(lean.port, ROOM) as silent, wire(lean.port, LONG) as patient:
        assert silent.close_code() == IDLE
        patient.heartbeat()


def test_a_client_that_does_not_answer_the_close_is_cut_off(
    endpoint: Endpoint, lean: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "CLOSE_TIMEOUT", 0.1)
    entrance = endpoint.websocket_entrance("/socket/websocket")
    assert entrance is not None
    with wire(lean.port, ROOM):
        until(lambda: len(entrance[0].sweeper.members) == 1)
        until(lambda: not entrance[0].sweeper.members)


def test_a_connect_that_never_ends_is_cut_off(lean: Background, monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(self: Any, params: Any, info: Any) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(HostSocket, "connect", connect)
    with wire(lean.port) as line:
        line.request("GET", ROOM, upgrade_headers())
        started = time.monotonic()
        assert line.frame() == EOF
        assert TIMEOUT * 0.7 < time.monotonic() - started < TIMEOUT * 1.5 + 0.2


def test_there_is_one_timer_for_all_and_none_without_connections(lean: Background, endpoint: Endpoint) -> None:
    entrance = endpoint.websocket_entrance("/long/websocket")
    assert entrance is not None
    sweeper = entrance[0].sweeper
    with wire(lean.port, LONG) as one, wire(lean.port, LONG) as other:
        one.heartbeat()
        other.heartbeat()
        assert len(sweeper.members) == 2
        assert sweeper._timer is not None
    until(lambda: sweeper._timer is None)
    assert sweeper.members == set()
