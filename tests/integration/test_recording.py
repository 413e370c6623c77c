"""The recorded conversations with Phoenix 1.8.12, held with this server; every difference is in a table, with its reason.

What the clients of the recording sent is sent again, and what they received is compared frame by frame: JSON after parsing,
binary frames and close codes as they are. The applications on both sides are alike (tests/support/app.py).
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from websockets.typing import Subprotocol

from tests.support.app import MOUNTS, make_endpoint
from tests.support.background import TIMEOUT
from tests.support.client import V1, Closed, WebSocketClient, open_websocket
from tests.support.loopback import HOST
from tests.support.server import ASGI, HYPERCORN, LEAN, Served, serve

VECTORS = Path(__file__).parents[2] / "spec" / "vectors"
Step = list[Any]
Frame = tuple[str, Any]
"""`text` with its parsed JSON, `binary` with its hex, or `close` with its code."""


@dataclass(frozen=True)
class Departure:
    """What this server does instead.

    Attributes:
        why: The reason.
        received: Per client what it gets in this part instead of what was recorded; texts in the form of 2.0.0.
        any_order: The client gets what was recorded, in another order.
    """

    why: str
    received: dict[str, list[Frame]] = field(default_factory=dict)
    any_order: bool = False


_NONE = Departure("as recorded")
RECORDINGS = ("v1", "v2", "binary", "edges", "shutdown", "presence_v1", "presence_v2")
UNMATCHED = {"status": "error", "response": {"reason": "unmatched topic"}}
OK = {"status": "ok", "response": {}}


def text(*message: Any) -> Frame:
    """A message in the form of 2.0.0."""
    return "text", list(message)


def _joined(join_ref: Any, ref: Any, topic: str = "room:lobby", response: Any = None) -> Frame:
    return text(join_ref, ref, topic, "phx_reply", {"status": "ok", "response": {} if response is None else response})


_UNHANDLED = {"status": "error", "response": {"reason": "unhandled event"}}
_AN_INSPECTED_MAP = "Phoenix's application inspected its assigns into a string of Elixir; ours replies with a map"

# Part of the recording, for both wire versions unless it names one -> what happens here.
DEPARTURES = {
    "what the channel knows of itself": Departure(
        _AN_INSPECTED_MAP,
        {
            "": [
                _joined(
                    "1",
                    "16",
                    response={
                        "assigns": {"info": {}, "user_id": None},
                        "join_ref": "1",
                        "ref": "16",
                        "transport": "websocket",
                    },
                )
            ]
        },
    ),
    "2.0.0: a token as a subprotocol": Departure(
        _AN_INSPECTED_MAP,
        {
            "": [
                _joined("1", "1", "room:x"),
                _joined(
                    "1",
                    "2",
                    "room:x",
                    {
                        "assigns": {"info": {"auth_token": "s3cret"}, "user_id": None},
                        "join_ref": "1",
                        "ref": "2",
                        "transport": "websocket",
                    },
                ),
            ]
        },
    ),
    "an event that only servers send": Departure(
        "an event without a handler is refused and does not cost the client its channel",
        {"": [text("1", "17", "room:lobby", "phx_reply", _UNHANDLED)]},
    ),
    "an event without a handler": Departure(
        "an event without a handler is refused and does not cost the client its channel",
        {"": [_joined("1", "1"), text("1", "2", "room:lobby", "phx_reply", _UNHANDLED)]},
    ),
    "leave and join at once": Departure(
        "a leave is answered and closed before the join that follows it; in Phoenix its reply is lost",
        {
            "": [
                _joined("1", "1"),
                _joined("1", "2"),
                text("1", "1", "room:lobby", "phx_close", {}),
                _joined("3", "3"),
            ]
        },
    ),
    "2.0.0: events before and after a crash": Departure(
        "what waited behind a crash is answered instead of lost",
        {
            "": [
                _joined("1", "1", "room:x"),
                *(_joined("1", f"{n + 2}", "room:x", {"i": n}) for n in range(3)),
                text("1", "1", "room:x", "phx_error", {"reason": "channel_crash"}),
                text(None, "10", "room:x", "phx_reply", UNMATCHED),
            ]
        },
    ),
    "2.0.0: a key twice, and blanks": Departure(
        "of a key that comes twice the last value counts, as in JavaScript and Python; in Phoenix the first",
        {"": [_joined("1", "1", "room:reply", {"got": {"a": 2}, "n": 1}), text(None, "h", "phoenix", "phx_reply", OK)]},
    ),
    "a binary join": Departure(
        "a join may be a binary frame like any other push; in Phoenix the connection dies of it",
        {"A": [_joined("20", "20", "room:reply", {"got": 5, "n": 1})]},
    ),
    "a binary broadcast with a member of 1.0.0": Departure(
        "a binary broadcast skips members of 1.0.0 with a warning; in Phoenix it crashes its sender",
        {
            "V2": [_joined("1", "1", "room:mix"), ("binary", "020807726f6f6d3a6d69786e65775f6d7367000102feff")],
            "V1": [_joined(None, "1", "room:mix")],
        },
    ),
    "the cap of 100 channels": Departure(
        "joins of different topics do not wait for each other, so a refusal may overtake a reply", any_order=True
    ),
    "the server stops": Departure(
        "a connection without channels is sent away with 1012 like the others; after 1000 no client comes back by itself",
        {
            "joined-v2": [_joined("1", "1", "room:a"), _joined("2", "2", "room:b"), ("close", 1012)],
            "joined-v1": [_joined("1", "1", "room:a"), ("close", 1012)],
            "no-channel": [("close", 1012)],
        },
    ),
}


def stories(name: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The recording's cases, each with those that continue it on the same connections."""
    story: list[dict[str, Any]] = []
    for case in json.loads((VECTORS / f"recording_{name}.json").read_text("utf-8"))["cases"]:
        if story and not case.get("continues"):
            yield story[0]["title"], story
            story = []
        story.append(case)
    yield story[0]["title"], story


