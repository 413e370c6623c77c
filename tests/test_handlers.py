"""Handler tables and payloads that are decoded by annotation: what fits, what is refused, and what cannot be mounted."""

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypedDict

import msgspec
import pydantic
import pytest

from broadwing import Channel, ConfigurationError, Ok, Socket, intercept, on
from broadwing.handlers import HandlerTable
from broadwing.socket import Routes
from tests.support.memory import MemoryLine, error, line, ok

if TYPE_CHECKING:
    from decimal import Decimal as ForCheckersOnly


class Author(msgspec.Struct, forbid_unknown_fields=True):
    """Part of a payload."""

    name: str


class Body(msgspec.Struct):
    """A payload as a Struct."""

    body: str
    author: Author | None = None
    tags: list[str] = []


@dataclass
class Point:
    """A payload as a dataclass."""

    x: int
    y: int = 0


class Said(TypedDict):
    """A payload as a TypedDict."""

    body: str


class Login(pydantic.BaseModel):
    """A payload as a pydantic model."""

    name: str = pydantic.Field(min_length=2)
    age: int = 0


class Base(Channel):
    """Lets everybody in."""

    async def join(self, params: Any) -> Any:
        """Yes."""


async def joined(channel: type[Channel]) -> MemoryLine:
    """A client that has joined a channel of this class as `t`."""

    class User(Socket):
        """Everybody."""

        channels: ClassVar[Routes] = {"t": channel}

    client = await line(User)
    assert await client.join("t") == ok()
    return client


async def answer(channel: type[Channel], payload: Any, event: str = "e") -> Any:
    """What a client gets for `event` with this payload."""
    client = await joined(channel)
    if isinstance(payload, bytes):
        client.send_binary("1", "2", "t", event, payload)
    else:
        text = b'["1","2","t","%b",%b]' % (event.encode(), msgspec.json.encode(payload))
        client.connection.received(1, text)
    return await client.reply()


def refused(field: str, message: str) -> dict[str, Any]:
    """The error reply for a payload that does not fit."""
    return error({"reason": "invalid payload", "field": field, "message": message})


# Annotated payloads.


class Typed(Base):
    """A handler for each kind of annotation; each says what it got."""

    @on("struct")
    async def struct(self, payload: Body) -> Any:
        """A Struct."""
        return {"is": type(payload).__name__, "body": payload.body, "tags": payload.tags}

    @on("dataclass")
    async def point(self, payload: Point) -> Any:
        """A dataclass, and one as the reply."""
        return Point(payload.x + 1, payload.y + 1)

    @on("typed dict")
    async def said(self, payload: Said) -> Any:
        """A TypedDict."""
        return payload

    @on("pydantic")
    def login(self, payload: Login) -> Any:
        """A pydantic model, in a thread, and one as the reply."""
        return Login(name=payload.name * 2, age=payload.age + 1)

    @on("models")
    async def models(self, payload: list[Login]) -> Any:
        """Pydantic models inside of something else."""
        return {"names": [each.name for each in payload]}

    @on("list")
    async def numbers(self, payload: list[int]) -> Any:
        """A type of JSON."""
        return {"sum": sum(payload)}

    @on("dict")
    async def mapping(self, payload: dict[str, Any]) -> Any:
        """Any object."""
        return payload

    @on("meta")
    async def meta(self, payload: Annotated[int, msgspec.Meta(ge=1, le=6)]) -> Any:
        """A constraint."""
        return Ok(payload)

    @on("literal")
    async def literal(self, payload: Literal["up", "down"]) -> Any:
        """A choice."""
        return Ok(payload)

    @on("bytes")
    async def blob(self, payload: bytes) -> Any:
        """Binary payloads alone."""
        return {"size": len(payload)}

    @on("either")
    async def either(self, payload: bytes | Body) -> Any:
        """Both kinds."""
        return {"is": type(payload).__name__}

    @on("any")
    async def anything(self, payload: Any) -> Any:
        """Everything."""
        return {"is": type(payload).__name__}

    @on("nothing")
    async def nothing(self) -> Any:
        """A handler that does not care."""
        return Ok("nothing")

    @on("default")
    async def default(self, payload: Any, flavour: str = "plain") -> Any:
        """Another parameter, which has a default."""
        return {"flavour": flavour}


