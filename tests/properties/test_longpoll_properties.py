"""Bodies of every kind: what a batch holds comes out as it went in, and nothing that a client posts goes unanswered."""

import asyncio
import base64
import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from broadwing import Channel, Endpoint, Socket, on
from broadwing.core.frames import BINARY, TEXT
from broadwing.core.longpoll_relay import Answer, Ask, Verdict, pack, unpack
from broadwing.core.longpoll_state import MAX_LINES, PollState, Status, poll_body, quoted_frame, read_messages
from broadwing.exceptions import BadRequest
from tests.transports.polling import ask

NDJSON = b"application/x-ndjson"
PATH = "/socket/longpoll"

texts = st.lists(st.none() | st.integers() | st.text(), max_size=4).map(
    lambda values: (TEXT, json.dumps(values, ensure_ascii=False).encode("utf-8", "surrogatepass"))
)
frames = st.binary(min_size=1, max_size=60).map(lambda data: (BINARY, data))
line_ends = st.sampled_from([b"\n", b"\r\n"])
# What looks enough like a batch to get past the first check.
near_batches = st.lists(st.sampled_from([b"[", b"]", b"\n", b"\r", b"QQ==", b"=", b"{}", b'"', b" ", b"\xff"])).map(
    b"".join
)


def _refused_with(body: bytes) -> int | None:
    """The status that a batch is refused with, if it is."""
    try:
        read_messages(NDJSON, body)
    except BadRequest as error:
        return error.status
    return None


