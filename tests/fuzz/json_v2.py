"""Fuzzes the serializer of wire version 2.0.0: `python -m tests.fuzz.json_v2 --runs 100000`."""

from broadwing.core.json_v2 import JsonV2
from tests.fuzz.harness import main
from tests.fuzz.serializers import TOKENS, check


def fuzz_one(data: bytes) -> None:
    """Read a message: it can be answered, or it is invalid."""
    check(JsonV2(), data)


SEEDS = [
    b'\x01["1","2","room:lobby","new_msg",{"body":"hi"}]',
    b'\x01[null,"1","phoenix","heartbeat",{}]',
    b'\x01 [ 1 , [2] , {"a":null} , true , "str" , "extra" ] ',
    b'\x01["\\ud83d\\ude00","\\"",1e3,12345678901234567890,[[[]],{"a":{}}]]',
    b'\x01["1","1","room:lobby","phx_join"]',
    b"\x02\x00\x01\x01\x0a\x0712room:lobbynew_msg\x00\x01\x02\xfe\xff",
    b"\x02\x00\x00\x00\x00\x00",
    b"\x02\x01\x00\x00\x00\x00",
    # Found by hand: invalid UTF-8 left the decoder as UnicodeDecodeError; refs nested to the brim of the stack could be
    # read and then neither echoed nor compared; a payload was taken for Base64.
    b'\x01["1","1","\xff","e",{}]',
    b"\x01[" + b"[" * 900 + b"]" * 900 + b",1,1,1,1]",
    b'\x01["1","1","t","e","aGk="]',
]

if __name__ == "__main__":
    main(fuzz_one, SEEDS, TOKENS)
