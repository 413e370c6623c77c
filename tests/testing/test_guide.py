"""The tests on the guide's page about testing pass."""

from pathlib import Path

import pytest

from tests import snippets

pytest_plugins = ["pytester"]

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "testing.md"


def test_the_tests_of_the_page_pass(pytester: pytest.Pytester) -> None:
    files = {block.file: block.code for block in snippets.blocks_of(PAGE.read_text("utf-8")) if block.file}
    for name, code in files.items():
        (pytester.path / name).write_text(code, "utf-8")
    pytester.makeini("[pytest]\naddopts = -W error --strict-markers\nasyncio_default_fixture_loop_scope = function")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(
        passed=sum(code.count("\ndef test_") + code.count("\nasync def test_") for code in files.values())
    )
    assert len(files) == 4