def all_stories() -> Iterator[Any]:
    """Every story of every file, by file and title."""
    for name in RECORDINGS:
        for title, story in stories(name):
            yield pytest.param(story, id=f"{name}-{title}")


@contextlib.asynccontextmanager
async def cast(kind: str) -> AsyncIterator["Cast"]:
    """Serve the application for one story."""
    async with serve(make_endpoint("/socket", "/auth"), kind) as served:
        clients = Cast(served)
        yield clients
        await clients.leave()


class Cast:
    """The clients of a story, by name."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.clients: dict[str, WebSocketClient] = {}
        self.closed: set[str] = set()
        self._refs: dict[str, str] = {}

    async def perform(self, part: dict[str, Any]) -> None:
        """Send what was sent in one part, and compare what comes with what came, or with what departs from it."""
        departure = DEPARTURES.get(part["title"], _NONE)
        instead = {name: list(frames) for name, frames in departure.received.items()}
        early: list[Frame] = []
        stopping = None
        for step in part["steps"]:
            match step:
                case ["connect", name, path]:
                    await self._connect(name, path, None)
                case ["connect", name, path, {"subprotocols": offered, "chosen": chosen}]:
                    await self._connect(name, path, offered)
                    assert self.clients[name].connection.subprotocol == chosen
                case ["->", name, "text", data]:
                    await self.clients[name].send_raw(data)
                case ["->", name, "binary", data]:
                    await self.clients[name].send_raw(bytes.fromhex(data))
                case ["->", name, "heartbeat"]:
                    await self.clients[name].send(None, "h", "phoenix", "heartbeat")
                case ["server", "SIGTERM"]:
                    stopping = asyncio.get_running_loop().create_task(self.served.shut_down())
                case ["close", name]:
                    await self.clients.pop(name).close()
                case ["skip", name, count]:
                    early = [await self._receive(name) for _ in range(count)]
                case ["<-", name, kind, data] if departure.any_order:
                    early.append(await self._receive(name))
                case ["<-", name, kind, data] if departure is _NONE:
                    received = await self._receive(name)
                    expected = self._as_here(json.loads(data), received[1]) if kind == "text" else data
                    assert received == (kind, expected)
                case ["<-", name, _, _]:
                    if instead.get(name):
                        await self._expect(name, instead[name].pop(0))
                case _:
                    raise AssertionError(f"unknown step {step!r}")
        for name, frames in instead.items():
            for frame in frames:
                await self._expect(name, frame)
        if departure.any_order:
            assert all(("text", json.loads(step[3])) in early for step in part["steps"] if step[0] == "<-")
        if stopping is not None:
            async with asyncio.timeout(TIMEOUT):
                await stopping
        else:
            await self._be_quiet()

    async def _expect(self, name: str, frame: Frame) -> None:
        kind, expected = frame
        if kind == "text" and self.clients[name].vsn == V1:
            expected = dict(zip(("ref", "topic", "event", "payload"), expected[1:], strict=True))
        assert await self._receive(name) == (kind, expected)

    async def _be_quiet(self) -> None:
        """Hold that nobody receives anything more."""
        for name, client in self.clients.items():
            if name not in self.closed:
                await client.quiet()

    async def leave(self) -> None:
        """Close all connections."""
        for client in self.clients.values():
            await client.close()
        self.clients.clear()

    def _as_here(self, recorded: Any, received: Any) -> Any:
        """What was recorded with the `phx_ref`s of this run: each of them stands for one of the recording's."""
        if isinstance(recorded, list):
            others = received if isinstance(received, list) and len(received) == len(recorded) else recorded
            return [self._as_here(*pair) for pair in zip(recorded, others, strict=True)]
        if not isinstance(recorded, dict):
            return recorded
        here: dict[str, Any] = received if isinstance(received, dict) else {}
        for name in ("phx_ref", "phx_ref_prev"):
            ref, other = recorded.get(name), here.get(name)
            if ref is not None and ref not in self._refs and other is not None and other not in self._refs.values():
                self._refs[ref] = other
        return {
            key: self._refs.get(value) if key.startswith("phx_ref") else self._as_here(value, here.get(key))
            for key, value in recorded.items()
        }

    async def _connect(self, name: str, path: str, subprotocols: list[str] | None) -> None:
        offered = [Subprotocol(each) for each in subprotocols] if subprotocols is not None else None
        vsn = path.partition("vsn=")[2].partition("&")[0]
        self.clients[name] = await open_websocket(self.served.url(path), vsn, subprotocols=offered)
        self.closed.discard(name)

    async def _receive(self, name: str) -> Frame:
        try:
            data = await self.clients[name].receive_raw()
        except Closed as closed:
            self.closed.add(name)
            return "close", closed.code
        return ("text", json.loads(data)) if isinstance(data, str) else ("binary", data.hex())


