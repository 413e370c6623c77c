"""From a payload's JSON to what a handler's annotation says, with an error reply for what does not fit."""

import types
import typing
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from broadwing.core.codec import Raw
from broadwing.core.misfit import explain
from broadwing.exceptions import ConfigurationError


class InvalidPayload(Exception):
    """A payload does not fit the handler's annotation; holds the error reply."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.response: dict[str, Any] = {"reason": "invalid payload", "field": field, "message": message}


Decode = Callable[[Raw], Any]

_decode_any: Final = msgspec.json.Decoder().decode


def decoder(annotation: Any) -> tuple[Decode, bool]:
    """Prepare the decoding of payloads.

    Args:
        annotation: What a handler says of its payload.

    Returns:
        A function from raw JSON to the handler's argument, which raises `InvalidPayload`, or `codec.DecodeError` when it is
        given no JSON; and whether binary payloads are taken as they are.

    Raises:
        ConfigurationError: No payload could ever become that.
    """
    if annotation is Any or annotation is object:
        return _decode_any, True
    if annotation is bytes:
        return _refuse_json, True
    rest = _without_bytes(annotation)
    if rest is not None:
        return decoder(rest)[0], True
    if _is_pydantic(annotation):
        return _pydantic_decoder(annotation), False
    try:
        foreign = next(_foreign(msgspec.inspect.type_info(annotation), set()), None)
        if foreign is not None:
            raise TypeError(f"{foreign.__name__} is a class of another kind")
        decode = msgspec.json.Decoder(annotation, dec_hook=_hook).decode
    except (TypeError, NameError) as error:  # NameError: a class whose own annotations cannot be read
        raise ConfigurationError(
            f"a payload cannot be decoded as {annotation!r}: {error}; accepted are msgspec.Struct, dataclasses, TypedDict, "
            "pydantic models, and the types of JSON"
        ) from error

    def decode_annotated(raw: Raw) -> Any:
        try:
            return decode(raw)
        except msgspec.ValidationError as error:
            raise InvalidPayload(*explain(str(error))) from error

    return decode_annotated, False


def _without_bytes(annotation: Any) -> Any:
    """What is left of a union with `bytes` in it; `None` for anything else."""
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return None
    members = typing.get_args(annotation)
    others = tuple(member for member in members if member is not bytes)
    return typing.Union[others] if others and len(others) < len(members) else None  # noqa: UP007 - of a tuple


def _is_pydantic(annotation: Any) -> bool:
    return hasattr(annotation, "model_validate_json")


def _foreign(info: Any, seen: set[int]) -> Iterator[type]:
    """Classes in a description by msgspec that neither it nor pydantic can make an instance of."""
    if id(info) in seen:
        return
    seen.add(id(info))
    if isinstance(info, msgspec.inspect.CustomType):
        if info.cls is not object and not _is_pydantic(info.cls):
            yield info.cls
    elif isinstance(info, tuple):
        for member in info:
            yield from _foreign(member, seen)
    elif isinstance(info, msgspec.Struct):
        for name in info.__struct_fields__:
            yield from _foreign(getattr(info, name), seen)


def _hook(annotation: Any, value: Any) -> Any:
    return annotation.model_validate(value) if _is_pydantic(annotation) else value


def _pydantic_decoder(model: Any) -> Decode:
    def decode(raw: Raw) -> Any:
        try:
            return model.model_validate_json(bytes(raw))
        except ValueError as error:  # pydantic's ValidationError is one, and need not be imported for this
            first = error.errors(include_url=False)[0]  # type: ignore[attr-defined]
            raise InvalidPayload(".".join(map(str, first["loc"])), first["msg"]) from error

    return decode


def _refuse_json(raw: Raw) -> Any:
    raise InvalidPayload("", "Expected a binary payload, got JSON")


def refuse_binary() -> InvalidPayload:
    """The error reply for bytes sent to a handler that wants JSON."""
    return InvalidPayload("", "Expected a JSON payload, got bytes")
