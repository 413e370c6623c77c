"""Servers to be measured: started on a free port of the loopback interface, observed from outside, and ended."""

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Final

from bench.certificate import Certificate
from bench.lines import HOST, LoadError, Target

ROOT: Final = Path(__file__).parent.parent
# How long a server may take to listen, and to end, in seconds.
STARTING, ENDING = 20.0, 15.0
# Processor time and memory of other processes are read from /proc, which only Linux has in this form.
HAS_PROC: Final = Path("/proc/self/smaps_rollup").exists()

# By way of the interpreter, so that what is measured is what belongs to it.
BROADWING: Final = (
    *(sys.executable, "-m", "broadwing", "serve", "bench.app:endpoint"),
    *("--port", "{port}", "--log-level", "warning"),
)
YARDSTICK: Final = (sys.executable, "-m", "bench.yardstick", "--port", "{port}")


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


def split_command(text: str) -> tuple[str, ...]:
    """Take the command of another server apart.

    Raises:
        ValueError: It has no `{port}`, or a quotation mark without its counterpart.
    """
    words = tuple(shlex.split(text))
    if not any("{port}" in word for word in words):
        raise ValueError(f"{text!r} does not say where the port goes; write {{port}}, e.g. 'node server.js {{port}}'")
    return words


def fill(command: tuple[str, ...], port: int, certificate: Certificate | None) -> list[str]:
    """Put the port into a command, and the certificate's files, where it names them."""
    names = {"{port}": str(port)}
    if certificate is not None:
        names |= {"{certfile}": str(certificate.certfile), "{keyfile}": str(certificate.keyfile)}
    filled = []
    for word in command:
        for name, value in names.items():
            word = word.replace(name, value)
        filled.append(word)
    return filled


def processes(root: int) -> list[int]:
    """List a process and all that come from it."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                children.setdefault(int(_stat(int(entry))[1]), []).append(int(entry))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def _stat(pid: int) -> list[str]:
    # proc(5): the name of the program stands in parentheses and may hold any character; after it comes the state.
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()


class Server:
    """A server process, and what it starts."""

    def __init__(self, command: list[str], log: IO[bytes], environment: Mapping[str, str] | None = None) -> None:
        self._command = command
        self._log = log
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def wait_until_listening(self, port: int) -> None:
        """Return once a connection is accepted.

        Raises:
            LoadError: The server has ended, or takes too long.
        """
        deadline = time.monotonic() + STARTING
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise LoadError(
                    f"{shlex.join(self._command)} ended with {self._process.returncode}:\n{self.last_words()}"
                )
            with socket.socket() as client:
                client.settimeout(1)
                if client.connect_ex((HOST, port)) == 0:
                    return
            time.sleep(0.05)
        raise LoadError(
            f"{shlex.join(self._command)} does not listen on {HOST}:{port} after {STARTING:g} s:\n{self.last_words()}"
        )

    def last_words(self) -> str:
        """Return the end of what it wrote."""
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - 2_000))
        return self._log.read().decode(errors="replace").strip()

    def seconds(self) -> float:
        """Return the processor time of all its processes so far, their own and the kernel's for them."""
        ticks = 0
        for pid in processes(self._process.pid):
            with contextlib.suppress(OSError):
                ticks += sum(map(int, _stat(pid)[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def kilobytes(self) -> float:
        """Return the memory of all its processes as proportional set size, which counts what they share once."""
        total = 0
        for pid in processes(self._process.pid):
            with contextlib.suppress(OSError):
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
                total += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        return total

    def stop(self) -> None:
        """End it and what it started, gently first."""
        for sig, patience in ((signal.SIGTERM, ENDING), (signal.SIGKILL, None)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, sig)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
                return


@contextlib.contextmanager
def running(
    command: tuple[str, ...],
    path: str,
    certificate: Certificate | None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Target]:
    """Have a server for a while.

    Args:
        command: Its words; `{port}`, `{certfile}` and `{keyfile}` are filled in.
        path: Of its socket.
        certificate: For TLS, otherwise `None`.
        environment: Variables that it has besides those of this process.

    Raises:
        LoadError: It does not start.
    """
    port = free_port()
    with tempfile.TemporaryFile() as log:
        server = Server(fill(command, port, certificate), log, environment)
        try:
            server.wait_until_listening(port)
            yield Target(
                port,
                path,
                str(certificate.certfile) if certificate is not None else None,
                server.seconds if HAS_PROC else None,
                server.kilobytes if HAS_PROC else None,
            )
        finally:
            server.stop()
