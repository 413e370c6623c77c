"""How a channel's methods become a table of handlers: `@on`, `@intercept`, and payload decoding by annotation."""

import asyncio
import inspect
import typing
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from broadwing.core.codec import Raw
from broadwing.exceptions import ConfigurationError

F = TypeVar("F", bound=Callable[..., Any])


class InvalidPayload(Exception):
    """A payload does not fit the handler's annotation; holds the error reply."""

    def __init__(self, response: dict[str, Any]) -> None:
        super().__init__(response["message"])
        self.response = response


def on(event: str) -> Callable[[F], F]:
    """Mark a channel's method as the handler of one event that clients push.

    The method takes the payload, or nothing at all: `async def new_msg(self, payload)`. An annotation other than
    `dict` or `Any` (a `msgspec.Struct`, dataclass, TypedDict or pydantic model) is enforced before it runs.
    A plain `def` runs in a thread, so that it may block.
    """

    def mark(method: F) -> F:
        method.__dict__.setdefault("__broadwing_on__", []).append(event)
        return method

    return mark


def intercept(event: str) -> Callable[[F], F]:
    """Mark a channel's method as the one that decides what becomes of a broadcast (`handle_out`).

    Broadcasts of `event` on the channel's topic are not written to the client but handed to the method, once for
    every subscriber; it pushes what it wants the client to see. This costs a decoding and a method call per
    subscriber, which other events do not.
    """

    def mark(method: F) -> F:
        method.__dict__.setdefault("__broadwing_intercept__", []).append(event)
        return method

    return mark


async def run_in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Call a plain function in a thread, so that it may block."""
    return await asyncio.to_thread(_without_stop_iteration, function, *args)


def _without_stop_iteration(function: Callable[..., Any], *args: Any) -> Any:
    try:
        return function(*args)
    except StopIteration as error:  # no future can carry it: the caller would wait for ever
        raise RuntimeError(f"{getattr(function, '__qualname__', function)} raised StopIteration") from error


class Handler:
    """A method and what it wants to be called with.

    Attributes:
        function: The plain function; called with the channel first.
        is_async: Whether it is a coroutine function; if not it runs in a thread.
        takes_payload: Whether it has a parameter for the payload.
        decode: From raw JSON to its argument; raises `InvalidPayload`, or `codec.DecodeError` when it is not JSON.
        is_direct: Whether calling it with the channel and the payload gives a coroutine: the common case.
        accepts_binary: Whether `bytes` are handed to it as they are.
    """

    __slots__ = ("accepts_binary", "decode", "function", "is_async", "is_direct", "takes_payload")

    def __init__(
        self, function: Callable[..., Any], annotation: Any, takes_payload: bool, *, is_direct: bool = True
    ) -> None:
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function)
        self.takes_payload = takes_payload
        self.is_direct = is_direct and self.is_async and takes_payload
        self.decode, self.accepts_binary = _decoder(annotation)


class HandlerTable:
    """All handlers of one channel class, resolved once when the class is mounted.

    Attributes:
        events: Event to handler, from `@on`.
        intercepts: Event to handler, from `@intercept`.
        join: The class's `join`.
    """

    __slots__ = ("events", "intercepts", "join")

    def __init__(self, channel: type) -> None:
        self.events: dict[str, Handler] = {}
        self.intercepts: dict[str, Handler] = {}
        names = {name: None for cls in reversed(channel.__mro__) for name in vars(cls)}
        for name in names:
            function = inspect.getattr_static(channel, name)
            for mark, table in (("__broadwing_on__", self.events), ("__broadwing_intercept__", self.intercepts)):
                for event in getattr(function, mark, ()):
                    if event in table:
                        raise ConfigurationError(
                            f"{channel.__name__} has two handlers for {event!r}: {table[event].function.__name__} and {name}"
                        )
                    table[event] = _handler(channel, function, f"handler of {event!r}")
        self.join = _handler(channel, inspect.getattr_static(channel, "join"), "join")


def _handler(channel: type, function: Callable[..., Any], what: str) -> Handler:
    parameters = list(inspect.signature(function).parameters.values())[1:]
    if len(parameters) > 1 and parameters[1].default is inspect.Parameter.empty:
        raise ConfigurationError(
            f"{channel.__name__}.{function.__name__} ({what}) takes {len(parameters)} arguments besides self; "
            "accepted is one, the payload, or none"
        )
    if not parameters:
        return Handler(function, Any, takes_payload=False)
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise ConfigurationError(
            f"the annotations of {channel.__name__}.{function.__name__} cannot be read: {error}; "
            "import the name at module level, not under TYPE_CHECKING"
        ) from error
    return Handler(function, hints.get(parameters[0].name, Any), takes_payload=True)


_decode_any = msgspec.json.Decoder().decode


def _decoder(annotation: Any) -> tuple[Callable[[Raw], Any], bool]:
    if annotation is Any:
        return _decode_any, True
    if annotation is bytes:
        return _refuse_json, True
    if hasattr(annotation, "model_validate_json"):
        return _pydantic_decoder(annotation), False
    try:
        decode = msgspec.json.Decoder(annotation).decode
    except TypeError as error:
        raise ConfigurationError(
            f"a payload cannot be decoded as {annotation!r}: {error}; accepted are msgspec.Struct, dataclasses, TypedDict, "
            "pydantic models, and the types of JSON"
        ) from error

    def decode_typed(raw: Raw) -> Any:
        try:
            return decode(raw)
        except msgspec.ValidationError as error:
            message, _, where = str(error).partition(" - at `")
            field = where.rstrip("`").removeprefix("$").removeprefix(".")
            if not field and "`" in message and ("missing required field" in message or "unknown field" in message):
                field = message.split("`")[1]
            elif "missing required field" in message:
                field = f"{field}.{message.split('`')[1]}"
            raise InvalidPayload({"reason": "invalid payload", "field": field, "message": message}) from error

    return decode_typed, False


def _pydantic_decoder(model: Any) -> Callable[[Raw], Any]:
    def decode(raw: Raw) -> Any:
        try:
            return model.model_validate_json(bytes(raw))
        except ValueError as error:  # pydantic's ValidationError is one, and need not be imported for this
            first = error.errors(include_url=False)[0]  # type: ignore[attr-defined]
            field = ".".join(map(str, first["loc"]))
            raise InvalidPayload({"reason": "invalid payload", "field": field, "message": first["msg"]}) from error

    return decode


def _refuse_json(raw: Raw) -> Any:
    raise InvalidPayload({"reason": "invalid payload", "field": "", "message": "Expected a binary payload, got JSON"})


def refuse_binary() -> InvalidPayload:
    """The error reply for bytes sent to a handler that wants JSON."""
    return InvalidPayload({"reason": "invalid payload", "field": "", "message": "Expected a JSON payload, got bytes"})
