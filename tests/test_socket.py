"""The application's `Socket`: assigns, and what a mount makes of the class."""

from typing import Any, ClassVar

import pytest

from broadwing import Channel, ConfigurationError, ConnectError, Endpoint, Socket, TokenExpired
from broadwing.core.version import DEFAULT_VERSION
from broadwing.mounts import SocketMount
from broadwing.socket import Routes
from tests.support.client import V1, V2
from tests.support.memory import error, line, ok


class Room(Channel):
    """Lets everybody in."""

    async def join(self, params: Any) -> Any:
        """Say which route led here."""
        return dict(self.assigns)


class NoJoin(Channel):
    """Has forgotten to decide who may join."""


def test_assign_sets_merges_and_calls() -> None:
    """checklist 21"""
    socket = Socket(Endpoint(), "websocket")
    assert socket.assigns_or_empty == {}
    socket.assigns["key"] = 1
    socket.assign({"map": 2, "key": 2})
    socket.assign(keyword=3, key=3)
    socket.assign(lambda assigns: {"sum": assigns["map"] + assigns["keyword"]})
    socket.assign({"both": 1}, both=2)
    socket.assign()
    assert socket.assigns == socket.assigns_or_empty == {"key": 3, "map": 2, "keyword": 3, "sum": 5, "both": 2}


async def test_routes_match_in_the_order_of_their_declaration() -> None:
    """checklist 20"""

    class User(Socket):
        """Routes that overlap."""

        channels: ClassVar[Routes] = {
            "food*": (Room, {"route": "food*"}),
            "foo*": (Room, {"route": "foo*"}),
            "foot": (Room, {"route": "never"}),
            "exact": (Room, {"route": "exact"}),
        }

    client = await line(User)
    for ref, (topic, route) in enumerate(
        {"foo": "foo*", "food": "food*", "foodie": "food*", "foot": "foo*", "exact": "exact"}.items()
    ):
        assert await client.join(topic, f"{ref}") == ok({"route": route})
    for topic in ("exactly", "bar", "fo", ""):
        assert await client.join(topic, "9") == error({"reason": "unmatched topic"})


async def test_a_star_alone_matches_every_topic() -> None:
    """checklist 20"""

    class User(Socket):
        """One route."""

        channels: ClassVar[Routes] = {"*": Room}

    client = await line(User)
    for ref, topic in enumerate(("", "a", "a:b", "phoenix")):
        assert await client.join(topic, f"{ref}") == ok()


def mount(**attributes: Any) -> SocketMount:
    """A mount of a socket class with these attributes."""
    return SocketMount(Endpoint(), type("User", (Socket,), attributes))


async def _two(self: Any, params: Any) -> None: ...
def _reason(self: Any) -> None: ...
def _event(self: Any, event: Any) -> None: ...
async def _async_id(self: Any) -> str: ...  # type: ignore[empty-body] # never called


def room(**attributes: Any) -> type[Channel]:
    """A channel class with these attributes."""
    return type("Odd", (Room,), attributes)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        # Phoenix's words, and the two accepted forms.
        ({"channels": {"a*b": Room}}, "channels using splat patterns must end with *: got 'a*b'"),
        ({"channels": {"*:a*": Room}}, "channels using splat patterns must end with *"),
        ({"channels": {"a": Socket}}, "expected a subclass of Channel, or (subclass, assigns)"),
        ({"channels": {"a": "Room"}}, "the route 'a' leads to 'Room'"),
        ({"channels": {"a": (Room, {}, 1)}}, "expected a subclass of Channel, or (subclass, assigns)"),
        ({"channels": {"a": (Room, ["b"])}}, "expected a subclass of Channel, or (subclass, assigns)"),
        ({"channels": [("a", Room)]}, 'expected a mapping such as {"room:*": RoomChannel}'),
        ({"channels": {"a": NoJoin}}, "NoJoin has no join of its own, so anybody could join 'a'"),
        ({"channels": {"a": Channel}}, "Channel has no join of its own"),
        (
            {"connect": _two},
            "User.connect cannot be called: too many positional arguments; expected a method that takes (self, params, info)",
        ),
        (
            {"id": _two},
            "User.id cannot be called: missing a required argument: 'params'; expected a method that takes (self)",
        ),
        ({"id": _async_id}, "User.id is async; expected a plain def"),
        ({"channels": {"a": room(terminate=_reason)}}, "expected a method that takes (self, reason)"),
        ({"channels": {"a": room(handle_in=_event)}}, "expected a method that takes (self, event, payload)"),
        ({"channels": {"a": room(handle_info=_reason)}}, "expected a method that takes (self, message)"),
        ({"channels": {"a": room(handle_info=None)}}, "Odd.handle_info cannot be called: it is a NoneType"),
    ],
)
def test_a_socket_that_could_not_work_is_refused_when_it_is_mounted(attributes: dict[str, Any], message: str) -> None:
    """checklist 27"""
    with pytest.raises(ConfigurationError) as caught:
        mount(**attributes)
    assert message in str(caught.value)


async def test_a_connect_without_a_version_is_one_of_1_0_0() -> None:
    """checklist 105"""
    assert DEFAULT_VERSION == V1
    connection = await mount().connect("websocket", {}, {})
    assert connection.serializer.version == V1
    assert (await mount().connect("longpoll", {"vsn": V2}, {})).serializer.version == V2


async def test_a_token_that_is_not_accepted_refuses_like_a_connect_error() -> None:
    async def connect(self: Any, params: Any, info: Any) -> None:
        raise TokenExpired("too old")

    with pytest.raises(ConnectError) as caught:
        await mount(connect=connect).connect("websocket", {}, {})
    assert isinstance(caught.value.reason, TokenExpired)


async def test_an_error_of_another_kind_is_not_hidden() -> None:
    async def connect(self: Any, params: Any, info: Any) -> None:
        raise KeyError("token")

    with pytest.raises(KeyError):
        await mount(connect=connect).connect("websocket", {}, {})


async def test_connect_may_change_its_params_without_anybody_noticing() -> None:
    async def connect(self: Any, params: dict[str, Any], info: Any) -> None:
        params.clear()

    params = {"vsn": V2, "a": "b"}
    await mount(connect=connect).connect("websocket", params, {})
    assert params == {"vsn": V2, "a": "b"}