@pytest.mark.parametrize("kind", [LEAN, ASGI])
@pytest.mark.parametrize("story", list(all_stories()))
async def test_a_conversation_goes_as_recorded(story: list[dict[str, Any]], kind: str) -> None:
    """checklist 48 to 73 and 105 to 115, as far as a client sees them"""
    async with cast(kind) as clients:
        for part in story:
            await clients.perform(part)


async def test_conversations_go_as_recorded_under_hypercorn() -> None:
    async with cast(HYPERCORN) as clients:
        for _, story in stories("v2"):
            for part in story:
                await clients.perform(part)
            await clients.leave()


def test_every_departure_is_of_a_part_that_was_recorded() -> None:
    recorded = {part["title"]: part for name in RECORDINGS for _, story in stories(name) for part in story}
    for title, departure in DEPARTURES.items():
        names = {step[1] for step in recorded[title]["steps"] if step[0] in ("<-", "->")}
        assert set(departure.received) <= names | {"no-channel"}
        assert departure.why


# Frames that a WebSocket library would not send: the lean path alone, where they are read by our own code.


async def play_frames(case: dict[str, Any]) -> None:
    """Send raw frames and compare what comes, up to the end of the connection or to the answer of a ping."""
    async with serve(make_endpoint("/socket", "/short")) as served:
        path = case["steps"][0][2]
        reader, writer = await asyncio.open_connection(HOST, served.port, limit=2**24)
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        async with asyncio.timeout(TIMEOUT):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            for step in case["steps"][1:]:
                match step:
                    case ["->", _, "raw", *parts]:
                        for part in parts:
                            data, times = (part, 1) if isinstance(part, str) else part
                            writer.write(bytes.fromhex(data) * times)
                    case ["<-", _, "text", expected]:
                        assert json.loads(await _frame(reader, 0x81)) == json.loads(expected)
                    case ["<-", _, "pong", expected]:
                        assert (await _frame(reader, 0x8A)).hex() == expected
                    case ["<-", _, "close", expected]:
                        assert int.from_bytes(await _frame(reader, 0x88)) == expected
                    case ["open", _]:
                        writer.write(bytes.fromhex("898000000000"))
                        assert await _frame(reader, 0x8A) == b""
                    case ["eof", _]:
                        with contextlib.suppress(ConnectionError):  # what it had not read yet may have reset the line
                            assert await reader.read() == b""
                    case _:
                        raise AssertionError(f"unknown step {step!r}")
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def _frame(reader: asyncio.StreamReader, first: int) -> bytes:
    head = await reader.readexactly(2)
    assert head[0] == first, head
    length = head[1] if head[1] < 126 else int.from_bytes(await reader.readexactly(2))
    return await reader.readexactly(length)


