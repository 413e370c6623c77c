"""Long polling over a real server.

Statuses, headers and bodies are those of conversations recorded with Phoenix 1.8.12 and of its conformance checklist,
lines 80 to 104, 119 and 120; where Broadwing departs from it, the test says so.
"""

import asyncio
import base64
import contextlib
import json
import logging
import time
import tracemalloc
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest

from broadwing import ConfigurationError, Endpoint, MissingSecret, Token
from broadwing.core.etf import Atom
from broadwing.core.request import Request
from broadwing.transports.longpoll import SALT, LongPollEntrance
from tests.support.background import TIMEOUT
from tests.support.server import HYPERCORN, serve, until
from tests.transports.polling import (
    JSON,
    NDJSON,
    PROTOCOL_HEADERS,
    SECRET,
    EchoSocket,
    Ground,
    House,
    Poller,
    UserSocket,
    ask,
    house_of,
    reply,
)

# Short, but a poll that waits this long still leaves a busy machine half of it to send the next one.
SHORT = 0.8
# Longer than any test waits: what comes by then did not wait for the window.
LONG = 2 * TIMEOUT


def _raise(request: Request) -> Mapping[str, Any]:
    raise RuntimeError("boom in the session function")


def make_endpoint() -> Ground:
    endpoint = Ground()
    polls: dict[str, Any] = {"websocket": False}
    endpoint.socket("/socket", UserSocket, longpoll={"window": LONG})
    endpoint.socket("/short", UserSocket, longpoll={"window": SHORT}, **polls)
    endpoint.socket("/aging", UserSocket, longpoll={"max_age": 1.0}, **polls)
    endpoint.socket("/brief", UserSocket, longpoll={"window": 0.3}, **polls)
    endpoint.socket("/small", UserSocket, longpoll={"max_body_bytes": 1_000, "max_buffer_bytes": 1_000}, **polls)
    endpoint.socket("/origin", UserSocket, longpoll={"check_origin": ["//example.com"]}, **polls)
    endpoint.socket("/auth", UserSocket, longpoll=True, auth_token=True, **polls)
    endpoint.socket("/broken", UserSocket, longpoll={"connect_info": {"session": _raise}}, **polls)
    every = ["x_headers", "trace_context_headers", "peer_data", "uri", "user_agent"]
    endpoint.socket("/info", UserSocket, longpoll={"connect_info": every}, **polls)
    endpoint.socket("/echo/:room", EchoSocket, longpoll=True, **polls)
    return endpoint


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with house_of(make_endpoint()) as house:
        yield house


def entrance_of(house: House, mount: str = "/socket") -> LongPollEntrance:
    found = house.endpoint.longpoll_entrance(f"{mount}/longpoll")
    assert found is not None
    return found[0]


def assert_protocol_headers(response: httpx.Response) -> None:
    assert {name: response.headers.get(name) for name in PROTOCOL_HEADERS} == PROTOCOL_HEADERS


# Opening a session.


async def test_the_first_get_opens_a_session_with_body_status_410_and_a_token(house: House) -> None:
    response = await house.http.get(house.poller().url)  # checklist 80
    assert response.status_code == 200
    assert_protocol_headers(response)
    body = response.json()
    assert (body["status"], body["messages"]) == (410, [])
    assert list(body) == ["messages", "status", "token"]  # as recorded


async def test_the_token_has_phoenix_s_layout(house: House) -> None:
    poller = await house.open()
    # Phoenix long_poll.ex: {:v1, endpoint_id, pid, private_topic}; the pid is the name of an inbox here.
    data = Token.verify(SECRET, SALT, poller.token)
    version, endpoint_id, inbox, topic = data
    assert version == Atom("v1")
    assert len(endpoint_id) == 22  # 16 bytes in Base64 without padding
    assert inbox
    assert topic.startswith("phx:lp:")
    assert len(base64.b64decode(topic[7:31], validate=True)) == 16
    assert topic[31:].isdigit()


async def test_the_connection_knows_its_transport(house: House) -> None:
    poller = await house.open()
    await poller.join()
    await poller.post(["1", "2", "room:lobby", "info", {}])
    assert await poller.receive(1) == [reply("1", "2", "room:lobby", "ok", {"transport": "longpoll", "join_ref": "1"})]


async def test_every_get_makes_another_session_without_a_token(house: House) -> None:
    one, other = await house.open(), await house.open()
    assert one.token != other.token
    assert len(entrance_of(house).sessions) == 2


@pytest.mark.parametrize("refuse", ["error", "reason"])
async def test_a_refusal_by_connect_is_body_status_403_without_the_error_handler(house: House, refuse: str) -> None:
    response = await house.http.get(house.poller(refuse=refuse).url)  # checklist 93
    assert (response.status_code, response.content) == (200, b'{"status":403}')
    assert_protocol_headers(response)


async def test_an_id_that_is_no_string_refuses_the_client(house: House) -> None:
    assert await house.poller(user_id="5").get() == (403, [])  # Phoenix long_poll.ex