@pytest.mark.parametrize(
    ("event", "payload", "response"),
    [
        ("struct", {"body": "hi", "more": 1}, {"is": "Body", "body": "hi", "tags": []}),
        ("dataclass", {"x": 1}, {"x": 2, "y": 1}),
        ("typed dict", {"body": "hi"}, {"body": "hi"}),
        ("pydantic", {"name": "ab"}, {"name": "abab", "age": 1}),
        ("models", [{"name": "ab"}, {"name": "cd", "age": 3}], {"names": ["ab", "cd"]}),
        ("list", [1, 2, 3], {"sum": 6}),
        ("dict", {"a": [1]}, {"a": [1]}),
        ("meta", 6, 6),
        ("literal", "up", "up"),
        ("bytes", b"123", {"size": 3}),
        ("either", b"123", {"is": "bytes"}),
        ("either", {"body": "hi"}, {"is": "Body"}),
        ("any", b"", {"is": "bytes"}),
        ("any", None, {"is": "NoneType"}),
        ("any", [1], {"is": "list"}),
        ("nothing", {"ignored": True}, "nothing"),
        ("nothing", b"ignored", "nothing"),
        ("default", {}, {"flavour": "plain"}),
    ],
)
async def test_a_payload_reaches_its_handler_as_annotated(event: str, payload: Any, response: Any) -> None:
    assert await answer(Typed, payload, event) == ok(response)


@pytest.mark.parametrize(
    ("event", "payload", "field", "message"),
    [
        ("struct", {}, "body", "Object missing required field `body`"),
        ("struct", {"body": 5}, "body", "Expected `str`, got `int`"),
        ("struct", [], "", "Expected `object`, got `array`"),
        ("struct", {"body": "", "author": {}}, "author.name", "Object missing required field `name`"),
        ("struct", {"body": "", "author": {"name": "", "x": 1}}, "author.x", "Object contains unknown field `x`"),
        ("struct", {"body": "", "tags": ["a", 5]}, "tags[1]", "Expected `str`, got `int`"),
        ("dataclass", {"x": 1.5}, "x", "Expected `int`, got `float`"),
        ("typed dict", {"text": ""}, "body", "Object missing required field `body`"),
        ("pydantic", {"name": "a"}, "name", "String should have at least 2 characters"),
        ("pydantic", {"age": "x"}, "name", "Field required"),
        ("list", [1, "2"], "[1]", "Expected `int`, got `str`"),
        ("dict", [1], "", "Expected `object`, got `array`"),
        ("meta", 7, "", "Expected `int` <= 6"),
        ("literal", "left", "", "Invalid enum value 'left'"),
        ("bytes", {"a": 1}, "", "Expected a binary payload, got JSON"),
        ("either", "text", "", "Expected `object`, got `str`"),
        ("struct", b"123", "", "Expected a JSON payload, got bytes"),
        ("pydantic", b"{}", "", "Expected a JSON payload, got bytes"),
    ],
)
async def test_a_payload_that_does_not_fit_is_refused_with_the_field_and_the_channel_lives(
    event: str, payload: Any, field: str, message: str
) -> None:
    assert await answer(Typed, payload, event) == refused(field, message)


async def test_a_handler_never_runs_for_a_payload_that_does_not_fit() -> None:
    class Room(Base):
        """Would crash."""

        @on("e")
        async def e(self, payload: Body) -> None:
            """Must not run."""
            raise AssertionError

    client = await joined(Room)
    client.send_text("1", "2", "t", "e", {"body": None})
    assert (await client.reply())["status"] == "error"
    client.send_text("1", "3", "t", "e", {"body": "ok"})
    assert [each.event for each in await client.next()] == ["phx_error"]


