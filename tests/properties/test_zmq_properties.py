"""Frames of a mesh: what is written is read, and whatever else arrives is an error and nothing worse."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from broadwing.pubsub.zmq_frames import (
    MESSAGES,
    addressee,
    head,
    hello,
    read_addressee,
    read_head,
    read_hello,
    read_records,
    read_token,
    record,
)

SENDERS = st.binary(min_size=8, max_size=8)
NUMBERS = st.integers(0, 2**64 - 1)
# JSON can hold halves of surrogate pairs, so topics can.
TOPICS = st.text(st.characters())
READERS = [read_addressee, read_records, read_hello, read_token]


@given(st.integers(0, 255), SENDERS, NUMBERS)
def test_heads_are_read_as_written(kind: int, sender: bytes, number: int) -> None:
    data = head(kind, sender, number)
    assert read_head(data) == (kind, sender, number, len(data))


@given(st.lists(st.tuples(TOPICS, st.binary())), SENDERS, NUMBERS)
def test_records_are_read_as_written(records: list[tuple[str, bytes]], sender: bytes, number: int) -> None:
    begin = head(MESSAGES, sender, number)
    data = begin + b"".join(b"".join(record(topic, data)) for topic, data in records)
    assert read_records(data, len(begin)) == records


@given(TOPICS.filter(lambda name: len(name) < 10_000), st.binary())
def test_addressees_are_read_as_written(name: str, rest: bytes) -> None:
    data = addressee(name)
    assert read_addressee(data + rest, 0) == (name, len(data))


@given(SENDERS, TOPICS.filter(lambda name: len(name) < 10_000), st.text())
def test_hellos_are_read_as_written(token: bytes, name: str, address: str) -> None:
    assert read_hello(hello(token, name, address), 0) == (token, name, address)


@given(st.binary())
def test_any_bytes_are_a_frame_or_an_error(data: bytes) -> None:
    for begin in (b"", head(MESSAGES, b"12345678", 1)):
        try:
            start = read_head(begin + data).start
        except ValueError:
            start = 0
        for read in READERS:
            with contextlib.suppress(ValueError):
                read(begin + data, start)


@given(st.lists(st.tuples(TOPICS, st.binary()), min_size=1), st.data())
def test_a_frame_that_is_cut_is_never_read_as_whole(records: list[tuple[str, bytes]], data: st.DataObject) -> None:
    whole = b"".join(b"".join(record(topic, content)) for topic, content in records)
    cut = data.draw(st.integers(0, len(whole) - 1))
    try:
        read = read_records(whole[:cut], 0)
    except ValueError:
        return
    assert read == records[: len(read)]
    assert len(read) < len(records)
