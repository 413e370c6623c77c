"""The rules of a poll session as plain calls.

Expected bytes are those of conversations recorded with Phoenix 1.8.12; where Broadwing departs from it, the test says so.
"""

import base64
import contextlib
import json
import tracemalloc

import pytest

from broadwing.core.frames import BINARY, TEXT
from broadwing.core.longpoll_state import (
    MAX_LINES,
    PollState,
    Status,
    Waiter,
    is_ndjson,
    poll_body,
    quoted_frame,
    read_messages,
    status_body,
)
from broadwing.exceptions import BadRequest

NDJSON = b"application/x-ndjson"
WINDOW = 10.0


class Poll:
    """A waiting poll that remembers how often it was woken."""

    def __init__(self, *, leaves: bool = True) -> None:
        self.leaves = leaves
        self.woken = 0

    def wake(self) -> None:
        """Count."""
        self.woken += 1


def state() -> PollState:
    return PollState(0.0)


# What waits for the client.


def test_a_poll_takes_everything_that_waits_oldest_first_and_leaves_nothing() -> None:
    session = state()
    assert session.put(b'"a"', 100)
    assert session.put(b'"b"', 100)
    assert session.take(1.0) == [b'"a"', b'"b"']
    assert session.take(2.0) == []


def test_what_waits_is_bounded_in_bytes_and_a_single_large_message_passes() -> None:
    session = state()
    assert session.put(b"x" * 5_000, 1_000)  # nothing waited
    assert not session.put(b"y", 1_000)
    assert session.take(1.0) == [b"x" * 5_000]
    assert session.put(b"y", 1_000)  # taking makes room again
    assert session.take(1.0) == [b"y"]


def test_exactly_the_limit_may_wait_before_one_more_message() -> None:
    session = state()
    assert session.put(b"x" * 1_000, 1_000)
    assert session.put(b"y", 1_000)
    assert not session.put(b"z", 1_000)


# Who waits.


def test_a_waiting_poll_is_told_of_one_message_and_then_forgotten() -> None:
    session, poll = state(), Poll()
    session.wait(poll)
    assert session.next_waiter() is poll
    assert session.next_waiter() is None


def test_a_newer_poll_replaces_the_older_which_only_hears_of_the_end() -> None:
    session = state()
    polls = [Poll(), Poll(), Poll()]
    for poll in polls:
        session.wait(poll)
    assert session.next_waiter() is polls[2]
    assert session.next_waiter() is None
    assert session.all_waiters() == polls[:2]
    assert session.all_waiters() == []


def test_a_poll_that_does_not_say_when_it_is_over_is_dropped_when_it_is_replaced() -> None:
    session = state()
    for _ in range(3):
        session.wait(Poll(leaves=False))
    here = Poll()
    session.wait(here)
    assert session.all_waiters() == [here]


def test_all_polls_that_wait_hear_of_the_end() -> None:
    session = state()
    older, newest = Poll(), Poll()
    session.wait(older)
    session.wait(newest)
    assert session.all_waiters() == [older, newest]


def test_a_poll_that_was_answered_is_told_nothing_whether_newest_or_replaced() -> None:
    session = state()
    polls = [Poll(), Poll(), Poll()]
    for poll in polls:
        session.wait(poll)
    session.leave(polls[0])
    session.leave(polls[2])
    assert session.next_waiter() is None
    assert session.all_waiters() == [polls[1]]
    session.leave(polls[1])
    stranger: Waiter = Poll()
    session.leave(stranger)
    assert session.all_waiters() == []


# When it ends: Phoenix long_poll.ex, the session window is 1.5 times `window_ms`, and only polls count.


def test_a_session_is_idle_after_one_and_a_half_windows_without_a_poll() -> None:
    session = state()
    assert not session.is_idle(15.0, WINDOW)
    assert session.is_idle(15.1, WINDOW)
    session.take(15.1)
    assert not session.is_idle(30.0, WINDOW)
    assert session.is_idle(30.7, WINDOW)


