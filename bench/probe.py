"""Times echoes on a quiet topic: one connection in a process of its own, without an event loop to add to the figures.

Echoes are sent by the clock and not when the last reply is there: a client that waits sends least while the server is
busy, and its figures are those of the server's better moments.

The load client starts it with port, path, seconds and certificate; it writes the seconds of every echo to stdout.
"""

import json
import socket
import sys
import time
from typing import Final

from bench.frames import TEXT, Cutter
from bench.lines import HOST, PATIENCE, LoadError, Target, is_accepted, is_joined, join_frame, push_frame

TOPIC: Final = "room:neighbour"
# Seconds from one echo to the next: rare enough to be no load of its own.
INTERVAL: Final = 0.002
# Echoes that only warm caches up.
UNCOUNTED: Final = 10
# A mark: `#` and as many digits.
DIGITS: Final = 10


class Probe:
    """A connection that joins and then sends by the clock."""

    def __init__(self, target: Target) -> None:
        plain = socket.create_connection((HOST, target.port), timeout=PATIENCE)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tls = target.tls()
        self._socket = tls.wrap_socket(plain, server_hostname=HOST) if tls is not None else plain
        self._cutter = Cutter()
        try:
            self._join(target)
        except BaseException:
            self._socket.close()
            raise

    def _join(self, target: Target) -> None:
        self._socket.sendall(target.request())
        head = b""
        while b"\r\n\r\n" not in head:
            head += self._read()
        if not is_accepted(head):
            raise LoadError(f"the handshake was answered with {head[:200]!r}; expected 101 and the accept key")
        self._socket.sendall(join_frame(TOPIC))
        data = head.partition(b"\r\n\r\n")[2]
        while not any(opcode == TEXT and is_joined(payload) for opcode, payload in self._cutter.cut(data)):
            data = self._read()

    def measure(self, seconds: float) -> list[float]:
        """Echo for so long.

        Returns:
            The time of each echo, in seconds.

        Raises:
            LoadError: The server ended the connection, or stalled.
        """
        sent: list[float] = []
        times: list[float] = []
        start = due = time.perf_counter()
        while due < start + seconds or len(times) < len(sent):
            now = time.perf_counter()
            if now >= due and due < start + seconds:
                self._socket.settimeout(PATIENCE)
                sent.append(time.perf_counter())
                self._socket.sendall(push_frame(TOPIC, "echo", f"#{len(sent) - 1:0{DIGITS}}"))
                due += INTERVAL
                continue
            if sent and now - max(sent[-1], start + seconds) > PATIENCE:
                raise LoadError(f"{len(sent) - len(times)} echoes were not answered within {PATIENCE:g} s")
            self._socket.settimeout(max(due - now, 0.001))
            try:
                data = self._read()
            except TimeoutError:
                continue
            now = time.perf_counter()
            for opcode, payload in self._cutter.cut(data):
                at = payload.find(b"#")
                if opcode == TEXT and at >= 0:
                    times.append(now - sent[int(payload[at + 1 : at + 1 + DIGITS])])
        return times[UNCOUNTED:]

    def close(self) -> None:
        """End it."""
        self._socket.close()

    def _read(self) -> bytes:
        data = self._socket.recv(65_536)
        if not data:
            raise LoadError("the server ended the connection")
        return data


def main() -> None:
    """Measure as told by the arguments."""
    port, path, seconds, certfile = sys.argv[1:]
    try:
        probe = Probe(Target(int(port), path, certfile or None))
        try:
            times = probe.measure(float(seconds))
        finally:
            probe.close()
    except (LoadError, OSError, ValueError, LookupError) as error:  # what is not a reply cannot be read as one
        sys.exit(f"{type(error).__name__}: {error}")
    print(json.dumps(times))


if __name__ == "__main__":
    main()
