"""Percentiles and stretches."""

import pytest

from bench.figures import Stretch, latencies, percentile


@pytest.mark.parametrize(
    # Nearest rank: the ordinal ⌈share · n⌉. The first four are the textbook's example of the method.
    ("values", "share", "expected"),
    [
        ([15, 20, 35, 40, 50], 0.05, 15),
        ([15, 20, 35, 40, 50], 0.30, 20),
        ([15, 20, 35, 40, 50], 0.40, 20),
        ([15, 20, 35, 40, 50], 1.00, 50),
        (range(100, 0, -1), 0.99, 99),
        (range(1, 101), 0.07, 7),
        (range(1, 1_001), 0.5, 500),
        ([3.5], 0.99, 3.5),
        ([], 0.99, 0),
    ],
)
def test_a_percentile_is_the_value_of_the_nearest_rank(values: list[float], share: float, expected: float) -> None:
    assert percentile(values, share) == expected


def test_latencies_are_told_in_milliseconds() -> None:
    assert latencies([0.002] * 99 + [0.5]) == {"p50_ms": 2.0, "p99_ms": 2.0}


def test_a_stretch_counts_what_the_server_used_in_it_and_not_before() -> None:
    readings = iter([10.0, 10.5])
    figures = Stretch(lambda: next(readings)).end(1_000)
    assert figures["cpu_us"] == pytest.approx(500)
    assert figures["rate"] == pytest.approx(1_000 / figures["seconds"])
    assert figures["server"] == pytest.approx(0.5 / figures["seconds"])


def test_where_processor_time_cannot_be_told_its_figures_are_left_out() -> None:
    assert {"cpu_us", "server"}.isdisjoint(Stretch(None).end(1))
