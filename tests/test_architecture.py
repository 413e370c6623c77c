"""Which room of Broadwing may import what, as a table, and the tests that hold every module against it.

A room is a subpackage or a group of modules with one task. The arrows below keep the protocol testable without a loop,
the bus ignorant of channels, and every transport and framework replaceable. To add a room or a dependency, add a row.
"""

import ast
import inspect
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import pytest

import broadwing

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "broadwing"


# The first row that fits a module is its room; `core.*` is the subpackage with all that is in it. The last column names
# the rooms that may be imported from there, besides the room itself.
ROOMS_TABLE = """
    room         | its modules           | may import
    -------------+-----------------------+----------------------------------------------------------------------------
    ground       | exceptions types prompt methods |
    core         | core.*                | ground
    pubsub       | pubsub.*              | ground
    presence     | presence.*            | bus core pubsub telemetry ground
    encryptor    | encryptor             | core ground
    token        | token                 | encryptor core ground
    session      | session               | encryptor core ground
    telemetry    | telemetry             | core ground
    contract     | transports.base       | core ground
    options      | transports.options    | core ground
    longpoll     | transports.longpoll*  | transports contract options pubsub core token telemetry ground
    transports   | transports.*          | longpoll contract options core token telemetry ground
    bus          | bus publisher*        | pubsub core ground
    endpoint     | endpoint              | server bus presence longpoll transports contract options pubsub core token session telemetry ground
    serving      | serving* supervisor   | transports contract ground
    clients      | client.*              | core ground
    integrations | integrations.*        | public ground
    console      | console.*             | clients core ground
    cli          | cli.* __main__        | public console serving ground
    testing      | testing.*             | *
    public       | broadwing             | endpoint bus server presence token session telemetry pubsub core clients options ground
    server       | *                     | endpoint bus presence contract options pubsub core token session telemetry ground
"""
# core          pure: bytes and messages in, events and effects out; no loop, socket, clock, chance or log (VALUES).
# pubsub        messages are opaque to it: adapters carry bytes, the codec is handed in.
# bus           the same for applications: messages are events with payloads; and the publisher for programs without a loop.
# contract      where server and transports meet; the only thing either knows of the other. The endpoint joins the two.
# longpoll      reaches a poll session on another node, hence the bus.
# options       what can be set for each transport: plain values, read by all who deal with mounts.
# serving       runs an application with uvicorn and the lean path; the command line's other door.
# server        what is left at the top: socket, channel, connection, channel_runner, fastlane, handlers, ...
# clients       `broadwing.client`, which speaks to servers, ours and others; it knows nothing of the one in this package.
# console       `broadwing connect`; the command line loads it when it is used, as it needs packages of an extra.
# public        `broadwing/__init__.py`: re-exports, no logic. Integrations and the command line use nothing else.
# testing       may look anywhere; nobody looks at it.

# Packages from outside, and the modules that may know them. Each has its reason in docs/decisions/.
PACKAGES = {
    "msgspec": "*",
    "typing_extensions": "*",
    "uvicorn": "transports.uvicorn* transports.websocket* serving*",
    "uvloop": "cli.*",
    "httptools": "transports.uvicorn* transports.websocket*",
    "redis": "pubsub.redis*",
    "nats": "pubsub.nats*",
    "zmq": "pubsub.zmq* pubsub.cluster*",
    "cryptography": "encryptor",
    "pydantic": "handlers* payloads*",
    "websockets": "client.websocket",
    "httpx": "client.longpoll",
    "prompt_toolkit": "console.prompt",
    "typer": "cli.*",
    "rich": "cli.*",
    "starlette": "integrations.starlette",
    "fastapi": "integrations.fastapi",
    "django": "integrations.django",
    "pytest": "testing.*",
}

# All that core may take from the standard library: values and functions of values. No loop, socket, clock, chance or log.
VALUES = frozenset(
    {
        *(
            "__future__",
            "abc",
            "array",
            "base64",
            "binascii",
            "bisect",
            "codecs",
            "collections",
            "collections.abc",
            "contextlib",
        ),
        *(
            "copy",
            "dataclasses",
            "decimal",
            "enum",
            "fractions",
            "functools",
            "hashlib",
            "heapq",
            "hmac",
            "html",
            "http",
        ),
        *("itertools", "json", "math", "numbers", "operator", "re", "string", "struct", "types", "typing"),
        *("unicodedata", "urllib.parse", "zlib"),
    }
)

# A module is about one thing. Past 300 lines it is worth asking whether it is two; past this it is.
MOST_LINES = 450


@dataclass(frozen=True)
class Room:
    modules: str
    may: frozenset[str]


def rooms() -> dict[str, Room]:
    """The rows of the table."""
    rows = [[cell.strip() for cell in line.split("|")] for line in ROOMS_TABLE.strip().splitlines()[2:]]
    return {name: Room(patterns, frozenset({name, *may.split()})) for name, patterns, may in rows}


ROOMS = rooms()


