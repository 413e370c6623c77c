"""The guide lists every option with its default and unit: none is missing, none is made up."""

import ast
import inspect
import re
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import typer.main

from broadwing import DrainOptions, Endpoint, LongPollOptions, Presence, Socket, Tracker, WebSocketOptions
from broadwing.cli.main import app
from broadwing.core import connect_info

GUIDE = Path(__file__).parent.parent / "docs/guide"
PAGE = GUIDE / "options.md"

# What `endpoint.socket` takes as `**log`: overrides of the class attributes of the same names.
LOG_OVERRIDES = ("log", "log_join", "log_handle_in")


class Required:
    """In the place of a default where there is none."""

    def __repr__(self) -> str:
        return "required"


REQUIRED = Required()


def parameters(function: Any) -> dict[str, Any]:
    """The named parameters of a method and their defaults."""
    named = [p for p in list(inspect.signature(function).parameters.values())[1:] if p.kind is not p.VAR_KEYWORD]
    return {p.name: REQUIRED if p.default is p.empty else p.default for p in named}


def options_of(kind: Any) -> dict[str, Any]:
    """The fields of an options class and their defaults."""
    assert is_dataclass(kind)
    return {
        field.name: field.default
        if field.default is not MISSING
        else field.default_factory()
        if field.default_factory is not MISSING
        else REQUIRED
        for field in fields(kind)
    }


def class_attributes(kind: type) -> dict[str, Any]:
    """The attributes that a class declares to be the class's own, and their values."""
    return {
        name: vars(kind)[name]
        for name, annotation in inspect.get_annotations(kind).items()
        if "ClassVar" in str(annotation)
    }


SECTIONS: dict[str, dict[str, Any]] = {
    "Endpoint": parameters(Endpoint.__init__),
    "endpoint.socket": {**parameters(Endpoint.socket), **dict.fromkeys(LOG_OVERRIDES, "the socket's")},
    "WebSocketOptions": options_of(WebSocketOptions),
    "LongPollOptions": options_of(LongPollOptions),
    "DrainOptions": options_of(DrainOptions),
    "Presence": parameters(Presence.__init__),
    "Tracker": parameters(Tracker.__init__),
    "Socket class attributes": class_attributes(Socket),
}


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    section = re.search(rf"(?ms)^## {re.escape(heading)}$(.*?)(?=^## |\Z)", page)
    assert section is not None, f"there is no section {heading!r}"
    table = [line for line in section[1].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table[2:]]


def written_default(cell: str) -> Any:
    """A default as the page has it: Python in backticks, or words."""
    if cell == "required":
        return REQUIRED
    return ast.literal_eval(cell.strip("`")) if cell.startswith("`") else cell


def differences(page: str, heading: str, expected: dict[str, Any]) -> list[str]:
    """What is wrong with the table under a heading."""
    found: list[str] = []
    listed: dict[str, Any] = {}
    for option, default, unit, meaning in rows(page, heading):
        name = option.strip("`")
        if name in listed:
            found.append(f"{name} is listed twice")
        listed[name] = written_default(default)
        if isinstance(listed[name], float) and unit != "s":
            found.append(f"{name} is a duration and its unit is not s")
        if "bytes" in name and unit != "B":
            found.append(f"{name} is a size and its unit is not B")
        if not meaning:
            found.append(f"{name} has no meaning")
    found += [f"{name} is missing" for name in expected if name not in listed]
    for name, default in listed.items():
        if name not in expected:
            found.append(f"{name} is no option")
        elif (type(default), default) != (type(expected[name]), expected[name]):
            found.append(f"{name} has the default {expected[name]!r}, not {default!r}")
    return found


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_option_is_listed_with_its_default_and_unit(heading: str) -> None:
    assert differences(PAGE.read_text("utf-8"), heading, SECTIONS[heading]) == []


def test_every_name_of_connect_info_is_listed() -> None:
    names = [option.strip("`") for option, _ in rows(PAGE.read_text("utf-8"), "connect_info")]
    assert sorted(names) == sorted(connect_info.NAMES)


def test_sockets_take_the_log_options_that_are_listed() -> None:
    overrides: dict[str, Any] = dict.fromkeys(LOG_OVERRIDES)
    Endpoint().socket("/socket", Socket, **overrides)


def test_every_option_of_broadwing_serve_is_listed_with_its_default() -> None:
    command: Any = typer.main.get_command(app)
    options = {
        name: parameter.default
        for parameter in command.commands["serve"].params
        for name in parameter.opts
        if name.startswith("--")
    }
    page = (GUIDE / "deployment.md").read_text("utf-8")
    listed = {name.strip("`"): written_default(default) for name, default, _ in rows(page, "Serving")}
    assert listed == options


# The tests below show that the ones above can fail.

EXAMPLE = """
## Other

| option | default | unit | meaning |
|---|---|---|---|
| `elsewhere` | `1` | | Of another section |

## Example

| option | default | unit | meaning |
|---|---|---|---|
| `wait` | `2.0` | s | How long |
| `names` | `("a", "b")` | | Which; `"a\\|b"` too |
| `max_bytes` | `1_000` | B | How much |
| `app` | required | | What |

## Next
"""
RIGHT = {"wait": 2.0, "names": ("a", "b"), "max_bytes": 1000, "app": REQUIRED}


def test_a_table_that_agrees_has_no_differences() -> None:
    assert differences(EXAMPLE, "Example", RIGHT) == []


def test_options_that_are_missing_or_made_up_are_found() -> None:
    assert differences(EXAMPLE, "Example", {**RIGHT, "more": 1}) == ["more is missing"]
    assert differences(EXAMPLE, "Example", {k: v for k, v in RIGHT.items() if k != "names"}) == ["names is no option"]


@pytest.mark.parametrize(("name", "default"), [("wait", 3.0), ("wait", 2), ("names", ("a",)), ("app", None)])
def test_wrong_defaults_are_found(name: str, default: Any) -> None:
    assert differences(EXAMPLE, "Example", {**RIGHT, name: default}) == [
        f"{name} has the default {default!r}, not {RIGHT[name]!r}"
    ]


def test_wrong_units_and_empty_cells_are_found() -> None:
    assert differences(EXAMPLE.replace("| s |", "| ms |"), "Example", RIGHT) == [
        "wait is a duration and its unit is not s"
    ]
    assert differences(EXAMPLE.replace("| B |", "| |"), "Example", RIGHT) == [
        "max_bytes is a size and its unit is not B"
    ]
    assert differences(EXAMPLE.replace("| What |", "| |"), "Example", RIGHT) == ["app has no meaning"]
