"""Wire version negotiation: a client's `vsn` against the requirements of a mount's serializers."""

import json
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from broadwing.core.quoting import quoted
from broadwing.exceptions import ConfigurationError, InvalidVersion, VersionError

T = TypeVar("T")

# Clients that predate the parameter speak this.
DEFAULT_VERSION = "1.0.0"

# Longer is no version anybody releases, and turning a long run of digits into an int is slow (CVE-2020-10735).
_MOST_CHARACTERS = 64

# https://semver.org/spec/v2.0.0.html, items 2, 9 and 10: no leading zeros in numbers; those of build metadata are free.
_NUMBER = r"(?:0|[1-9][0-9]*)"
_PRE = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_BUILD = r"[0-9A-Za-z-]+"
_SEMVER = re.compile(rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-({_PRE}(?:\.{_PRE})*))?(?:\+{_BUILD}(?:\.{_BUILD})*)?")
_APPROXIMATE = re.compile(rf"({_NUMBER})\.({_NUMBER})")
_TERM = re.compile(r"(==|!=|~>|>=|<=|>|<)?\s*(\S+)")

_Identifier = tuple[bool, int, str]
Version = tuple[int, int, int, bool, tuple[_Identifier, ...]]
"""A version that compares as item 11 of Semantic Versioning says.

Major, minor, patch; whether it is a release, which comes after all its pre-releases; the pre-release's identifiers,
numbers before words. Build metadata has no part in it.
"""

_Test = Callable[[Version], bool]

_OPERATORS: dict[str | None, Callable[[Version, Version], bool]] = {
    None: operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True, slots=True)
class Requirement:
    """What versions are accepted; made by `parse_requirement`.

    Attributes:
        source: The requirement as it was written.
    """

    source: str
    _terms: tuple[tuple[str, _Test], ...]

    def accepts(self, version: Version) -> bool:
        """Tell whether a parsed version is accepted; terms are combined from left to right."""
        result = True
        for connective, test in self._terms:
            result = result and test(version) if connective == "and" else result or test(version)
        return result


def parse_version(text: str) -> Version:
    """Read a version strictly: `MAJOR.MINOR.PATCH`, optionally a pre-release and build metadata.

    Raises:
        InvalidVersion: `2`, `2.0`, `v2.0.0`, `02.0.0` and the like.
    """
    match = _SEMVER.fullmatch(text) if len(text) <= _MOST_CHARACTERS else None
    if match is None:
        raise InvalidVersion(f"Client sent invalid transport version {quoted(text)}")
    return _version(*match.groups())


def _version(major: str, minor: str, patch: str, pre: str | None) -> Version:
    if pre is None:
        return int(major), int(minor), int(patch), True, ()
    identifiers = tuple((False, int(part), "") if part.isdigit() else (True, 0, part) for part in pre.split("."))
    return int(major), int(minor), int(patch), False, identifiers


@lru_cache(maxsize=64)
def parse_requirement(source: str) -> Requirement:
    """Read a requirement such as `~> 2.0.0`, remembered for the next time.

    `~> 2.0.0` means at least 2.0.0 and below 2.1.0; `~> 2.0` means below 3.0.0. `==`, `!=`, `>`, `>=`, `<`, `<=` and
    a version alone are understood too, and terms are combined by `and` and `or` from left to right.

    Raises:
        ConfigurationError: It is none of these.

    Source: elixir `lib/elixir/lib/version.ex`.
    """
    connective = "and"
    terms: list[tuple[str, _Test]] = []
    for at, part in enumerate(re.split(r"\s+(and|or)\s+", source.strip())):
        if at % 2:
            connective = part
        else:
            terms.append((connective, _term(part, source)))
    return Requirement(source, tuple(terms))


def _term(text: str, source: str) -> _Test:
    term = _TERM.fullmatch(text)
    if term is not None and len(text) <= _MOST_CHARACTERS:
        name, version = term.groups()
        if full := _SEMVER.fullmatch(version):
            given = _version(*full.groups())
            if name == "~>":
                return _between(given, given[0], given[1] + 1)
            compare = _OPERATORS[name]
            return lambda version: compare(version, given)
        if name == "~>" and (short := _APPROXIMATE.fullmatch(version)):
            given = _version(short[1], short[2], "0", None)
            return _between(given, given[0] + 1, 0)
    raise ConfigurationError(
        f'a serializer\'s version requirement cannot be read: got {source!r}; accepted are a version ("2.0.0"), '
        'a version after one of ~> == != > >= < <= ("~> 2.0.0"), and several of these joined by "and" or "or"'
    )


def _between(least: Version, major: int, minor: int) -> _Test:
    # `-0` is the lowest pre-release there is: those of the next version are out of reach too.
    limit: Version = (major, minor, 0, False, ((False, 0, ""),))
    return lambda version: least <= version < limit


def matches(requirement: Requirement, version: str) -> bool:
    """Tell whether `version` satisfies `requirement`.

    Pre-releases are compared like any other version, so `2.0.1-rc.1` satisfies `~> 2.0.0`.

    Raises:
        InvalidVersion: `version` is no version, which is another thing than one that does not match.
    """
    return requirement.accepts(parse_version(version))


def negotiate(vsn: object, table: Sequence[tuple[str, T]]) -> T:
    """Choose the first entry whose requirement the client's version satisfies.

    Args:
        vsn: The parameter as it was parsed: usually a string, `None` when the client sent none, anything that a
            query can hold (`vsn[]=2.0.0`) when it did not care.
        table: Requirements in order of preference, each with what it stands for.

    Returns:
        What the requirement stands for.

    Raises:
        InvalidVersion: `vsn` is no version.
        VersionError: No requirement accepts it. The text of either is the warning to log.
    """
    if vsn is None:
        vsn = DEFAULT_VERSION
    if not isinstance(vsn, str):
        raise InvalidVersion(f"Client sent invalid transport version {quoted(json.dumps(vsn))}")
    version = parse_version(vsn)
    for source, target in table:
        if parse_requirement(source).accepts(version):
            return target
    requirements = ", ".join(f'"{source}"' for source, _ in table)
    raise VersionError(
        f"The client's requested transport version {quoted(vsn)} "
        f"does not match server's version requirements of [{requirements}]"
    )
