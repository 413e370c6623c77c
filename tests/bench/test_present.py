"""The scenarios of presence in small, and the options that belong to them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import parse
from bench.present import PRESENCE, THIS, crowd
from bench.report import BESIDE, PRESENCE_ROWS
from bench.server import HAS_PROC, ROOT

SMALL = ("--presence", "--rounds", "1", "--seconds", "0.3", "--connections", "20")


@pytest.mark.slow
def test_one_scenario_of_each_kind_gives_sane_figures_of_both_sides(tmp_path: Path) -> None:
    names = ("join-1000", "state-1000", "crowd-all")
    report = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "bench", *SMALL, "--only", ",".join(names), "--json", str(report)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(report.read_text())
    assert figures["faults"] == []
    scenarios = figures["scenarios"]
    assert set(scenarios) == set(names)
    for side in (THIS, BESIDE):
        for name in ("join-1000", "state-1000"):
            assert 0 < scenarios[name]["p50_ms"][side] <= scenarios[name]["p99_ms"][side] < 10_000
            if HAS_PROC:
                assert scenarios[name]["cpu_us"][side] >= 0  # told in hundredths of a second
        # A hundred come and a hundred go in a second, at some hundred bytes each.
        assert 5_000 < scenarios["crowd-all"]["bytes_s"][side] < 100_000
        assert 1 < scenarios["crowd-all"]["frames_s"][side] < 300
    # A diff tells of one, however many are there; a list of all of them.
    assert scenarios["join-1000"]["bytes"][THIS] == scenarios["join-1000"]["bytes"][BESIDE]
    assert 9 < scenarios["state-1000"]["bytes"]["ratio"] < 11
    assert "one comes to 1,000, until told, p50 in ms; to 100" in done.stdout


def test_a_room_that_no_core_could_write_to_at_once_is_left_out_beside_it() -> None:
    assert crowd(None, BESIDE, 5_000, 1.0, print) == {}


def test_every_scenario_has_rows_and_a_name_without_its_end_means_all_of_these() -> None:
    assert list(dict.fromkeys(row.scenario for row in PRESENCE_ROWS)) == list(PRESENCE)
    options = parse(["--presence", "--only", "join,state-100"])
    assert options.scenarios == ["join-100", "join-1000", "join-10000", "state-100"]
    assert options.connections == 5_000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--presence", "--tls"], "leave out --tls and --server"),
        (["--presence", "--bus"], "leave out one of them"),
        (["--presence", "--only", "fanout"], "accepted are join-100, join-1000"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(words)
    assert message in capsys.readouterr().err
