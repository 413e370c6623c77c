"""A server that can be killed and started anew at the same address, as clients see a crash or a deployment."""

import signal
from types import TracebackType
from typing import Self

from tests.support.loopback import HOST, free_port
from tests.support.process import Process


class RestartableServer:
    """`broadwing serve` at an address that it keeps over its lives.

    Args:
        application: What it serves.
        host: Where; by default where nobody but this run's clients come.

    Attributes:
        port: The port.
    """

    def __init__(self, application: str, host: str = HOST) -> None:
        self.application = application
        self.host = host
        self.port = free_port()
        self._process: Process | None = None

    def url(self, path: str = "/", scheme: str = "http") -> str:
        """The address of `path`."""
        return f"{scheme}://{self.host}:{self.port}{path}"

    def start(self) -> None:
        """Start, and wait until it listens."""
        assert self._process is None, "it runs already"
        self._process = Process(self.application, "--port", str(self.port), host=self.host)
        self._process.await_start()

    def kill(self) -> None:
        """End it as a power failure would: without a word to anybody."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()

    def stop(self) -> None:
        """End it as Ctrl+C does: it sends its clients away first."""
        if self._process is not None and self._process.is_running:
            self._process.signal(signal.SIGINT)
            self._process.exit_code()
        self.kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()  # and not killed, so that what it has covered is counted
