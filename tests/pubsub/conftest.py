"""One Redis and one NATS server for all tests of a run; each test is behind a prefix of its own and finds them well."""

from collections.abc import Iterator

import pytest

from tests.pubsub.nodes import Server
from tests.support.brokers import Broker, closing, nats, redis


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


@pytest.fixture(params=["redis", "nats"])
def server(request: pytest.FixtureRequest) -> Server:
    """A server of either kind."""
    broker: Broker = request.getfixturevalue(f"{request.param}_broker")
    broker.ensure()
    return Server(request.param, broker)
