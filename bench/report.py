"""What a run has found out: as a table to read and as JSON to keep."""

import os
import platform
import statistics
import subprocess
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.figures import Figures
from bench.server import HAS_PROC, ROOT

THIS, YARDSTICK = "this", "yardstick"
# What each bus scenario is measured beside; see `bench.bus`.
BESIDE: Final = "beside it"
# A rate is the server's own when it used about all of a core; and the load client's, perhaps, when that one did.
BUSY: Final = 0.85


class Row(NamedTuple):
    """One line of the table."""

    scenario: str
    figure: str
    title: str
    decimals: int


ROWS: Final = (
    Row("fanout", "rate", "fan-out: deliveries/s", 0),
    Row("fanout", "p99_ms", "to the last one, p99 in ms", 1),
    Row("fanout", "cpu_us", "server CPU, µs each", 1),
    Row("topics", "rate", "many topics: deliveries/s", 0),
    Row("topics", "p99_ms", "to the last one, p99 in ms", 1),
    Row("topics", "cpu_us", "server CPU, µs each", 1),
    Row("echo", "rate", "echo: replies/s", 0),
    Row("echo", "p99_ms", "p99 in ms", 2),
    Row("echo", "cpu_us", "server CPU, µs each", 1),
    Row("churn", "rate", "connect+join+close/s", 0),
    Row("churn", "p99_ms", "until joined, p99 in ms", 1),
    Row("churn", "cpu_us", "server CPU, µs each", 1),
    Row("idle", "kb", "kB per joined connection", 2),
    Row("neighbours", "p50_ms", "echo beside a busy room, p50 in ms", 2),
    Row("neighbours", "p99_ms", "p99 in ms", 2),
    Row("neighbours", "rate", "deliveries/s in the room", 0),
)
BUS_ROWS: Final = (
    *(
        row
        for name, client in (("zmq", "pyzmq"), ("redis", "redis-py"), ("nats", "nats-py"))
        for row in (
            Row(f"stream-{name}", "rate", f"{name}, one topic: messages/s; {client}", 0),
            Row(f"stream-{name}", "cpu_us", "CPU of both ends, µs each", 2),
            Row(f"topics-{name}", "rate", f"{name}, many topics: messages/s; {client}", 0),
            Row(f"topics-{name}", "cpu_us", "CPU of both ends, µs each", 2),
            Row(f"single-{name}", "rate", f"{name}, one at a time: messages/s; {client}", 0),
            Row(f"single-{name}", "cpu_us", "CPU of both ends, µs each", 2),
        )
    ),
    *(
        row
        for name in ("zmq", "redis", "nats")
        for row in (
            Row(f"absent-{name}", "arrived", f"{name}: share that reaches who does not listen; who does", 3),
            Row(f"absent-{name}", "cpu_us", "its CPU, µs per broadcast", 2),
        )
    ),
    *(
        row
        for name in ("zmq", "redis", "nats")
        for row in (
            Row(f"reach-{name}", "p50_ms", f"{name}, to the last on another node, p50 in ms; one node", 1),
            Row(f"reach-{name}", "p99_ms", "p99 in ms", 1),
        )
    ),
    Row("workers-fanout", "rate", "fan-out of two workers: deliveries/s; of one", 0),
    Row("workers-fanout", "p99_ms", "to the last one, p99 in ms", 1),
    Row("workers-fanout", "cpu_us", "server CPU, µs each", 1),
    Row("workers-echo", "rate", "echo of two workers: replies/s; of one", 0),
    Row("workers-echo", "p99_ms", "p99 in ms", 2),
    Row("workers-echo", "cpu_us", "server CPU, µs each", 1),
)

PRESENCE_ROWS: Final = (
    *(
        row
        for present in (100, 1_000, 10_000)
        for row in (
            Row(f"join-{present}", "p50_ms", f"one comes to {present:,}, until told, p50 in ms; to 100", 2),
            Row(f"join-{present}", "cpu_us", "server CPU for its coming and going, µs", 0),
            Row(f"join-{present}", "bytes", "bytes told to each client", 0),
        )
    ),
    *(
        row
        for present in (100, 1_000, 10_000)
        for row in (
            Row(f"state-{present}", "p50_ms", f"the state of {present:,} for a newcomer, p50 in ms; of 100", 2),
            Row(f"state-{present}", "cpu_us", "server CPU, µs", 0),
            Row(f"state-{present}", "bytes", "bytes", 0),
        )
    ),
    *(
        row
        for name, title in (("50", "50 clients"), ("300", "300 clients"), ("all", "all clients"))
        for row in (
            Row(f"crowd-{name}", "bytes_s", f"100/s come and go among {title}: bytes/s each; at once", 0),
            Row(f"crowd-{name}", "frames_s", "frames/s each", 1),
            Row(f"crowd-{name}", "server", "server CPU, share of a core", 2),
        )
    ),
)


