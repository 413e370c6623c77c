"""What trackers say to each other, and how it is written: MessagePack, by msgspec, version 1.

    heartbeat           sender, what it knows, what changed at it or nothing      to all
    transfer_request    sender, number, what it knows                             to one
    transfer            sender, number, what the other one lacks                  to one
    permdown            sender                                                    to all

A message is an array that begins with the version. What is longer than 256 KiB travels in parts; see `parts`. Metas are JSON objects, written
as they go to clients. Nothing here can be executed, and nothing that is announced takes memory before it is there.

Source of the messages: phoenix_pubsub `lib/phoenix/tracker/shard.ex`. The bytes are Broadwing's own: its nodes and Phoenix's are never on one bus.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final, TypeAlias

import msgspec

from broadwing.core.codec import ENCODE_ERRORS, decode, encode, unencodable
from broadwing.core.presence.clock import Context
from broadwing.core.presence.deltas import Delta, Entry, Interval
from broadwing.core.presence.replica import Replica
from broadwing.exceptions import EnvelopeError, LocalProtocolError

VERSION: Final = 1

MAX_TOPIC: Final = 1_024
MAX_KEY: Final = 1_024
MAX_META: Final = 65_536
"""Most characters of a topic and of a key, and most bytes of a meta as JSON. Held where a presence is tracked, and again here."""

# `phx_ref` and `phx_ref_prev` are put into a meta after it was measured.
_ROOM_FOR_REFS: Final = 128


class Heartbeat(msgspec.Struct, frozen=True):
    """A sign of life.

    Attributes:
        sender: Who lives.
        context: What it knows.
        delta: What changed at it since its last one; `None`: nothing.
    """

    sender: Replica
    context: Context
    delta: Interval | None = None


class TransferRequest(msgspec.Struct, frozen=True):
    """Asks for what the sender has missed.

    Attributes:
        sender: Who asks.
        ref: Comes back with the answer.
        context: What it knows, and with it, whom it knows.
    """

    sender: Replica
    ref: int
    context: Context


class Transfer(msgspec.Struct, frozen=True):
    """The answer.

    Attributes:
        sender: Who answers.
        ref: That of the request.
        delta: What the other one has missed.
    """

    sender: Replica
    ref: int
    delta: Delta


class Permdown(msgspec.Struct, frozen=True):
    """Goodbye.

    Attributes:
        sender: Who goes, for good.
    """

    sender: Replica


Message: TypeAlias = Heartbeat | TransferRequest | Transfer | Permdown


# What is written.

_Clock = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
_Name = Annotated[str, msgspec.Meta(max_length=1_024)]
_Topic = Annotated[str, msgspec.Meta(max_length=MAX_TOPIC)]
_Key = Annotated[str, msgspec.Meta(max_length=MAX_KEY)]
_Json = Annotated[bytes, msgspec.Meta(max_length=MAX_META)]
_Replica: TypeAlias = tuple[_Name, _Clock]
_Context: TypeAlias = Annotated[list[tuple[_Name, _Clock, _Clock]], msgspec.Meta(max_length=10_000)]


class _Interval(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    start: _Clock
    end: _Clock
    removed: list[_Clock]
    values: dict[_Topic, list[tuple[_Clock, _Name, _Key, _Json]]]  # clock, owner, key, meta


class _Heartbeat(msgspec.Struct, array_like=True, frozen=True):
    version: int
    sender: _Replica
    context: _Context
    delta: _Interval | None


class _TransferRequest(msgspec.Struct, array_like=True, frozen=True):
    version: int
    sender: _Replica
    ref: _Clock
    context: _Context


class _Transfer(msgspec.Struct, array_like=True, frozen=True):
    version: int
    sender: _Replica
    ref: _Clock
    delta: Annotated[list[tuple[_Replica, _Interval]], msgspec.Meta(max_length=10_000)]


class _Permdown(msgspec.Struct, array_like=True, frozen=True):
    version: int
    sender: _Replica


_pack: Final = msgspec.msgpack.Encoder().encode


def check_place(topic: Any, key: Any) -> None:
    """See that a presence can be where it is to be.

    Raises:
        LocalProtocolError: The topic or the key is no string, or too long.
    """
    for name, value, limit in (("topic", topic, MAX_TOPIC), ("key", key, MAX_KEY)):
        if not isinstance(value, str):
            raise LocalProtocolError(f"the {name} of a presence is a string, got {value!r}; write str({value!r})")
        if len(value) > limit or not _is_text(value):
            raise LocalProtocolError(
                f"the {name} of a presence is text of at most {limit:,} characters, got {len(value):,}: {value[:40]!r}…"
            )


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def meta_of(meta: Any) -> dict[str, Any]:
    """A meta as every node and every client will see it: a copy, of nothing but what JSON has.

    Raises:
        LocalProtocolError: It is no object, has no JSON form, or is too large.
    """
    try:
        data = encode(meta)
    except ENCODE_ERRORS as error:
        raise unencodable(error) from error
    if data[:1] != b"{":
        raise LocalProtocolError(
            f"a meta is a mapping, e.g. {{'online_at': 1}}, got {type(meta).__name__}: {meta!r:.40}"
        )
    if len(data) > MAX_META - _ROOM_FOR_REFS:
        raise LocalProtocolError(
            f"a meta has {len(data):,} bytes as JSON, there is room for {MAX_META - _ROOM_FOR_REFS:,}; every node keeps it and "
            "every client of the topic is sent it, so put an id there and look up the rest"
        )
    made: dict[str, Any] = decode(data)
    return made


def encode_message(message: Message) -> tuple[str, bytes]:
    """Write a message: its event, and its bytes."""
    match message:
        case Heartbeat():
            delta = None if message.delta is None else _written(message.delta)
            return "heartbeat", _pack(_Heartbeat(VERSION, message.sender, _listed(message.context), delta))
        case TransferRequest():
            return "transfer_request", _pack(
                _TransferRequest(VERSION, message.sender, message.ref, _listed(message.context))
            )
        case Transfer():
            intervals: list[tuple[_Replica, _Interval]] = [
                (replica, _written(interval)) for replica, interval in message.delta.items()
            ]
            return "transfer", _pack(_Transfer(VERSION, message.sender, message.ref, intervals))
        case Permdown():
            return "permdown", _pack(_Permdown(VERSION, message.sender))


def _listed(context: Context) -> list[tuple[str, int, int]]:
    return [(name, vsn, clock) for (name, vsn), clock in context.items()]


def _written(interval: Interval) -> _Interval:
    values: dict[str, list[tuple[int, str, str, bytes]]] = {}
    for clock, entry in interval.values.items():
        row = (clock, entry.owner, entry.key, encode(entry.meta))
        rows = values.get(entry.topic)
        if rows is None:
            values[entry.topic] = [row]
        else:
            rows.append(row)
    return _Interval(interval.start, interval.end, list(interval.removed), values)


def decode_message(event: str, data: bytes) -> Message:
    """Read a message.

    Raises:
        EnvelopeError: It is none: foreign, damaged, too large in some part, or of another version.
    """
    read = _READERS.get(event)
    if read is None:
        raise EnvelopeError(f"trackers say {', '.join(_READERS)}, not {event[:40]!r}")
    decoder, made = read
    try:
        written = decoder(data)
        if written.version != VERSION:
            raise EnvelopeError(f"a {event} of version {written.version}, where {VERSION} is spoken")
        message: Message = made(written)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise EnvelopeError(f"a {event} cannot be read: {error}") from error
    return message


def _heartbeat(written: _Heartbeat) -> Heartbeat:
    delta = None if written.delta is None else _interval(written.delta)
    return Heartbeat(Replica(*written.sender), _context(written.context), delta)


def _transfer_request(written: _TransferRequest) -> TransferRequest:
    return TransferRequest(Replica(*written.sender), written.ref, _context(written.context))


def _transfer(written: _Transfer) -> Transfer:
    delta = {Replica(*replica): _interval(interval) for replica, interval in written.delta}
    return Transfer(Replica(*written.sender), written.ref, delta)


def _permdown(written: _Permdown) -> Permdown:
    return Permdown(Replica(*written.sender))


def _context(listed: list[tuple[str, int, int]]) -> Context:
    return {Replica(name, vsn): clock for name, vsn, clock in listed}


def _interval(written: _Interval) -> Interval:
    start, end = written.start, written.end
    values: dict[int, Entry] = {}
    places = set()
    for topic, rows in written.values.items():
        for clock, owner, key, data in rows:
            meta = decode(data)
            if not start < clock <= end or type(meta) is not dict:
                raise ValueError(f"a presence at {clock} in ({start}, {end}], with a meta of {type(meta).__name__}")
            values[clock] = Entry(topic, owner, key, meta, clock)
            places.add((topic, owner, key))
    if len(places) != len(values) or len(places) != sum(map(len, written.values.values())):
        raise ValueError("a presence is there twice")
    if start > end or any(clock > start for clock in written.removed):
        raise ValueError(f"({start}, {end}] says that something later has left")
    if len(written.values) > 1:  # they were put together by topic; order tells who came first
        values = dict(sorted(values.items()))
    return Interval(start, end, values, set(written.removed))


_READERS: Final[dict[str, tuple[Callable[[bytes], Any], Callable[[Any], Message]]]] = {
    "heartbeat": (msgspec.msgpack.Decoder(_Heartbeat).decode, _heartbeat),
    "transfer_request": (msgspec.msgpack.Decoder(_TransferRequest).decode, _transfer_request),
    "transfer": (msgspec.msgpack.Decoder(_Transfer).decode, _transfer),
    "permdown": (msgspec.msgpack.Decoder(_Permdown).decode, _permdown),
}
