"""SIGTERM and SIGINT: drained in batches with 1012, nothing left behind, exit code 0; a second signal ends at once."""

import asyncio
import contextlib
import json
import logging
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
import uvloop

from broadwing import Endpoint, telemetry
from broadwing.transports import websocket
from broadwing.transports.websocket_uvicorn import WebSocketProtocol
from tests.support.background import LEAN, LEAN_BEHIND_H11, Background, background, until
from tests.support.echo import ECHO, echo_endpoint
from tests.support.hostile import ROOM, ROOM_V1, HostSocket, hostile_endpoint
from tests.support.loopback import HOST
from tests.support.process import Process, serving
from tests.support.wire import CLOSE, EOF, TEXT, Wire, upgrade_headers, wire

APP = "tests.support.leaving:endpoint"
RESTART = 1012
ENDLESS = {"batch_interval": 600.0, "shutdown": 1_200.0}
"""Who waits for a further batch, or for the end of the time, is not there in time for the test."""


@contextlib.contextmanager
def process(**drainer: Any) -> Iterator[Process]:
    with serving(APP, environment={"DRAINER": json.dumps(drainer)} if drainer else None) as served:
        yield served


def dismissed(line: Wire, code: int = RESTART) -> None:
    """The connection is closed now; answer as a client does."""
    closing = line.frame()
    assert (closing.opcode, closing.code) == (CLOSE, code), closing
    line.send_frame(CLOSE, closing.payload)
    assert line.frame() == EOF


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_sends_everybody_away_with_1012_once(number: signal.Signals) -> None:
    # As recorded for connections with channels. Departure: those without are told 1012 as well and not 1000, after which
    # the official client would not come back.
    with process(**ENDLESS) as served, contextlib.ExitStack() as stack:
        two = stack.enter_context(wire(served.port, ROOM))
        two.join("room:a", "1")
        two.join("room:b", "2")
        old = stack.enter_context(wire(served.port, ROOM_V1))
        old.send_frame(TEXT, json.dumps({"topic": "room:a", "event": "phx_join", "payload": {}, "ref": "1"}))
        assert old.frame().opcode == TEXT
        none = stack.enter_context(wire(served.port, ROOM))
        none.heartbeat()
        raw = stack.enter_context(wire(served.port, "/raw/websocket"))
        parrot = stack.enter_context(wire(served.port, "/parrot"))
        served.signal(number)
        for line in (two, old, none, raw, parrot):
            dismissed(line)
        assert served.exit_code() == 0
        said = "\n".join(served.output)
        assert sorted(line for line in served.output if line.startswith("terminate")) == [
            "terminate raw ('shutdown', 'draining')",
            "terminate room:a ('shutdown', 'draining')",
            "terminate room:a ('shutdown', 'draining')",
            "terminate room:b ('shutdown', 'draining')",
        ]
        assert "application stopped" in served.output
        assert "Traceback" not in said, said
        assert "ERROR" not in said, said


def test_a_server_without_connections_stops_at_once() -> None:
    with process(**ENDLESS) as served:
        served.signal()
        assert served.exit_code() == 0


def test_connections_are_drained_in_batches() -> None:
    interval = 1.0
    with process(batch_size=2, batch_interval=interval) as served, contextlib.ExitStack() as stack:
        lines = [stack.enter_context(wire(served.port, ROOM)) for _ in range(5)]
        for line in lines:
            line.heartbeat()
        started = time.monotonic()
        served.signal()
        assert served.says("round 1 of 3")
        # The others are served until it is their turn.
        staying = [line for line in lines if not _is_dismissed(line)]
        assert len(staying) == 3
        assert served.says("round 2 of 3")
        assert time.monotonic() - started >= interval
        staying = [line for line in staying if not _is_dismissed(line)]
        assert len(staying) == 1
        assert served.says("round 3 of 3")
        assert time.monotonic() - started >= 2 * interval
        dismissed(staying[0])
        assert served.exit_code() == 0
        # Phoenix's words (lib/phoenix/logger.ex); the last round has the remainder.
        drained = [line.partition("DRAINING")[2] for line in served.output if "DRAINING" in line]
        assert drained == [
            f" {count} of 5 total connection(s) for socket RoomSocket every 1000ms - round {index} of 3"
            for index, count in ((1, 2), (2, 2), (3, 1))
        ]


