"""The command: every scenario against both servers in small, its options, and what it says when something is wrong."""

import json
import os
import resource
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import main, parse, raise_file_limit
from bench.lines import LoadError
from bench.load import SCENARIOS
from bench.report import Rounds
from bench.server import HAS_PROC, ROOT

SMALL = ("--rounds", "1", "--seconds", "0.3", "--connections", "20")


def bench(*words: str, timeout: float = 100) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "bench", *SMALL, *words], cwd=ROOT, capture_output=True, text=True, timeout=timeout
    )


def figures_of(path: Path, over_tls: bool) -> dict[str, Any]:
    report = json.loads(path.read_text())
    assert report["faults"] == []
    assert report["options"] == {"rounds": 1, "seconds": 0.3, "connections": 20, "tls": over_tls}
    assert report["machine"]["cores"] == os.cpu_count()
    assert report["machine"]["versions"]["broadwing"][0].isdigit()
    scenarios: dict[str, Any] = report["scenarios"]
    return scenarios


@pytest.mark.slow
def test_every_scenario_gives_sane_figures_of_both_servers(tmp_path: Path) -> None:
    done = bench("--json", str(tmp_path / "figures.json"))
    assert done.returncode == 0, done.stderr
    scenarios = figures_of(tmp_path / "figures.json", over_tls=False)
    assert set(scenarios) == set(SCENARIOS) - (set() if HAS_PROC else {"idle"})
    for name in ("fanout", "topics", "echo", "churn", "neighbours"):
        for server in ("this", "yardstick"):
            figures = {figure: both[server] for figure, both in scenarios[name].items()}
            assert figures["rate"] > 1
            assert 0.29 < figures["seconds"] < 20
            assert 0 < figures["p50_ms"] <= figures["p99_ms"] < 5_000
            if HAS_PROC:
                assert 0.1 < figures["cpu_us"] < 50_000
        rate = scenarios[name]["rate"]
        assert rate["ratio"] == pytest.approx(rate["this"] / rate["yardstick"])
    assert "deliveries/s" in done.stdout
    assert "20 connections, 0.3 s each, medians of 1" in done.stdout
    # One line when a measurement begins and one when it ends.
    assert done.stderr.count("[12/12] neighbours, this") == 2


@pytest.mark.slow
def test_over_tls_memory_and_neighbours_are_measured(tmp_path: Path) -> None:
    done = bench("--tls", "--json", str(tmp_path / "figures.json"))
    assert done.returncode == 0, done.stderr
    scenarios = figures_of(tmp_path / "figures.json", over_tls=True)
    assert set(scenarios) == ({"idle", "neighbours"} if HAS_PROC else {"neighbours"})
    assert scenarios["neighbours"]["p99_ms"]["this"] > 0
    assert "TLS, 20 connections" in done.stdout


def test_another_server_is_measured_beside_the_yardstick(tmp_path: Path) -> None:
    command = f"{sys.executable} -m bench.yardstick --port {{port}}"
    done = bench("--only", "echo", "--server", command, "--json", str(tmp_path / "figures.json"))
    assert done.returncode == 0, done.stderr
    assert f"this: {command}" in done.stdout
    assert json.loads((tmp_path / "figures.json").read_text())["scenarios"]["echo"]["rate"]["this"] > 1


def test_a_server_that_does_not_start_is_quoted_and_the_others_are_measured(tmp_path: Path) -> None:
    command = f"{sys.executable} -c 'raise SystemExit(\"no such room\")' {{port}}"
    done = bench("--only", "echo", "--server", command, "--json", str(tmp_path / "figures.json"))
    assert done.returncode == 1
    assert "bench: no figures: echo, this, round 1:" in done.stderr
    assert "no such room" in done.stderr
    report = json.loads((tmp_path / "figures.json").read_text())
    assert len(report["faults"]) == 1
    assert report["scenarios"]["echo"]["rate"]["this"] is None
    assert report["scenarios"]["echo"]["rate"]["yardstick"] > 1


