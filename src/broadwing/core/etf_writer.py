"""Writing the external term format: one function per type, in a table."""

import math
import struct
import zlib
from collections.abc import Callable
from itertools import pairwise
from types import NoneType
from typing import Any, Final

from broadwing.core.terms import Atom, BitString, Pid, Reference
from broadwing.exceptions import EtfError

_VERSION: Final = b"\x83"
_COMPRESSED: Final = b"\x50"
_MAX_U32: Final = 0xFFFFFFFF
_ACCEPTED: Final = "None, bool, int, float, str, bytes, list, tuple, dict, and Atom, Pid, Reference and BitString of broadwing.core.etf"


class _Writer:
    """The bytes so far, and what is left of the budget."""

    __slots__ = ("_depth", "_max_bytes", "_max_depth", "_terms_left", "out")

    def __init__(self, max_bytes: int, max_depth: int, max_terms: int) -> None:
        self.out = bytearray()
        # Every length on the wire is 32 bits wide; within this bound none can overflow.
        self._max_bytes = min(max_bytes, _MAX_U32)
        self._max_depth = max_depth
        self._depth = 0
        self._terms_left = max_terms

    def put(self, *parts: bytes) -> None:
        for part in parts:
            if len(self.out) + len(part) > self._max_bytes:
                raise EtfError(f"the term takes more than {self._max_bytes} bytes; raise max_bytes if it may")
            self.out += part

    def spend(self, terms: int) -> None:
        self._terms_left -= terms
        if self._terms_left < 0:
            raise EtfError("the term holds more values than allowed; raise max_terms if it may be that large")

    def term(self, value: Any) -> None:
        self.spend(1)
        _writer_of(value)(self, value)

    def terms(self, values: Any) -> None:
        if self._depth == self._max_depth:
            raise EtfError(
                f"the term nests deeper than {self._max_depth} containers, or holds itself; raise max_depth if it may"
            )
        self._depth += 1
        for value in values:
            self.term(value)
        self._depth -= 1


def _sized(layout: str, tag: int, size: int) -> bytes:
    # A size past 32 bits needs no check of its own: so many elements or bytes do not fit max_bytes, and put() says so.
    return struct.pack(layout, tag, min(size, _MAX_U32))


def _atom_bytes(name: str) -> bytes:
    text = name.encode()
    # 255 characters can be more than 255 bytes; only then the form with the wide length is needed.
    return (_sized(">BB", 0x77, len(text)) if len(text) <= 255 else _sized(">BH", 0x76, len(text))) + text


def _put_none(writer: _Writer, _: None) -> None:
    writer.put(_atom_bytes("nil"))


def _put_bool(writer: _Writer, value: bool) -> None:
    writer.put(_atom_bytes("true" if value else "false"))


def _put_atom(writer: _Writer, atom: Atom) -> None:
    writer.put(_atom_bytes(atom.name))


def _put_int(writer: _Writer, number: int) -> None:
    if 0 <= number <= 255:
        writer.put(struct.pack(">BB", 0x61, number))
    elif -(2**31) <= number < 2**31:
        writer.put(struct.pack(">Bi", 0x62, number))
    else:
        size = (number.bit_length() + 7) // 8
        header = _sized(">BB", 0x6E, size) if size <= 255 else _sized(">BI", 0x6F, size)
        writer.put(header, bytes([number < 0]), abs(number).to_bytes(size, "little"))


def _put_float(writer: _Writer, number: float) -> None:
    if not math.isfinite(number):
        raise EtfError(f"the float {number} has no Erlang form; use None or an Atom for it")
    writer.put(struct.pack(">Bd", 0x46, number))


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise EtfError("a str with a lone surrogate has no UTF-8 form; encode it to bytes yourself") from error


def _put_bytes(writer: _Writer, data: bytes) -> None:
    writer.put(_sized(">BI", 0x6D, len(data)), data)


def _put_str(writer: _Writer, text: str) -> None:
    _put_bytes(writer, _utf8(text))


