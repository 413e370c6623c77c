"""`broadwing serve` in a process of its own, for what concerns signals, exit codes and memory."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.background import TIMEOUT
from tests.support.loopback import HOST

ROOT = Path(__file__).parent.parent.parent


class Process:
    """A server.

    Attributes:
        port: Where it listens, on `HOST`.
        output: Lines of its output so far.
    """

    def __init__(self, *arguments: str, environment: dict[str, str] | None = None, host: str = HOST) -> None:
        self.output: list[str] = []
        self._started = threading.Event()
        self.port = 0
        self._process = subprocess.Popen(
            [Path(sys.executable).with_name("broadwing"), "serve", "--host", host, *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def await_start(self) -> None:
        """Wait until it listens."""
        assert self._started.wait(TIMEOUT), self.output
        assert self.port, self.output

    @property
    def rss(self) -> int:
        """Resident memory in bytes."""
        command = ["ps", "-o", "rss=", "-p", str(self._process.pid)]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) * 1_024

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def exit_code(self, seconds: float = TIMEOUT) -> int:
        """Wait for the end."""
        code = self._process.wait(seconds)
        self._reader.join(TIMEOUT)
        return code

    def kill(self) -> None:
        """End it whatever it does."""
        if self.is_running:
            self._process.kill()
        self.exit_code()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def says(self, text: str, seconds: float = TIMEOUT) -> bool:
        """Whether a line with `text` comes."""
        deadline = time.monotonic() + seconds
        while not any(text in line for line in self.output):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.output.append(line.rstrip())
            found = re.search(r"Broadwing serves \S+ on https?://\S+:(\d+)", line)
            if found is not None:
                self.port = int(found[1])
                self._started.set()
        self._started.set()


@contextlib.contextmanager
def serving(*arguments: str, environment: dict[str, str] | None = None) -> Iterator[Process]:
    """Run `broadwing serve ARGUMENTS --port 0` for the length of a `with` block."""
    process = Process(*arguments, "--port", "0", environment=environment)
    try:
        process.await_start()
        yield process
    finally:
        process.kill()
