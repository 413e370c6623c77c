"""pytest's plugin: there as soon as Broadwing is installed, in tests of every kind, and out of the way of all others."""

import ast
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

import pytest_broadwing

pytest_plugins = ["pytester"]

ROOM = """
import asyncio
import pytest
from broadwing import Channel, on
from broadwing.testing import ChannelTest, VirtualClock

class Room(Channel):
    async def join(self, params):
        pass

    @on("later")
    async def later(self, payload):
        await asyncio.sleep(3600)
        self.push("now", payload)

async def an_hour(test):
    room = await test.subscribe_and_join("room:1")
    room.push("later", {"n": 1})
    await room.refute_push("now", timeout=3599)
    await room.assert_push("now", {"n": 1})
"""


@pytest.fixture(autouse=True)
def settings(pytester: pytest.Pytester) -> None:
    """Those that these tests leave alone."""
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\naddopts = --strict-markers -W error")


def passes(pytester: pytest.Pytester, test: str, *options: str, count: int = 1) -> None:
    """Run tests that are to pass."""
    pytester.makepyfile(ROOM + dedent(test))
    pytester.runpytest(*options).assert_outcomes(passed=count)


CLOCKED = [
    "async def test_it(broadwing_clock):\n    async with ChannelTest(Room) as test:\n        await an_hour(test)",
    "@pytest.mark.broadwing_clock\nasync def test_it():\n    async with ChannelTest(Room) as test:\n        await an_hour(test)",
    "async def test_it(broadwing_clock, async_channel_test):\n    await an_hour(await async_channel_test(Room))",
]


@pytest.mark.parametrize("test", CLOCKED)
def test_coroutines_of_pytest_asyncio_have_virtual_time(pytester: pytest.Pytester, test: str) -> None:
    passes(pytester, test, "-o", "asyncio_mode=auto")
    passes(pytester, "pytestmark = pytest.mark.asyncio\n" + test)


@pytest.mark.parametrize("test", CLOCKED)
def test_coroutines_of_anyios_plugin_have_virtual_time(pytester: pytest.Pytester, test: str) -> None:
    backend = '@pytest.fixture\ndef anyio_backend():\n    return "asyncio"\npytestmark = pytest.mark.anyio\n'
    pytester.makeini("[pytest]\naddopts = --strict-markers -W error -p no:asyncio")
    passes(pytester, backend + test)


def test_methods_of_a_class_may_be_marked_together(pytester: pytest.Pytester) -> None:
    passes(
        pytester,
        """
        @pytest.mark.broadwing_clock
        class TestIt:
            async def test_one(self):
                async with ChannelTest(Room) as test:
                    await an_hour(test)

            async def test_two(self, async_channel_test):
                await an_hour(await async_channel_test(Room))
        """,
        "-o",
        "asyncio_mode=auto",
        count=2,
    )


def test_without_the_clock_time_is_real(pytester: pytest.Pytester) -> None:
    passes(
        pytester,
        """
        import time

        async def test_it(async_channel_test):
            room = await (await async_channel_test(Room)).join("room:1")
            before = time.monotonic()
            await room.refute_push("now", timeout=0.05)
            assert time.monotonic() - before > 0.04
        """,
        "-o",
        "asyncio_mode=auto",
    )


def test_plain_functions_share_the_fixtures_clock(pytester: pytest.Pytester) -> None:
    passes(
        pytester,
        """
        def test_it(channel_test, broadwing_clock):
            test = channel_test(Room)
            assert test.clock is broadwing_clock
            room = test.join("room:1")
            room.push("later", {"n": 1})
            test.advance(3601)
            room.assert_push("now", timeout=0)
            assert 3600 < broadwing_clock.jumped < 3700
        """,
    )


def test_what_a_test_opened_is_closed_when_it_fails(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        ROOM
        + dedent(
            """
            from broadwing import Endpoint, Socket

            class UserSocket(Socket):
                channels = {"*": Room}

            endpoint = Endpoint()
            endpoint.socket("/socket", UserSocket)

            async def test_it(async_channel_test):
                await (await async_channel_test(endpoint)).join("room:1")
                assert endpoint.is_started
                raise RuntimeError("the test's own")

            def test_plain(channel_test):
                channel_test(endpoint).join("room:1")
                raise RuntimeError("the test's own")

            def test_afterwards():
                assert endpoint._loop is None
                assert endpoint.bus.registry.topics == {}
            """
        )
    )
    result = pytester.runpytest("-o", "asyncio_mode=auto")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["E * RuntimeError: the test's own"])


def test_other_tests_do_not_even_import_broadwing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_it():
            assert "pytest_broadwing" in sys.modules
            assert not {"broadwing", "msgspec", "uvicorn"} & set(sys.modules)
        """
    )
    pytester.makeini("[pytest]\naddopts = -p no:asyncio")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(passed=1)


def test_its_settings_and_markers_are_listed(pytester: pytest.Pytester) -> None:
    pytester.runpytest("--markers").stdout.fnmatch_lines(
        ["@pytest.mark.broadwing_clock: the test runs in virtual time*"]
    )
    pytester.runpytest("--fixtures").stdout.fnmatch_lines(["broadwing_clock*", "channel_test*", "async_channel_test*"])


def test_the_plugin_imports_broadwing_nowhere_but_in_its_fixtures() -> None:
    tree = ast.parse(Path(str(pytest_broadwing.__file__)).read_text("utf-8"))
    top = {
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert top == {"functools", "inspect", "collections.abc", "contextlib", "typing", "pytest"}


def test_broadwing_itself_imports_neither_pytest_nor_the_kit() -> None:
    code = "import sys, broadwing, broadwing.cli.main, broadwing.serving\n"
    code += "print(sorted({'pytest', 'broadwing.testing', 'pytest_broadwing'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_kit_needs_no_pytest() -> None:
    code = "import sys; sys.modules['pytest'] = None\nimport broadwing.testing"
    subprocess.run([sys.executable, "-c", code], check=True)
