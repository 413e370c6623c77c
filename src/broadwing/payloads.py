"""Payloads on their way into handlers, and what counts as a payload on the way out."""

from typing import Any

import msgspec

from broadwing.decoders import InvalidPayload, refuse_binary
from broadwing.exceptions import InvalidMessage
from broadwing.handlers import Handler


def decode_payload(handler: Handler, payload: Any) -> Any:
    """Turn a payload, still raw, into the handler's argument.

    Raises:
        InvalidPayload: It does not fit the annotation.
        InvalidMessage: It is not JSON.
    """
    if type(payload) is bytes:
        if not handler.accepts_binary:
            raise refuse_binary()
        return payload
    try:
        return handler.decode(payload)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidMessage(f"a payload is not JSON: {error}") from error


def decode_params(join: Handler, payload: Any) -> Any:
    """Turn the payload of a join into its argument, or into the `InvalidPayload` that says why it cannot be.

    Raises:
        InvalidMessage: It is not JSON.
    """
    try:
        return decode_payload(join, payload) if join.takes_payload else None
    except InvalidPayload as refused:
        return refused


def is_annotated(value: Any) -> bool:
    """Tell whether a value is a dataclass or pydantic instance."""
    return hasattr(value, "__dataclass_fields__") or hasattr(value, "model_dump")