def test_messages_for_the_client_do_not_keep_its_session() -> None:
    session = state()
    session.put(b'"a"', 100)
    assert session.is_idle(15.1, WINDOW)


# What the answers look like.


def test_the_body_of_a_poll_is_phoenix_s_byte_for_byte() -> None:
    # wire/longpoll.txt, "GET poll: reply is waiting" and "/short: GET with nothing waiting"
    reply = b'["1","1","room:lobby","phx_reply",{"response":{},"status":"ok"}]'
    recorded = (
        r'{"messages":["[\"1\",\"1\",\"room:lobby\",\"phx_reply\",{\"response\":{},\"status\":\"ok\"}]"],'
        r'"status":200,"token":"SFMyNTY.g2g"}'
    )
    assert poll_body(Status.OK, "SFMyNTY.g2g", [quoted_frame(reply)]) == recorded.encode()
    assert poll_body(Status.NO_CONTENT, "SFMyNTY.g2g", []) == b'{"messages":[],"status":204,"token":"SFMyNTY.g2g"}'
    assert poll_body(Status.GONE, "SFMyNTY.g2g") == b'{"messages":[],"status":410,"token":"SFMyNTY.g2g"}'


def test_several_messages_are_a_list_of_strings() -> None:
    body = poll_body(Status.OK, "t", [quoted_frame(b'["a"]'), quoted_frame('["é\U0001f600"]'.encode())])
    assert json.loads(body) == {"messages": ['["a"]', '["é\U0001f600"]'], "status": 200, "token": "t"}


@pytest.mark.parametrize("status", [200, 408, 410, 403, 413, 414])
def test_the_body_of_a_post_or_refusal_is_the_status_alone(status: int) -> None:
    assert status_body(status) == b'{"status":%d}' % status
    assert len(status_body(status)) == 14  # the recorded content-length


def test_http_statuses_are_200_for_whatever_belongs_to_the_protocol() -> None:
    # Phoenix long_poll.ex; 413, 500 and 503 in the body are Broadwing's own.
    assert {status: status.http for status in Status} == {
        Status.OK: 200,
        Status.NO_CONTENT: 200,
        Status.FORBIDDEN: 200,
        Status.TIMEOUT: 200,
        Status.GONE: 200,
        Status.BAD_REQUEST: 400,
        Status.TOO_LARGE: 413,
        Status.SERVER_ERROR: 500,
        Status.UNAVAILABLE: 503,
    }


def test_a_binary_frame_that_is_utf_8_is_carried_as_phoenix_carries_it() -> None:
    # wire/longpoll.txt, "binary push (base64 line in ndjson) of echo": the raw frame as a JSON string
    frame = b"\x01\x01\x01\x0a\x0217room:lobbyokDATA"
    assert quoted_frame(frame) == rb'"\u0001\u0001\u0001\n\u000217room:lobbyokDATA"'


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_a_binary_frame_that_is_not_utf_8_is_carried_in_base64_and_can_be_told_apart(kind: int) -> None:
    # Phoenix answers the poll with HTTP 500 and loses the frame (wire/longpoll.txt, "the reply cannot be JSON").
    frame = bytes((kind, 1, 1, 10, 2)) + b"19room:lobbyok\x00\xff\xfe"
    text = json.loads(quoted_frame(frame))
    assert base64.b64decode(text, validate=True) == frame
    assert text[0] != "["
    assert text[0] > "\u0002"


# What a POST's body holds.


def test_any_other_content_type_or_none_is_one_text_message() -> None:
    body = b'{"topic":"t"}\n{"topic":"u"}'
    for content_type in (None, b"", b"application/json", b"text/plain", b"application/x-www-form-urlencoded"):
        assert read_messages(content_type, body) == [(TEXT, body)]


