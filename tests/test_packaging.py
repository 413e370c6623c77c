"""What an installation gets: the wheel holds the package, its types and the JavaScript client, and nothing else."""

import subprocess
import sys
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> frozenset[str]:
    """The names in a wheel built from this tree, without network."""
    target = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    build += ["--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", str(target), str(ROOT)]
    result = subprocess.run(build, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    (wheel,) = target.glob("*.whl")
    return frozenset(ZipFile(wheel).namelist())


def test_the_wheel_has_every_module_and_the_marker_of_its_types(names: frozenset[str]) -> None:
    modules = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.py")}
    assert modules | {"broadwing/py.typed"} <= names


def test_the_wheel_has_the_javascript_client(names: frozenset[str]) -> None:
    client = {f"broadwing/static/{path.name}" for path in (ROOT / "js" / "src").iterdir() if path.is_file()}
    assert any(name.endswith((".js", ".mjs")) for name in client)
    assert client <= names


def test_a_clone_has_the_javascript_client_in_the_same_place() -> None:
    assert (ROOT / "src" / "broadwing" / "static").resolve() == ROOT / "js" / "src"


def test_the_wheel_has_the_command_and_the_licence(names: frozenset[str]) -> None:
    assert any(name.endswith(".dist-info/entry_points.txt") for name in names)
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_the_wheel_has_nothing_else(names: frozenset[str]) -> None:
    # An installed `tests` or `examples` would shadow the packages of that name of whoever installs Broadwing.
    tops = {PurePosixPath(name).parts[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"broadwing", "pytest_broadwing"}
    strange = {
        name for name in names if set(PurePosixPath(name).parts) & {"tests", "test", "node_modules", "__pycache__"}
    }
    assert strange == set()
