"""Fuzzes the reader of Erlang's external term format: `python -m tests.fuzz.etf --runs 100000`."""

import zlib

from broadwing.core.etf import EtfError, decode, encode
from tests.fuzz.harness import main


def fuzz_one(data: bytes) -> None:
    """Read a term: it is refused, or it can be written and then reads the same."""
    try:
        term = decode(data, max_bytes=100_000, max_terms=5000)
    except EtfError:
        return
    try:
        written = encode(term)
    except EtfError:
        return  # read leniently, e.g. two keys that are one binary once they are text
    again = decode(written)
    assert again == term
    assert encode(again) == written


def _compressed(term: bytes) -> bytes:
    return b"\x83\x50" + len(term).to_bytes(4) + zlib.compress(term)


SEEDS = [
    bytes.fromhex(term)
    for term in (
        # The terms of the format's chapter in the guide, one of each tag.
        "836101",
        "8362ffffffff",
        "836e060068e5cf8b0100",
        "836f0000000100ff",
        "83463ff8000000000000",
        "8363" + "312e35303030303030303030303030303030303030652b3030".ljust(62, "0"),
        "8377036e696c",
        "836400036e696c",
        "837303616263",
        "837600036e696c",
        "836d00000003616263",
        "834d000000020381a0",
        "836a",
        "836b0003010203",
        "836c00000002610161026a",
        "836c000000016101" + "6102",  # an improper list
        "836803610161026103",
        "83690000000161016101",
        "8374000000026d000000016161016d00000001626102",
        "8358" + "77016e" + "0000000100000000" + "00000001",
        "835a0001" + "77016e" + "00000001" + "00000001",
        "83680361016e06000068e5cf8b016200015180",  # the body of a token
        "8370",
        "8371",
    )
] + [
    _compressed(b"\x6d\x00\x00\x03\xe8" + b"a" * 1000),
    _compressed(bytes(100_000)),
    b"\x83" + b"\x68\x01" * 200 + b"\x6a",
    b"\x83" + b"\x6c\x7f\xff\xff\xff" * 3,
]
TOKENS = [
    b"\x83",
    b"\x61\x05",
    b"\x68\x02",
    b"\x6c\x00\x00\x00\x02",
    b"\x6a",
    b"\x6d\x00\x00\x00\x02",
    b"\x6d\xff\xff\xff\xff",
    b"\x74\x00\x00\x00\x01",
    b"\x77\x04true",
    b"\x6f\x00\x00\xff\xff\x01",
    b"\x46\x7f\xf8\x00\x00\x00\x00\x00\x00",
    b"\x50\x00\x00\x00\x10",
]

if __name__ == "__main__":
    main(fuzz_one, SEEDS, TOKENS)
