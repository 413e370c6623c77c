"""What a test says of a payload, and how far a payload is from it.

A pattern is a value of the same form with less in it: a mapping need not name every key, and in the place of any value may
stand `...`, a type, a function that judges it, a compiled regular expression, or an object whose `==` judges it.
"""

import re
import types
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from broadwing.core.codec import ENCODE_ERRORS, decode, encode
from broadwing.decoders import InvalidPayload, decoder
from broadwing.exceptions import ConfigurationError, LocalProtocolError


class _Anything:
    """Equal to whatever it is compared with."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "ANY"


ANY: Final = _Anything()
"""Fits every value, as `...` does."""


class Capture:
    """Fits what its pattern fits, and keeps it.

        body = Capture(str)
        channel.assert_push("new_msg", {"body": body})
        assert body.value == "hi"

    Nothing is kept of a message that did not fit as a whole.

    Args:
        pattern: What to accept.

    Attributes:
        values: All that was kept, in order.
    """

    def __init__(self, pattern: Any = ANY) -> None:
        self.pattern = pattern
        self.values: list[Any] = []

    @property
    def value(self) -> Any:
        """The last value that was kept.

        Raises:
            LookupError: There is none.
        """
        if not self.values:
            raise LookupError(f"{self!r} has kept nothing, as no message with it in its pattern has been matched")
        return self.values[-1]

    def __repr__(self) -> str:
        return "Capture()" if self.pattern is ANY else f"Capture({shown(self.pattern)})"


class Exactly:
    """Fits a mapping with these keys and no others. It counts for this mapping, not for those in it.

    Args:
        pattern: The mapping.
    """

    def __init__(self, pattern: Mapping[str, Any]) -> None:
        self.pattern = pattern

    def __repr__(self) -> str:
        return f"Exactly({shown(self.pattern)})"


class Difference(NamedTuple):
    """One place where a value is not what the pattern says.

    Attributes:
        path: Where, as in `users[0].name`; empty for the whole.
        expected: What the pattern says, for people.
        got: What is there.
    """

    path: str
    expected: str
    got: str


_Kept: TypeAlias = list[tuple[Capture, Any]]

# Values that JSON has of its own; any other that stands in a pattern is compared by its JSON form.
_PLAIN: Final = (str, int, float, bool, bytes, types.NoneType)
_MOST_SHOWN: Final = 300
_NOTHING: Final = "nothing: there is no such key"


def differences(pattern: Any, value: Any) -> list[Difference]:
    """Compare a value with a pattern; `Capture`s in it keep their values when there is no difference.

    Args:
        pattern: See the module. A type accepts its instances, and values that it can be read from: `datetime` a time in text, a
            dataclass, `msgspec.Struct` or pydantic model an object with its fields. An instance of one stands for its JSON form.
        value: A payload as a client sees it.

    Returns:
        Where they differ; an empty list means that the value fits.
    """
    kept: _Kept = []
    found = list(_compare(pattern, value, "", kept))
    if not found:
        for capture, what in kept:
            capture.values.append(what)
    return found


def shown(value: Any) -> str:
    """A value for a failure's message, cut where it is long."""
    if value is ...:
        return "..."
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, types.FunctionType):
        return f"what {value.__qualname__}() accepts"
    if type(value) is dict:
        text = "{" + ", ".join(f"{shown(key)}: {shown(each)}" for key, each in value.items()) + "}"
    elif type(value) is list:
        text = "[" + ", ".join(map(shown, value)) + "]"
    else:
        text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}… ({len(text)} characters)"


def _compare(pattern: Any, value: Any, path: str, kept: _Kept) -> Iterator[Difference]:
    if pattern is ANY or pattern is ...:
        return
    if isinstance(pattern, Capture):
        yield from _compare(pattern.pattern, value, path, kept)
        kept.append((pattern, value))
    elif isinstance(pattern, Exactly):
        yield from _compare(pattern.pattern, value, path, kept)
        if isinstance(value, Mapping):
            for key in value:
                if key not in pattern.pattern:
                    yield Difference(_at(path, key), "no such key", shown(value[key]))
    elif isinstance(pattern, Mapping):
        yield from _compare_mapping(pattern, value, path, kept)
    elif type(pattern) in (list, tuple):
        yield from _compare_list(pattern, value, path, kept)
    elif isinstance(pattern, type | types.UnionType):
        if not _is_one(pattern, value):
            yield Difference(path, shown(pattern), shown(value))
    elif not _equal(pattern, value):
        yield from _compare_otherwise(pattern, value, path)


def _compare_mapping(pattern: Mapping[Any, Any], value: Any, path: str, kept: _Kept) -> Iterator[Difference]:
    if not isinstance(value, Mapping):
        yield Difference(path, f"a mapping like {shown(dict(pattern))}", shown(value))
        return
    for key, each in pattern.items():
        if key not in value:
            yield Difference(_at(path, key), shown(each), _NOTHING)
        else:
            yield from _compare(each, value[key], _at(path, key), kept)


def _compare_list(pattern: list[Any] | tuple[Any, ...], value: Any, path: str, kept: _Kept) -> Iterator[Difference]:
    if not isinstance(value, list):
        yield Difference(path, f"a list like {shown(list(pattern))}", shown(value))
        return
    if len(pattern) != len(value):
        yield Difference(path, f"{len(pattern)} elements", f"{len(value)}: {shown(value)}")
        return
    for number, (each, one) in enumerate(zip(pattern, value, strict=True)):
        yield from _compare(each, one, f"{path}[{number}]", kept)


def _compare_otherwise(pattern: Any, value: Any, path: str) -> Iterator[Difference]:
    if isinstance(pattern, re.Pattern):
        if not (isinstance(value, str) and pattern.search(value)):
            yield Difference(path, f"text with {pattern.pattern!r} in it", shown(value))
    elif isinstance(pattern, _PLAIN):
        yield Difference(path, shown(pattern), shown(value))
    elif callable(pattern):
        try:
            accepted = pattern(value)
        except Exception as error:  # a test's own function, which may well not be made for this value
            yield Difference(path, shown(pattern), f"{shown(value)}, which it raised {error!r} for")
        else:
            if not accepted:
                yield Difference(path, shown(pattern), shown(value))
    else:
        try:
            plain = decode(encode(pattern))
        except (LocalProtocolError, *ENCODE_ERRORS):  # an object that only `==` was meant for
            plain = pattern
        if plain is pattern or type(plain) is type(pattern):
            yield Difference(path, shown(pattern), shown(value))
        else:
            yield from _compare(plain, value, path, [])


def _equal(pattern: Any, value: Any) -> bool:
    """Ask the pattern first; JSON has `true` and `1` apart, where Python has not."""
    if isinstance(value, bool) != isinstance(pattern, bool) and isinstance(pattern, int | float):
        return False
    return bool(pattern == value)


def _is_one(pattern: Any, value: Any) -> bool:
    if isinstance(value, bool):
        accepted = pattern.__args__ if isinstance(pattern, types.UnionType) else (pattern,)
        if bool not in accepted and object not in accepted:
            return False
    if isinstance(value, pattern):
        return True
    if pattern in (dict, list, *_PLAIN):
        return False
    try:
        decoder(pattern)[0](msgspec.Raw(encode(value)))
    except (InvalidPayload, ConfigurationError, msgspec.DecodeError):
        return False
    return True


def _at(path: str, key: object) -> str:
    step = key if isinstance(key, str) and key.isidentifier() else f"[{key!r}]"
    return f"{path}.{step}" if path and not step.startswith("[") else f"{path}{step}"
