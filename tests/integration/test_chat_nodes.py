"""One evening in the chat, whose guests are on one node, on two workers or on two nodes, over every bus; they never notice."""

import base64
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from broadwing.core.presence.sync import Presences
from examples.chat.app import log_in
from tests.support.brokers import closing, nats, redis
from tests.support.client import V2, Closed, LongPollClient, Message, WebSocketClient, decode, open_websocket
from tests.support.loopback import HOST
from tests.support.mesh import free_addresses, listed
from tests.support.process import Process

APP = "tests.support.chat_nodes:endpoint"
LOBBY, OFFICE = "room:lobby", "office"
PATIENCE = 30.0


@contextlib.contextmanager
def served(*arguments: str, bus: str | None = None) -> Iterator[Process]:
    environment = {} if bus is None else {"BUS": bus}
    process = Process(APP, "--port", "0", "--log-level", "warning", *arguments, environment=environment)
    try:
        process.await_start()
        yield process
        process.signal()
        assert process.exit_code(PATIENCE) == 0, process.output
    finally:
        process.kill()


@contextlib.contextmanager
def ports(kind: str, folder: Path) -> Iterator[tuple[int, int]]:
    """Serve the chat; where its two processes listen."""
    with contextlib.ExitStack() as stack:
        if kind in ("local", "workers"):
            both = stack.enter_context(served("--workers", "2" if kind == "workers" else "1"))
            yield both.port, both.port
            return
        if kind == "zmq":
            urls = listed(free_addresses(2))
        else:
            broker = (redis if kind == "redis" else nats)(folder / kind)
            stack.enter_context(closing(broker))
            urls = 2 * [f"{kind}://127.0.0.1:{broker.port}"]
        one, other = (stack.enter_context(served(bus=url)) for url in urls)
        yield one.port, other.port


class Guest:
    """Somebody in the chat.

    Attributes:
        heard: Events of the lobby so far, with who or what is in them.
        presences: Who is there, as the page keeps it.

    Args:
        client: Their connection.
        after: Who came just before: the notice of it, sent behind the reply to their join, may still be under way.
    """

    def __init__(self, client: WebSocketClient | LongPollClient, after: tuple[str, ...] = ()) -> None:
        self.client = client
        self._after = after
        self.heard: list[tuple[str, str]] = []
        self.presences = Presences()

    async def join(self, topic: str) -> Any:
        await self.client.send("1", "1", topic, "phx_join", {})
        return (await self._next("phx_reply")).payload["response"]

    async def push(self, topic: str, event: str, payload: Any) -> None:
        await self.client.send("1", "2", topic, event, payload)

    async def say(self, body: str) -> None:
        await self.push(LOBBY, "new_msg", {"body": body})

    async def hear(self, *events: tuple[str, str]) -> None:
        """Wait until as much has been heard, and compare all of it."""
        while len(self.heard) < len(events):
            await self._next("")
        assert self.heard == list(events)
        self.heard.clear()

    async def sees(self, **tabs: int) -> None:
        """Wait until these are there, with as many tabs each."""
        while {user: len(entry["metas"]) for user, entry in self.presences.state.items()} != tabs:
            await self._next("")

    async def ended(self) -> int | None:
        """Wait for the end of the connection."""
        try:
            while True:
                await self._next("")
        except Closed as closed:
            return closed.code

    async def _next(self, wanted: str) -> Message:
        """The next message, or the next of an event."""
        while True:
            data = await self.client.receive_raw(PATIENCE)
            assert isinstance(data, str)
            message = decode(V2, data)
            if message.event == "presence_state":
                self.presences.begin("1", message.payload)
            elif message.event == "presence_diff":
                self.presences.follow("1", message.payload)
            elif message.topic == LOBBY and message.event != "phx_reply":
                said = message.payload
                notice = message.event, said["body"] if "body" in said else said["user"]
                if notice not in [("user_joined", user) for user in self._after]:
                    self.heard.append(notice)
            if wanted in ("", message.event):
                return message


