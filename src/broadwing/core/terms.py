"""Erlang terms that Python has no type for: atoms, process and reference identifiers, bit strings.

They are values and nothing more. Broadwing reads them from tokens of a Phoenix application and writes them back
unchanged; no process or reference is ever looked up by one.
"""

from dataclasses import dataclass
from typing import Final

from broadwing.exceptions import EtfError

_MAX_ATOM_CHARACTERS: Final = 255  # what the Erlang runtime takes; a longer one could be read by nobody
_MAX_REFERENCE_WORDS: Final = 5  # 3 in all releases, 5 for the pid references of OTP 26
_MAX_U32: Final = 0xFFFFFFFF
_PYTHON_NAMES: Final = {"nil": "None", "true": "True", "false": "False"}


def check_atom_name(name: str) -> str:
    """Return `name` when it can be the name of an atom.

    Raises:
        EtfError: It is longer than 255 characters, or holds half of a surrogate pair.
    """
    if len(name) > _MAX_ATOM_CHARACTERS:
        raise EtfError(f"an atom of {len(name)} characters; Erlang takes at most {_MAX_ATOM_CHARACTERS}")
    if not name.isascii():
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise EtfError("an atom's name holds a lone surrogate, which has no UTF-8 form") from error
    return name


def _check_words(where: str, **words: int) -> None:
    for name, value in words.items():
        if not 0 <= value <= _MAX_U32:
            raise EtfError(f"{where} takes 32-bit numbers; its {name} is outside 0..{_MAX_U32}")


@dataclass(frozen=True, slots=True)
class Atom:
    """An atom other than `nil`, `true` and `false`, which are `None`, `True` and `False`.

    Not equal to the `str` of the same name: in Elixir `%{id: 1}` and `%{"id" => 1}` are different maps too.

    Args:
        name: At most 255 characters.

    Raises:
        EtfError: The name cannot be an atom's, or belongs to `None`, `True` or `False`.
    """

    name: str

    def __post_init__(self) -> None:
        if self.name in _PYTHON_NAMES:
            raise EtfError(f"the atom {self.name} is Python's {_PYTHON_NAMES[self.name]}; use that instead of Atom")
        check_atom_name(self.name)


@dataclass(frozen=True, slots=True)
class Pid:
    """A process identifier of some Erlang node; opaque here.

    Raises:
        EtfError: A number does not fit 32 bits, or the node name cannot be an atom.
    """

    node: str
    id: int
    serial: int
    creation: int

    def __post_init__(self) -> None:
        check_atom_name(self.node)
        _check_words("a pid", id=self.id, serial=self.serial, creation=self.creation)


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference of some Erlang node; opaque here.

    Raises:
        EtfError: There are not 1 to 5 words, one does not fit 32 bits, or the node name cannot be an atom.
    """

    node: str
    creation: int
    words: tuple[int, ...]

    def __post_init__(self) -> None:
        check_atom_name(self.node)
        if not 1 <= len(self.words) <= _MAX_REFERENCE_WORDS:
            raise EtfError(f"a reference has 1 to {_MAX_REFERENCE_WORDS} words, not {len(self.words)}")
        _check_words("a reference", creation=self.creation)
        for word in self.words:
            _check_words("a reference", word=word)


@dataclass(frozen=True, slots=True)
class BitString:
    """A binary whose last byte is used in part.

    Args:
        data: At least one byte; the unused low bits of the last one are zero.
        bits: How many high bits of the last byte count, 1 to 7; with all 8 it is plain `bytes`.

    Raises:
        EtfError: One of these rules is broken.
    """

    data: bytes
    bits: int

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 7:
            raise EtfError(f"a bit string uses 1 to 7 bits of its last byte, not {self.bits}; with 8 it is bytes")
        if not self.data:
            raise EtfError("a bit string has at least one byte; an empty one is b''")
        if self.data[-1] & (0xFF >> self.bits):
            raise EtfError("a bit string's unused low bits are zero; mask the last byte")
