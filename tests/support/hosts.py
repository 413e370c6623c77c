"""Several hosts on one network that can be cut in two: network namespaces where this system makes them, else relays.

A namespace has an address, a loopback interface and a routing table of its own; a virtual cable joins it to a bridge, and a host
that is cut off is plugged into another bridge: its packets go nowhere, and nobody is told. Where there are no namespaces
(anything but Linux, or without root) hosts are addresses of the loopback net, and each reaches each other by a relay of its own,
which passes nothing on while they are cut off from each other.
"""

import asyncio
import contextlib
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol, Self

from tests.support.brokers import closing, program, redis
from tests.support.loopback import free_port
from tests.support.node import Remote, remote
from tests.support.relay import Relay

NAMESPACES, RELAYS = "namespaces", "relays"
NODE = "tests.support.node"
_PORT = 5555
_BROKER = 0
"""The number of the host with the broker; nodes are on 1 and up."""


class Hosts(Protocol):
    """Hosts with numbers from 1, and 0 for the broker's."""

    def run(
        self, number: int, module: str = NODE, option: str = "--impatient"
    ) -> contextlib.AbstractAsyncContextManager[Remote]:
        """Start a node, or what another module calls one; see `remote`."""
        ...

    async def partition(self, *cut: int) -> None:
        """Cut some hosts off from the others; they still reach each other."""
        ...

    async def heal(self) -> None:
        """Join all."""
        ...


