"""Erlang's external term format, in both directions: the bytes inside tokens and session cookies.

| Python | term |
|---|---|
| `None`, `True`, `False` | the atoms `nil`, `true`, `false` |
| `Atom` | any other atom |
| `int`, `float`, `list`, `tuple`, `dict` | integer, float, proper list, tuple, map |
| `str` | a binary that is UTF-8 |
| `bytes` | a binary; read back as `str` when it happens to be UTF-8, as Elixir has one type for both |
| `Pid`, `Reference`, `BitString` | opaque values that round-trip |

Functions, exports and every unknown tag are refused, so decoding builds nothing that can be called. It is total: any
bytes give a term or an `EtfError`, within bounds on size, depth and number of terms that are checked before memory is
taken. Encoding keeps the same bounds, so what it writes can be read.

Source: the "External Term Format" chapter of the Erlang runtime's guide.
"""

from typing import Any, Final

from broadwing.core.etf_reader import read
from broadwing.core.etf_writer import write
from broadwing.core.terms import Atom, BitString, Pid, Reference
from broadwing.exceptions import EtfError

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_TERMS",
    "Atom",
    "BitString",
    "EtfError",
    "Pid",
    "Reference",
    "decode",
    "encode",
]

MAX_BYTES: Final = 1_048_576
"""Hundred times the largest cookie or URL that travels; below what one request body may bring anyway."""
MAX_DEPTH: Final = 64
"""Containers in containers. Readers and writers recurse, and the interpreter allows about 1,000 frames in all."""
MAX_TERMS: Final = 100_000
"""Room for the longest list that is written as text (65,535). At about 100 bytes for a small object, 10 MB at most."""


def encode(
    term: Any,
    *,
    compressed: bool = False,
    max_bytes: int = MAX_BYTES,
    max_depth: int = MAX_DEPTH,
    max_terms: int = MAX_TERMS,
) -> bytes:
    """Write `term` in the external term format.

    Map keys come in Erlang's term order, so equal maps give equal bytes.

    Args:
        term: A value of the types in the table above, to any level; subclasses count as their base.
        compressed: Deflate the term when that makes it smaller.
        max_bytes: Largest uncompressed size.
        max_depth: How deep containers may nest.
        max_terms: How many values it may hold, elements and keys included.

    Raises:
        EtfError: A value has no term form (NaN, an object, two keys that are one binary), or a bound is passed.
    """
    return write(term, compressed, max_bytes, max_depth, max_terms)


def decode(data: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH, max_terms: int = MAX_TERMS) -> Any:
    """Read one term in the external term format.

    Args:
        data: The whole term, from its version byte 131 on; nothing may follow it.
        max_bytes: Largest size, as it came and after decompression.
        max_depth: How deep containers may nest.
        max_terms: How many values it may hold, elements and keys included.

    Returns:
        The term in the types of the table above.

    Raises:
        EtfError: The bytes are no term, one that Python cannot hold (a list as map key, keys `1` and `1.0` in one
            map, an improper list), one that is not safe (functions), or a bound is passed.
    """
    return read(data, max_bytes, max_depth, max_terms)
