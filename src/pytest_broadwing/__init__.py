"""pytest's plugin for channels: fixtures that end what a test began, and time that jumps.

It is a package of its own so that pytest, which loads it wherever Broadwing is installed, does not import Broadwing for tests
that have nothing to do with it.
"""

import functools
import inspect
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from broadwing.testing import ChannelTest, PlainChannelTest, VirtualClock

_TESTS: pytest.StashKey[list[Any]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Name the settings."""
    parser.addini("broadwing_timeout", "seconds that what a channel test expects may take", default="1.0")
    parser.addini("broadwing_refute_timeout", "seconds for which what it refutes is waited for", default="0.1")


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker."""
    config.addinivalue_line("markers", "broadwing_clock: the test runs in virtual time, where waiting takes none")


@pytest.hookimpl(tryfirst=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    """Let the marker stand for the fixture."""
    if item.get_closest_marker("broadwing_clock") and "broadwing_clock" not in getattr(item, "fixturenames", ()):
        item.fixturenames.append("broadwing_clock")  # type: ignore[attr-defined] # as usefixtures does for functions


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Put the clock into the loop of an asynchronous test, and close what the test has opened, in that loop."""
    if not isinstance(item, pytest.Function) or not inspect.iscoroutinefunction(item.obj):
        return (yield)
    clock: Any = item.funcargs.get("broadwing_clock")
    tests = item.stash.get(_TESTS, None)
    if clock is None and tests is None:
        return (yield)
    test = item.obj

    @functools.wraps(test)
    async def run(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        with ExitStack() as stack:
            if clock is not None:
                stack.enter_context(clock.installed())
            try:
                return await test(*args, **kwargs)
            finally:
                for opened in reversed(tests or ()):
                    await opened.aclose()

    item.obj = run
    try:
        return (yield)
    finally:
        item.obj = test


@pytest.fixture
def broadwing_clock() -> "VirtualClock":
    """Virtual time: in the loop of an asynchronous test, and in that of `channel_test`."""
    from broadwing.testing import VirtualClock

    return VirtualClock()


@pytest.fixture
def channel_test(request: pytest.FixtureRequest) -> "Iterator[Callable[..., PlainChannelTest]]":
    """Open `broadwing.testing.channel_test` for the length of a plain test function."""
    from broadwing.testing import channel_test

    settings = _settings(request.config)
    if "broadwing_clock" in request.fixturenames:
        settings["virtual_time"] = request.getfixturevalue("broadwing_clock")
    with ExitStack() as opened:
        yield lambda target, **options: opened.enter_context(channel_test(target, **settings | options))


@pytest.fixture
def async_channel_test(request: pytest.FixtureRequest) -> "Callable[..., Any]":
    """Open `broadwing.testing.ChannelTest` for the length of an asynchronous test: `test = await async_channel_test(endpoint)`."""
    from broadwing.testing import ChannelTest

    settings: dict[str, Any] = _settings(request.config)
    tests: list[Any] = []
    request.node.stash[_TESTS] = tests

    async def open_test(target: Any, **options: Any) -> "ChannelTest":
        test = ChannelTest(target, **settings | options)
        tests.append(test)
        return await test.__aenter__()

    return open_test


def _settings(config: pytest.Config) -> dict[str, Any]:
    names = {"timeout": "broadwing_timeout", "refute_timeout": "broadwing_refute_timeout"}
    return {name: float(config.getini(setting)) for name, setting in names.items()}
