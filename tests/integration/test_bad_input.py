"""Whatever a client sends has its answer or its close code, raises nowhere, and harms nobody else.

The malformed messages are those recorded from Phoenix 1.8.12 on Bandit, with the answers recorded.
"""

import asyncio
import contextlib
import json
import time
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from broadwing import Endpoint
from broadwing.connection import Connection
from broadwing.transports import websocket
from tests.core.hostile import DEEP, FOREIGN_TYPES, NESTED_TYPES, NOT_JSON
from tests.support.background import LEAN, PLAIN_ASGI, Background, background, until
from tests.support.flood import Flood
from tests.support.hostile import ROOM, ROOM_V1, GatedChannel, HostSocket, hostile_endpoint
from tests.support.process import serving
from tests.support.wire import BINARY, CLOSE, EOF, PING, TEXT, Frame, Wire, client_frame, upgrade_headers, wire

INTERNAL_ERROR, SLOW_READER, STALLED = 1011, 4001, 4002
EXTENSIONS = "Sec-WebSocket-Extensions"
OK: dict[str, Any] = {"response": {}, "status": "ok"}
UNMATCHED = {"response": {"reason": "unmatched topic"}, "status": "error"}
TOO_MANY = {"response": {"reason": "too many channels joined"}, "status": "error"}
TOO_LONG = {"response": {"reason": "topic or ref too long"}, "status": "error"}


@pytest.fixture(scope="module")
def endpoint() -> Endpoint:
    return hostile_endpoint()


@pytest.fixture(scope="module")
def lean(endpoint: Endpoint) -> Iterator[Background]:
    with background(endpoint) as served:
        yield served


@pytest.fixture(scope="module", params=[LEAN, PLAIN_ASGI])
def either(request: pytest.FixtureRequest) -> Iterator[Background]:
    with background(hostile_endpoint(), request.param) as served:
        yield served