async def test_the_parameters_of_a_join_are_held_to_its_annotation() -> None:
    class Room(Channel):
        """Needs a body."""

        async def join(self, params: Body) -> Any:
            """Echo."""
            return {"body": params.body}

    class User(Socket):
        """Everybody."""

        channels: ClassVar[Routes] = {"t": Room}

    client = await line(User)
    assert await client.join("t", "1", {"body": 5}) == refused("body", "Expected `str`, got `int`")
    assert await client.join("t", "2", {"body": "hi"}) == ok({"body": "hi"})


async def test_a_plain_def_runs_in_a_thread_and_does_not_hold_up_the_loop() -> None:
    release = threading.Event()

    class Room(Base):
        """Blocks."""

        @on("block")
        def block(self, payload: Body) -> Any:
            """Until told otherwise, by a message of the same connection."""
            assert release.wait(5)
            return {"thread": threading.current_thread() is not threading.main_thread()}

    class Other(Base):
        """Does not."""

        @on("release")
        async def release(self) -> None:
            """End the wait."""
            release.set()

    class User(Socket):
        """Both."""

        channels: ClassVar[Routes] = {"t": Room, "other": Other}

    client = await line(User)
    await client.join("t")
    await client.join("other", "2")
    client.send_text("1", "3", "t", "block", {"body": ""})
    client.send_text("2", "4", "other", "release")
    assert await client.reply() == ok({"thread": True})


# Tables.


class Parent(Base):
    """Has handlers."""

    @on("a")
    @on("also a")
    async def a(self) -> Any:
        """Two events."""
        return Ok("parent a")

    @on("b")
    async def b(self) -> Any:
        """One event."""
        return Ok("parent b")

    @intercept("out")
    async def out(self, payload: Any) -> None:
        """One broadcast."""

    @on("gone")
    async def gone(self) -> Any:
        """Taken away below."""
        return Ok("parent gone")


class Child(Parent):
    """Overrides some."""

    async def a(self) -> Any:
        """As the parent's, without its marks said again."""
        return Ok("child a")

    @on("b2")
    async def b(self) -> Any:
        """With a mark of its own, which replaces the parent's."""
        return Ok("child b")

    gone = None  # type: ignore[assignment] # not handled any more


class Mixin:
    """Need not be a channel."""

    @on("mixed")
    async def mixed(self, payload: Any) -> Any:
        """From the side."""
        return Ok("mixed")


class Mixed(Mixin, Child):
    """Has all of it."""


def test_handlers_are_inherited_and_an_override_keeps_its_events() -> None:
    table = HandlerTable(Mixed)
    assert sorted(table.events) == ["a", "also a", "b2", "mixed"]
    assert sorted(table.intercepts) == ["out"]
    assert table.events["a"].function is Child.a
    assert sorted(HandlerTable(Parent).events) == ["a", "also a", "b", "gone"]


async def test_inherited_handlers_are_called_on_the_childs_channel() -> None:
    for event, response in (("a", "child a"), ("also a", "child a"), ("b2", "child b"), ("mixed", "mixed")):
        assert await answer(Mixed, {}, event) == ok(response)
    assert await answer(Mixed, {}, "b") == error({"reason": "unhandled event"})


async def test_a_catch_all_gets_the_event_and_whatever_came_with_it() -> None:
    class Room(Parent):
        """Takes everything."""

        async def handle_in(self, event: str, payload: Any) -> Any:
            """Say what came."""
            return {"event": event, "is": type(payload).__name__}

    assert await answer(Room, [1], "anything") == ok({"event": "anything", "is": "list"})
    assert await answer(Room, b"1", "anything") == ok({"event": "anything", "is": "bytes"})
    assert await answer(Room, {}, "a") == ok("parent a")


