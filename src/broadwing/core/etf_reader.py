"""Reading the external term format: one function per tag, in a table.

Whatever the bytes are, they give a term or an `EtfError`. Every length is compared with the bytes that are left before
anything is allocated for it, and each value counts against a budget.
"""

import math
import re
import struct
import zlib
from collections.abc import Callable
from typing import Any, Final

from broadwing.core.terms import Atom, BitString, Pid, Reference, check_atom_name
from broadwing.exceptions import EtfError

_VERSION: Final = 131
_COMPRESSED: Final = 0x50
_NIL: Final = 0x6A
_CONSTANTS: Final = {"nil": None, "true": True, "false": False}
_REFUSED: Final = {0x70: "a function", 0x71: "an exported function", 0x75: "a function"}
# What C's "%.20e" writes. Python's float() alone would take "nan", "1_0" and blanks as well.
_OLD_FLOAT: Final = re.compile(rb"([+-]?\d+\.\d+(?:[eE][+-]?\d+)?)\x00*")


def _too_many() -> EtfError:
    return EtfError("the term holds more values than allowed; raise max_terms if it may be that large")


class _Reader:
    """A position in the bytes, and what is left of the budget."""

    __slots__ = ("_data", "_depth", "_max_depth", "_position", "_terms_left")

    def __init__(self, data: bytes, max_depth: int, max_terms: int) -> None:
        self._data = data
        self._position = 0
        self._depth = 0
        self._max_depth = max_depth
        self._terms_left = max_terms

    @property
    def left(self) -> int:
        return len(self._data) - self._position

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise EtfError(f"the term ends early: byte {self._position} needs {count} more, {self.left} are left")
        start = self._position
        self._position += count
        return self._data[start : start + count]

    def u8(self) -> int:
        return self.take(1)[0]

    def u16(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def spend(self, terms: int) -> None:
        self._terms_left -= terms
        if self._terms_left < 0:
            raise _too_many()

    def term(self) -> Any:
        self.spend(1)
        tag = self.u8()
        reader = _READERS.get(tag)
        if reader is None:
            what = _REFUSED.get(tag, f"the unknown tag {tag}")
            raise EtfError(f"{what} at byte {self._position - 1}; accepted are {_ACCEPTED}")
        return reader(self)

    def terms(self, count: int) -> list[Any]:
        # A term is at least one byte and one value: a header that claims 2^32 elements stops here, not in a loop.
        if count > self.left:
            raise EtfError(f"byte {self._position} announces {count} terms, but only {self.left} bytes follow")
        if count > self._terms_left:
            raise _too_many()
        if self._depth == self._max_depth:
            raise EtfError(f"the term nests deeper than {self._max_depth} containers; raise max_depth if it may")
        self._depth += 1
        items = [self.term() for _ in range(count)]
        self._depth -= 1
        return items

    def node(self) -> str:
        """The name of the node in a pid or reference, always written as an atom."""
        tag = self.u8()
        if tag not in _ATOM_NAMES:
            raise EtfError(f"a pid or reference whose node is no atom but tag {tag}")
        return _ATOM_NAMES[tag](self)


def _latin1(name: bytes) -> str:
    return check_atom_name(name.decode("latin-1"))


def _utf8(name: bytes) -> str:
    try:
        return check_atom_name(name.decode())
    except UnicodeDecodeError as error:
        raise EtfError("an atom's name is not UTF-8") from error


_ATOM_NAMES: Final[dict[int, Callable[[_Reader], str]]] = {
    0x64: lambda reader: _latin1(reader.take(reader.u16())),
    0x73: lambda reader: _latin1(reader.take(reader.u8())),
    0x76: lambda reader: _utf8(reader.take(reader.u16())),
    0x77: lambda reader: _utf8(reader.take(reader.u8())),
}


def _atom(tag: int) -> Callable[[_Reader], Atom | bool | None]:
    read_name = _ATOM_NAMES[tag]

    def read_atom(reader: _Reader) -> Atom | bool | None:
        name = read_name(reader)
        return _CONSTANTS[name] if name in _CONSTANTS else Atom(name)

    return read_atom


def _big(reader: _Reader, size: int) -> int:
    sign = reader.u8()
    if sign > 1:
        raise EtfError(f"an integer's sign is 0 or 1, not {sign}")
    magnitude = int.from_bytes(reader.take(size), "little")
    return -magnitude if sign else magnitude


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise EtfError("a float that is infinite or not a number; Erlang has neither")
    return value


def _new_float(reader: _Reader) -> float:
    (value,) = struct.unpack(">d", reader.take(8))
    return _finite(value)


def _old_float(reader: _Reader) -> float:
    text = _OLD_FLOAT.fullmatch(reader.take(31))
    if text is None:
        raise EtfError("a float written as text that is no decimal number")
    return _finite(float(text[1]))


def _text_or_bytes(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _bit_string(reader: _Reader) -> str | bytes | BitString:
    size, bits = reader.u32(), reader.u8()
    data = reader.take(size)
    if bits > 8 or (bits == 0) != (size == 0):
        raise EtfError(f"a bit string of {size} bytes that uses {bits} bits of the last one")
    if bits in (0, 8):
        return _text_or_bytes(data)
    # The unused bits mean nothing and need not be zero on the wire.
    return BitString(data[:-1] + bytes([data[-1] & ~(0xFF >> bits)]), bits)


def _charlist(reader: _Reader) -> list[int]:
    data = reader.take(reader.u16())
    reader.spend(len(data))
    return list(data)


def _list(reader: _Reader) -> list[Any]:
    items = reader.terms(reader.u32())
    if reader.u8() != _NIL:
        raise EtfError("an improper list; Python lists have no tail but the empty list")
    return items


def _map(reader: _Reader) -> dict[Any, Any]:
    items = reader.terms(2 * reader.u32())
    result: dict[Any, Any] = {}
    try:
        for key, value in zip(items[::2], items[1::2], strict=True):
            if key in result:
                raise EtfError("a map with two keys that are equal in Python, such as 1 and 1.0 or true")
            result[key] = value
    except TypeError as error:
        raise EtfError("a map with a list or a map as key, which a Python dict cannot hold") from error
    return result


def _pid(creation: Callable[[_Reader], int]) -> Callable[[_Reader], Pid]:
    return lambda reader: Pid(reader.node(), reader.u32(), reader.u32(), creation(reader))


def _reference(creation: Callable[[_Reader], int]) -> Callable[[_Reader], Reference]:
    def read_reference(reader: _Reader) -> Reference:
        size = reader.u16()
        node, created = reader.node(), creation(reader)
        words = reader.take(4 * size)
        return Reference(node, created, struct.unpack(f">{size}I", words))

    return read_reference


_READERS: Final[dict[int, Callable[[_Reader], Any]]] = {
    0x46: _new_float,
    0x4D: _bit_string,
    0x58: _pid(_Reader.u32),
    0x5A: _reference(_Reader.u32),
    0x61: _Reader.u8,
    0x62: lambda reader: int.from_bytes(reader.take(4), "big", signed=True),
    0x63: _old_float,
    0x64: _atom(0x64),
    0x67: _pid(_Reader.u8),
    0x68: lambda reader: tuple(reader.terms(reader.u8())),
    0x69: lambda reader: tuple(reader.terms(reader.u32())),
    _NIL: lambda _: [],
    0x6B: _charlist,
    0x6C: _list,
    0x6D: lambda reader: _text_or_bytes(reader.take(reader.u32())),
    0x6E: lambda reader: _big(reader, reader.u8()),
    0x6F: lambda reader: _big(reader, reader.u32()),
    0x72: _reference(_Reader.u8),
    0x73: _atom(0x73),
    0x74: _map,
    0x76: _atom(0x76),
    0x77: _atom(0x77),
}
_ACCEPTED: Final = "numbers, atoms, binaries, bit strings, lists, tuples, maps, pids and references"


def _inflate(data: bytes, max_bytes: int) -> bytes:
    if len(data) < 4:
        raise EtfError("a compressed term without its size")
    size = int.from_bytes(data[:4], "big")
    if size > max_bytes:
        raise EtfError(f"a compressed term of {size} bytes; at most {max_bytes} are accepted")
    stream = zlib.decompressobj()
    try:
        # One byte more than announced, so that a bomb shows itself and costs no more than it said.
        body = stream.decompress(data[4:], size + 1)
    except zlib.error as error:
        raise EtfError("a compressed term that is no zlib stream") from error
    if len(body) != size or not stream.eof or stream.unused_data:
        raise EtfError(f"a compressed term that is not the {size} bytes it announces")
    return body


def read(data: bytes, max_bytes: int, max_depth: int, max_terms: int) -> Any:
    """Read one term; `broadwing.core.etf.decode` says what comes out."""
    if len(data) > max_bytes:
        raise EtfError(f"a term of {len(data)} bytes; at most {max_bytes} are accepted")
    if data[:1] != bytes([_VERSION]):
        raise EtfError(f"an external term begins with byte {_VERSION}; this begins with {data[:1].hex() or 'nothing'}")
    body = _inflate(data[2:], max_bytes) if data[1:2] == bytes([_COMPRESSED]) else data[1:]
    reader = _Reader(body, max_depth, max_terms)
    try:
        term = reader.term()
    except RecursionError as error:
        # max_depth was raised, or the caller's own stack was nearly used up.
        raise EtfError("the term nests deeper than the interpreter's stack allows") from error
    if reader.left:
        raise EtfError(f"{reader.left} bytes follow the term")
    return term
