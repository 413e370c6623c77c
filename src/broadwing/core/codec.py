"""The one JSON codec: what payloads may be, and how they become bytes.

msgspec does the work. Payloads are encoded once; the bytes then travel as they are, over the bus and into the frames of
both wire versions.
"""

from typing import Any, Final

import msgspec

from broadwing.exceptions import LocalProtocolError

DecodeError = msgspec.DecodeError
ValidationError = msgspec.ValidationError
Raw = msgspec.Raw


def _unknown(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if dump is not None:  # a pydantic model, without importing pydantic
        return dump(mode="json")
    raise LocalProtocolError(f"a payload held a {type(value).__name__}, which has no JSON form; {_ACCEPTED}")


_ACCEPTED: Final = (
    "accepted are dict, list, str, int, float, bool, None, dataclasses, msgspec.Struct, pydantic models, datetime, UUID, "
    "Decimal and Enum"
)


_encoder: Final = msgspec.json.Encoder(enc_hook=_unknown)
encode: Final = _encoder.encode
decode: Final = msgspec.json.Decoder().decode

BYTES: Final = (bytes, bytearray, memoryview)
"""What an application may give as a binary payload."""

ENCODE_ERRORS: Final = (ValueError, TypeError, RecursionError)
"""What `encode` raises besides `LocalProtocolError`: lone surrogates, integers of 4,301 digits, a list that holds itself."""


def unencodable(error: Exception) -> LocalProtocolError:
    """Turn one of `ENCODE_ERRORS` into the error to raise."""
    return LocalProtocolError(f"a payload has no JSON form: {error}; {_ACCEPTED}")


class Body(msgspec.Struct, frozen=True, gc=False):
    """A payload, encoded: what the bus carries and the serializers wrap.

    Attributes:
        data: JSON text as UTF-8, or the raw bytes of a binary payload.
        binary: Whether `data` is a binary payload.
    """

    data: bytes
    binary: bool = False

    @property
    def payload(self) -> Any:
        """The payload decoded: a fresh JSON value at every access, or the bytes."""
        return self.data if self.binary else decode(self.data)

    @property
    def is_map(self) -> bool:
        """Whether the payload is a JSON object."""
        return not self.binary and self.data[:1] == b"{"


def body(payload: Any) -> Body:
    """Encode a payload.

    Args:
        payload: Anything with a JSON form, or `bytes`, `bytearray` or `memoryview` for a binary payload.

    Raises:
        LocalProtocolError: A value in it has no JSON form.
    """
    if isinstance(payload, BYTES):
        return Body(bytes(payload), True)
    try:
        return Body(encode(payload))
    except ENCODE_ERRORS as error:
        raise unencodable(error) from error
