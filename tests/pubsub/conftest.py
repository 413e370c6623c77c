"""A server of either kind; each test is behind a prefix of its own and finds it well."""

import pytest

from tests.pubsub.nodes import Server
from tests.support.brokers import Broker


@pytest.fixture(params=["redis", "nats"])
def server(request: pytest.FixtureRequest) -> Server:
    """A server of either kind."""
    broker: Broker = request.getfixturevalue(f"{request.param}_broker")
    broker.ensure()
    return Server(request.param, broker)