@pytest.mark.parametrize(
    "content_type", [NDJSON, b"Application/X-NDJSON", b"application/x-ndjson; charset=utf-8", b" application/x-ndjson "]
)
def test_ndjson_is_known_whatever_parameters_it_has(content_type: bytes) -> None:
    # Phoenix compares the whole header; a charset parameter would turn a batch into one undecodable message.
    assert is_ndjson(content_type)


@pytest.mark.parametrize("content_type", [None, b"", b"application/json", b"application/x-ndjsonp", b"x-ndjson"])
def test_other_types_are_not_ndjson(content_type: bytes | None) -> None:
    assert not is_ndjson(content_type)


def test_a_batch_is_split_at_line_ends_of_both_kinds() -> None:
    body = b'["1"]\r\n["2"]\n["3"]'
    assert read_messages(NDJSON, body) == [(TEXT, b'["1"]'), (TEXT, b'["2"]'), (TEXT, b'["3"]')]


def test_a_batch_mixes_text_and_binary_frames_in_base64() -> None:
    frame = b"\x00\x01\x01\x0a\x0419room:lobbyecho\x00\xff\xfe"
    body = b'["1"]\nAAEBCgQxOXJvb206bG9iYnllY2hvAP/+\n["2"]'  # the line of wire/longpoll.txt
    assert read_messages(NDJSON, body) == [(TEXT, b'["1"]'), (BINARY, frame), (TEXT, b'["2"]')]


def test_empty_lines_mean_nothing() -> None:
    # Phoenix takes them as empty binary frames, so that a newline at the end kills the session.
    assert read_messages(NDJSON, b'["1"]\n') == [(TEXT, b'["1"]')]
    assert read_messages(NDJSON, b'\n\r\n["1"]\r\n\n["2"]\r\n\r\n') == [(TEXT, b'["1"]'), (TEXT, b'["2"]')]
    assert read_messages(NDJSON, b"") == []


def test_a_hundred_lines_are_one_batch_with_or_without_a_newline_at_the_end() -> None:
    lines = [b'["%d"]' % number for number in range(MAX_LINES)]
    expected = [(TEXT, line) for line in lines]
    assert MAX_LINES == 100
    assert read_messages(NDJSON, b"\n".join(lines)) == expected
    assert read_messages(NDJSON, b"\r\n".join([*lines, b""])) == expected
    assert read_messages(NDJSON, b"\n".join([*lines, b"", b"", b"\r", b""])) == expected


def test_more_than_a_hundred_lines_are_refused_as_a_whole() -> None:
    # Phoenix drops the rest silently.
    with pytest.raises(BadRequest, match="more than 100 lines") as refused:
        read_messages(NDJSON, b"\n".join([b'["1"]'] * 101))
    assert refused.value.status == 413


@pytest.mark.parametrize(
    "line",
    [
        b"not base64!",  # wire/longpoll.txt, "invalid base64"
        b"QQ",  # without its padding
        b"Q=Q=",
        b"QQ==QQ==",
        b"AP_-",  # the URL alphabet
        b"{}",
        b" QQ==",
        b"\xff\xfe",
    ],
)
def test_a_line_that_is_no_base64_refuses_the_whole_batch(line: bytes) -> None:
    with pytest.raises(BadRequest, match="Base64") as refused:
        read_messages(NDJSON, b'["1"]\n' + line)
    assert refused.value.status == 400


def _peak_of(body: bytes) -> int:
    """Bytes that reading `body` needed beside it."""
    tracemalloc.start()
    try:
        with contextlib.suppress(BadRequest):
            read_messages(NDJSON, body)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("lines", [b"\n", b"\r\n", b"[\n", b"A\n"])
def test_cve_2026_32689_a_body_of_line_ends_is_not_cut_into_millions_of_pieces(lines: bytes) -> None:
    # Phoenix before 1.8.6 split the whole body first. At 33 bytes and more for each piece, 8 MB of line ends took over
    # 260 MB; now it is at most a second copy of the body.
    body = lines * (8_000_000 // len(lines))
    assert _peak_of(body) < 2 * len(body) + 100_000