class Rounds:
    """All figures of a run: per round and scenario those of both sides, taken one right after the other.

    Args:
        beside: What this server, or this bus, is measured beside.
        rows: Of the table.
    """

    def __init__(self, beside: str = YARDSTICK, rows: Sequence[Row] = ROWS) -> None:
        self._beside = beside
        self._rows = rows
        self._figures: dict[tuple[int, str, str], Figures] = {}

    def add(self, number: int, scenario: str, server: str, figures: Figures) -> None:
        """Take what one scenario has found out."""
        self._figures[number, scenario, server] = figures

    def median(self, server: str, scenario: str, figure: str) -> float | None:
        """Return the median over all rounds that have the figure."""
        return _median(
            figures[figure]
            for (_, name, owner), figures in self._figures.items()
            if (name, owner) == (scenario, server) and figure in figures
        )

    def ratio(self, scenario: str, figure: str) -> float | None:
        """Return the median of each round's own ratio, so that a machine that slows down slows both sides of it."""
        return _median(
            figures[figure] / other[figure]
            for (number, name, owner), figures in self._figures.items()
            if (name, owner) == (scenario, THIS)
            and figure in figures
            and (other := self._figures.get((number, name, self._beside), {})).get(figure)
        )

    def as_json(self) -> dict[str, dict[str, dict[str, float | None]]]:
        """Return medians and ratios by scenario and figure."""
        found: dict[str, dict[str, dict[str, float | None]]] = {}
        for (_, scenario, _), figures in self._figures.items():
            for figure in figures:
                found.setdefault(scenario, {})[figure] = {
                    THIS: self.median(THIS, scenario, figure),
                    self._beside: self.median(self._beside, scenario, figure),
                    "ratio": self.ratio(scenario, figure),
                }
        return found

    def table(self) -> list[str]:
        """Write the table, and below it what has to be known to read it."""
        width = max(36, *(len(row.title) + 2 for row in self._rows))
        lines = [f"{'':{width}}{THIS:>12}{self._beside:>12}{'ratio':>8}"]
        before = ""
        for scenario, figure, title, decimals in self._rows:
            this, beside = (self.median(side, scenario, figure) for side in (THIS, self._beside))
            if this is None and beside is None:
                continue
            indent = "  " if scenario == before else ""
            before = scenario
            ratio = _number(self.ratio(scenario, figure), 2)
            lines.append(
                f"{indent + title:{width}}{_number(this, decimals):>12}{_number(beside, decimals):>12}{ratio:>8}"
            )
        return lines + list(self._notes())

    def _notes(self) -> Iterator[str]:
        for scenario in dict.fromkeys(name for _, name, _ in self._figures):
            for server in (THIS, self._beside):
                client, own = (self.median(server, scenario, figure) for figure in ("client", "server"))
                if client is None or own is None or own > BUSY:
                    continue
                reason = "the load client was the limit" if client > BUSY else "something else had the machine"
                yield f"{scenario}, {server}: used {own:.0%} of a core, {reason}: go by CPU, not by rate or times"
        if not HAS_PROC:
            yield "Left out: CPU and memory of the servers, which are read from /proc as Linux has it."


def _median(values: Iterator[float]) -> float | None:
    found = list(values)
    return statistics.median(found) if found else None


def _number(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:,.{decimals}f}"


def machine(server: Sequence[str] | None) -> dict[str, Any]:
    """Describe what the figures were taken on.

    Args:
        server: The command of another server that is measured; `None` for this project's.
    """
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {
            name: _version(name) for name in ("broadwing", "uvicorn", "uvloop", "msgspec", "pyzmq", "redis", "nats-py")
        },
        "commit": _commit(),
        "load": round(os.getloadavg()[0], 2),
        "server": list(server) if server is not None else None,
    }


def machine_line(facts: dict[str, Any]) -> str:
    """Write the machine as one line."""
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    return (
        f"{facts['cores']} cores ({facts['processor']}), {facts['system']}, Python {facts['python']}, {versions}, "
        f"commit {facts['commit']}, load before {facts['load']}"
    )


def _processor() -> str:
    with_names = Path("/proc/cpuinfo")
    if with_names.exists():
        for line in with_names.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _commit() -> str:
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        changed = _git("status", "--porcelain", "--", "src", "bench")
    except (OSError, subprocess.CalledProcessError):  # no git here, or no repository
        return "unknown"
    return f"{commit} with changes" if changed else commit


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