def _is_byte(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255


def _put_list(writer: _Writer, items: list[Any]) -> None:
    if not items:
        writer.put(b"\x6a")
    elif len(items) <= 0xFFFF and all(map(_is_byte, items)):
        writer.spend(len(items))
        writer.put(_sized(">BH", 0x6B, len(items)), bytes(items))
    else:
        writer.put(_sized(">BI", 0x6C, len(items)))
        writer.terms(items)
        writer.put(b"\x6a")


def _put_tuple(writer: _Writer, items: tuple[Any, ...]) -> None:
    writer.put(_sized(">BB", 0x68, len(items)) if len(items) <= 255 else _sized(">BI", 0x69, len(items)))
    writer.terms(items)


def _order(key: Any) -> tuple[int, Any]:
    """Where a map key stands in Erlang's term order, as tuples that Python compares the same way."""
    match key:
        case None | bool():
            return 2, {None: b"nil", True: b"true", False: b"false"}[key]
        case int():
            return 0, key
        case float():
            return 1, key
        case Atom():
            return 2, key.name.encode()
        case Reference():
            return 3, (key.node, key.creation, key.words)
        case Pid():
            return 4, (key.node, key.id, key.serial, key.creation)
        case tuple():
            return 5, (len(key), [_order(item) for item in key])
        case str():
            return 6, (_utf8(key), 8)
        case bytes():
            return 6, (key, 8)
        case BitString():
            return 6, (key.data, key.bits)
    raise _no_term(key)


def _put_map(writer: _Writer, items: dict[Any, Any]) -> None:
    ordered = sorted(((_order(key), key) for key in items), key=lambda pair: pair[0])
    for (left, _), (right, _) in pairwise(ordered):
        if left == right:
            raise EtfError("a dict with one key as str and again as bytes, which is one binary in Erlang; keep one")
    writer.put(_sized(">BI", 0x74, len(items)))
    writer.terms(item for _, key in ordered for item in (key, items[key]))


def _put_pid(writer: _Writer, pid: Pid) -> None:
    writer.put(b"\x58", _atom_bytes(pid.node), struct.pack(">III", pid.id, pid.serial, pid.creation))


def _put_reference(writer: _Writer, reference: Reference) -> None:
    words = reference.words
    writer.put(_sized(">BH", 0x5A, len(words)), _atom_bytes(reference.node))
    writer.put(struct.pack(f">{1 + len(words)}I", reference.creation, *words))


def _put_bit_string(writer: _Writer, value: BitString) -> None:
    writer.put(struct.pack(">BIB", 0x4D, len(value.data), value.bits), value.data)


_WRITERS: Final[dict[type, Callable[[_Writer, Any], None]]] = {
    NoneType: _put_none,
    bool: _put_bool,
    int: _put_int,
    float: _put_float,
    str: _put_str,
    bytes: _put_bytes,
    Atom: _put_atom,
    list: _put_list,
    tuple: _put_tuple,
    dict: _put_map,
    Pid: _put_pid,
    Reference: _put_reference,
    BitString: _put_bit_string,
}


def _no_term(value: Any) -> EtfError:
    return EtfError(f"a {type(value).__name__} has no external term form; accepted are {_ACCEPTED}")


def _writer_of(value: Any) -> Callable[[_Writer, Any], None]:
    # The method resolution order finds `int` for an IntEnum and `bool` before `int`.
    for kind in type(value).__mro__:
        if kind in _WRITERS:
            return _WRITERS[kind]
    raise _no_term(value)


def write(term: Any, compressed: bool, max_bytes: int, max_depth: int, max_terms: int) -> bytes:
    """Write one term; `broadwing.core.etf.encode` says what goes in."""
    writer = _Writer(max_bytes - len(_VERSION), max_depth, max_terms)
    try:
        writer.term(term)
    except RecursionError as error:
        raise EtfError("the term nests deeper than the interpreter's stack allows") from error
    if compressed:
        packed = _COMPRESSED + struct.pack(">I", len(writer.out)) + zlib.compress(writer.out)
        if len(packed) < len(writer.out):
            return _VERSION + packed
    return _VERSION + bytes(writer.out)
