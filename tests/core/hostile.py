"""JSON and near-JSON that a hostile or confused client may send, for both wire versions."""

from typing import Any

import msgspec

from broadwing.core.messages import Message

# RFC 8259: none of these is a JSON text.
NOT_JSON = [
    b"",
    b" ",
    b"{oops",
    b"{",
    b"[",
    b"]",
    b'"',
    b'"open',
    b"{]",
    b"[}",
    b"{a:1}",
    b"{1:2}",
    b"{'a':1}",
    b'{"a"}',
    b'{"a":}',
    b'{"a":1,}',
    b'{,"a":1}',
    b'{"a":1 "b":2}',
    b"[1,]",
    b"[,1]",
    b"[1 2]",
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"nul",
    b"True",
    b"undefined",
    b"01",
    b"+1",
    b".5",
    b"1.",
    b"1e",
    b"-",
    b"0x10",
    b"1_000",
    b'"\\x41"',
    b'"\\u12"',
    b'"\\uZZZZ"',
    b'"\\ud800"',
    b'"\\udc00"',
    b'"\\ud800\\u0041"',
    b'{"\\ud800":1}',
    b'"line\nend"',
    b'"\x00"',
    b"\x00",
    b"// comment\n1",
    b"/* comment */ 1",
    b"1 1",
    b"{} {}",
    b"\xef\xbb\xbf{}",  # a byte order mark (section 8.1)
    b"\xfe\xff",
]

# Values of every JSON type, and containers of them, that may stand where a string is usual.
FOREIGN_TYPES: list[Any] = [
    None,
    True,
    False,
    0,
    5,
    -1,
    2**53 + 1,
    2**64,
    1.0,
    1.5,
    "",
    "1",
    "r" * 10_000,
    "\x00\x7f",
    "é☃😀",
    [],
    [1, "a", None, True, 2.5],
    {},
    {"a": 1, "b": None},
]

NESTED_TYPES: list[Any] = [[[]], [{}], {"a": []}, {"a": {}}, [[[1]]]]

DEEP = {
    "arrays": b"[" * 100_000 + b"]" * 100_000,
    "objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "both in turn": b'[{"a":' * 50_000 + b"1" + b"}]" * 50_000,
    "arrays that never close": b"[" * 1_000_000,
    "objects that never close": b'{"a":' * 100_000,
}


def shown(value: object) -> str:
    """A short name of a case."""
    return repr(value)[:24]


def holds_payload(message: Message, raw: bytes) -> bool:
    """Whether a message's payload is this JSON text, unread."""
    assert isinstance(message.payload, msgspec.Raw)
    return bytes(message.payload) == raw
