"""Runs a `fuzz_one` over mutated inputs: with atheris where it is installed, else with a plain seeded mutator.

`python -m tests.fuzz.frames --runs 100000` needs nothing that is not installed for the tests. With atheris (`pip install
atheris`), the same command is guided by coverage; it is no dependency, since it has wheels for few platforms.
"""

import argparse
import importlib
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

Fuzz = Callable[[bytes], None]

# Bytes at which lengths, sizes, opcodes and encodings change their meaning.
_EDGES = bytes(
    (0, 1, 2, 4, 5, 0x7D, 0x7E, 0x7F, 0x80, 0x81, 0x82, 0x83, 0x88, 0x89, 0xC0, 0xC1, 0xED, 0xF4, 0xFE, 0xFF)
)
_LARGEST = 4096


class Found(Exception):
    """An input that `fuzz_one` did not take.

    Attributes:
        data: The input.
    """

    def __init__(self, data: bytes, error: BaseException) -> None:
        super().__init__(f"{error!r} for {data.hex()}")
        self.data = data


def mutate(source: random.Random, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    """Change a seed in a few places, as coverage-guided fuzzers do it."""
    data = bytearray(source.choice(seeds))
    for _ in range(source.randrange(6)):
        at = source.randrange(len(data) + 1)
        match source.randrange(7):
            case 0 if data:
                data[at - 1] ^= 1 << source.randrange(8)
            case 1 if data:
                data[at - 1] = source.choice(_EDGES)
            case 2:
                data[at:at] = source.randbytes(source.randrange(1, 5))
            case 3:
                del data[at : at + source.randrange(1, 9)]
            case 4:
                data[at : at + source.randrange(3)] = source.choice(tokens)
            case 5:
                piece = data[at : at + source.randrange(1, 33)]
                data[at:at] = piece * source.randrange(1, 9)
            case _:
                other = source.choice(seeds)
                data[at:] = other[source.randrange(len(other) + 1) :]
        del data[_LARGEST:]
    return bytes(data)


def run(fuzz_one: Fuzz, seeds: Sequence[bytes], tokens: Sequence[bytes] = (b"",), *, runs: int, seed: int = 0) -> None:
    """Feed every seed, and then `runs` mutations of them.

    Raises:
        Found: An input was not taken; the error it caused is the cause.
    """
    source = random.Random(seed)
    for number in range(len(seeds) + runs):
        data = seeds[number] if number < len(seeds) else mutate(source, seeds, tokens)
        try:
            fuzz_one(data)
        except Exception as error:  # whatever comes out of a decoder that must not raise is what is looked for
            raise Found(data, error) from error


def main(fuzz_one: Fuzz, seeds: Sequence[bytes], tokens: Sequence[bytes] = (b"",)) -> None:
    """The command line of a harness."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000, help="inputs to try (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the plain mutator (default: %(default)s)")
    parser.add_argument("--plain", action="store_true", help="use the plain mutator even if atheris is installed")
    options = parser.parse_args()
    try:
        atheris = None if options.plain else importlib.import_module("atheris")
    except ImportError:
        atheris = None
    if atheris is None:
        run(fuzz_one, seeds, tokens, runs=options.runs, seed=options.seed)
        print(f"{len(seeds)} seeds and {options.runs} mutations taken")
        return
    atheris.instrument_all()
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(seeds):
            Path(folder, f"{number:03}").write_bytes(data)
        atheris.Setup([sys.argv[0], f"-runs={options.runs}", f"-max_len={_LARGEST}", folder], fuzz_one)
        atheris.Fuzz()
