"""README and docs are true: their code runs, the commands they name exist, their links lead somewhere."""

import os
import re
import shlex
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer.main

from tests import snippets

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
SHELLS = {"sh", "bash", "shell", "console"}

# What a fragment in changes/ may be, as changes/README.md explains.
CHANGE_TYPES = {"breaking", "new", "fixed"}


def run(page: Path, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run the Python blocks of a page in a Python of its own, with the repository importable as from a clone."""
    return subprocess.run(
        [sys.executable, "-X", "dev", str(Path(snippets.__file__)), str(page)],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_python_of_a_page_runs_from_top_to_bottom(name: str, tmp_path: Path) -> None:
    result = run(ROOT / name, tmp_path)
    assert result.returncode == 0, result.stderr


def commands(shell: str) -> list[list[str]]:
    """The words of each command of a shell block: prompts, comments and environment settings left out."""
    found = []
    for line in shell.replace("\\\n", " ").splitlines():
        for part in re.split(r"&&|\|\|?|;", line.strip().removeprefix("$ ")):
            words = shlex.split(part, comments=True, posix=True)
            while words and re.fullmatch(r"\w+=.*", words[0]):
                words = words[1:]
            if words:
                found.append(words)
    return found


def shell_commands(page: Path) -> list[list[str]]:
    blocks = snippets.blocks_of(page.read_text("utf-8"))
    return [words for block in blocks if block.language in SHELLS for words in commands(block.code)]


@cache
def command_line() -> Any:
    return typer.main.get_command(import_module("broadwing.cli.main").app)


def unknown_to(command: Any, words: list[str]) -> list[str]:
    """The subcommands and options among `words` that the command does not have."""
    unknown = []
    # Typer brings a Click of its own in some versions: what has `commands` is a group, whatever its class.
    inner: dict[str, Any] | None = getattr(command, "commands", None)
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    for index, word in enumerate(words):
        if word.startswith("-"):
            option = word.partition("=")[0]
            if option not in {*options, "--help"}:
                unknown.append(option)
        elif inner is not None:
            return [*unknown, *(unknown_to(inner[word], words[index + 1 :]) if word in inner else [word])]
    return unknown


@pytest.mark.parametrize("name", NAMES)
def test_every_broadwing_command_a_page_names_exists(name: str) -> None:
    for words in shell_commands(ROOT / name):
        if words[0].rpartition("/")[2] == "broadwing":
            assert unknown_to(command_line(), words[1:]) == [], shlex.join(words)


@pytest.mark.parametrize("name", NAMES)
def test_every_make_target_a_page_names_exists(name: str) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for words in shell_commands(ROOT / name):
        if words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= targets, shlex.join(words)


@pytest.mark.parametrize("name", NAMES)
def test_every_link_of_a_page_to_another_file_leads_somewhere(name: str) -> None:
    text = re.sub(r"(?ms)^ *(`{3,}|~{3,}).*?^ *\1`*$|`[^`\n]*`", "", (ROOT / name).read_text("utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z+]+:|#", target):
            assert ((ROOT / name).parent / target.partition("#")[0]).exists(), target


def test_every_decision_is_in_the_index_and_has_its_four_parts() -> None:
    index = (ROOT / "docs/decisions/README.md").read_text("utf-8")
    records = [page for page in PAGES if page.parent.name == "decisions" and page.name != "README.md"]
    numbers = [record.name[:4] for record in records]
    assert sorted(set(numbers)) == sorted(numbers), "a number is given once"
    for record in records:
        text = record.read_text("utf-8")
        assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", record.name)
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Evidence", "Consequences"], (
            record
        )
        assert f"]({record.name})" in index, f"{record.name} is missing in docs/decisions/README.md"


def test_every_change_fragment_is_of_a_known_type() -> None:
    for fragment in (ROOT / "changes").glob("*.md"):
        if fragment.name != "README.md":
            assert fragment.name.split(".")[1] in CHANGE_TYPES, fragment.name
            assert fragment.read_text("utf-8").strip(), fragment.name


# The tests below show that the ones above can fail.


def page_with(directory: Path, *blocks: str) -> Path:
    page = directory / "page.md"
    page.write_text("A page.\n\n" + "\nIn between.\n\n".join(blocks), "utf-8")
    return page


def test_blocks_build_on_each_other_and_may_await(tmp_path: Path) -> None:
    page = page_with(
        tmp_path,
        "```python\nimport asyncio\nvalue = 1\n```\n",
        "```python\nawait asyncio.sleep(0)\nvalue += 1\n```\n",
        "~~~python\nassert value == 2\nprint(value)\n~~~\n",
    )
    result = run(page, tmp_path)
    assert (result.returncode, result.stdout) == (0, "2\n"), result.stderr


def test_a_failing_block_is_reported_with_its_line_of_the_page(tmp_path: Path) -> None:
    page = page_with(tmp_path, "```python\nvalue = 1\n```\n", "```python\n\nassert value == 2\n```\n")
    result = run(page, tmp_path)
    assert result.returncode == 1
    assert f'{page}", line 11' in result.stderr


def test_a_named_block_becomes_a_file_that_later_blocks_import(tmp_path: Path) -> None:
    page = page_with(
        tmp_path,
        "```python file=shop/app.py\nPRICE = 3\n```\n",
        "```html file=shop/index.html\n<p>\n```\n",
        "```python\nfrom pathlib import Path\nfrom shop.app import PRICE\n```\n",
        "```python\nassert PRICE == 3 and Path('shop/index.html').read_text().strip() == '<p>'\n```\n",
    )
    assert run(page, tmp_path).returncode == 0


def test_a_named_block_that_fails_on_import_fails_the_page(tmp_path: Path) -> None:
    assert run(page_with(tmp_path, "```python file=app.py\nimport no_such_module\n```\n"), tmp_path).returncode == 1


def test_a_block_that_is_not_run_has_to_compile(tmp_path: Path) -> None:
    assert run(page_with(tmp_path, "```python no-run\n1 / 0\n```\n"), tmp_path).returncode == 0
    assert run(page_with(tmp_path, "```python no-run\n1 /\n```\n"), tmp_path).returncode == 1


def test_a_warning_fails_the_page(tmp_path: Path) -> None:
    page = page_with(tmp_path, "```python\nimport warnings\nwarnings.warn('old', DeprecationWarning)\n```\n")
    assert "DeprecationWarning: old" in run(page, tmp_path).stderr


def test_commands_are_found_behind_prompts_and_settings() -> None:
    shell = "$ cd chat && PORT=1 broadwing serve \\\n  chat:app --port 1  # comment\nmake test\n"
    expected = [["cd", "chat"], ["broadwing", "serve", "chat:app", "--port", "1"], ["make", "test"]]
    assert commands(shell) == expected


def test_unknown_commands_and_options_are_found() -> None:
    app = typer.Typer()

    @app.callback()
    def broadwing() -> None:
        pass

    @app.command()
    def serve(application: str, port: int = 4000) -> None:
        pass

    command = typer.main.get_command(app)
    assert unknown_to(command, ["serve", "chat:app", "--port", "4000", "--help"]) == []
    assert unknown_to(command, ["serve", "chat:app", "--prot=4000"]) == ["--prot"]
    assert unknown_to(command, ["server", "--port", "1"]) == ["server"]
    assert unknown_to(command, ["--porf", "serve"]) == ["--porf"]
