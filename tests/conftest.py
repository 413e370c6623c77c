"""What holds for every test; and one server of each kind for all tests."""

import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# Asserts in the tests' own tools say what they compared, as those in tests do.
pytest.register_assert_rewrite("tests.support")

# A shell starts what runs behind a `&` with SIGINT ignored, and children inherit that: some tests end them with it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no fault of what is tested: no example is too slow, nor is making one.
settings.register_profile("busy", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

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