def _is_dismissed(line: Wire) -> bool:
    """Whether the server has said goodbye; it has, or has not, before it hears this question."""
    line.send_message(None, "h", "phoenix", "heartbeat", {})
    frame = line.frame()
    if frame.opcode == TEXT:
        return False
    assert (frame.opcode, frame.code) == (CLOSE, RESTART)
    line.send_frame(CLOSE, frame.payload)
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(number: signal.Signals) -> None:
    with process(batch_size=1, **ENDLESS) as served, contextlib.ExitStack() as stack:
        lines = [stack.enter_context(wire(served.port, ROOM)) for _ in range(3)]
        for line in lines:
            line.heartbeat()
        served.signal(number)
        assert served.says("round 1 of 4")
        served.signal(number)
        assert served.exit_code() == 1
        ends = [list(line.frames()) for line in lines]
        assert sum(bool(frames) for frames in ends) == 1, "only the first batch had been told"


def test_a_second_signal_ends_a_handler_that_holds_a_thread() -> None:
    with process() as served, wire(served.port, ROOM) as line:
        line.join("room:a")
        line.send_message("1", "2", "room:a", "block", {})
        assert served.says("block begun")
        served.signal()
        dismissed(line)
        served.signal()
        assert served.exit_code() == 1


def test_handlers_at_work_may_finish() -> None:
    with process() as served, wire(served.port, ROOM) as line:
        line.join("room:a")
        line.send_message("1", "2", "room:a", "work", {})
        assert served.says("work begun")
        served.signal()
        dismissed(line)
        assert served.exit_code() == 0
        said = [text for text in served.output if text.startswith(("work", "terminate", "application"))]
        assert said[-3:] == ["work done", "terminate room:a ('shutdown', 'draining')", "application stopped"]


def test_nobody_is_let_in_while_the_server_drains() -> None:
    with process(batch_size=1, **ENDLESS) as served, contextlib.ExitStack() as stack:
        lines = [stack.enter_context(wire(served.port, ROOM)) for _ in range(2)]
        for line in lines:
            line.heartbeat()
        kept = stack.enter_context(wire(served.port))
        kept.request("GET", "/hello", {"Host": "localhost"})
        assert kept.answer().body == b"hello"
        served.signal()
        assert served.says("round 1 of 3")
        with pytest.raises(ConnectionRefusedError), wire(served.port):
            pass
        # A connection that is there already may ask, and is told to go elsewhere.
        kept.request("GET", ROOM, upgrade_headers())
        assert kept.answer().status == 503
        served.signal()
        assert served.exit_code() == 1


# In this process, where what is left can be looked at.


@pytest.mark.parametrize("kind", [LEAN, LEAN_BEHIND_H11])
def test_no_task_is_left_behind(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    endpoint = hostile_endpoint()
    with background(endpoint, kind) as served, contextlib.ExitStack() as stack:
        lines = [stack.enter_context(wire(served.port, ROOM)) for _ in range(50)]
        for line in lines:
            line.join("room:a")
        lines[0].send_message("1", "2", "gated:a", "phx_join", {})
        silent = lines.pop()
        served.server.should_exit = True
        for line in lines:
            while (closing := line.frame()).opcode == TEXT:
                pass
            assert (closing.opcode, closing.code) == (CLOSE, RESTART)
            line.send_frame(CLOSE, closing.payload)
        silent.line.close()
        served.stop()
        assert served.tasks_left == []
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_clients_that_do_not_answer_do_not_hold_the_server_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "CLOSE_TIMEOUT", 0.2)
    endpoint = hostile_endpoint()
    with background(endpoint) as served, wire(served.port, ROOM) as line, wire(served.port) as unfinished:
        line.heartbeat()
        unfinished.send(b"GET /hello HTTP/1.1\r\n")
        served.stop(seconds=15)
        assert served.tasks_left == []
        assert line.frame().code == RESTART