class Place:
    """One of the two processes that serve the chat."""

    def __init__(self, port: int, pid: int, stack: contextlib.AsyncExitStack) -> None:
        self.port = port
        self.pid = pid
        self._stack = stack

    async def enter(self, name: str, *, after: tuple[str, ...] = ()) -> Guest:
        """Come in by WebSocket. Workers are chosen by the kernel, so it may take some attempts."""
        bearer = base64.b64encode(log_in(name).encode()).decode().rstrip("=")
        offer: list[Any] = ["phoenix", f"base64url.bearer.phx.{bearer}"]
        while True:
            client = await open_websocket(
                f"ws://{HOST}:{self.port}/socket/websocket?vsn={V2}", V2, subprotocols=offer, open_timeout=PATIENCE
            )
            self._stack.push_async_callback(client.close)
            guest = Guest(client, after)
            if (await guest.join(OFFICE))["pid"] == self.pid:
                await guest.join(LOBBY)
                return guest
            await client.close()

    async def requests(self, name: str) -> httpx.AsyncClient:
        """A connection for requests."""
        while True:
            http = await self._stack.enter_async_context(line(name))
            if await who(http, self.port) == self.pid:
                return http

    @property
    def polls(self) -> str:
        """Where sessions are."""
        return f"http://{HOST}:{self.port}/socket/longpoll?vsn={V2}"


def line(name: str) -> httpx.AsyncClient:
    """One connection that is kept, for all requests after the first go to the process that has accepted it."""
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=None)
    return httpx.AsyncClient(
        limits=limits, headers={"x-phoenix-authtoken": log_in(name)}, timeout=PATIENCE, trust_env=False
    )


async def who(http: httpx.AsyncClient, port: int) -> int:
    """The process behind a connection."""
    return int((await http.get(f"http://{HOST}:{port}/")).text)


@contextlib.asynccontextmanager
async def places(kind: str, folder: Path) -> AsyncIterator[tuple[Place, Place]]:
    """Both processes; with `local` there is one, which shows what is the same wherever guests are."""
    with ports(kind, folder) as (one, other):
        async with contextlib.AsyncExitStack() as stack:
            async with line("nobody") as http:
                here = Place(one, await who(http, one), stack)
            there = here
            while there.pid == here.pid and kind != "local":
                async with line("nobody") as http:
                    there = Place(other, await who(http, other), stack)
            yield here, there


def said(*bodies: str) -> list[tuple[str, str]]:
    return [("new_msg", body) for body in bodies]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["local", "workers", "zmq", "redis", "nats"])
async def test_guests_have_one_evening_wherever_they_are(kind: str, tmp_path: Path) -> None:
    async with places(kind, tmp_path) as (here, there):
        # Who joins is seen, and what is said is heard, by the others and by who says it, once and in order.
        ada = await here.enter("Ada")
        bob = await there.enter("Bob", after=("Ada",))
        await ada.hear(("user_joined", "Bob"))
        await ada.sees(Ada=1, Bob=1)
        await bob.sees(Ada=1, Bob=1)
        for number in range(10):
            await ada.say(f"{number}")
        for guest in (ada, bob):
            await guest.hear(*said(*map(str, range(10))))
        await bob.push(LOBBY, "typing", {})
        await bob.say("hello, Ada")
        await ada.hear(("typing", "Bob"), *said("hello, Ada"))
        await bob.hear(*said("hello, Ada"))

        # The endpoint's own broadcast reaches all, from either.
        for guest in (ada, bob):
            await guest.push(OFFICE, "announce", {"body": "last orders"})
            for listener in (ada, bob):
                await listener.hear(("announcement", "last orders"))

        # A poll session belongs to one process, and its requests may come to the other.
        session = LongPollClient(V2, await here.requests("Cleo"), here.polls)
        await session.open()
        cleo = Guest(session)
        await cleo.join(LOBBY)
        for guest in (ada, bob):
            await guest.hear(("user_joined", "Cleo"))
        session.http, session.url = await there.requests("Cleo"), there.polls
        await bob.say("who is there?")
        await cleo.hear(*said("who is there?"))
        await cleo.say("me")
        await cleo.hear(*said("me"))
        session.http, session.url = await here.requests("Cleo"), here.polls
        await ada.say("welcome")
        await cleo.hear(*said("welcome"))
        for guest in (ada, bob):
            await guest.hear(*said("who is there?", "me", "welcome"))

        # All connections of a user end by the id of its socket, wherever they are and whoever says so; nobody else's do.
        again = await here.enter("Bob")
        await ada.hear(("user_joined", "Bob"))
        await ada.sees(Ada=1, Bob=2, Cleo=1)
        await ada.push(OFFICE, "expel", {"user": "Bob"})
        assert await bob.ended() == 1001
        assert await again.ended() == 1001
        await ada.sees(Ada=1, Cleo=1)
        dora = await there.enter("Dora", after=("Bob",))
        await dora.push(OFFICE, "expel", {"user": "Cleo"})
        assert await cleo.ended() == 410
        await ada.sees(Ada=1, Dora=1)
        await dora.say("quiet here")
        await dora.hear(*said("quiet here"))
        await ada.hear(("user_joined", "Dora"), *said("quiet here"))