async def test_a_plain_catch_all_runs_in_a_thread() -> None:
    class Room(Base):
        """Takes everything."""

        def handle_in(self, event: str, payload: Any) -> Any:
            """Say where."""
            return {"thread": threading.current_thread() is not threading.main_thread()}

    assert await answer(Room, {}, "anything") == ok({"thread": True})


async def test_an_unknown_event_is_refused_and_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert await answer(Parent, {}, "typo") == error({"reason": "unhandled event"})
    assert "Parent on 't' has no handler for 'typo'; add @on('typo') or handle_in" in caplog.text


async def test_a_return_annotation_that_only_checkers_can_read_is_no_obstacle() -> None:
    class Room(Base):
        """Annotated for mypy."""

        @on("e")
        async def e(self, payload: int) -> "ForCheckersOnly | None":
            """Nothing."""

    assert await answer(Room, "x") == refused("", "Expected `int`, got `str`")


# What cannot be mounted.


class Foreign:
    """A class that no payload becomes."""


def table_of(**attributes: Any) -> HandlerTable:
    """The table of a channel class with these attributes."""
    return HandlerTable(type("Room", (Base,), attributes))


async def _two(self: Any, payload: Any, socket: Any) -> None: ...
async def _keyword(self: Any, *, payload: Any) -> None: ...
async def _unreadable(self: Any, payload: "ForCheckersOnly") -> None: ...
async def _nonsense(self: Any, payload: Any) -> None: ...
async def _foreign(self: Any, payload: Foreign) -> None: ...
async def _nested(self: Any, payload: dict[str, list[Foreign]]) -> None: ...
async def _complex(self: Any, payload: complex) -> None: ...


_nonsense.__annotations__["payload"] = "list["


async def _clash(self: Any, payload: Body | Point) -> None: ...


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            _two,
            "Room._two (handler of 'e') takes payload, socket besides self; accepted is one argument, the payload, or none",
        ),
        (_keyword, "Room._keyword (handler of 'e') takes payload besides self; accepted is one argument"),
        (_unreadable, "'ForCheckersOnly' is not defined; import the name at module level, not under TYPE_CHECKING"),
        (_nonsense, "the annotation of payload in Room._nonsense (handler of 'e') cannot be read"),
        (_foreign, "Foreign is a class of another kind; accepted are msgspec.Struct, dataclasses, TypedDict"),
        (_nested, "Foreign is a class of another kind"),
        (_complex, "complex is a class of another kind"),
        (_clash, "a payload cannot be decoded as"),
        (staticmethod(_two), "is a staticmethod; expected a method, `async def` or plain `def`"),
    ],
)
def test_a_handler_that_could_not_be_called_is_refused_when_it_is_mounted(function: Any, message: str) -> None:
    function.__dict__.pop("__broadwing_on__", None)
    with pytest.raises(ConfigurationError) as caught:
        table_of(e=on("e")(function))
    assert message in str(caught.value)


class Twice(Parent):
    """Handles `a` again under another name."""

    @on("a")
    async def second(self) -> None:
        """One too many."""


def test_two_handlers_for_one_event_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="Twice has two handlers for 'a': a and second"):
        HandlerTable(Twice)


async def _elixir(self: Any, topic: Any, payload: Any, socket: Any) -> None: ...


def test_a_join_that_could_not_be_called_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"Room._elixir \(join\) takes topic, payload, socket besides self"):
        table_of(join=_elixir)


@pytest.mark.parametrize("decorator", [on, intercept])
def test_the_decorators_want_the_name_of_an_event(decorator: Any) -> None:
    name = decorator.__name__
    with pytest.raises(ConfigurationError, match=f'@{name} takes the name of an event, as in @{name}\\("new_msg"\\)'):
        decorator(_two)
    with pytest.raises(ConfigurationError, match="would never be called: phx_leave is the protocol's own"):
        decorator("phx_leave")