# A server that says its process id when the first echo comes, and answers none.
MUTE = """
import os, pathlib, sys
from bench import yardstick

class Mute(yardstick.Client):
    def _answer(self, message):
        if message[3] == "echo":
            pathlib.Path(sys.argv[2]).write_text(f"{os.getpid()} ")
        else:
            super()._answer(message)

yardstick.Client = Mute
yardstick.uvloop.run(yardstick.serve(int(sys.argv[1])))
"""


@pytest.mark.parametrize(("sig", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_who_ends_the_command_ends_the_server_too(tmp_path: Path, sig: signal.Signals, code: int) -> None:
    pid_file = tmp_path / "pid"
    command = shlex.join([sys.executable, "-c", MUTE, "{port}", str(pid_file)])
    words = [sys.executable, "-m", "bench", *SMALL, "--only", "echo", "--server", command]
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        pid = ""
        while not pid.endswith(" "):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.02)
            pid = pid_file.read_text() if pid_file.exists() else ""
        process.send_signal(sig)
        said = process.stderr.read()
    assert process.returncode == code
    assert "Traceback" not in said
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rounds", "0"], "--rounds 0 is out of bounds; accepted is 1 to 20"),
        (["--seconds", "1000"], "--seconds 1000.0 is out of bounds; accepted is 0.1 to 30"),
        (["--connections", "1000000"], "accepted is 1 to 20000"),
        (["--only", "echo,chrun"], "--only names 'chrun'; accepted are fanout, topics, echo, churn, idle, neighbours"),
        (["--json", "no/such/folder/figures.json"], "there is no folder no/such/folder"),
        (["--server", "node server.js"], "does not say where the port goes; write {port}"),
        (["--server", "node 'server.js {port}"], "--server: No closing quotation"),
    ],
)
def test_an_option_that_cannot_be_followed_is_explained(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(words)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"])
    shown = capsys.readouterr().out
    assert 'python -m bench --server "node server.js {port}"' in shown
    assert all(name in shown for name in SCENARIOS)


def test_too_few_open_files_are_said_before_anything_is_started(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda what: (256, 1_024))
    assert main(["--connections", "5000"]) == 1
    shown = capsys.readouterr().err
    assert "5,000 connections need 5,100 open files, and this system allows 1,024; pass --connections 924" in shown


def test_the_limit_of_open_files_is_raised_no_further_than_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda what: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", lambda what, limits: given.append(limits))
    raise_file_limit(5_000)
    assert given == [(5_100, resource.RLIM_INFINITY)]


def test_a_limit_that_the_system_does_not_raise_after_all_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    # macOS: an infinite hard limit, and ValueError above kern.maxfilesperproc.
    def refuse(what: int, limits: tuple[int, int]) -> None:
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda what: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    with pytest.raises(LoadError, match="this system allows 256; pass --connections 156"):
        raise_file_limit(5_000)


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    # A machine that is half as quick in the second round slows both; the third is disturbed on one side.
    rounds = Rounds()
    for number, (this, yardstick) in enumerate(((80, 100), (40, 50), (30, 100))):
        rounds.add(number, "echo", "this", {"rate": this})
        rounds.add(number, "echo", "yardstick", {"rate": yardstick})
    assert rounds.ratio("echo", "rate") == 0.8
    assert rounds.median("this", "echo", "rate") == 40
    assert rounds.as_json() == {"echo": {"rate": {"this": 40, "yardstick": 100, "ratio": 0.8}}}


def test_the_table_says_when_a_rate_is_not_the_servers_own() -> None:
    rounds = Rounds()
    rounds.add(1, "churn", "this", {"rate": 1_234.5, "client": 0.5, "server": 0.97, "cpu_us": 200})
    rounds.add(1, "churn", "yardstick", {"rate": 2_469, "client": 0.97, "server": 0.6, "cpu_us": 50})
    table = "\n".join(rounds.table())
    assert "connect+join+close/s" in table
    assert "1,234" in table
    assert "0.50" in table
    assert "churn, yardstick: used 60% of a core, the load client was the limit" in table
    assert "churn, this: used" not in table
