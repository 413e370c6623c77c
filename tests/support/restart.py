"""A server that can be killed and started anew at the same address, as clients see a crash or a deployment."""

import signal
from types import TracebackType
from typing import Self

from tests.support.process import Process


class RestartableServer:
    """`broadwing serve` on a port of its own choice, which it keeps over its lives.

    Attributes:
        port: Where, on 127.0.0.1; known once it was started.
    """

    def __init__(self, application: str) -> None:
        self.application = application
        self.port = 0
        self._process: Process | None = None

    def url(self, path: str = "/", scheme: str = "http") -> str:
        """The address of `path`."""
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    def start(self) -> None:
        """Start, and wait until it listens."""
        assert self._process is None, "it runs already"
        self._process = Process(self.application, "--port", str(self.port))
        self._process.await_start()
        self.port = self._process.port

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
