"""Several workers behind one port: one application to its clients, whoever serves them and whoever dies."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.background import TIMEOUT
from tests.support.loopback import HOST
from tests.support.process import ROOT, Process

APP = "tests.support.workers_app:endpoint"


@contextlib.contextmanager
def workers(count: int = 2, *arguments: str) -> Iterator[Process]:
    process = Process(APP, "--port", "0", "--workers", str(count), "--log-level", "warning", *arguments)
    try:
        process.await_start()
        yield process
        if process.is_running:
            process.signal()
            assert process.exit_code(TIMEOUT) == 0
    finally:
        process.kill()


class Client:
    """A client of 2.0.0 on one topic; `pid` is the worker it is on."""

    def __init__(self, line: ClientConnection, pid: int) -> None:
        self.line = line
        self.pid = pid

    async def push(self, event: str, payload: Any) -> None:
        await self.line.send(json.dumps(["1", "2", "room:1", event, payload]))

    async def hear(self, event: str) -> Any:
        async with asyncio.timeout(TIMEOUT):
            while True:
                message = json.loads(await self.line.recv())
                if message[3] == event:
                    return message[4]


@contextlib.asynccontextmanager
async def clients(port: int, count: int, user: str = "nobody") -> AsyncIterator[list[Client]]:
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for _ in range(count):
            url = f"ws://{HOST}:{port}/socket/websocket?vsn=2.0.0&user={user}"
            line = await stack.enter_async_context(connect(url, open_timeout=TIMEOUT))
            await line.send('["1","1","room:1","phx_join",{}]')
            reply = json.loads(await line.recv())
            found.append(Client(line, reply[4]["response"]["pid"]))
        yield found


async def on_two_workers(stack: contextlib.AsyncExitStack, port: int) -> list[Client]:
    """Clients enough that the kernel has put some on each worker."""
    found: list[Client] = []
    while len({client.pid for client in found}) < 2:
        found += await stack.enter_async_context(clients(port, 4))
    return found


async def test_a_broadcast_reaches_the_clients_of_all_workers_once() -> None:
    with workers() as server:
        async with contextlib.AsyncExitStack() as stack:
            found = await on_two_workers(stack, server.port)
            for number in range(20):
                await found[0].push("say", {"n": number})
            for client in found:
                assert [(await client.hear("said"))["n"] for _ in range(20)] == list(range(20))


async def test_disconnect_by_socket_id_ends_the_connections_on_all_workers() -> None:
    with workers() as server:
        async with contextlib.AsyncExitStack() as stack:
            found = await on_two_workers(stack, server.port)
            victims: list[Client] = []
            while len({client.pid for client in victims}) < 2:
                victims += await stack.enter_async_context(clients(server.port, 4, user="42"))
            await found[0].push("kick", {"user": "42"})
            for victim in victims:
                with pytest.raises(ConnectionClosed) as closed:
                    await victim.hear("nothing")
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1001
            await found[0].push("say", {"n": 1})
            assert await found[-1].hear("said") == {"n": 1}


async def test_a_killed_worker_comes_back_and_the_others_never_notice() -> None:
    with workers() as server:
        async with contextlib.AsyncExitStack() as stack:
            found = await on_two_workers(stack, server.port)
            killed = found[0].pid
            safe = [client for client in found if client.pid != killed]
            os.kill(killed, signal.SIGKILL)
            for client in found:
                if client.pid == killed:
                    with pytest.raises(ConnectionClosed):
                        await client.hear("nothing")
            # Whoever connects now gets through at once or waits for the new worker; nobody is refused.
            fresh: list[Client] = []
            while {client.pid for client in fresh} <= {safe[0].pid}:
                fresh += await stack.enter_async_context(clients(server.port, 2))
            assert killed not in {client.pid for client in fresh}
            newcomer = next(client for client in fresh if client.pid != safe[0].pid)
            heard = False
            deadline = time.monotonic() + TIMEOUT
            while not heard and time.monotonic() < deadline:  # until the new worker is on the bus
                await newcomer.push("say", {"n": 7})
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        heard = await safe[0].hear("said") == {"n": 7}
            assert heard


async def test_a_poll_session_is_reached_from_any_worker() -> None:
    with workers() as server:
        url = f"http://{HOST}:{server.port}/socket/longpoll?vsn=2.0.0"
        async with httpx.AsyncClient(timeout=TIMEOUT) as first:
            token = (await first.get(url)).json()["token"]
        header = {"x-phoenix-longpoll-token": token}
        for number in range(12):
            # A connection each, so that the kernel chooses a worker anew.
            async with httpx.AsyncClient(timeout=TIMEOUT) as other:
                sent = await other.post(url, headers=header, content=f'[null,"{number}","phoenix","heartbeat",{{}}]')
                assert sent.json() == {"status": 200}
            async with httpx.AsyncClient(timeout=TIMEOUT) as other:
                got = (await other.get(url, headers=header)).json()
                assert got["status"] == 200
                assert [json.loads(message)[1] for message in got["messages"]] == [str(number)]


@pytest.mark.parametrize(
    ("count", "least"),
    # The kernel spreads by a hash of the address, as if it tossed a coin or a die with three sides. Of 300 connections a worker
    # of two gets fewer than 100 once in a hundred million runs, and one of three fewer than 55 likewise.
    [(2, 100), (3, 55)],
)
async def test_connections_are_spread_over_the_workers(
    count: int, least: int, record_property: Callable[[str, object], None]
) -> None:
    with workers(count) as server:
        async with clients(server.port, 300) as found:
            spread = Counter(client.pid for client in found)
    accepted = sorted(spread.values())
    record_property("connections accepted by each worker", accepted)
    print(f"of {len(found)} connections the workers accepted {accepted}")  # `pytest -rP` shows it
    assert len(accepted) == count
    assert accepted[0] >= least


def test_sigterm_ends_all_workers_with_exit_code_0() -> None:
    with workers(3):
        pass  # the end of the block is what is tested


def test_workers_end_when_their_supervisor_is_killed() -> None:
    with workers() as server:
        pids = children(server._process.pid)
        assert len(pids) == 2
        server.signal(signal.SIGKILL)
        server.exit_code()
        deadline = time.monotonic() + TIMEOUT
        while any(is_alive(pid) for pid in pids):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_an_application_that_cannot_be_loaded_ends_the_supervisor() -> None:
    command = [
        sys.executable,
        "-m",
        "broadwing",
        "serve",
        "tests.support.nowhere:endpoint",
        "--port",
        "0",
        "--workers",
        "2",
    ]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode != 0


def test_a_taken_port_is_refused() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "broadwing", "serve", APP, "--host", HOST, "--port", port, "--workers", "2"]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode != 0
    assert "in use" in ended.stderr


def children(pid: int) -> list[int]:
    out = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=True).stdout
    return [int(line) for line in out.split()]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return not state.strip().startswith("Z") and bool(state.strip())
