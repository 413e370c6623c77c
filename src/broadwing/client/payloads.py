"""Payloads on their way out, and into types on their way in."""

from typing import Any, TypeVar, overload

import msgspec

from broadwing.client.errors import PayloadMisfit
from broadwing.core.client.effects import Message as _Message
from broadwing.core.client.wire import check_binary
from broadwing.core.codec import Body, body
from broadwing.core.misfit import explain

T = TypeVar("T")


def encoded(topic: str, event: str, payload: Any, vsn: str) -> Body:
    """Encode what is pushed; `None` is an empty object.

    Raises:
        LocalProtocolError: It has no JSON form, or it is bytes that this wire version or these names have no room for.
    """
    made = body({} if payload is None else payload)
    if made.binary:
        check_binary(topic, event, vsn)
    return made


@overload
def converted(payload: Any, type: type[T], what: str) -> T: ...
@overload
def converted(payload: Any, type: Any, what: str) -> Any: ...
def converted(payload: Any, type: Any, what: str) -> Any:
    """Make a payload into what the caller expects.

    Args:
        payload: Any JSON value, or bytes.
        type: A msgspec.Struct, dataclass, TypedDict, pydantic model, or a type of JSON.
        what: What it is, for the error.

    Raises:
        PayloadMisfit: It does not fit.
    """
    validate = getattr(type, "model_validate", None)
    try:
        return msgspec.convert(payload, type) if validate is None else validate(payload)
    except msgspec.ValidationError as error:
        raise PayloadMisfit(what, *explain(str(error))) from error
    except ValueError as error:
        if validate is None:
            raise
        # pydantic's ValidationError is one, and need not be imported for this.
        first = error.errors(include_url=False)[0]  # type: ignore[attr-defined]
        raise PayloadMisfit(what, ".".join(map(str, first["loc"])), first["msg"]) from error


class Message(_Message):
    """A push or broadcast of the server.

    Attributes:
        topic: Where it comes from.
        event: What happened.
        payload: Any JSON value, or `bytes`.
        ref: `None` for most; a position where the server gives its broadcasts one.
        join_ref: The join that a push belongs to; `None` for broadcasts, and always in version 1.0.0.
    """

    __slots__ = ()

    @overload
    def decode(self, type: type[T]) -> T: ...
    @overload
    def decode(self, type: Any) -> Any: ...
    def decode(self, type: Any) -> Any:
        """The payload as a value of `type`.

        Raises:
            PayloadMisfit: It does not fit; the error names the field.
        """
        return converted(self.payload, type, f"the payload of {self.event!r} on {self.topic!r}")