@pytest.fixture(autouse=True)
def nothing_is_raised(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No exception reaches the loop, or any log, unless a test takes it away."""
    yield
    raised = [record for record in caplog.records if record.exc_info or record.name == "asyncio"]
    assert [record.getMessage() for record in raised] == []


@pytest.fixture
def gate(lean: Background) -> Iterator[None]:
    """The gate is closed during the test."""
    lean.run(GatedChannel.gate.clear)
    yield
    lean.run(GatedChannel.gate.set)


def ended(line: Wire) -> int:
    """The code that the server closes with now, answered as a client does; then comes nothing but the end."""
    closing = line.frame()
    assert closing.opcode == CLOSE, closing
    line.send_frame(CLOSE, closing.payload)
    assert line.frame() == EOF
    return closing.code


# Messages that no serializer can read.

MALFORMED_V2 = [
    "{oops",
    "",
    "{}",
    "[]",
    "null",
    '["1","1","room:lobby","phx_join"]',
    '{"topic":"room:lobby","event":"phx_join","payload":{}}',
    '{"topic":"room:lobby","event":"phx_join","payload":{},"ref":"1"}',
    '["1","1","room:reply","phx_join",{"a":NaN}]',
    '["1","1","room:reply","phx_join",{"a":"\\ud800"}]',
]
MALFORMED_V1 = [
    "{oops",
    "",
    "{}",
    "[]",
    "null",
    '["1","1","room:lobby","phx_join"]',
    '["1","1","room:lobby","phx_join",{},"extra"]',
    '{"topic":"room:lobby","event":"phx_join","payload":{}}',
    '{"topic":"room:lobby","event":"phx_join","ref":"1"}',
    '{"topic":"room:x","event":"phx_join","payload":{"a":NaN},"ref":"1"}',
    '{"topic":"room:x","event":"phx_join","payload":{"a":"\\ud800"},"ref":"1"}',
]


@pytest.mark.parametrize(
    ("target", "text"), [*((ROOM, text) for text in MALFORMED_V2), *((ROOM_V1, text) for text in MALFORMED_V1)]
)
def test_a_malformed_message_is_answered_with_1011(either: Background, target: str, text: str) -> None:
    with wire(either.port, target) as line:
        line.send_frame(TEXT, text)
        assert ended(line) == INTERNAL_ERROR


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"\x01\x01\x01\x01\x01abcd", b"\x02\x01\x01ab", b"\x00\x01\x01\xff\x01ab", b"\xff" * 100]
)
def test_a_malformed_binary_push_is_answered_with_1011(either: Background, data: bytes) -> None:
    with wire(either.port, ROOM) as line:
        line.send_frame(BINARY, data)
        assert ended(line) == INTERNAL_ERROR


@pytest.mark.parametrize("place", ["join", "event", "typed event"])
def test_a_payload_that_is_no_json_is_answered_with_1011(lean: Background, place: str) -> None:
    for broken in NOT_JSON:
        try:
            broken.decode()
        except UnicodeDecodeError:
            continue  # the frame is refused with 1007 before anybody looks at the payload
        with wire(lean.port, ROOM) as line:
            if place == "join":
                line.send_frame(TEXT, b'["1","1","room:a","phx_join",%b]' % broken)
            else:
                line.join("room:a")
                event = b"echo" if place == "event" else b"point"
                line.send_frame(TEXT, b'["1","2","room:a","%b",%b]' % (event, broken))
            assert ended(line) == INTERNAL_ERROR, broken


def test_a_member_that_is_thrown_out_leaves_the_others_alone(lean: Background) -> None:
    with wire(lean.port, ROOM) as one, wire(lean.port, ROOM) as other:
        one.join("room:e")
        other.join("room:e")
        one.send_frame(TEXT, "{oops")
        assert ended(one) == INTERNAL_ERROR
        other.send_message("1", "2", "room:e", "shout", {"still": "here"})
        assert other.message() == [None, None, "room:e", "shout", {"still": "here"}]
        other.heartbeat()


def test_what_follows_a_malformed_message_is_not_looked_at(lean: Background) -> None:
    with wire(lean.port, ROOM) as line:
        late = json.dumps([None, "late", "phoenix", "heartbeat", {}]).encode()
        line.send(client_frame(TEXT, b"{oops") + client_frame(TEXT, late))
        assert ended(line) == INTERNAL_ERROR


def test_a_client_that_closes_behind_its_malformed_message_need_not_be_waited_for(
    lean: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "CLOSE_TIMEOUT", 600.0)
    with wire(lean.port, ROOM) as line:
        line.send(client_frame(TEXT, b"{oops") + client_frame(CLOSE, b"\x03\xe8"))
        assert line.close_code() == INTERNAL_ERROR


# Faults of the server, which there should be none of.


@pytest.mark.parametrize("place", ["received", "opened"])
def test_a_fault_ends_its_own_connection_with_1011(
    either: Background, place: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with wire(either.port, ROOM) as other:
        other.heartbeat()
        working = getattr(Connection, place)

        def failing(self: Connection, *args: Any) -> None:
            raise ZeroDivisionError("a fault")

        monkeypatch.setattr(Connection, place, failing)
        with wire(either.port, ROOM) as line:
            if place == "received":
                line.send_message(None, "1", "phoenix", "heartbeat", {})
            assert ended(line) == INTERNAL_ERROR
        monkeypatch.setattr(Connection, place, working)
        other.heartbeat()
    assert "a fault" in caplog.text
    caplog.clear()


@pytest.mark.parametrize("error", [asyncio.CancelledError(), RecursionError(), SystemError()], ids=repr)
def test_whatever_connect_raises_refuses_the_client(
    either: Background, error: BaseException, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # A CancelledError comes out of anything that somebody else has cancelled; it must not leave the client waiting.
    async def connect(self: HostSocket, params: Any, info: Any) -> None:
        raise error

    with wire(either.port, ROOM) as other, wire(either.port) as line:
        monkeypatch.setattr(HostSocket, "connect", connect)
        assert line.upgrade(ROOM).status == 500
        other.heartbeat()
    caplog.clear()


# Bombs.


@pytest.mark.parametrize("name", DEEP)
def test_a_deep_message_is_answered_with_1011(either: Background, name: str) -> None:
    for text in (
        DEEP[name],
        b'["1","1","room:a","phx_join",%b]' % DEEP[name],
        b'["1","1",%b,"phx_join",{}]' % DEEP[name],
        b'["1","1","room:a",%b,{}]' % DEEP[name],
        b'["1",%b,"phoenix","heartbeat",{}]' % DEEP[name],
        b'[%b,"1","room:a","phx_join",{}]' % DEEP[name],
    ):
        with wire(either.port, ROOM) as line:
            line.send_frame(TEXT, text)
            assert ended(line) == INTERNAL_ERROR


@pytest.mark.parametrize("step", ["join", "event", "typed event"])
def test_no_depth_at_all_raises(lean: Background, step: str, caplog: pytest.LogCaptureFixture) -> None:
    # Just below the interpreter's limit reading may succeed and writing the answer fail; each has its own answer.
    for depth in range(900, 1_020, 3):
        nested = "[" * depth + "]" * depth
        with wire(lean.port, ROOM) as line:
            if step == "join":
                line.send_frame(TEXT, f'["1","1","room:a","phx_join",{nested}]')
            else:
                line.join("room:a")
                line.send_frame(TEXT, f'["1","2","room:a","{"echo" if step == "event" else "point"}",{nested}]')
            frame = line.frame()
            if frame.opcode == CLOSE:
                assert frame.code == INTERNAL_ERROR
            else:
                # Not read as JSON: Python's own reader has the same limit.
                assert b'"phx_reply"' in frame.payload or (step == "event" and b'"phx_error"' in frame.payload)
                line.heartbeat()
    # An answer that cannot be written is the handler's failure, which is logged with its traceback.
    caplog.clear()


def test_a_wide_message_is_taken_up_to_the_frame_limit(lean: Background) -> None:
    with wire(lean.port, ROOM) as line:
        line.join("room:a")
        wide = "[" + "[]," * 500_000 + "[]]"
        line.send_frame(TEXT, f'["1","2","room:a","echo",{wide}]')
        reply = line.message()
        assert (reply[1], reply[3], len(reply[4]["response"])) == ("2", "phx_reply", 500_001)
        line.send_frame(TEXT, f'["1","3","room:a","point",{wide}]')
        assert line.message()[4]["response"]["reason"] == "invalid payload"


# Values of the wrong type, in every place of the envelope.


@pytest.mark.parametrize("value", NESTED_TYPES, ids=repr)
def test_a_nested_value_in_the_envelope_is_answered_with_1011(lean: Background, value: Any) -> None:
    # Departure: no client nests anything there, and what is read only to be echoed should have no depth.
    for place in range(4):
        message: list[Any] = ["1", "1", "room:a", "phx_join", {}]
        message[place] = value
        with wire(lean.port, ROOM) as line:
            line.send_message(*message)
            assert ended(line) == INTERNAL_ERROR


@pytest.mark.parametrize("value", FOREIGN_TYPES, ids=lambda value: repr(value)[:20])
def test_any_value_in_any_place_leaves_the_connection_standing(lean: Background, value: Any) -> None:
    is_long = len(str(value)) > 255
    with wire(lean.port, ROOM) as line:
        # Refs are opaque and come back as they were; long ones are no join's (see MAX_REF_BYTES).
        line.send_message(None, value, "phoenix", "heartbeat", {})
        assert line.message() == [None, value, "phoenix", "phx_reply", OK]
        line.send_message(value, "1", "room:a", "phx_join", {})
        assert line.message() == [value, "1", "room:a", "phx_reply", TOO_LONG if is_long else OK]
        line.send_message("2", value, "room:b", "phx_join", {})
        assert line.message() == ["2", value, "room:b", "phx_reply", TOO_LONG if is_long else OK]
        # No topic matches what is no string. `room:*` is not matched by these strings either.
        line.send_message("3", "3", value, "phx_join", {})
        assert line.message() == [None, "3", value, "phx_reply", UNMATCHED]
        line.send_message("3", "4", "room:nowhere", value, {})
        assert line.message() == [None, "4", "room:nowhere", "phx_reply", UNMATCHED]
        # Payloads may be anything; this handler takes `Point`s alone, that one everything.
        line.send_message("5", "5", "room:c", "phx_join", value)
        assert line.message() == ["5", "5", "room:c", "phx_reply", OK]
        line.send_message("5", "6", "room:c", "echo", value)
        assert line.message() == ["5", "6", "room:c", "phx_reply", {"response": value, "status": "ok"}]
        line.send_message("5", "7", "room:c", "point", value)
        assert line.message()[4]["response"]["reason"] == "invalid payload"
        line.send_message("5", "8", "room:c", value, {})
        reply = line.message()
        assert (reply[1], reply[4]["status"]) == ("8", "error")
        line.send_message("5", value, "room:c", "phx_leave", value)
        assert line.message() == ["5", value, "room:c", "phx_reply", OK]
        assert line.message() == ["5", "5", "room:c", "phx_close", {}]


@pytest.mark.parametrize("size", [1_025, 100_000, 5_000_000])
def test_a_topic_or_ref_too_long_to_be_kept_is_refused(lean: Background, size: int) -> None:
    # Departure: what a join makes the server keep is bounded (1,024 bytes of topic, 255 of a ref).
    long = "x" * (size - 5)
    with wire(lean.port, ROOM) as line:
        for join_ref, ref, topic in (("1", "1", f"room:{long}"), (long, "1", "room:a"), ("1", long, "room:a")):
            line.send_message(join_ref, ref, topic, "phx_join", {})
            assert line.message() == [join_ref, ref, topic, "phx_reply", TOO_LONG]
        # What is not kept is only echoed.
        line.send_message(None, long, "phoenix", "heartbeat", {})
        assert line.message()[1] == long
        line.send_message("1", "2", long, "any", {})
        assert line.message() == [None, "2", long, "phx_reply", UNMATCHED]
        line.join("room:a")
        line.send_message("1", "3", "room:a", long, {})
        assert line.message()[4] == {"response": {"reason": "unhandled event"}, "status": "error"}


# CVE-2026-56811: joins per connection without a cap.


def test_a_connection_joins_100_channels_and_no_more(lean: Background) -> None:
    with wire(lean.port, ROOM) as line:
        for number in range(100):
            line.join(f"room:{number}", str(number))
        for number in range(100, 300):
            ref = str(number)
            line.send_message(ref, ref, f"room:{number}", "phx_join", {})
            assert line.message() == [ref, ref, f"room:{number}", "phx_reply", TOO_MANY]
        # One that leaves makes room for one; one that joins anew is not one more.
        line.send_message("0", "l", "room:0", "phx_leave", {})
        assert [line.message()[3], line.message()[3]] == ["phx_reply", "phx_close"]
        line.join("room:another", "a")
        line.send_message("b", "b", "room:another", "phx_join", {})
        assert line.message() == ["b", "b", "room:another", "phx_reply", OK]
        assert line.message() == ["a", "a", "room:another", "phx_close", {}]
        line.send_message("c", "c", "room:one-more", "phx_join", {})
        assert line.message()[4] == TOO_MANY


def test_joins_that_are_not_done_yet_count_as_well(lean: Background, gate: None) -> None:
    with wire(lean.port, ROOM) as line:
        for number in range(150):
            line.send_message(str(number), str(number), f"gatedjoin:{number}", "phx_join", {})
        assert [line.message()[4] for _ in range(50)] == [TOO_MANY] * 50
        lean.run(GatedChannel.gate.set)
        assert [line.message()[4] for _ in range(100)] == [OK] * 100


def test_a_blast_of_joins_is_answered_join_by_join(lean: Background) -> None:
    with wire(lean.port, ROOM) as line:
        blast = [json.dumps([str(n), str(n), f"room:{n}", "phx_join", {}]).encode() for n in range(5_000)]
        line.send(b"".join(client_frame(TEXT, message) for message in blast))
        answers = [line.message() for _ in blast]
        assert sum(answer[4] == OK for answer in answers) == 100
        assert sum(answer[4] == TOO_MANY for answer in answers) == 4_900
        assert sorted(int(answer[1]) for answer in answers) == list(range(5_000))


def test_one_topic_joined_over_and_over_is_answered_every_time(lean: Background, gate: None) -> None:
    # Each join supersedes the one before, which is still at its door.
    with wire(lean.port, ROOM) as line:
        blast = [json.dumps([str(n), str(n), "gatedjoin:a", "phx_join", {}]).encode() for n in range(2_000)]
        line.send(b"".join(client_frame(TEXT, message) for message in blast))
        superseded = [line.message() for _ in range(1_999)]
        assert {answer[4]["status"] for answer in superseded if answer[3] == "phx_reply"} == {"error"}
        lean.run(GatedChannel.gate.set)
        assert line.message() == ["1999", "1999", "gatedjoin:a", "phx_reply", OK]
        line.heartbeat()


# Floods.


def test_a_client_that_sends_faster_than_its_handlers_work_is_not_read_on(
    lean: Background, endpoint: Endpoint, gate: None
) -> None:
    paused = endpoint.statistics.readers_paused
    with wire(lean.port, ROOM) as line, wire(lean.port, ROOM) as other:
        line.join("gated:a")
        message = client_frame(TEXT, json.dumps(["1", "x", "gated:a", "wait", {"pad": "x" * 10_000}]).encode())
        flood = Flood(line, message)
        flood.until(lambda: endpoint.statistics.readers_paused > paused)
        # 1,000 messages or 1 MB wait at most; the rest is what kernels hold for a connection of the loopback.
        flood.until_full(40_000_000)
        assert flood.sent < 40_000_000
        assert endpoint.statistics.readers_paused == paused + 1
        other.heartbeat()


@pytest.mark.parametrize("event", ["phx_leave", "phx_join", "wait"])
def test_a_busy_channel_can_be_flooded_with_nothing(
    lean: Background, endpoint: Endpoint, gate: None, event: str
) -> None:
    # Leaves and joins wait for the handler before them as events do, and count as they do.
    paused = endpoint.statistics.readers_paused
    with wire(lean.port, ROOM) as line:
        line.join("gated:a")
        line.send_message("1", "2", "gated:a", "wait", {})
        topics = [f"gatedjoin:{number}" for number in range(90)] if event == "phx_join" else ["gated:a"]
        messages = [json.dumps(["1", "x", topic, event, {"pad": "x" * 100_000}]).encode() for topic in topics]
        flood = Flood(line, b"".join(client_frame(TEXT, message) for message in messages))
        flood.until(lambda: endpoint.statistics.readers_paused > paused)
        flood.until_full(40_000_000)
        assert flood.sent < 40_000_000
        assert endpoint.statistics.readers_paused == paused + 1


def test_a_flood_that_is_handled_goes_on_in_order_once_there_is_room(lean: Background, gate: None) -> None:
    with wire(lean.port, ROOM) as line:
        line.join("gated:a")
        for number in range(3_000):
            line.send_message("1", number, "gated:a", "wait", {})
        lean.run(GatedChannel.gate.set)
        assert [line.message()[1] for _ in range(3_000)] == list(range(3_000))


def test_a_client_whose_flood_makes_no_progress_is_closed_with_4002(lean: Background, gate: None) -> None:
    with wire(lean.port, "/short/websocket?vsn=2.0.0") as line:
        line.join("gated:a")
        for number in range(1_100):
            line.send_message("1", number, "gated:a", "wait", {})
        assert ended(line) == STALLED


def test_a_client_whose_flood_makes_progress_is_not_closed(lean: Background, endpoint: Endpoint) -> None:
    # Until all but 500 messages are handled nothing is read, which at 2 ms each takes longer than the idle timeout of 0.5 s.
    paused = endpoint.statistics.readers_paused
    with wire(lean.port, "/short/websocket?vsn=2.0.0") as line:
        line.join("gated:a")
        message = client_frame(TEXT, json.dumps(["1", "x", "gated:a", "step", {}]).encode())
        started = time.monotonic()
        line.send(message * 1_200)
        until(lambda: endpoint.statistics.readers_paused == paused + 1)
        line.heartbeat()
        assert time.monotonic() - started > 0.7


@pytest.mark.parametrize("what", ["pings", "heartbeats", "joins", "unmatched topics"])
def test_a_client_that_asks_and_does_not_read_the_answers_is_closed_with_4001(
    lean: Background, endpoint: Endpoint, what: str
) -> None:
    slow = endpoint.statistics.slow_readers
    question = {
        "pings": client_frame(PING, b"x" * 125),
        "heartbeats": client_frame(TEXT, json.dumps([None, "x" * 500, "phoenix", "heartbeat", {}]).encode()),
        "joins": client_frame(TEXT, json.dumps(["1", "x" * 500, "room:a", "phx_join", {}]).encode()),
        "unmatched topics": client_frame(TEXT, json.dumps(["1", "x" * 500, "nowhere", "any", {}]).encode()),
    }[what] * 500
    with wire(lean.port, ROOM, receive_buffer=4_096) as line, wire(lean.port, ROOM) as other:
        # Kernels hold some megabytes of answers before any wait in the server.
        Flood(line, question).until(lambda: endpoint.statistics.slow_readers > slow)
        assert endpoint.statistics.slow_readers == slow + 1
        other.heartbeat()


def test_a_flood_of_garbage_connections_harms_nobody(lean: Background) -> None:
    with wire(lean.port, ROOM) as other:
        for number in range(200):
            with wire(lean.port) as line:
                line.send(bytes((number, *range(200))) + b"\r\n\r\n")
            with wire(lean.port, ROOM) as line:
                line.send(bytes((number, *range(100))))
        other.heartbeat()


# Slow loris.


@pytest.fixture(scope="module")
def impatient() -> Iterator[Background]:
    """Request heads must be complete after 0.9 seconds, which are enough to begin some on a busy machine."""
    with background(hostile_endpoint(), request_timeout=0.9) as served:
        yield served


BEGUN = ["", "\r\n", "GET ", f"GET {ROOM} HTTP/1.1\r\nHost: localhost\r\nUpgrade: webso"]


def test_an_upgrade_that_never_ends_is_cut_off(impatient: Background) -> None:
    with contextlib.ExitStack() as stack:
        started = time.monotonic()
        lines = [stack.enter_context(wire(impatient.port)) for _ in BEGUN]
        again = stack.enter_context(wire(impatient.port))
        again.request("GET", "/nowhere", {"Host": "localhost"})
        assert again.answer().status == 404
        patient = stack.enter_context(wire(impatient.port, ROOM))
        for line, begun in zip(lines, BEGUN, strict=True):
            line.send(begun.encode())
        again.send(b"GET /nowh")
        for line in (*lines, again):
            assert line.frame() == EOF
        assert 0.8 < time.monotonic() - started < 10  # 15 s by default
        patient.heartbeat()


def test_an_upgrade_that_trickles_is_cut_off(impatient: Background) -> None:
    with wire(impatient.port) as line:
        line.send(f"GET {ROOM} HTTP/1.1\r\n".encode())
        Flood(line, b"X: y\r\n").until_cut_off(pause=0.05)


def test_a_body_that_trickles_is_cut_off_and_one_that_comes_on_is_not() -> None:
    async def reading(scope: Any, receive: Any, send: Any) -> None:
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            size += len(message["body"])
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"%05d" % size})

    with (
        background(Endpoint(reading), request_timeout=0.9, lifespan="off") as served,
        wire(served.port) as trickling,
        wire(served.port) as coming,
    ):
        for line in (trickling, coming):
            line.request("POST", "/upload", {"Host": "localhost", "Content-Length": "10000"})
            line.send(b"x")
        coming.send(b"x" * 5_000)
        until(lambda: len(served.server.server_state.connections) == 1)
        assert trickling.frame() == EOF
        coming.send(b"x" * 4_999)
        assert coming.answer().body == b"10000"


def test_a_slow_upgrade_may_still_end_in_time(impatient: Background) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in upgrade_headers().items())
    with wire(impatient.port) as line:
        line.send(f"GET {ROOM} HTTP/1.1\r\n".encode())
        time.sleep(0.1)
        line.send(f"{head}\r\n".encode())
        assert line.answer().status == 101
        line.heartbeat()
        assert line.is_alive()


def test_frames_are_compared_by_what_they_are() -> None:
    # The tests above rest on it.
    assert Frame(TEXT, b"a") != Frame(BINARY, b"a")


# Memory, of a process of its own.


@pytest.mark.slow
def test_memory_stays_bounded() -> None:
    grown = {}
    with serving("tests.support.hostile:endpoint", "--log-level", "critical") as served:
        with wire(served.port, ROOM) as line:
            line.join("room:a")
        before = served.rss

        def flood(payload: str) -> None:
            with wire(served.port, ROOM) as line:
                line.join("gated:a")
                message = client_frame(TEXT, f'["1","x","gated:a","wait",{payload}]'.encode())
                Flood(line, message).until_full(5_000 * len(message))

        with contextlib.ExitStack() as stack:
            for _ in range(200):
                line = stack.enter_context(wire(served.port, ROOM))
                line.send(client_frame(BINARY, b"x" * 9_900_000)[:1_000])
            grown["200 frames of 9.9 MB, announced"] = served.rss - before
        with contextlib.ExitStack() as stack:
            for _ in range(100):
                line = stack.enter_context(wire(served.port))
                line.send(f"GET {ROOM} HTTP/1.1\r\nX: {'y' * 120_000}".encode())
            grown["100 heads of 120 kB"] = served.rss - before
        flood(json.dumps("x" * 10_000))
        grown["a flood of text"] = served.rss - before
        # 25 times its size once it is decoded.
        flood("[" + "[]," * 3_000 + "[]]")
        grown["a flood of empty lists"] = served.rss - before
        bomb = zlib.compress(bytes(100_000_000), 9, -15)
        for _ in range(5):
            with wire(served.port, "/deflate/websocket?vsn=2.0.0", headers={EXTENSIONS: "permessage-deflate"}) as line:
                line.send_frame(BINARY, bomb, rsv=4)
                assert ended(line) == 1009
        grown["5 bombs of 100 MB"] = served.rss - before
        with wire(served.port, ROOM) as line:
            line.heartbeat()
    print({name: f"{size / 1e6:.0f} MB" for name, size in grown.items()})
    assert max(grown.values()) < 120_000_000