async def test_a_version_that_nobody_speaks_is_body_status_403_and_a_warning(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    response = await house.http.get(house.poller(vsn="9.0.0").url)  # checklist 99
    assert (response.status_code, response.content) == (200, b'{"status":403}')
    assert 'The client\'s requested transport version "9.0.0" does not match' in caplog.text


async def test_a_connect_that_raises_is_http_500_with_the_headers_for_other_origins(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    # Phoenix loses the header here, so that a page of another origin sees a network error.
    response = await house.http.get(house.poller(refuse="raise").url)
    assert (response.status_code, response.content) == (500, b'{"status":500}')
    assert_protocol_headers(response)
    assert "boom in connect" in caplog.text


async def test_a_connect_info_that_raises_is_http_500_too(house: House, caplog: pytest.LogCaptureFixture) -> None:
    response = await house.http.get(house.poller("/broken").url)
    assert (response.status_code, response.content) == (500, b'{"status":500}')
    assert "boom in the session function" in caplog.text


async def test_a_line_that_cannot_be_opened_is_http_500_and_leaves_no_session(
    house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(self: Any, transport: Any) -> None:
        raise RuntimeError("boom in opened")

    monkeypatch.setattr("broadwing.connection.Connection.opened", opened)
    response = await house.http.get(house.poller().url)
    assert (response.status_code, response.content) == (500, b'{"status":500}')
    assert "boom in opened" in caplog.text
    assert entrance_of(house).sessions == {}
    assert entrance_of(house).sweeper.members == set()


async def test_origins_are_refused_in_the_body_and_for_every_method(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    url = house.poller("/origin").url  # checklist 94
    for method in ("GET", "POST", "OPTIONS", "PUT"):
        response = await house.http.request(method, url, headers={"origin": "http://evil.test"})
        assert (response.status_code, response.content) == (200, b'{"status":403}'), method
        assert_protocol_headers(response)
    assert "http://evil.test" in caplog.text
    allowed = await house.http.get(url, headers={"origin": "https://example.com"})
    assert allowed.json()["status"] == 410


async def test_connect_is_told_of_the_first_request_alone(house: House) -> None:
    poller = house.poller("/info", a="1")  # checklist 84
    await poller.open(**{"x-first": "yes", "traceparent": "00-1-2-01", "user-agent": "tester", "other": "no"})
    params, info = house.endpoint.connected[0]
    assert params == {"vsn": "2.0.0", "a": "1"}
    assert ("x-first", "yes") in info["x_headers"]
    assert info["trace_context_headers"] == [("traceparent", "00-1-2-01")]
    assert info["user_agent"] == "tester"
    assert info["peer_data"]["address"] == "127.0.0.1"
    assert info["uri"]["path"] == "/info/longpoll"
    assert info["uri"]["query"] == "vsn=2.0.0&a=1"
    await poller.join()
    assert len(house.endpoint.connected) == 1


async def test_the_auth_token_is_the_header_as_it_is(house: House) -> None:
    # wire/shutdown.txt, "auth token over longpoll"
    await house.poller("/auth").open(**{"x-phoenix-authtoken": "s3cret"})
    await house.poller("/auth").open()
    await house.poller("/socket").open(**{"x-phoenix-authtoken": "s3cret"})
    assert [info.get("auth_token", "absent") for _, info in house.endpoint.connected] == ["s3cret", None, "absent"]


@pytest.mark.parametrize(("query", "status"), [("vsn=2.0.0&a=%zz", 400), ("a[b=1&a=%ff", 400)])
async def test_a_query_that_cannot_be_read_is_refused(
    house: House, query: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "broadwing"):
        response = await house.http.get(f"{house.base}/socket/longpoll?{query}")
    assert (response.status_code, response.content) == (status, b'{"status":%d}' % status)
    assert_protocol_headers(response)
    assert "query string" in caplog.text


# Channels.


async def test_join_then_reply_broadcast_and_push_in_order_then_nothing(house: House) -> None:
    poller = await house.open("/short")  # checklist 81
    assert await poller.post(["1", "1", "room:greeting", "phx_join", {}]) == 200
    assert await poller.receive(3) == [
        reply("1", "1", "room:greeting"),
        [None, None, "room:greeting", "user_entered", {"user": "someone"}],
        ["1", None, "room:greeting", "joined", {"status": "connected"}],
    ]
    started = asyncio.get_running_loop().time()
    assert await poller.get() == (204, [])
    assert asyncio.get_running_loop().time() - started >= SHORT * 0.9


async def test_a_channel_over_the_cap_is_refused(house: House, caplog: pytest.LogCaptureFixture) -> None:
    poller = await house.open()  # checklist 83
    joins = [[str(n), str(n), f"room:{n}", "phx_join", {}] for n in range(101)]
    assert await poller.batch(*joins[:100]) == 200
    assert await poller.batch(joins[100]) == 200
    messages = await poller.receive(101)
    assert [message[4]["status"] for message in messages].count("ok") == 100
    assert reply("100", "100", "room:100", "error", {"reason": "too many channels joined"}) in messages


async def test_an_event_is_broadcast_to_the_next_poll(house: House) -> None:
    poller = await house.open()  # checklist 85
    await poller.join()
    assert await poller.post(["1", "2", "room:lobby", "new_msg", {"body": "hi"}]) == 200
    assert await poller.receive(1) == [[None, None, "room:lobby", "new_msg", {"body": "hi"}]]


async def test_a_poll_that_waits_is_answered_by_the_message_that_comes_meanwhile(house: House) -> None:
    poller, other = await house.open(), await house.open()
    await poller.join()
    await other.join()
    polling = asyncio.create_task(poller.get())
    await until_waiting(house)
    await other.post(["1", "2", "room:lobby", "new_msg", {"body": "from another"}])
    assert await polling == (200, [[None, None, "room:lobby", "new_msg", {"body": "from another"}]])


async def test_all_that_was_sent_at_once_leaves_in_one_answer(house: House) -> None:
    poller = await house.open()
    await poller.join()
    polling = asyncio.create_task(poller.get())
    await until_waiting(house)
    for number in range(3):
        house.endpoint.broadcast("room:lobby", "n", {"n": number})
    assert await polling == (200, [[None, None, "room:lobby", "n", {"n": number}] for number in range(3)])


async def test_a_topic_that_is_not_joined_is_answered_by_poll(house: House) -> None:
    poller = await house.open()  # checklist 86
    assert await poller.post(["1", "2", "room:none", "echo", {}]) == 200
    assert await poller.receive(1) == [reply(None, "2", "room:none", "error", {"reason": "unmatched topic"})]


async def test_joins_that_fail_are_answered_by_poll(house: House) -> None:
    poller = await house.open()  # wire/longpoll.txt, "join error", "join crash"
    await poller.batch(["3", "3", "room:private", "phx_join", {}])
    assert await poller.receive(1) == [reply("3", "3", "room:private", "error", {"reason": "unauthorized"})]
    await poller.batch(["4", "4", "room:crash", "phx_join", {}])
    assert await poller.receive(1) == [reply("4", "4", "room:crash", "error", {"reason": "join crashed"})]


async def test_messages_without_join_ref_are_accepted(house: House) -> None:
    poller = await house.open()  # checklist 87
    await poller.join()
    assert await poller.post([None, "2", "room:lobby", "echo", {"k": 1}]) == 200
    assert await poller.receive(1) == [reply("1", "2", "room:lobby", "ok", {"k": 1})]


async def test_a_batch_is_processed_in_order_without_what_is_stale(house: House) -> None:
    poller = await house.open()  # checklist 88
    await poller.join()
    status = await poller.batch(
        ["1", "2", "room:lobby", "echo", {"n": 2}],
        ["0", "3", "room:lobby", "echo", {"n": 3}],
        ["1", "4", "room:lobby", "echo", {"n": 4}],
        [None, "5", "phoenix", "heartbeat", {}],
    )
    assert status == 200
    # The heartbeat is answered by the connection itself, before the channel has had its turn.
    messages = await poller.receive(3)
    assert [message for message in messages if message[2] != "phoenix"] == [
        reply("1", "2", "room:lobby", "ok", {"n": 2}),
        reply("1", "4", "room:lobby", "ok", {"n": 4}),
    ]


def binary_push(ref: str, data: bytes) -> str:
    fields = [b"1", ref.encode(), b"room:lobby", b"echo"]
    return base64.b64encode(b"".join((bytes([0, *map(len, fields)]), *fields, data))).decode()


async def test_a_batch_mixes_binary_and_text(house: House) -> None:
    poller = await house.open()  # checklist 89
    await poller.join()
    assert await poller.batch(binary_push("7", b"DATA"), ["1", "8", "room:lobby", "echo", {}]) == 200
    response = await poller.http.get(poller.url, headers=poller.headers)
    # wire/longpoll.txt: the raw binary frame as a JSON string
    assert response.json()["messages"][0] == "\u0001\u0001\u0001\n\u000217room:lobbyokDATA"


async def test_an_outgoing_frame_that_is_not_utf_8_is_carried_in_base64(house: House) -> None:
    # Checklist 120: Phoenix answers the poll with HTTP 500 and loses the frame, and whatever was polled with it.
    poller = await house.open()
    await poller.join()
    assert await poller.batch(binary_push("9", b"\x00\xff\xfe"), ["1", "10", "room:lobby", "echo", {}]) == 200
    messages: list[str] = []
    while len(messages) < 2:
        messages += (await poller.http.get(poller.url, headers=poller.headers)).json()["messages"]
    assert base64.b64decode(messages[0], validate=True) == b"\x01\x01\x01\x0a\x0219room:lobbyok\x00\xff\xfe"
    assert json.loads(messages[1]) == reply("1", "10", "room:lobby")


async def test_join_parameters_are_filtered_in_logs(house: House, caplog: pytest.LogCaptureFixture) -> None:
    poller = await house.open()  # checklist 95
    with caplog.at_level(logging.INFO, "broadwing"):
        await poller.post(["1", "1", "room:lobby", "phx_join", {"password": "hunter2", "name": "x"}])
        await poller.receive(1)
    assert "hunter2" not in caplog.text
    assert "'password': '[FILTERED]'" in caplog.text


async def test_a_channel_that_crashes_is_told_with_its_join_ref(house: House) -> None:
    poller = await house.open()  # checklist 96
    await poller.join()
    assert await poller.post(["1", "2", "room:lobby", "raise", {}]) == 200
    assert await poller.receive(1) == [["1", "1", "room:lobby", "phx_error", {"reason": "channel_crash"}]]


async def test_a_stale_leave_is_ignored_and_one_without_join_ref_leaves(house: House) -> None:
    poller = await house.open()  # checklist 97
    await poller.join()
    await poller.post(["0", "2", "room:lobby", "phx_leave", {}])
    await poller.post([None, "3", "room:lobby", "phx_leave", {}])
    assert await poller.receive(2) == [
        reply("1", "3", "room:lobby"),
        ["1", "1", "room:lobby", "phx_close", {}],
    ]


async def test_version_1_speaks_objects_and_is_the_default(house: House) -> None:
    for vsn in ("1.0.0", None):  # wire/longpoll.txt, "vsn=1.0.0"
        poller = await house.open(vsn=vsn)
        await poller.post({"topic": "room:lobby", "event": "phx_join", "payload": {}, "ref": "1"})
        expected = {
            "event": "phx_reply",
            "payload": {"response": {}, "status": "ok"},
            "ref": "1",
            "topic": "room:lobby",
        }
        assert await poller.receive(1) == [expected]


async def test_both_versions_share_a_broadcast(house: House) -> None:
    old, new = await house.open(vsn="1.0.0"), await house.open()
    await old.post({"topic": "room:lobby", "event": "phx_join", "payload": {}, "ref": "1"})
    await old.receive(1)
    await new.join()
    house.endpoint.broadcast("room:lobby", "hi", {"a": "é"})
    assert await old.receive(1) == [{"event": "hi", "payload": {"a": "é"}, "ref": None, "topic": "room:lobby"}]
    assert await new.receive(1) == [[None, None, "room:lobby", "hi", {"a": "é"}]]


# Posting.


@pytest.mark.parametrize("content_type", [None, JSON, "text/plain", "application/x-www-form-urlencoded"])
async def test_a_body_of_any_other_type_is_one_message(house: House, content_type: str | None) -> None:
    poller = await house.open()  # checklist 100
    body = b'["1","1","room:lobby","phx_join",{}]'
    response = await poller.posted(body, content_type)
    assert (response.status_code, response.content) == (200, b'{"status":200}')
    assert_protocol_headers(response)
    assert await poller.receive(1) == [reply("1", "1", "room:lobby")]


async def test_more_than_a_hundred_lines_are_refused_as_a_whole(house: House) -> None:
    # Checklist 90: Phoenix takes a hundred and drops the rest silently.
    poller = await house.open("/short")
    await poller.join()
    lines = [["1", str(n), "room:lobby", "record", {"n": n}] for n in range(101)]
    response = await poller.posted("\n".join(map(json.dumps, lines)).encode(), NDJSON)
    assert (response.status_code, response.content) == (413, b'{"status":413}')
    assert_protocol_headers(response)
    assert await poller.batch(*lines[:100], "") == 200
    await until(lambda: len(house.endpoint.heard) == 100)
    assert [payload["n"] for payload in house.endpoint.heard] == list(range(100))


async def test_a_newline_at_the_end_of_a_batch_means_nothing(house: House) -> None:
    # Checklist 119: in Phoenix it kills the session.
    poller = await house.open()
    await poller.join()
    assert await poller.batch(["1", "2", "room:lobby", "echo", {"c": 1}], "") == 200
    assert await poller.receive(1) == [reply("1", "2", "room:lobby", "ok", {"c": 1})]


async def test_a_line_that_is_no_base64_is_http_400_and_harms_neither_batch_nor_session(house: House) -> None:
    # Checklist 119: in Phoenix it is HTTP 500, after what came before it was processed.
    poller = await house.open()
    await poller.join()
    line = json.dumps(["1", "2", "room:lobby", "record", {"n": 1}])
    response = await poller.posted(f"{line}\nnot base64!".encode(), NDJSON)
    assert (response.status_code, response.content) == (400, b'{"status":400}')
    assert_protocol_headers(response)
    assert await poller.post(["1", "3", "room:lobby", "echo", {}]) == 200
    assert await poller.receive(1) == [reply("1", "3", "room:lobby")]
    assert house.endpoint.heard == []


@pytest.mark.parametrize("body", [b"{oops", b'["1"]', b"", b'["\xff"]', b"\x00"], ids=repr)
async def test_a_message_that_cannot_be_read_is_408_at_once_and_ends_the_session(house: House, body: bytes) -> None:
    # In Phoenix the POST waits the whole window for it (wire/longpoll.txt, "POST invalid JSON").
    poller = await house.open()
    await poller.join()
    async with asyncio.timeout(TIMEOUT):
        assert await poller.post_raw(body, JSON) == 408
    await until(lambda: house.endpoint.terminated)
    assert await poller.post([None, "5", "phoenix", "heartbeat", {}]) == 410
    gone = poller.token
    assert (await poller.get())[0] == 410
    assert entrance_of(house).sessions.keys() != {gone}


async def test_what_came_before_a_message_that_cannot_be_read_was_processed(house: House) -> None:
    poller = await house.open()
    await poller.join()
    status = await poller.batch(
        ["1", "2", "room:lobby", "record", {"n": 1}], "[oops", ["1", "3", "room:lobby", "record", {"n": 2}]
    )
    assert status == 408
    await until(lambda: house.endpoint.terminated)
    assert house.endpoint.heard == [{"n": 1}]


async def test_a_handler_that_raises_ends_its_session_and_nothing_else(
    house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def received(self: Any, opcode: int, data: bytes) -> None:
        raise RuntimeError("boom in received")

    poller = await house.open()
    with monkeypatch.context() as patch:
        patch.setattr("broadwing.connection.Connection.received", received)
        assert await poller.post([]) == 408
    assert "boom in received" in caplog.text
    assert await poller.post([None, "5", "phoenix", "heartbeat", {}]) == 410


async def test_a_body_that_says_it_is_too_large_is_refused_unread(house: House) -> None:
    # In Phoenix it is HTTP 400 (wire/longpoll.txt, "POST of an 8.1 MB body").
    poller = await house.open("/small")
    response = await poller.posted(b"x" * 1_001, JSON)
    assert (response.status_code, response.content) == (413, b'{"status":413}')
    assert_protocol_headers(response)
    await poller.join()


async def test_a_body_that_turns_out_too_large_is_refused_where_it_does(house: House) -> None:
    poller = await house.open("/small")

    async def body() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100

    response = await poller.posted(body(), JSON)
    assert (response.status_code, response.content) == (413, b'{"status":413}')
    assert (await poller.post([None, "1", "phoenix", "heartbeat", {}])) == 200


async def test_a_body_that_says_it_is_larger_than_python_reads_numbers_is_refused() -> None:
    endpoint = make_endpoint()
    _, opened = await ask(endpoint, "GET", "/socket/longpoll", {})
    headers = {"x-phoenix-longpoll-token": opened["token"], "content-length": "9" * 5_000}
    assert await ask(endpoint, "POST", "/socket/longpoll", headers) == (413, {"status": 413})
    await endpoint.stop()


async def test_a_body_that_comes_in_crumbs_takes_no_more_memory_than_its_bytes() -> None:
    endpoint = make_endpoint()
    _, opened = await ask(endpoint, "GET", "/socket/longpoll", {})
    headers = {"x-phoenix-longpoll-token": opened["token"]}
    message = json.dumps([None, "1", "phoenix", "heartbeat", "x" * 100_000]).encode()
    crumbs = (message[at : at + 2] for at in range(0, len(message), 2))
    tracemalloc.start()
    try:
        assert await ask(endpoint, "POST", "/socket/longpoll", headers, crumbs) == (200, {"status": 200})
        # The body twice, and what reads it; the crumbs as objects would be sixty times as much.
        assert tracemalloc.get_traced_memory()[1] < 6 * len(message)
    finally:
        tracemalloc.stop()
    await endpoint.stop()


async def test_a_body_of_just_the_limit_passes(house: House) -> None:
    poller = await house.open("/small")
    message = [None, "1", "phoenix", "heartbeat", {"pad": ""}]
    message[4] = {"pad": "x" * (1_000 - len(json.dumps(message)))}
    body = json.dumps(message).encode()
    assert len(body) == 1_000
    assert await poller.post_raw(body, JSON) == 200


async def test_a_client_that_hangs_up_in_its_body_leaves_its_session_alone(house: House) -> None:
    poller = await house.open()
    await poller.join()
    host, port = house.base.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    target = poller.url.removeprefix(house.base)
    head = f"POST {target} HTTP/1.1\r\nhost: {host}\r\nx-phoenix-longpoll-token: {poller.token}\r\n"
    writer.write(f"{head}content-length: 100\r\n\r\n[half".encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert await poller.post(["1", "2", "room:lobby", "echo", {}]) == 200
    assert await poller.receive(1) == [reply("1", "2", "room:lobby")]


# Back-pressure.


async def test_a_post_waits_while_the_client_s_queue_is_full(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broadwing.intake.MAX_QUEUED", 2)
    poller = await house.open()
    await poller.join()
    waits = [["1", str(n), "room:lobby", "wait", {"n": n}] for n in range(6)]
    posting = asyncio.create_task(poller.batch(*waits))
    await until(lambda: house.endpoint.statistics.readers_paused == 1)
    # Another request fares the same, and both go on when handlers have caught up.
    other = asyncio.create_task(poller.post(["1", "6", "room:lobby", "wait", {"n": 6}]))
    done, _ = await asyncio.wait((posting, other), timeout=0.1)
    assert not done
    house.endpoint.gate.set()
    assert [await posting, await other] == [200, 200]
    await until(lambda: len(house.endpoint.heard) == 7)
    assert sorted(payload["n"] for payload in house.endpoint.heard) == list(range(7))


async def test_a_post_that_is_not_taken_within_the_window_is_408(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broadwing.intake.MAX_QUEUED", 2)
    poller = await house.open("/short")  # checklist 91
    await poller.join()
    response = await poller.posted(
        "\n".join(json.dumps(["1", str(n), "room:lobby", "wait", {"n": n}]) for n in range(6)).encode(), NDJSON
    )
    assert (response.status_code, response.content) == (200, b'{"status":408}')
    assert_protocol_headers(response)
    house.endpoint.gate.set()
    await until(lambda: len(house.endpoint.heard) == 3)
    assert await poller.post(["1", "9", "room:lobby", "echo", {}]) == 200  # the session lives


async def test_a_post_that_waits_is_408_at_once_when_its_session_ends(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broadwing.intake.MAX_QUEUED", 0)
    poller = await house.open(user_id="9")
    await poller.post(["1", "1", "room:lobby", "phx_join", {}])
    posting = asyncio.create_task(poller.post(["1", "2", "room:lobby", "wait", {}]))
    await until(lambda: any(session._released for session in entrance_of(house).sessions.values()))
    house.endpoint.broadcast("users_socket:9", "disconnect", {})
    async with asyncio.timeout(TIMEOUT):
        assert await posting == 408


# Tokens.


async def test_the_token_counts_in_the_header_and_in_the_query_and_the_header_wins(house: House) -> None:
    poller = await house.open()  # checklist 102
    await poller.join()
    in_query = house.poller(token=poller.token)
    for _ in range(2):
        assert await in_query.post(["1", "2", "room:lobby", "echo", {"q": 1}]) == 200
        status, messages = await in_query.get()
        assert (status, messages) == (200, [reply("1", "2", "room:lobby", "ok", {"q": 1})])
    with_bogus_query = house.poller(token="bogus")
    with_bogus_query.token = poller.token
    assert await with_bogus_query.post(["1", "3", "room:lobby", "echo", {}]) == 200
    assert await with_bogus_query.receive(1) == [reply("1", "3", "room:lobby")]
    with_bogus_header = house.poller(token=poller.token)
    with_bogus_header.token = "bogus"
    assert await with_bogus_header.post(["1", "4", "room:lobby", "echo", {}]) == 410


async def test_a_token_parameter_of_the_application_s_own_reaches_connect(house: House) -> None:
    await house.open(token="a user's token")
    assert house.endpoint.connected[0][0]["token"] == "a user's token"


@pytest.mark.parametrize("query", ["", "&token=bogus", "&token[]=x", "&token=SFMyNTY.e30.e30"])
async def test_a_post_without_a_session_is_410_and_makes_none(house: House, query: str) -> None:
    response = await house.http.post(house.poller().url + query, content=b'[null,"1","phoenix","heartbeat",{}]')
    assert (response.status_code, response.content) == (200, b'{"status":410}')  # checklist 104
    assert_protocol_headers(response)
    assert entrance_of(house).sessions == {}


@pytest.mark.parametrize(
    "data", [None, "v1", (Atom("v2"), "a", "b", "c"), (Atom("v1"), "a", "b"), (Atom("v1"), "a", 1, "c")], ids=repr
)
async def test_a_token_of_another_make_opens_a_new_session(house: House, data: Any) -> None:
    poller = house.poller()
    poller.token = Token.sign(SECRET, SALT, data)
    assert (await poller.get())[0] == 410
    assert await poller.post([]) == 410


async def test_a_token_signed_for_another_use_is_no_session(house: House) -> None:
    poller = await house.open()
    data = Token.verify(SECRET, SALT, poller.token)
    poller.token = Token.sign(SECRET, "user socket", data)
    assert await poller.post([]) == 410


async def test_an_expired_token_is_410(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    # wire/longpoll.txt, "expired token": max_age is signed in, and checked again.
    poller = await house.open("/aging")
    data = Token.verify(SECRET, SALT, poller.token)
    now = time.time()
    poller.token = Token.sign(SECRET, SALT, data, signed_at=now - 1.5, max_age=1_000)
    assert await poller.post([None, "1", "phoenix", "heartbeat", {}]) == 410
    assert (await poller.get())[0] == 410
    poller.token = Token.sign(SECRET, SALT, data, signed_at=now, max_age=1_000)
    assert await poller.post([None, "1", "phoenix", "heartbeat", {}]) == 200


async def test_a_session_of_this_mount_that_is_gone_is_not_looked_for_elsewhere(house: House) -> None:
    poller = await house.open()
    for session in list(entrance_of(house).sessions.values()):
        session.close(1001)
    started = asyncio.get_running_loop().time()
    assert await poller.post([]) == 410
    assert (await poller.get())[0] == 410
    assert asyncio.get_running_loop().time() - started < 1.5  # pubsub_timeout is 2 s each


# Methods and headers.


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD"])
async def test_other_methods_are_http_400_and_empty(house: House, method: str) -> None:
    response = await house.http.request(method, house.poller().url)  # checklist 104
    assert (response.status_code, response.content) == (400, b"")
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["cache-control"] == "max-age=0, private, must-revalidate"


async def test_a_preflight_allows_what_it_asks_for(house: House) -> None:
    asked = "content-type, x-phoenix-longpoll-token"  # wire/longpoll.txt, "OPTIONS preflight"
    headers = {"origin": "http://localhost", "access-control-request-headers": asked}
    response = await house.http.options(house.poller().url, headers=headers)
    assert (response.status_code, response.content) == (200, b"")
    recorded = {
        "cache-control": "max-age=0, private, must-revalidate",
        "access-control-allow-origin": "*",
        "access-control-allow-headers": asked,
        "access-control-allow-methods": "get, post, options",
        "access-control-max-age": "3600",
        "content-length": "0",
    }
    assert {name: response.headers[name] for name in recorded} == recorded
    bare = await house.http.options(house.poller().url)
    assert bare.headers["access-control-allow-headers"] == ""


async def test_no_answer_to_a_poll_may_be_kept_in_a_cache(house: House) -> None:
    poller = await house.open("/short")  # checklist 103
    await poller.post(["1", "1", "room:lobby", "phx_join", {}])
    statuses = []
    for _ in range(2):
        response = await poller.http.get(poller.url, headers=poller.headers)
        assert_protocol_headers(response)
        statuses.append(response.json()["status"])
    assert statuses == [200, 204]


async def test_other_paths_under_the_mount_are_not_claimed(house: House) -> None:
    for path in ("/socket", "/socket/longpoll/more", "/other/longpoll"):
        assert (await house.http.get(f"{house.base}{path}?vsn=2.0.0")).status_code == 404


# The life of a session.


async def until_waiting(house: House, mount: str = "/socket", count: int = 1) -> None:
    """Wait until that many polls wait."""

    def waiting() -> int:
        states = [session._state for session in entrance_of(house, mount).sessions.values()]
        return sum((state._waiter is not None) + len(state._forgotten or ()) for state in states)

    await until(lambda: waiting() == count)


async def test_a_session_ends_when_its_client_stays_away_and_posts_do_not_keep_it(house: House) -> None:
    poller = await house.open("/brief")  # checklist 92
    await poller.post(["1", "1", "room:lobby", "phx_join", {}])
    status = 200
    async with asyncio.timeout(TIMEOUT):
        while status == 200:
            status = await poller.post([None, "2", "phoenix", "heartbeat", {}])
            await asyncio.sleep(0.01)
    assert status == 410
    await until(lambda: house.endpoint.terminated == [("shutdown", "inactive")])
    assert entrance_of(house, "/brief").sessions == {}


async def test_a_session_lives_as_long_as_its_client_polls(house: House) -> None:
    poller = await house.open("/short")
    for _ in range(3):  # 2.4 s; it would end after 1.2 s
        assert await poller.get() == (204, [])


async def test_an_idle_session_costs_no_task_and_no_timer_of_its_own(house: House) -> None:
    def costs() -> tuple[int, int]:
        handles = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
        return len(asyncio.all_tasks()), sum(not handle.cancelled() for handle in handles)

    async def settled() -> tuple[int, int]:
        # One more answer on the same connection: the tasks of those before it are gone.
        assert (await house.http.get(f"{house.base}/nothing")).status_code == 404
        return costs()

    await (await house.open()).join()
    before = await settled()
    for _ in range(20):
        await (await house.open()).join()
    assert len(entrance_of(house).sessions) == 21
    assert await settled() == before


async def test_a_newer_poll_replaces_the_older_which_ends_with_its_window(house: House) -> None:
    poller = await house.open("/short")  # Phoenix long_poll.ex
    await poller.join()
    older = asyncio.create_task(poller.get())
    await until_waiting(house, "/short")
    newer = asyncio.create_task(poller.get())
    await until_waiting(house, "/short", 2)
    house.endpoint.broadcast("room:lobby", "hi", {})
    assert await newer == (200, [[None, None, "room:lobby", "hi", {}]])
    assert await older == (204, [])


async def test_messages_stay_for_the_next_poll_when_a_client_hangs_up(house: House) -> None:
    # In Phoenix they go to the poll whose client has left.
    poller = await house.open()
    await poller.join()
    with contextlib.suppress(httpx.ReadTimeout):
        await poller.http.get(poller.url, headers=poller.headers, timeout=0.2)
    await until_waiting(house, count=0)
    house.endpoint.broadcast("room:lobby", "hi", {})
    assert await poller.receive(1) == [[None, None, "room:lobby", "hi", {}]]


async def test_disconnect_ends_session_and_channels(house: House) -> None:
    poller = await house.open(user_id="77")  # checklist 98
    await poller.join()
    house.endpoint.broadcast("users_socket:77", "something else", {})
    assert await poller.post([None, "2", "phoenix", "heartbeat", {}]) == 200
    await poller.receive(1)
    house.endpoint.broadcast("users_socket:77", "disconnect", {})
    await until(lambda: house.endpoint.terminated == [("shutdown", "disconnected")])
    assert await poller.post([None, "3", "phoenix", "heartbeat", {}]) == 410
    assert (await poller.get())[0] == 410


async def test_a_poll_that_waits_when_its_session_ends_is_answered_at_once(house: House) -> None:
    poller = await house.open(user_id="77")
    await poller.join()
    polls = [asyncio.create_task(poller.get()) for _ in range(2)]
    await until_waiting(house, count=2)
    house.endpoint.broadcast("users_socket:77", "disconnect", {})
    async with asyncio.timeout(TIMEOUT):
        assert await asyncio.gather(*polls) == [(204, []), (204, [])]


async def test_a_client_that_does_not_poll_loses_its_session_when_too_much_waits(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    poller = await house.open("/small")
    await poller.join()
    assert await poller.post(["1", "2", "room:lobby", "many", {"count": 20, "size": 100}]) == 200
    await until(lambda: house.endpoint.terminated == [("shutdown", "slow_reader")])
    assert await poller.post([None, "3", "phoenix", "heartbeat", {}]) == 410
    assert (await poller.get())[0] == 410
    assert house.endpoint.statistics.slow_readers == 1
    assert "UserSocket at /small/longpoll: a client does not poll, more than 1000 bytes" in caplog.text


async def test_what_was_sent_before_the_end_is_in_the_answer_of_the_poll_that_waits(house: House) -> None:
    poller = await house.open(user_id="42")
    await poller.join()
    polling = asyncio.create_task(poller.get())
    await until_waiting(house, count=1)
    house.endpoint.broadcast("room:lobby", "bye", {})
    house.endpoint.broadcast("users_socket:42", "disconnect", {})
    assert await polling == (200, [[None, None, "room:lobby", "bye", {}]])
    assert await poller.get() == (410, [])


async def test_a_room_that_falls_behind_as_a_whole_fills_no_log(house: House, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(10):
        await (await house.open("/small")).join()
    for _ in range(3):
        house.endpoint.broadcast("room:lobby", "large", {"text": "x" * 2_000})
    house.endpoint.fastlane.settle()
    assert entrance_of(house, "/small").sessions == {}
    assert house.endpoint.statistics.slow_readers == entrance_of(house, "/small").slow_readers == 10
    assert caplog.text.count("does not poll") == 1


async def test_one_message_larger_than_the_buffer_passes(house: House) -> None:
    poller = await house.open("/small")
    await poller.join()
    await poller.post(["1", "2", "room:lobby", "many", {"count": 1, "size": 400_000}])
    assert (await poller.receive(1))[0][4] == {"text": "x" * 400_000}
    house.endpoint.broadcast("room:lobby", "large", {"text": "y" * 400_000})
    assert (await poller.receive(1))[0][4] == {"text": "y" * 400_000}


async def test_a_message_for_a_session_that_has_ended_goes_nowhere(house: House) -> None:
    await house.open()
    (session,) = entrance_of(house).sessions.values()
    session.close(1001)
    session.close(1001)
    session.write(b'"late"')
    session.write_large(b'"late"')
    assert session._state.take(0.0) == []
    assert await session.publish([]) == 410


# Raw sockets.


async def test_a_raw_socket_takes_and_sends_text_and_pushes(house: House) -> None:
    poller = await house.open("/echo/lobby", vsn=None, key="value")  # checklist 101
    assert house.endpoint.connected[0][0] == {"room": "lobby", "key": "value"}

    async def echoed() -> list[str]:
        messages: list[str] = (await poller.http.get(poller.url, headers=poller.headers)).json()["messages"]
        return messages

    assert await poller.post_raw("grüße".encode(), "text/plain") == 200
    assert await echoed() == ["grüße"]
    assert await poller.post_raw(b"push") == 200
    assert await echoed() == ["pushed"]
    assert await poller.batch(base64.b64encode(b"\xff\x00").decode()) == 200
    assert await echoed() == [base64.b64encode(b"\xff\x00").decode()]
    assert house.endpoint.heard == ["grüße", "push", b"\xff\x00"]


# The end of the server.


async def test_draining_ends_sessions_and_answers_polls_that_wait_and_takes_nobody_in() -> None:
    endpoint = make_endpoint()
    async with house_of(endpoint) as house:
        poller = await house.open()
        await poller.join()
        polling = asyncio.create_task(poller.get())
        await until_waiting(house)
        await endpoint.drain()
        assert await polling == (204, [])  # wire/shutdown.txt, "longpoll poll in flight"
        assert endpoint.terminated == [("shutdown", "draining")]
        assert await poller.post([]) == 410
        # Clients take an empty answer for a passing fault and try again, elsewhere with luck.
        response = await house.http.get(poller.url)
        assert (response.status_code, response.content) == (503, b"")
        assert response.headers["access-control-allow-origin"] == "*"


async def test_a_client_whose_connect_takes_until_the_server_drains_is_not_let_in() -> None:
    endpoint = make_endpoint()
    async with house_of(endpoint) as house:
        opening = asyncio.create_task(house.http.get(house.poller(refuse="wait").url))
        await until(lambda: endpoint.connected)
        await endpoint.drain()
        endpoint.gate.set()
        assert (await opening).status_code == 503
        assert entrance_of(house).sessions == {}


async def test_stopping_ends_what_draining_left() -> None:
    endpoint = make_endpoint()
    async with house_of(endpoint) as house:
        poller = await house.open()
        await poller.join()
        entrance = entrance_of(house)
        await entrance.stop()
        assert entrance.sessions == {}
        await until(lambda: endpoint.terminated == [("shutdown", "draining")])
        assert (await poller.get())[0] == 410  # a new one, as this endpoint itself has not stopped
        await entrance.stop()


async def test_a_server_stops_while_a_poll_waits() -> None:
    endpoint = make_endpoint()
    async with serve(endpoint) as served, httpx.AsyncClient(trust_env=False) as http:
        poller = await Poller(http, served.url("/socket/longpoll", "http")).open()
        polling = asyncio.create_task(poller.get())
        await until(lambda: any(s._state._waiter for s in _sessions(endpoint)))
        async with asyncio.timeout(TIMEOUT):
            await served.shut_down()
            assert await polling == (204, [])


def _sessions(endpoint: Endpoint) -> list[Any]:
    found = endpoint.longpoll_entrance("/socket/longpoll")
    assert found is not None
    return list(found[0].sessions.values())


async def test_an_endpoint_starts_anew_with_its_inbox() -> None:
    endpoint = make_endpoint()
    for _ in range(2):
        async with house_of(endpoint) as house:
            await (await house.open()).join()


# Other servers, and mounting.


async def test_hypercorn_serves_polls_too() -> None:
    endpoint = make_endpoint()
    async with house_of(endpoint, HYPERCORN) as house:
        poller = house.poller("/short")
        while not poller.token:  # it starts in its own time
            with contextlib.suppress(httpx.ConnectError):
                await poller.open()
        await poller.join()
        assert await poller.get() == (204, [])
        house.endpoint.broadcast("room:lobby", "hi", {})
        assert await poller.receive(1) == [[None, None, "room:lobby", "hi", {}]]


def test_long_polling_needs_a_secret_when_it_is_mounted() -> None:
    with pytest.raises(MissingSecret, match="UserSocket at /socket/longpoll needs secret_key_base"):
        Endpoint().socket("/socket", UserSocket, longpoll=True)
    with pytest.raises(ConfigurationError, match="at least 20"):
        Endpoint(secret_key_base="short").socket("/socket", UserSocket, longpoll=True)
    Endpoint().socket("/socket", UserSocket)


def test_long_polling_may_have_a_path_of_its_own_and_options_as_an_object() -> None:
    endpoint = make_endpoint()
    endpoint.socket("/other", UserSocket, longpoll={"path": "/lp/:name"})
    found = endpoint.longpoll_entrance("/other/lp/x")
    assert found is not None
    assert found[1] == {"name": "x"}
    assert endpoint.longpoll_entrance("/other/longpoll") is None
