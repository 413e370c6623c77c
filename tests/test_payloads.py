"""A payload stays raw until a handler asks for it; what its bytes hide then, is still the client's fault and not ours."""

from typing import Any, TypedDict

import msgspec
import pytest

from broadwing.core.codec import Raw
from broadwing.core.frames import TEXT
from broadwing.core.json_v2 import JsonV2
from broadwing.exceptions import InvalidMessage
from broadwing.handlers import Handler
from broadwing.payloads import decode_payload
from tests.core.hostile import DEEP


class Said(TypedDict):
    body: Any


async def _handle(self: object, payload: Any) -> None:
    """Only its annotation matters."""


ANYTHING = Handler(_handle, Any, takes_payload=True)
SAID = Handler(_handle, Said, takes_payload=True)


def _deeper(frames: int, handler: Handler, payload: Any) -> Any:
    return _deeper(frames - 1, handler, payload) if frames else decode_payload(handler, payload)


@pytest.mark.parametrize("handler", [ANYTHING, SAID], ids=["any", "annotated"])
def test_a_payload_of_any_depth_is_read_or_invalid_however_deep_the_stack_is_by_then(handler: Handler) -> None:
    # The envelope is read where the stack is shallow; a payload that it skipped over may be too deep for its reader.
    outcomes = set()
    for depth in range(100, 1100, 7):
        text = b'[null,"1","t","e",{"body":%b}]' % (b"[" * depth + b"]" * depth)
        try:
            payload = JsonV2().decode(TEXT, text).payload
            outcomes.add(type(_deeper(60, handler, payload)))
        except InvalidMessage:
            outcomes.add(InvalidMessage)
    assert dict in outcomes
    assert outcomes <= {dict, InvalidMessage}


@pytest.mark.parametrize("deep", DEEP.values(), ids=DEEP)
@pytest.mark.parametrize("handler", [ANYTHING, SAID], ids=["any", "annotated"])
def test_a_payload_nested_beyond_all_measure_is_invalid(handler: Handler, deep: bytes) -> None:
    with pytest.raises(InvalidMessage, match="not JSON"):
        decode_payload(handler, Raw(b'{"body":' + deep + b"}"))


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"9" * 5000], ids=["float", "negative", "integer"])
def test_a_number_beyond_all_measure_is_invalid_when_it_is_read(number: bytes) -> None:
    payload = JsonV2().decode(TEXT, b'[null,"1","t","e",[%b]]' % number).payload
    assert isinstance(payload, msgspec.Raw)
    with pytest.raises(InvalidMessage, match="out of range"):
        decode_payload(ANYTHING, payload)
