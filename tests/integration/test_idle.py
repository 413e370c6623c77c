"""Idle timeouts: only what the client sends counts, and no timer is kept per connection.

As recorded from Phoenix on Bandit: 1002, and the end of the stream. The exactness is a tenth of the timeout.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from broadwing import Endpoint
from broadwing.transports import websocket
from tests.support.background import LEAN, PLAIN_ASGI, Background, background, until
from tests.support.hostile import HostSocket
from tests.support.wire import CLOSE, EOF, PING, PONG, TEXT, Wire, client_frame, upgrade_headers, wire

IDLE_AFTER = 1.0
IDLE = 1002
ROOM, LONG = "/socket/websocket?vsn=2.0.0", "/long/websocket?vsn=2.0.0"


def make_endpoint() -> Endpoint:
    endpoint = Endpoint(check_origin=False)
    endpoint.socket("/socket", HostSocket, websocket={"timeout": IDLE_AFTER})
    endpoint.socket("/long", HostSocket)
    endpoint.socket("/brisk", HostSocket, websocket={"timeout": 2.0})
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


def closed_after(line: Wire, since: float) -> float:
    """Seconds from `since` until the server closes for idleness; whatever else it still says is skipped."""
    while (frame := line.frame()).opcode != CLOSE:
        assert frame != EOF
    assert frame.code == IDLE
    return time.monotonic() - since


def in_time(seconds: float) -> bool:
    """Whether a timeout came about when it should, on a machine that may be busy: others here have a minute."""
    return IDLE_AFTER * 0.75 < seconds < 20


def test_a_silent_client_is_closed_with_1002_joined_or_not(either: Background) -> None:
    with wire(either.port, ROOM) as line, wire(either.port, ROOM) as mute, wire(either.port, LONG) as patient:
        since = time.monotonic()
        line.join("room:a")
        assert in_time(closed_after(line, since))
        assert in_time(closed_after(mute, since))
        patient.heartbeat()


def test_the_end_of_the_stream_follows_at_once(lean: Background) -> None:
    with wire(lean.port, ROOM) as line:
        assert line.close_code() == IDLE


def test_one_heartbeat_is_answered_and_buys_one_timeout(either: Background) -> None:
    with wire(either.port, ROOM) as line:
        time.sleep(IDLE_AFTER / 2)
        since = time.monotonic()
        line.heartbeat()
        assert in_time(closed_after(line, since))


TRAFFIC = {
    "messages": (client_frame(TEXT, b'[null,"h","phoenix","heartbeat",{}]'),) * 2,
    "pings": (client_frame(PING, b"x"),) * 2,
    "pongs": (client_frame(PONG, b"x"),) * 2,
    "bytes of a frame": (b"\x82\xff" + (9_000_000).to_bytes(8) + bytes(4), bytes(100)),
}
"""What a client sends first, and then again and again."""


def test_any_bytes_of_the_client_count(lean: Background) -> None:
    # Departure under plain ASGI: the server keeps pings and pongs to itself, so only messages count there.
    with contextlib.ExitStack() as stack:
        lines = {name: stack.enter_context(wire(lean.port, ROOM)) for name in TRAFFIC}
        for name, line in lines.items():
            line.send(TRAFFIC[name][0])
        started = since = time.monotonic()
        while since - started < IDLE_AFTER * 1.5:
            time.sleep(IDLE_AFTER / 4)
            since = time.monotonic()
            for name, line in lines.items():
                line.send(TRAFFIC[name][1])
        for name, line in lines.items():
            assert in_time(closed_after(line, since)), name


def test_what_the_server_sends_does_not_count(lean: Background, endpoint: Endpoint) -> None:
    over = threading.Event()

    def broadcast() -> None:
        while not over.wait(IDLE_AFTER / 20):
            endpoint.broadcast("room:a", "shout", {})

    talking = threading.Thread(target=broadcast)
    with wire(lean.port, ROOM) as line:
        since = time.monotonic()
        line.join("room:a")
        talking.start()
        assert in_time(closed_after(line, since))
    over.set()
    talking.join()


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
        assert in_time(time.monotonic() - started)


def test_there_is_one_timer_for_all_and_none_without_connections(lean: Background, endpoint: Endpoint) -> None:
    entrance = endpoint.websocket_entrance("/brisk/websocket")
    assert entrance is not None
    sweeper = entrance[0].sweeper
    with wire(lean.port, "/brisk/websocket?vsn=2.0.0") as one, wire(lean.port, "/brisk/websocket?vsn=2.0.0") as other:
        one.heartbeat()
        other.heartbeat()
        assert len(sweeper.members) == 2
        assert sweeper._timer is not None
    until(lambda: sweeper._timer is None)
    assert sweeper.members == set()
