"""The scenarios of the bus in small, over real servers, and what a stream that is not whole comes to."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import parse
from bench.bus import ADAPTERS, BUS, THIS, bus
from bench.lines import LoadError
from bench.report import BESIDE, BUS_ROWS
from bench.server import HAS_PROC, ROOT
from bench.stream import FEWEST, STEP, Receiver, message

SMALL = ("--bus", "--rounds", "1", "--seconds", "0.2", "--connections", "20")


def bench(only: str, *words: str, env: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "bench", *SMALL, "--only", only, *words]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=100)


def silent(text: str) -> None:
    """What progress there is."""


@pytest.mark.slow
def test_one_scenario_of_each_kind_gives_sane_figures_of_both_sides(tmp_path: Path) -> None:
    names = ("stream-zmq", "absent-nats", "reach-redis", "workers-echo")
    done = bench(",".join(names), "--json", str(tmp_path / "figures.json"))
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "figures.json").read_text())
    assert report["faults"] == []
    scenarios = report["scenarios"]
    assert set(scenarios) == set(names)
    for side in (THIS, BESIDE):
        assert scenarios["stream-zmq"]["rate"][side] > 100
        assert scenarios["stream-zmq"]["total"][side] >= FEWEST
        assert 0 < scenarios["stream-zmq"]["cpu_us"][side] < 5_000
        assert 0 < scenarios["reach-redis"]["p50_ms"][side] <= scenarios["reach-redis"]["p99_ms"][side] < 10_000
        assert scenarios["workers-echo"]["rate"][side] > 1
        if HAS_PROC:
            assert scenarios["workers-echo"]["cpu_us"][side] > 0
    assert scenarios["absent-nats"]["arrived"][THIS] == 0
    assert scenarios["absent-nats"]["arrived"][BESIDE] == 1
    assert "nats: share that reaches who does not listen; who does" in done.stdout
    assert "beside it" in done.stdout
    # One line when a measurement begins and one when it ends.
    assert done.stderr.count("[8/8] workers-echo, this") == 2


@pytest.mark.parametrize("side", [THIS, BESIDE])
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_every_message_of_a_hundred_topics_arrives_once(adapter: str, side: str) -> None:
    figures = BUS[f"topics-{adapter}"](side, 20, 0.1, silent)
    assert figures["total"] >= FEWEST
    assert figures["rate"] > 100


def test_over_redis_nothing_reaches_a_node_that_does_not_listen() -> None:
    assert BUS["absent-redis"](THIS, 20, 0.1, silent)["arrived"] == 0


def test_over_the_mesh_everything_reaches_every_node() -> None:
    assert BUS["absent-zmq"](THIS, 20, 0.1, silent)["arrived"] == 1


def test_all_scenarios_are_in_the_table() -> None:
    assert {row.scenario for row in BUS_ROWS} == set(BUS)


def received(*numbers: int) -> Receiver:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        receiver = Receiver(ours, 0.0, is_told=False)
        for number in numbers:
            receiver.take(message(number))
    return receiver


def test_a_whole_stream_has_figures() -> None:
    figures = received(*range(1, 4 * STEP + 1)).figures(4 * STEP)
    assert figures["total"] == 4 * STEP
    assert figures["rate"] == pytest.approx(3 * STEP / figures["seconds"])


def test_a_message_that_is_lost_costs_the_figures() -> None:
    with pytest.raises(LoadError, match=r"of 2,000 messages 1,999 arrived"):
        received(*range(1, 2_000)).figures(2_000)


def test_a_message_that_comes_twice_costs_the_figures() -> None:
    with pytest.raises(LoadError, match=r"of 2,000 messages 2,001 arrived"):
        received(*range(1, 2_001), 2_000).figures(2_000)


def test_one_lost_and_one_doubled_do_not_make_up_for_each_other() -> None:
    with pytest.raises(LoadError, match=f"message {STEP} has the number 0*{STEP + 1}"):
        received(*range(2, 2_001), 2_000).figures(2_000)


def test_a_server_that_is_missing_is_named_and_the_rest_is_measured() -> None:
    done = bench("stream-redis,stream-zmq", env={**os.environ, "PATH": "/nowhere"})
    assert done.returncode == 1
    assert "redis-server is not here; `make system-parts` installs it" in done.stderr
    assert "zmq, one topic: messages/s" in done.stdout


def test_a_bus_ends_with_its_block() -> None:
    with bus("redis") as url:
        port = int(url.rpartition(":")[2])
        socket.create_connection(("127.0.0.1", port)).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_a_name_without_its_end_means_all_of_these() -> None:
    assert parse(["--bus", "--only", "reach,stream-redis"]).scenarios == [
        "reach-zmq",
        "reach-redis",
        "reach-nats",
        "stream-redis",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--bus", "--only", "echo"], "--only names 'echo'; accepted are stream-zmq, stream-redis"),
        (["--only", "reach"], "--only names 'reach'; accepted are fanout, topics"),
        (["--bus", "--tls"], "--bus measures Broadwing's own nodes over loopback; leave out --tls and --server"),
        (["--bus", "--server", "node {port}"], "leave out --tls and --server"),
    ],
)
def test_an_option_that_does_not_go_with_the_bus_is_explained(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(words)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_help_tells_of_the_bus(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"])
    shown = capsys.readouterr().out
    assert "python -m bench --bus --only stream-redis,reach" in shown
    assert all(f"{name.partition('-')[0]}-*" in shown for name in BUS)
