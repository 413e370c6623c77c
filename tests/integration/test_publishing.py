"""Programs that serve nobody publish to clients of a real `broadwing serve`: each message arrives once, over every bus."""

import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.support.brokers import Broker
from tests.support.loopback import HOST
from tests.support.mesh import free_addresses
from tests.support.process import ROOT, Process, serving
from tests.support.publishing import NUMBERS, WAYS

APP = "tests.support.workers_app:endpoint"
PATIENCE = 60.0
BUSES = ["zmq+ipc", "zmq", "redis", "nats"]


class House:
    """A server, and the URL by which programs reach its bus."""

    def __init__(self, server: Process, url: str) -> None:
        self.server = server
        self.url = url

    def run(self, way: str) -> None:
        """Run a program to its end."""
        command = [sys.executable, "-W", "error", "-m", "tests.support.publishing", self.url, way]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert (ended.returncode, ended.stderr) == (0, ""), ended.stderr


@pytest.fixture(scope="module", params=BUSES)
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    kind: str = request.param
    if kind == "zmq+ipc":
        mine = theirs = f"zmq+ipc://{tmp_path_factory.mktemp('bus')}"
    elif kind == "zmq":
        address = free_addresses(1)[0]
        mine, theirs = f"zmq://{address}?bind={address}", f"zmq://{address}?bind=127.0.0.1:0"
    else:
        broker: Broker = request.getfixturevalue(f"{kind}_broker")
        broker.ensure()
        mine = theirs = f"{kind}://localhost:{broker.port}?prefix=publishing"
    with serving(APP, "--log-level", "warning", "--bus", mine) as server:
        yield House(server, theirs)
        assert server.output[1:] == [], server.output


@contextlib.asynccontextmanager
async def client(port: int) -> AsyncIterator[ClientConnection]:
    async with connect(f"ws://{HOST}:{port}/socket/websocket?vsn=2.0.0", open_timeout=PATIENCE) as line:
        await line.send('["1","1","room:1","phx_join",{}]')
        reply = json.loads(await line.recv())
        assert reply[4]["status"] == "ok"
        yield line


async def heard(line: ClientConnection) -> list[Any]:
    """What was said, up to the end."""
    numbers: list[Any] = []
    while not numbers or numbers[-1] != 0:
        message = json.loads(await line.recv())
        assert message[2:4] == ["room:1", "said"], message
        numbers.append(message[4]["n"])
    return numbers[:-1]


@pytest.mark.parametrize("way", WAYS)
async def test_what_a_program_says_reaches_a_client_once(house: House, way: str) -> None:
    async with client(house.server.port) as line:
        house.run(way)
        house.run("end")
        numbers = await heard(line)
        assert sorted(numbers) == NUMBERS
        if way in ("script", "coroutine", "pubsub"):
            assert numbers == NUMBERS


async def test_a_script_reaches_clients_of_all_workers_once(tmp_path: Path) -> None:
    house = House(
        Process(APP, "--port", "0", "--workers", "2", "--bus", f"zmq+ipc://{tmp_path}/bus"), f"zmq+ipc://{tmp_path}/bus"
    )
    try:
        house.server.await_start()
        async with contextlib.AsyncExitStack() as stack:
            lines = [await stack.enter_async_context(client(house.server.port)) for _ in range(12)]
            house.run("script")
            house.run("end")
            for line in lines:
                assert await heard(line) == NUMBERS
    finally:
        house.server.kill()