@given(st.lists(texts | frames, max_size=MAX_LINES // 2), st.data())
def test_a_batch_is_read_as_it_was_written(messages: list[tuple[int, bytes]], data: st.DataObject) -> None:
    body = b""
    for opcode, message in messages:
        body += (message if opcode == TEXT else base64.b64encode(message)) + data.draw(line_ends)
        if data.draw(st.booleans()):
            body += data.draw(line_ends)  # an empty line means nothing
    assert read_messages(NDJSON, body) == messages


@given(st.binary() | near_batches)
@example(b"\n" * 1_000)
@example(b"[]\n" * 101)
def test_any_body_is_a_batch_or_refused_as_a_whole(body: bytes) -> None:
    status = _refused_with(body)
    assert status in (None, Status.BAD_REQUEST, Status.TOO_LARGE)
    if status is None:
        messages = read_messages(NDJSON, body)
        assert len(messages) <= MAX_LINES
        assert all(opcode == BINARY or data.startswith(b"[") for opcode, data in messages)


@given(st.lists(texts, min_size=1, max_size=2 * MAX_LINES))
def test_the_cap_is_exact(messages: list[tuple[int, bytes]]) -> None:
    body = b"\n".join(data for _, data in messages)
    if len(messages) <= MAX_LINES:
        assert read_messages(NDJSON, body) == messages
    else:
        assert _refused_with(body) == Status.TOO_LARGE


@given(st.binary(), st.none() | st.binary(max_size=30).filter(lambda value: b"ndjson" not in value.lower()))
def test_any_other_body_is_one_text_message(body: bytes, content_type: bytes | None) -> None:
    assert read_messages(content_type, body) == [(TEXT, body)]


def _as_a_client_reads(message: str) -> bytes:
    """The rule for clients of version 2.0.0: text, a frame that is UTF-8, or a frame in Base64, by the first character."""
    if message[:1] in ("[", "{") or message[:1] <= "\u0002":
        return message.encode()
    return base64.b64decode(message, validate=True)


@given(
    texts.map(lambda message: message[1])
    | st.tuples(st.integers(0, 2), st.binary()).map(lambda f: bytes([f[0]]) + f[1])
)
def test_a_client_gets_back_every_message_and_frame_byte_by_byte(data: bytes) -> None:
    assert _as_a_client_reads(json.loads(quoted_frame(data))) == data


@given(st.sampled_from([Status.OK, Status.NO_CONTENT, Status.GONE]), st.text(), st.lists(st.text()))
def test_the_answer_to_a_poll_is_json_whatever_is_in_it(status: Status, token: str, messages: list[str]) -> None:
    clean = [text.encode("utf-8", "replace").decode() for text in messages]
    token = token.encode("utf-8", "replace").decode()
    body = poll_body(status, token, [quoted_frame(text.encode()) for text in clean])
    assert json.loads(body) == {"messages": clean, "status": int(status), "token": token}


@given(st.lists(st.none() | st.binary(min_size=1, max_size=40)), st.integers(0, 100))
def test_messages_come_out_in_order_once_and_the_bound_holds(steps: list[bytes | None], limit: int) -> None:
    """`None` is a poll, anything else a message."""
    state = PollState(0.0)
    kept: list[bytes] = []
    for step in steps:
        if step is None:
            assert state.take(0.0) == kept
            kept = []
        elif state.put(step, limit):
            kept.append(step)
            assert sum(map(len, kept[:-1])) <= limit
        else:
            assert sum(map(len, kept)) > limit
    assert state.take(0.0) == kept


asks = st.builds(
    Ask,
    st.integers(0, 2**63),
    st.text(),
    st.text(),
    st.none() | st.lists(st.tuples(st.sampled_from([TEXT, BINARY]), st.binary())),
    st.booleans(),
)
answers = st.builds(
    Answer, st.integers(0, 2**63), st.sampled_from(Verdict), st.sampled_from([0, 200, 408, 410]), st.lists(st.binary())
)


@given(asks | answers)
def test_letters_between_nodes_survive_the_bus(letter: Ask | Answer) -> None:
    assert unpack(pack("topic", letter)) == letter


class Room(Channel):
    """Lets everybody in and answers `echo`."""

    async def join(self, params: Any) -> None:
        """Let in."""

    @on("echo")
    async def echo(self, payload: Any) -> Any:
        """Reply."""
        return {"echo": True}


class UserSocket(Socket):
    """Lets everybody in."""

    channels = {"room:*": Room}  # noqa: RUF012 - as applications write it
    log = None
    log_join = None


async def _post_and_look(content_type: bytes, body: bytes) -> None:
    endpoint = Endpoint(secret_key_base="k" * 64)
    endpoint.socket("/socket", UserSocket, websocket=False, longpoll={"max_body_bytes": 500})
    try:
        http, opened = await ask(endpoint, "GET", PATH, {})
        assert (http, opened["status"]) == (200, 410)
        token = {"x-phoenix-longpoll-token": opened["token"]}
        http, answer = await ask(endpoint, "POST", PATH, {**token, "content-type": content_type.decode()}, [body])
        assert (http, answer["status"]) in [(200, 200), (200, 408), (400, 400), (413, 413)]
        heartbeat = b'[null,"alive","phoenix","heartbeat",{}]'
        _, after = await ask(endpoint, "POST", PATH, token, [heartbeat])
        # Only a message that ended the session may be missed afterwards.
        assert after["status"] == (410 if answer["status"] == 408 else 200)
        _, polled = await ask(endpoint, "GET", PATH, token)
        alive = '[null,"alive","phoenix","phx_reply",{"response":{},"status":"ok"}]'
        assert (alive in polled["messages"]) == (after["status"] == 200)
    finally:
        await endpoint.stop()


@settings(max_examples=60)
@given(
    st.sampled_from([NDJSON, b"application/json", b""]),
    st.binary(max_size=600)
    | near_batches
    | st.lists(texts | frames, max_size=5).map(lambda m: b"\n".join(data for _, data in m)),
)
@example(NDJSON, b'["1","1","room:a","phx_join",{}]\n["1","2","room:a","echo",{}]')
def test_every_post_is_answered_and_ends_its_session_only_by_408(content_type: bytes, body: bytes) -> None:
    asyncio.run(_post_and_look(content_type, body))
