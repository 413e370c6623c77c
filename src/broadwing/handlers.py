"""How a channel's methods become a table of handlers: `@on`, `@intercept`, and what they are called with."""

import asyncio
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar

from broadwing.decoders import decoder
from broadwing.exceptions import ConfigurationError
from broadwing.prompt import never_waits

F = TypeVar("F", bound=Callable[..., Any])


_ON, _INTERCEPT = "__broadwing_on__", "__broadwing_intercept__"
# The protocol's own events, which no handler sees.
_RESERVED = ("phx_join", "phx_leave")


def on(event: str) -> Callable[[F], F]:
    """Mark a channel's method as the handler of one event that clients push.

    The method takes the payload, or nothing at all: `async def new_msg(self, payload)`. What it says of its payload (a
    `msgspec.Struct`, dataclass, TypedDict, pydantic model, `dict`, `bytes`, ...) is enforced before it runs; without an
    annotation it gets any JSON value, or `bytes`. A plain `def` runs in a thread, so that it may block.

    Several `@on` may stand above one method. A subclass that overrides a handler need not repeat them.

    Raises:
        ConfigurationError: `event` is no event's name.
    """
    return _mark(_ON, "on", event)


def intercept(event: str) -> Callable[[F], F]:
    """Mark a channel's method as the one that decides what becomes of a broadcast (`handle_out`).

    Broadcasts of `event` on the channel's topic are not written to the client but handed to the method, once for
    every subscriber; it pushes what it wants the client to see. This costs a decoding and a method call per
    subscriber, which other events do not.

    Raises:
        ConfigurationError: `event` is no event's name.
    """
    return _mark(_INTERCEPT, "intercept", event)


def _mark(kind: str, decorator: str, event: str) -> Callable[[F], F]:
    if not isinstance(event, str):
        raise ConfigurationError(
            f'@{decorator} takes the name of an event, as in @{decorator}("new_msg"); got {event!r}'
        )
    if event in _RESERVED:
        raise ConfigurationError(
            f"@{decorator}({event!r}) would never be called: {event} is the protocol's own; define `join` or `terminate` instead"
        )

    def mark(method: F) -> F:
        method.__dict__.setdefault(kind, []).append(event)
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
        is_prompt: Whether it is one that never waits, and is run without a task where nothing else waits either.
        takes_payload: Whether it has a parameter for the payload.
        decode: From raw JSON to its argument; raises `InvalidPayload`, or `codec.DecodeError` when it is not JSON.
        is_direct: Whether calling it with the channel and the payload gives a coroutine: the common case.
        accepts_binary: Whether `bytes` are handed to it as they are.
    """

    __slots__ = ("accepts_binary", "decode", "function", "is_async", "is_direct", "is_prompt", "takes_payload")

    def __init__(
        self, function: Callable[..., Any], annotation: Any, takes_payload: bool, *, is_direct: bool = True
    ) -> None:
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function)
        self.is_prompt = never_waits(function)
        self.takes_payload = takes_payload
        self.is_direct = is_direct and self.is_async and takes_payload
        self.decode, self.accepts_binary = decoder(annotation)


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
        names = {name: None for cls in reversed(channel.__mro__) for name, value in vars(cls).items() if _marks(value)}
        for name in names:
            function, marks = _marked(channel, name)
            for mark, table in ((_ON, self.events), (_INTERCEPT, self.intercepts)):
                for event in marks.get(mark, ()):
                    if event in table:
                        raise ConfigurationError(
                            f"{channel.__name__} has two handlers for {event!r}: {table[event].function.__name__} and {name}"
                        )
                    table[event] = _handler(channel, function, f"handler of {event!r}")
        self.join = _handler(channel, inspect.getattr_static(channel, "join"), "join")


def _marks(value: Any) -> dict[str, Any]:
    marks: dict[str, Any] = getattr(value, "__dict__", {})
    return marks if _ON in marks or _INTERCEPT in marks else {}


def _marked(channel: type, name: str) -> tuple[Any, dict[str, Any]]:
    """A class's attribute, and the marks on it; an override without any of its own has those of what it overrides."""
    function = inspect.getattr_static(channel, name)
    if not callable(function):
        return function, {}
    return function, next(marks for cls in channel.__mro__ if (marks := _marks(vars(cls).get(name))))


def _handler(channel: type, function: Callable[..., Any], what: str) -> Handler:
    where = f"{channel.__name__}.{getattr(function, '__name__', function)} ({what})"
    if not inspect.isfunction(function):
        raise ConfigurationError(
            f"{where} is a {type(function).__name__}; expected a method, `async def` or plain `def`"
        )
    parameters = list(inspect.signature(function).parameters.values())[1:]
    positional = [each for each in parameters if each.kind in _POSITIONAL]
    required = [each for each in parameters if each.default is each.empty and each.kind not in _VARIABLE]
    if len(required) > 1 or (required and required[0] not in positional):
        raise ConfigurationError(
            f"{where} takes {', '.join(each.name for each in required)} besides self; accepted is one argument, the payload, or none"
        )
    if not positional:
        return Handler(function, Any, takes_payload=False)
    return Handler(function, _annotation(function, positional[0], where), takes_payload=True)


def _annotation(function: Any, parameter: inspect.Parameter, where: str) -> Any:
    if parameter.annotation is parameter.empty:
        return Any
    # Of this parameter alone: a name that only the return annotation uses may well be imported for type checkers only.
    alone = types.SimpleNamespace(__annotations__={"payload": parameter.annotation})
    try:
        return typing.get_type_hints(alone, globalns=function.__globals__, include_extras=True)["payload"]
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        raise ConfigurationError(
            f"the annotation of {parameter.name} in {where} cannot be read: {error}; "
            "import the name at module level, not under TYPE_CHECKING"
        ) from error


_POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
)
_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
