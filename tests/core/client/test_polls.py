"""Long polling as the client understands it, by the cases of docs/protocol.md."""

import base64
from collections import deque
from typing import Any

import pytest

from broadwing.core.client.polls import Polled, batch, polled
from broadwing.core.client.wire import Encoded

V1, V2 = "1.0.0", "2.0.0"


class TestAnswers:
    def test_the_first_410_opens_the_session(self) -> None:
        assert polled({"status": 410, "token": "T", "messages": []}, None, V2) == Polled("T", opened=True)

    def test_a_later_410_means_that_the_session_is_gone(self) -> None:
        assert polled({"status": 410, "token": "N"}, "T", V2).closed == (3410, "session_gone")

    def test_204_goes_on(self) -> None:
        assert polled({"status": 204, "token": "T", "messages": []}, "T", V2) == Polled("T")

    def test_200_brings_messages_in_order_and_the_token(self) -> None:
        answer = {"status": 200, "token": "T2", "messages": ["[1]", "[2]"]}
        assert polled(answer, "T", V2) == Polled("T2", ("[1]", "[2]"))

    def test_403_is_forbidden(self) -> None:
        assert polled({"status": 403}, None, V2).closed == (1008, "forbidden")

    @pytest.mark.parametrize("answer", [{"status": 500}, {}, None, "<html>", {"status": 410}, {"status": 200}, []])
    def test_anything_else_ends_in_1011(self, answer: Any) -> None:
        closed = polled(answer, None, V2).closed
        assert closed is not None
        assert closed[0] == 1011

    def test_bytes_come_in_base64_or_as_they_are(self) -> None:
        frame = b"\x02\x01\x01te\x00\xff"
        ascii_frame = b"\x02\x01\x01te!"
        answer = {
            "status": 200,
            "messages": [base64.b64encode(frame).decode(), ascii_frame.decode(), "", "no base64!", 7],
        }
        assert polled(answer, "T", V2).messages == (frame, ascii_frame, b"", "no base64!")

    def test_in_version_1_all_is_text(self) -> None:
        assert polled({"status": 200, "messages": ["AAAA"]}, "T", V1).messages == ("AAAA",)


class TestBatches:
    def test_one_post_takes_a_hundred_lines(self) -> None:
        queue: deque[Encoded] = deque(f"[{n}]" for n in range(150))
        content_type, content = batch(queue, V2)
        assert content_type == "application/x-ndjson"
        assert content.split(b"\n") == [b"[%d]" % n for n in range(100)]
        assert batch(queue, V2)[1].split(b"\n") == [b"[%d]" % n for n in range(100, 150)]
        assert not queue

    def test_bytes_are_lines_of_base64(self) -> None:
        assert batch(deque(["[1]", b"\x00\xff"]), V2)[1] == b"[1]\nAP8="

    def test_one_post_stays_below_what_the_server_reads(self) -> None:
        queue: deque[Encoded] = deque(["x" * 4_000_000, "y" * 4_000_000])
        assert len(batch(queue, V2)[1]) == 4_000_000
        assert len(queue) == 1

    def test_a_message_that_is_too_large_by_itself_is_still_sent(self) -> None:
        queue: deque[Encoded] = deque(["x" * 9_000_000])
        assert len(batch(queue, V2)[1]) == 9_000_000

    def test_in_version_1_one_post_takes_one_message(self) -> None:
        queue: deque[Encoded] = deque(['{"a":1}', '{"b":2}', b"\x00"])
        assert batch(queue, V1) == ("application/json", b'{"a":1}')
        assert batch(queue, V1) == ("application/json", b'{"b":2}')
        assert batch(queue, V1) == ("application/json", b"\x00")