def modules() -> dict[str, Path]:
    """Every module of the package by its name without `broadwing.`; the package itself is `broadwing`."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        found[".".join(parts) or "broadwing"] = path
    return found


def fits(module: str, patterns: str) -> bool:
    """Whether one of the patterns is the module's; `core.*` takes in `core`."""
    return any(fnmatchcase(module, p) or f"{module}.*" == p for p in patterns.split())


def room_of(module: str) -> str:
    return next(name for name, room in ROOMS.items() if fits(module, room.modules))


def local(name: str) -> str:
    """`broadwing.core.frames` as the table says it: `core.frames`."""
    return name.removeprefix("broadwing.")


def imports(module: str, path: Path, source: str, known: frozenset[str]) -> Iterator[tuple[int, str, str]]:
    """Line, imported module and imported name (or "") of every import, at whatever depth and for types alone too."""
    for node in ast.walk(ast.parse(source, str(path))):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield node.lineno, alias.name, ""
            case ast.ImportFrom(module=origin, names=names, level=level):
                base = origin or ""
                if level:
                    own = [] if module == "broadwing" else module.split(".")
                    package = ["broadwing", *(own if path.name == "__init__.py" else own[:-1])]
                    base = ".".join([*package[: len(package) - level + 1], *([origin] if origin else [])])
                for alias in names:
                    # `from broadwing.core import frames` imports a module, `from broadwing.core.frames import Frame` a name.
                    if f"{base}.{alias.name}" in known:
                        yield node.lineno, f"{base}.{alias.name}", ""
                    else:
                        yield node.lineno, base, alias.name
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield node.lineno, name, ""


def complaints(module: str, path: Path, source: str, known: frozenset[str]) -> list[str]:
    """What the imports of one module say against the table."""
    home = room_of(module)
    may = ROOMS[home].may
    found = []
    for line, target, name in imports(module, path, source, known):
        top = target.partition(".")[0]
        wrong = ""
        if top == "broadwing":
            goal = room_of(local(target))
            if goal not in may and "*" not in may:
                wrong = f"room '{home}' may import from {', '.join(sorted(may))}, not from '{goal}'"
            elif home in {"cli", "integrations"} and goal != home and name.startswith("_"):
                wrong = f"room '{home}' uses public names only"
        elif top in sys.stdlib_module_names:
            if home == "core" and target not in VALUES:
                wrong = "core takes only values from the standard library (VALUES)"
        elif not fits(module, PACKAGES.get(top, "")):
            wrong = f"the package '{top}' is kept out of here" if top in PACKAGES else f"'{top}' has no row in PACKAGES"
        if wrong:
            imported = f"{target}.{name}" if name else target
            found.append(f"{path.name}:{line}: {module} imports {imported}: {wrong}")
    return found


MODULES = modules()
KNOWN = frozenset("broadwing" if name == "broadwing" else f"broadwing.{name}" for name in MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_room_may(module: str) -> None:
    path = MODULES[module]
    assert complaints(module, path, path.read_text("utf-8"), KNOWN) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("core.frames", "import asyncio"),
        ("core.frames", "from time import monotonic"),
        ("core.frames", "def f():\n    import random"),
        ("core.frames", "import urllib.request"),
        ("core.frames", "from broadwing.pubsub import registry"),
        ("core.frames", "from ..pubsub.registry import Registry"),
        ("core.frames", "from .. import socket"),
        ("core.frames", "import uvicorn"),
        ("core.frames", "__import__('redis')"),
        ("pubsub.registry", "from broadwing.core.messages import Broadcast"),
        ("pubsub.local", "import redis.asyncio"),
        ("token", "from broadwing.socket import Socket"),
        ("transports.websocket", "from broadwing.channel import Channel"),
        ("transports.asgi", "import uvicorn"),
        ("transports.asgi", "from broadwing import Channel"),
        ("transports.asgi", "from broadwing.pubsub.pubsub import PubSub"),
        ("channel", "from broadwing.transports.websocket import WebSocketProtocol"),
        ("channel", "from broadwing.testing import clock"),
        ("channel", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from broadwing.cli import main"),
        ("channel", "import a_package_without_a_row"),
        ("cli.serve", "from broadwing.connection import Connection"),
        ("cli.serve", "from broadwing import _names"),
    ],
)
def test_the_table_refuses(module: str, source: str) -> None:
    known = KNOWN | {"broadwing.socket", "broadwing.pubsub.registry"}
    assert len(complaints(module, SOURCE / f"{module.replace('.', '/')}.py", source, known)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("core.frames", "import zlib, msgspec\nfrom urllib.parse import unquote\nfrom broadwing.types import Payload"),
        ("core.frames", "from . import close\nfrom .messages import Message\nfrom ..exceptions import InvalidMessage"),
        ("pubsub.redis", "import redis.asyncio\nfrom broadwing.pubsub.adapter import Adapter"),
        ("transports.longpoll", "from broadwing.pubsub.pubsub import PubSub\nimport asyncio"),
        ("endpoint", "from broadwing.transports.websocket import WebSocketProtocol"),
        ("fastlane", "from broadwing.transports.base import Format"),
        ("a_module_to_come", "from broadwing.channel import Channel\nfrom broadwing.pubsub.pubsub import PubSub"),
        ("cli.serve", "import typer\nfrom broadwing import Endpoint\nfrom broadwing.cli import main"),
        ("testing.channel", "import pytest\nfrom broadwing.connection import Connection"),
    ],
)
def test_the_table_allows(module: str, source: str) -> None:
    known = KNOWN | {"broadwing.core.close", "broadwing.cli.main"}
    assert complaints(module, SOURCE / f"{module.replace('.', '/')}.py", source, known) == []