def kinds() -> list[str]:
    """How hosts can be made here; what the tests on them are called says which it was."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return [RELAYS]
    if shutil.which("ip") is None or os.environ.get("CI") == "true":
        return [
            NAMESPACES,
            RELAYS,
        ]  # and the first one fails where it cannot be, because a skipped test looks like a passed one
    probe = _name("probe")
    try:
        _ip("netns", "add", probe)
        _ip("-n", probe, "link", "add", "whole", "type", "bridge")
        _ip("-n", probe, "link", "add", "one", "type", "veth", "peer", "name", "other")
    except AssertionError:
        return [RELAYS]  # root of a container, which may not, or a kernel that cannot
    finally:
        subprocess.run(["ip", "netns", "delete", probe], capture_output=True, check=False)
    return [NAMESPACES, RELAYS]


@asynccontextmanager
async def hosts(kind: str, bus: str, count: int, folder: Path) -> AsyncIterator[Hosts]:
    """Make hosts, and a broker where the bus has one.

    Args:
        kind: `namespaces` or `relays`.
        bus: `zmq` or `redis`.
        count: How many nodes there will be room for.
        folder: For the broker.
    """
    if kind == NAMESPACES:
        assert shutil.which("ip") is not None, "the tests need ip, from iproute2; `make system-parts` installs it"
        with _Namespaces(bus, count, folder) as namespaces:
            yield namespaces
        return
    async with AsyncExitStack() as stack:
        port = 0
        if bus == "redis":
            broker = redis(folder / "broker")
            stack.enter_context(closing(broker))
            port = broker.port
        relays = _Relays(bus, count, port)
        stack.push_async_callback(relays.stop)
        await relays.start()
        yield relays


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


def _name(what: str) -> str:
    return f"bw{os.getpid():x}-{secrets.token_hex(3)}-{what}"


def sweep() -> None:
    """Remove the namespaces of runs that were killed, and could not."""
    for entry in Path("/run/netns").glob("bw*"):
        ours = re.fullmatch("bw([0-9a-f]+)-[0-9a-f]{6}-[a-z0-9]+", entry.name)
        if ours is not None and not Path(f"/proc/{int(ours[1], 16)}").exists():
            subprocess.run(["ip", "netns", "delete", entry.name], capture_output=True, check=False)


class _Namespaces:
    def __init__(self, bus: str, count: int, folder: Path) -> None:
        self._switch = _name("switch")
        self._numbers = range(count + 1)
        self._bus = bus
        self._folder = folder
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        sweep()
        with contextlib.ExitStack() as stack:
            self._namespace(stack, self._switch)
            for bridge in ("whole", "apart"):
                _ip("-n", self._switch, "link", "add", bridge, "type", "bridge")
                _ip("-n", self._switch, "link", "set", bridge, "up")
            for number in self._numbers:
                host, port = self._host(number), f"port{number}"
                self._namespace(stack, host)
                cable = ("link", "add", "eth0", "netns", host, "type", "veth", "peer", "name", port, "netns")
                _ip(*cable, self._switch)
                _ip("-n", host, "address", "add", f"{_address(number)}/24", "dev", "eth0")
                _ip("-n", host, "link", "set", "lo", "up")
                _ip("-n", host, "link", "set", "eth0", "up")
                _ip("-n", self._switch, "link", "set", port, "master", "whole", "up")
            if self._bus == "redis":
                stack.enter_context(self._broker())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *about: object) -> None:
        self._stack.close()

    def _namespace(self, stack: contextlib.ExitStack, name: str) -> None:
        # Before it is made: whatever happens, it is removed, and with it the cables in it.
        stack.callback(subprocess.run, ["ip", "netns", "delete", name], capture_output=True, check=False)
        _ip("netns", "add", name)

    def _host(self, number: int) -> str:
        return self._switch.replace("switch", str(number))

    def _inside(self, number: int) -> Sequence[str]:
        return ("ip", "netns", "exec", self._host(number))

    @contextlib.contextmanager
    def _broker(self) -> Iterator[None]:
        # Nobody outside of the namespaces reaches it, so it needs no password.
        command = [*self._inside(_BROKER), program("redis-server", "`make system-parts` installs it")]
        command += ["--bind", _address(_BROKER), "--protected-mode", "no", "--save", "", "--dir", str(self._folder)]
        with (
            (self._folder / "broker.log").open("wb") as log,
            subprocess.Popen(command, stdout=log, stderr=log) as redis,
        ):
            try:
                yield
            finally:
                redis.kill()

    @asynccontextmanager
    async def run(self, number: int, module: str = NODE, option: str = "--impatient") -> AsyncIterator[Remote]:
        if self._bus == "redis":
            url = f"redis://{_address(_BROKER)}"
        else:
            places = ",".join(f"{_address(each)}:{_PORT}" for each in self._numbers[1:])
            url = f"zmq://{places}?bind={_address(number)}:{_PORT}"
        async with remote(url, f"node{number}", option, inside=self._inside(number), module=module) as node:
            yield node

    async def partition(self, *cut: int) -> None:
        for number in self._numbers:
            bridge = "apart" if number in cut else "whole"
            await asyncio.to_thread(_ip, "-n", self._switch, "link", "set", f"port{number}", "master", bridge)

    async def heal(self) -> None:
        await self.partition()


def _address(number: int) -> str:
    return f"10.77.0.{number + 1}"


class _Relays:
    def __init__(self, bus: str, count: int, broker_port: int) -> None:
        self._bus = bus
        self._numbers = range(1, count + 1)
        # macOS has one address of the loopback net, Linux has all of them.
        spread = sys.platform.startswith("linux")
        self._servers = {number: (f"127.0.0.{number + 1 if spread else 1}", free_port()) for number in self._numbers}
        if bus == "redis":
            self._servers = {_BROKER: ("127.0.0.1", broker_port)}
        self._ways = {
            (one, other): Relay(port, host)
            for one in self._numbers
            for other, (host, port) in self._servers.items()
            if one != other
        }

    async def start(self) -> None:
        for way in self._ways.values():
            await way.start()

    async def stop(self) -> None:
        for way in self._ways.values():
            way.go_on()
            await way.refuse()

    @asynccontextmanager
    async def run(self, number: int, module: str = NODE, option: str = "--impatient") -> AsyncIterator[Remote]:
        places = {other: f"127.0.0.1:{way.port}" for (one, other), way in self._ways.items() if one == number}
        if self._bus == "redis":
            url = f"redis://{places[_BROKER]}"
        else:
            url = f"zmq://{','.join(places.values())}?bind={':'.join(map(str, self._servers[number]))}"
        async with remote(url, f"node{number}", option, module=module) as node:
            yield node

    async def partition(self, *cut: int) -> None:
        for (one, other), way in self._ways.items():
            if (one in cut) != (other in cut):
                way.hold()

    async def heal(self) -> None:
        for way in self._ways.values():
            way.go_on()
