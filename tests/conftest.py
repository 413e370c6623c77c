"""Asserts in the tests' own tools say what they compared, as those in tests do; and one server of each kind for all tests."""

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("tests.support")

from tests.support.brokers import Broker, closing, nats, redis  # noqa: E402 - rewritten from here on


@pytest.fixture(scope="session")
def redis_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A Redis server."""
    broker = redis(tmp_path_factory.mktemp("redis"))
    with closing(broker):
        yield broker


@pytest.fixture(scope="session")
def nats_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A NATS server."""
    broker = nats(tmp_path_factory.mktemp("nats"))
    with closing(broker):
        yield broker
