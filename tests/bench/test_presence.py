"""The benchmark of presences tells every figure that it announces."""

import pytest

from bench.presence import ROWS, main


def test_every_row_has_a_figure_for_each_number_of_presences(capsys: pytest.CaptureFixture[str]) -> None:
    main(["10", "20"])
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert head == "| | 10 present | 20 present |"
    assert len(rows) == len(ROWS)
    for row, (name, unit) in zip(rows, ROWS, strict=True):
        assert row.startswith(f"| {name} | ")
        cells = [cell.strip() for cell in row.split("|")[2:4]]
        assert all(cell.endswith(f" {unit}") and float(cell.split()[0].replace(",", "")) >= 0 for cell in cells)
