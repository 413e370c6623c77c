"""Runs the Python of a Markdown page as its reader would: from top to bottom, each block building on the ones before.

    ```python                    executed; `await` at the top level is allowed
    ```python file=chat.py       written to chat.py and imported, so that later blocks can `from chat import ...`
    ```python no-run             only compiled, e.g. because it needs a server that is not there

A page runs in a Python of its own, in an empty directory. Line numbers in its tracebacks are those of the page.
"""

import ast
import asyncio
import importlib
import inspect
import re
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,}|~{3,})(?P<info>[^`]*)$")


@dataclass(frozen=True)
class Block:
    """One fenced block: the line of its first line of code, language, further words of the info string, the code."""

    line: int
    language: str
    words: tuple[str, ...]
    code: str

    @property
    def file(self) -> str | None:
        return next((word.removeprefix("file=") for word in self.words if word.startswith("file=")), None)


def blocks_of(page: str) -> list[Block]:
    """The fenced blocks of a page. A block may be indented, as in a list, and may hold shorter fences."""
    blocks: list[Block] = []
    opened: re.Match[str] | None = None
    start, code = 0, list[str]()
    for number, line in enumerate(page.splitlines(), 1):
        fence = FENCE.match(line)
        if opened is None:
            if fence:
                opened, start, code = fence, number + 1, []
        elif fence and not fence["info"].strip() and fence["ticks"].startswith(opened["ticks"]):
            language, *words = opened["info"].split() or [""]
            blocks.append(Block(start, language, tuple(words), "".join(f"{line}\n" for line in code)))
            opened = None
        else:
            code.append(line.removeprefix(opened["indent"]))
    if opened is not None:
        raise ValueError(f"the block that starts on line {start - 1} is never closed")
    return blocks


def run_page(path: Path) -> None:
    """Run every Python block of the page in the current directory; raises what the first failing block raises."""
    sys.path.insert(0, str(Path.cwd()))
    # A module that can be found by name: dataclasses and annotations given as strings look there.
    module = sys.modules["page"] = ModuleType("page")
    namespace = vars(module)
    with asyncio.Runner() as runner:
        for block in blocks_of(path.read_text("utf-8")):
            if block.file is not None:
                target = Path(block.file)
                target.parent.mkdir(parents=True, exist_ok=True)
                # Its first line is where the block stands on the page, so that a traceback names the page's line.
                target.write_text("\n" * (block.line - 1) + block.code, "utf-8")
            if block.language != "python":
                continue
            source = "\n" * (block.line - 1) + block.code
            code = compile(source, str(path), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            if "no-run" in block.words:
                continue
            if block.file is not None:
                name = ".".join(Path(block.file).with_suffix("").parts)
                sys.modules.pop(name, None)
                importlib.invalidate_caches()
                importlib.import_module(name)
                continue
            if code.co_flags & inspect.CO_COROUTINE:
                runner.run(eval(code, namespace))
            else:
                exec(code, namespace)


if __name__ == "__main__":
    # What a reader would see as a warning is a fault of the page: an old call, a coroutine nobody awaited.
    warnings.simplefilter("error")
    # A file that a later block of the page writes anew within the second must not be taken from its old bytecode.
    sys.dont_write_bytecode = True
    run_page(Path(sys.argv[1]))