@pytest.mark.parametrize("case", [pytest.param(s[0], id=title) for title, s in stories("frames")])
async def test_frames_are_answered_as_recorded(case: dict[str, Any]) -> None:
    """checklist 77"""
    await play_frames(case)


# Handshakes.

HANDSHAKE_DEPARTURES: dict[str, tuple[str, int, str]] = {
    "connect raises": (
        "a plain text instead of what the application's error renderer makes",
        500,
        "Internal Server Error",
    ),
    "a query that is not UTF-8": (
        "the answer says what is wrong with the query",
        400,
        "query string is not UTF-8 (invalid start byte); text is escaped as UTF-8",
    ),
}
# Under a foreign server, what it refuses by itself does not come to us.
THE_SERVERS_OWN = {"an upgrade without a key", "an upgrade of version 8"}


@pytest.mark.parametrize("kind", [LEAN, "lean-ws-only", ASGI])
async def test_handshakes_are_answered_as_recorded(kind: str) -> None:
    """checklist 65, 66, 69, 105, 117"""
    cases = json.loads((VECTORS / "recording_handshake.json").read_text("utf-8"))["cases"]
    async with serve(make_endpoint(*MOUNTS), kind) as served:
        for case in cases:
            reader, writer = await asyncio.open_connection(HOST, served.port)
            method, target, headers = case["request"]
            lines = [f"{method} {target} HTTP/1.1", "host: localhost", *(f"{name}: {value}" for name, value in headers)]
            writer.write("\r\n".join((*lines, "", "")).encode("latin-1"))
            async with asyncio.timeout(TIMEOUT):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                got = dict(line.lower().split(": ", 1) for line in head[1:] if line)
                length = 0 if method == "HEAD" else int(got.get("content-length", 0))
                body = (await reader.readexactly(length)).decode()
            writer.close()
            await writer.wait_closed()
            status, kept, text_body = case["answer"]
            if case["title"] in HANDSHAKE_DEPARTURES:
                _, status, text_body = HANDSHAKE_DEPARTURES[case["title"]]
            got_status = int(head[0].split()[1])
            if kind == ASGI and case["title"] in THE_SERVERS_OWN:
                assert got_status in (400, 426)
                continue
            assert (case["title"], got_status, body) == (case["title"], status, text_body)
            if status == 101:
                recorded = {name: value.lower() for name, value in kept}
                assert {name: got.get(name) for name in recorded} == recorded
                assert ("sec-websocket-protocol" in got) is ("sec-websocket-protocol" in recorded)