@pytest.mark.parametrize(
    "drainer", [False, {"batch_size": 1, "batch_interval": 30, "shutdown": 0.3}], ids=["none", "slow"]
)
def test_what_is_not_drained_in_batches_in_time_is_closed_at_once(
    drainer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = Endpoint(check_origin=False)
    endpoint.socket("/socket", HostSocket, drainer=drainer)
    with background(endpoint) as served, contextlib.ExitStack() as stack:
        lines = [stack.enter_context(wire(served.port, ROOM)) for _ in range(4)]
        for line in lines:
            line.heartbeat()
        served.server.should_exit = True
        for line in lines:
            dismissed(line)
        served.stop(seconds=15)
        assert served.tasks_left == []
    assert ("were not drained within 0.3 s" in caplog.text) == bool(drainer)


def test_under_plain_uvicorn_with_the_lean_path_connections_are_drained_as_well() -> None:
    endpoint = hostile_endpoint()
    config = uvicorn.Config(endpoint, host=HOST, port=0, ws=WebSocketProtocol, log_config=None)
    served = Background(uvicorn.Server(config), "", uvloop.new_event_loop())
    served.start()
    with wire(served.port, ROOM) as line:
        line.join("room:a")
        served.server.should_exit = True
        dismissed(line)
        served.stop()
    assert served.tasks_left == []


def test_a_client_that_is_still_at_the_door_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = echo_endpoint()
    entrance = endpoint.websocket_entrance(ECHO)
    assert entrance is not None
    mount: Any = entrance[0].host
    asked: list[Any] = []

    async def connect(self: Any, params: Any, info: Any) -> None:
        asked.append(params)
        await asyncio.sleep(60)

    monkeypatch.setattr(mount.socket, "connect", connect)
    with background(endpoint) as served, wire(served.port) as line:
        line.request("GET", ECHO, upgrade_headers())
        until(lambda: asked)
        served.server.should_exit = True
        assert line.answer().status == 503
        served.stop()
        assert served.tasks_left == []


def test_draining_is_told_to_telemetry() -> None:
    told: list[tuple[dict[str, float], dict[str, Any]]] = []
    detach = telemetry.attach(
        "socket_drain", lambda _, measures, metadata: told.append((dict(measures), dict(metadata)))
    )
    endpoint = Endpoint(check_origin=False)
    endpoint.socket("/socket", HostSocket, drainer={"batch_size": 2, "batch_interval": 0.01})
    try:
        with background(endpoint) as served, contextlib.ExitStack() as stack:
            lines = [stack.enter_context(wire(served.port, ROOM)) for _ in range(5)]
            for line in lines:
                line.heartbeat()
            served.server.should_exit = True
            for line in lines:
                dismissed(line)
            served.stop()
    finally:
        detach()
    assert [measures for measures, _ in told] == [
        {"count": count, "total": 5, "index": index, "rounds": 3} for index, count in ((1, 2), (2, 2), (3, 1))
    ]
    assert {metadata["socket"] for _, metadata in told} == {"HostSocket"}
    assert {metadata["interval"] for _, metadata in told} == {0.01}


def test_an_endpoint_may_be_served_again_after_it_has_stopped() -> None:
    endpoint = hostile_endpoint()
    for _ in range(2):
        with background(endpoint) as served:
            with wire(served.port, ROOM) as line:
                line.heartbeat()
                served.server.should_exit = True
                dismissed(line)
            served.stop()
            assert served.tasks_left == []