@pytest.mark.parametrize("module", MODULES)
def test_no_module_can_execute_what_it_reads(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text("utf-8"))
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert called.isdisjoint({"eval", "exec", "compile"})
    imported = {target for _, target, _ in imports(module, MODULES[module], ast.unparse(tree), KNOWN)}
    assert imported.isdisjoint({"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve"})


def test_every_row_names_rooms_that_exist() -> None:
    for name, room in ROOMS.items():
        assert room.may <= {*ROOMS, "*"}, name
        assert name == "testing" or "testing" not in room.may, name


def exported() -> list[str]:
    names = vars(broadwing).get("__all__", [])
    assert isinstance(names, list)
    return names


def test_public_names_are_sorted_and_can_be_imported() -> None:
    # The order of ruff's RUF022: constants, then classes, then the rest, each by letter.
    names = exported()
    assert names == sorted(set(names), key=lambda name: (not name.isupper(), not name[:1].isupper(), name))
    for name in names:
        assert getattr(broadwing, name) is not None, name


def test_the_package_shows_no_name_that_is_not_public() -> None:
    shown = {name for name, value in vars(broadwing).items() if not (name.startswith("_") or inspect.ismodule(value))}
    assert shown <= set(exported())


@pytest.mark.parametrize("module", [m for m in MODULES if not any(part.startswith("_") for part in m.split("."))])
def test_a_public_module_and_its_public_names_have_docstrings(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text("utf-8"))
    if not tree.body:
        return  # the empty __init__.py of a subpackage says nothing because it holds nothing
    bare = [] if ast.get_docstring(tree) else ["the module"]
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            overload = any(isinstance(d, ast.Name) and d.id == "overload" for d in node.decorator_list)
            if not node.name.startswith("_") and not overload and not ast.get_docstring(node):
                bare.append(node.name)
    assert bare == []


def test_public_methods_of_public_classes_have_docstrings() -> None:
    bare = []
    for name in exported():
        value = getattr(broadwing, name)
        if not inspect.isclass(value):
            continue
        for attribute, member in vars(value).items():
            documented = inspect.isroutine(member) or isinstance(member, (property, classmethod, staticmethod))
            if not attribute.startswith("_") and documented and not inspect.getdoc(getattr(value, attribute)):
                bare.append(f"{name}.{attribute}")
    assert bare == []


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_short_enough_to_be_about_one_thing(module: str) -> None:
    lines = len(MODULES[module].read_text("utf-8").splitlines())
    assert lines <= MOST_LINES, f"{module} has {lines} lines"


def test_broadwing_works_without_the_packages_that_are_optional() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    required = {re.split(r"[^\w-]", requirement)[0] for requirement in project["dependencies"]}
    # `rich` and `typing_extensions` come with typer and are imported by it.
    blocked = sorted(
        set(PACKAGES) - required - {"rich", "typing_extensions"} - ({"zmq"} if "pyzmq" in required else set())
    )
    assert "cryptography" in blocked
    names = ["broadwing", *(f"broadwing.{name}" for name in MODULES if name == "cli" or name.startswith("cli."))]
    code = f"import importlib, sys\nsys.modules.update(dict.fromkeys({blocked}))\n"
    code += f"for name in {names}: importlib.import_module(name)"
    subprocess.run([sys.executable, "-c", code], check=True)


# What must be in no file: it would tie a clone to one machine, or tell readers of matters outside the project.
# Written so that no pattern finds itself.
FOREIGN = {
    "the host of a package registry": r"registry\.(npmjs|yarnpkg)\.\w|files\.pythonhosted\.\w|(?<![\w.])pypi\.org/simple",
    "a path of one machine": r"(?<![\w.~}-])/(home|Users|root|work)/(?!\.\.)\w[\w.-]*/",
    "how the text came about": r"(?i)session[ ]transcript|\bas an? ai[ ]|language[ ]model|generated (by|with)[ ]an? ",
}


@cache
def tracked() -> tuple[Path, ...]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return tuple(path for name in listed.split("\0") if name and (path := ROOT / name).is_file())


@pytest.mark.parametrize("what", FOREIGN)
def test_no_file_holds(what: str) -> None:
    found = []
    for path in tracked():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue  # an image or a recorded frame
        found += [f"{path.relative_to(ROOT)}: {match.group()!r}" for match in re.finditer(FOREIGN[what], text)]
    assert found == []


def test_the_lock_file_of_the_javascript_client_names_no_host() -> None:
    # A `resolved` address would send every clone to one registry, past the one that its npm is set up for.
    lock = json.loads((ROOT / "js" / "package-lock.json").read_text("utf-8"))
    assert [name for name, package in lock["packages"].items() if "resolved" in package] == []
