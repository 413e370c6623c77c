"""A server of either kind; each test is behind a prefix of its own and finds it well."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pubsub.nodes import Server
from tests.support.background import TIMEOUT
from tests.support.brokers import Broker

NAMES = ("broker.START_TIMEOUT", "zmq.PATIENCE", "zmq.LINGER", "zmq_mesh.SETTLE")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder with a short name: pytest's own can be longer than socket files have room for, which is 100 bytes or so."""
    with tempfile.TemporaryDirectory(prefix="bus-") as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes wait a second or two for each other, or for a broker; on a busy machine that is not enough."""
    for name in NAMES:
        monkeypatch.setattr(f"broadwing.pubsub.{name}", TIMEOUT)


@pytest.fixture
def impatient(patient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """They wait for what never comes, so as long as they do in earnest."""
    for name in NAMES:
        monkeypatch.setattr(f"broadwing.pubsub.{name}", 1.0)


@pytest.fixture(params=["redis", "nats"])
def server(request: pytest.FixtureRequest) -> Server:
    """A server of either kind."""
    broker: Broker = request.getfixturevalue(f"{request.param}_broker")
    broker.ensure()
    return Server(request.param, broker)
