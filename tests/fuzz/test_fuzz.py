"""A short run of every fuzz harness, so that they stay usable and a plain mistake shows at once."""

import random
import subprocess
import sys
from types import ModuleType

import pytest

from tests.fuzz import etf, frames, json_v1, json_v2
from tests.fuzz.harness import Found, mutate, run


@pytest.mark.parametrize(
    ("harness", "runs"),
    [(frames, 4000), (json_v1, 6000), (json_v2, 6000), (etf, 6000)],
    ids=["frames", "json_v1", "json_v2", "etf"],
)
def test_decoders_take_whatever_comes(harness: ModuleType, runs: int) -> None:
    run(harness.fuzz_one, harness.SEEDS, harness.TOKENS, runs=runs, seed=1)


def test_a_decoder_that_raises_is_found_with_the_input_that_did_it() -> None:
    def brittle(data: bytes) -> None:
        assert b"\xff" not in data

    with pytest.raises(Found) as caught:
        run(brittle, [b"fine"], runs=5000)
    assert b"\xff" in caught.value.data
    assert caught.value.data.hex() in str(caught.value)


def test_mutations_repeat_under_the_same_seed_and_differ_from_what_they_come_from() -> None:
    seeds = [b"one seed", b"another"]
    first, second = random.Random(7), random.Random(7)
    inputs = [mutate(first, seeds, [b"!"]) for _ in range(200)]
    assert inputs == [mutate(second, seeds, [b"!"]) for _ in range(200)]
    assert len(set(inputs)) > 100
    assert mutate(random.Random(1), [b""], [b""]) is not None


def test_a_harness_is_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.json_v2", "--runs", "20", "--plain"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, f"{len(json_v2.SEEDS)} seeds and 20 mutations taken\n")
