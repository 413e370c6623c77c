"""Fuzzes the serializer of wire version 1.0.0: `python -m tests.fuzz.json_v1 --runs 100000`."""

from broadwing.core.json_v1 import JsonV1
from tests.fuzz.harness import main
from tests.fuzz.serializers import TOKENS, check


def fuzz_one(data: bytes) -> None:
    """Read a message: it can be answered, or it is invalid."""
    check(JsonV1(), data)


SEEDS = [
    b'\x01{"topic":"room:lobby","event":"new_msg","payload":{"body":"hi"},"ref":"1","join_ref":"1"}',
    b'\x02{"topic":"phoenix","event":"heartbeat","payload":{},"ref":null}',
    b'\x01 { "topic" : 5 , "event" : [1] , "payload" : "str" , "ref" : {"a":1.5e3} } ',
    b'\x01{"topic":"\\ud83d\\ude00","event":"\\"\\\\\\n","payload":[[[]],{"a":{}}],"ref":12345678901234567890}',
    b'\x01["1","1","room:lobby","phx_join",{}]',
    # Found by hand: invalid UTF-8 left the decoder as UnicodeDecodeError, or slipped through in a payload.
    b'\x01{"topic":"\xff","event":"e","payload":{},"ref":1}',
    b'\x02{"topic":"t","event":"e","payload":{"a":"\xff"},"ref":1}',
]

if __name__ == "__main__":
    main(fuzz_one, SEEDS, TOKENS)
