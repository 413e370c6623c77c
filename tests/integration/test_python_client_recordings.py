"""The Python client with a server that says exactly what Phoenix 1.8.12 said: the recordings, played from the other side.

Every case whose client is one that this client can be (texts as refs, joins before events) is lived through it: what the
recorded client sent is asked of ours, its frame is held to the recorded one, and the recorded frames are what it gets. Then it
must have understood them: replies settle their pushes, pushes and broadcasts are read, errors and ends change the channel. Refs
are counted by each client for itself, so they are translated; the rest is compared as it is.
"""

import asyncio
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as play

from broadwing.client import Channel, ClientError, JoinError, PushError, Socket, connect
from broadwing.core.client.effects import ChannelStatus, Message
from broadwing.core.client.wire import decode_message, encode_message
from broadwing.core.codec import body
from tests.support.background import TIMEOUT
from tests.support.loopback import HOST

VECTORS = Path(__file__).parents[2] / "spec" / "vectors"
FILES = {
    "recording_v1.json": "1.0.0",
    "recording_v2.json": "2.0.0",
    "recording_binary.json": "2.0.0",
    "recording_presence_v1.json": "1.0.0",
    "recording_presence_v2.json": "2.0.0",
}
Step = list[Any]


def read(vsn: str, kind: str, data: str) -> list[Any] | None:
    """A recorded client's frame as join_ref, ref, topic, event, payload; `None` for what this client never sends."""
    if kind == "heartbeat":
        return [None, "h", "phoenix", "heartbeat", {}]
    if kind == "text":
        try:
            value = json.loads(data)
            if vsn == "1.0.0":
                return [value.get("join_ref"), value["ref"], value["topic"], value["event"], value["payload"]]
        except (ValueError, AttributeError, KeyError):
            return None
        return value[:5] if isinstance(value, list) and len(value) >= 5 else None
    frame = bytes.fromhex(data)
    if kind != "binary" or len(frame) < 5 or frame[0] != 0:
        return None
    fields, end = [], 5
    for size in frame[1:5]:
        fields.append(frame[end : end + size].decode(errors="replace"))
        end += size
    return [*fields, frame[end:]]


def lives_of(vsn: str, case_list: list[dict[str, Any]]) -> list[tuple[str, list[Step]]]:
    """What each client of each conversation sent and received, as far as this client can be it."""
    conversations: list[list[dict[str, Any]]] = []
    for case in case_list:
        if case.get("continues"):
            conversations[-1].append(case)
        else:
            conversations.append([case])
    lives = []
    for cases in conversations:
        steps = [step for case in cases for step in case["steps"]]
        names = [step[1] for step in steps if step[0] == "connect" and f"vsn={vsn}" in step[2] and len(step) == 3]
        for name in names:
            mine = playable(vsn, [step for step in steps if step[0] in ("->", "<-") and step[1] == name])
            if any(step[0] == "->" for step in mine):
                lives.append((f"{cases[0]['title']} {name}".strip(), mine))
    return lives


def playable(vsn: str, steps: list[Step]) -> list[Step]:
    """The steps up to the first that this client would not take. Messages that no answer follows may be left out instead."""
    joined: dict[str, str] = {}
    taken: list[Step] = []
    for index, step in enumerate(steps):
        if step[0] == "<-":
            if step[2] not in ("text", "binary"):
                return taken  # the end of the connection
            taken.append(step)
            heard = decode_message(vsn, step[3] if step[2] == "text" else bytes.fromhex(step[3]))
            refused = heard.event == "phx_reply" and heard.payload["status"] != "ok"
            ended = heard.join_ref if heard.event in ("phx_close", "phx_error") else heard.ref if refused else None
            if ended is not None and joined.get(heard.topic) == ended:
                del joined[heard.topic]  # this client knows it, and does not send there
            continue
        message = read(vsn, step[2], step[3] if len(step) > 3 else "")
        answered = index + 1 < len(steps) and steps[index + 1][0] == "<-"
        if message is not None and is_ours(message, joined):
            join_ref, _, topic, event, _ = message
            if event == "phx_join":
                joined[topic] = join_ref
            taken.append(step)
        elif answered:
            return taken
    return taken


def is_ours(message: list[Any], joined: dict[str, str]) -> bool:
    """Whether this client would send that."""
    join_ref, ref, topic, event, payload = message
    if not isinstance(ref, str) or not ref:
        return False
    if event == "heartbeat" and topic == "phoenix":
        return bool(join_ref is None and payload == {})
    if event == "phx_join":
        return bool(join_ref == ref)
    if event == "phx_leave":
        return bool(joined.get(topic) == join_ref and payload == {})
    return join_ref is not None and joined.get(topic) == join_ref and not event.startswith("phx_")


LIVES = [
    pytest.param(vsn, steps, id=f"{file.removeprefix('recording_').removesuffix('.json')} {title}")
    for file, vsn in FILES.items()
    for title, steps in lives_of(vsn, json.loads((VECTORS / file).read_text("utf-8"))["cases"])
]


def test_most_of_the_recordings_can_be_played() -> None:
    assert len(LIVES) > 80


class Life:
    """One client of a recording, lived by ours."""

    def __init__(self, vsn: str, steps: list[Step]) -> None:
        self.vsn = vsn
        self.steps = steps
        self.refs: dict[str | None, str | None] = {None: None, "": ""}
        self.joins: dict[str, asyncio.Task[Any]] = {}
        self.pushes: dict[str, asyncio.Task[Any]] = {}
        self.channels: dict[str, Channel] = {}
        self.expected: dict[Channel, list[tuple[str, Any]]] = defaultdict(list)
        self.line: asyncio.Future[ServerConnection] = asyncio.get_running_loop().create_future()
        self.socket: Socket | None = None

    async def serve(self, line: ServerConnection) -> None:
        """The server: the test speaks for it."""
        self.line.set_result(line)
        await line.wait_closed()

    async def live(self, url: str) -> None:
        """From the first step to the last."""
        async with connect(
            url, vsn=self.vsn, timeout=TIMEOUT, open_timeout=TIMEOUT, proxy=None, rejoin_after=lambda _: 3600.0
        ) as self.socket:
            line = await self.line
            for direction, _, kind, *data in self.steps:
                if direction == "->":
                    await self.act(line, kind, *data)
                else:
                    await self.hear(line, kind, *data)
            await self.settled(line)
            farewell = asyncio.create_task(self.rest(line))
        await farewell

    async def rest(self, line: ServerConnection) -> None:
        """Read what the client sends until it closes."""
        async for _ in line:
            pass

    async def act(self, line: ServerConnection, kind: str, data: str = "") -> None:
        """Have the client send what the recorded one sent."""
        message = read(self.vsn, kind, data)
        assert message is not None
        assert self.socket is not None
        join_ref, ref, topic, event, payload = message
        if event == "heartbeat":
            self.pushes[ref] = asyncio.create_task(self.socket.ping())
        elif event == "phx_join":
            channel = self.socket.channel(topic, lambda: payload)  # a function, as null means no payload
            self.channels[topic] = channel
            # A channel that this replaces says farewell first, which the recorded client did not.
            replaces = any(c.status in (ChannelStatus.JOINED, ChannelStatus.JOINING) for c in self.live_channels(topic))
            self.joins[ref] = self.pushes[ref] = asyncio.create_task(channel.join())
            if replaces:
                assert (await self.sent(line))[3] == "phx_leave"
        elif event == "phx_leave":
            self.pushes[ref] = asyncio.create_task(self.channels[topic].leave())
        else:
            self.pushes[ref] = asyncio.create_task(self.channels[topic].push(event, payload))
        sent = await self.sent(line)
        self.refs[ref] = sent[1]
        expected_join_ref = None if join_ref is None else self.refs[join_ref]
        shown = {} if payload is None else payload
        assert sent == [expected_join_ref, sent[1], topic, event, shown]

    def live_channels(self, topic: str) -> list[Channel]:
        """Channels of a topic that are not closed."""
        assert self.socket is not None
        return [channel for channel in self.socket._channels.values() if channel.topic == topic]

    async def sent(self, line: ServerConnection) -> list[Any]:
        """The next frame of the client."""
        async with asyncio.timeout(TIMEOUT):
            data = await line.recv()
        frame = read(self.vsn, "text", data) if isinstance(data, str) else read(self.vsn, "binary", data.hex())
        assert frame is not None
        return frame

    async def hear(self, line: ServerConnection, kind: str, data: str) -> None:
        """Have the server say what Phoenix said, under the client's refs."""
        message = decode_message(self.vsn, data if kind == "text" else bytes.fromhex(data))
        if message.ref not in self.refs or message.join_ref not in self.refs:
            return  # an answer to what this client did not send
        await line.send(self.translated(message, kind, data))
        if message.event == "phx_reply" and message.ref in self.pushes:
            await self.replied(message)
            return
        channel = self.channels.get(message.topic)
        if channel is None or (message.join_ref and self.refs[message.join_ref] != channel.join_ref):
            return
        if message.event == "phx_close":
            await self.until(lambda: channel.status is ChannelStatus.CLOSED)
        elif message.event == "phx_error":
            await self.until(lambda: channel.status is ChannelStatus.ERRORED)
        elif message.event != "phx_reply":
            self.expected[channel].append((message.event, message.payload))

    def translated(self, message: Message, kind: str, data: str) -> str | bytes:
        """The frame with the client's refs in the place of the recorded ones."""
        join_ref, ref = self.refs[message.join_ref], self.refs[message.ref]
        if kind == "text":
            value = json.loads(data)
            if self.vsn == "1.0.0":
                value["ref"] = ref
            else:
                value[:2] = join_ref, ref
            return json.dumps(value)
        frame = bytes.fromhex(data)
        if frame[0] == 2:
            return frame
        count = 3 if frame[0] == 0 else 4
        sizes, rest = list(frame[1 : 1 + count]), frame[1 + count :]
        old = sum(sizes[: 1 if frame[0] == 0 else 2])
        new = [(join_ref or "").encode()] + ([(ref or "").encode()] if frame[0] == 1 else [])
        sizes[: len(new)] = map(len, new)
        return bytes([frame[0], *sizes]) + b"".join(new) + rest[old:]

    async def replied(self, message: Message) -> None:
        """The client has understood a reply."""
        task = self.pushes.pop(message.ref)
        status, response = message.payload["status"], message.payload["response"]
        async with asyncio.timeout(TIMEOUT):
            await asyncio.wait([task])
        if message.topic == "phoenix":
            assert task.result() > 0
        elif message.ref in self.joins and status != "ok":
            error = task.exception()
            assert isinstance(error, JoinError)
            assert error.response == response
        elif status == "ok":
            assert task.result() == response
        else:
            error = task.exception()
            assert isinstance(error, PushError)
            assert (error.status, error.response) == (status, response)

    async def settled(self, line: ServerConnection) -> None:
        """The client has read all that was for it, in order."""
        for channel, expected in self.expected.items():
            heard = [await channel.receive(TIMEOUT) for _ in expected]
            assert [(message.event, message.payload) for message in heard] == expected
        for task in self.pushes.values():
            task.cancel()
        results = await asyncio.gather(*self.pushes.values(), return_exceptions=True)
        assert all(isinstance(result, (asyncio.CancelledError, ClientError)) for result in results), results

    async def until(self, condition: Any) -> None:
        """Wait for a condition."""
        async with asyncio.timeout(TIMEOUT):
            while not condition():
                await asyncio.sleep(0.001)


@pytest.mark.parametrize(("vsn", "steps"), LIVES)
async def test_a_recorded_conversation_is_understood(vsn: str, steps: list[Step]) -> None:
    life = Life(vsn, steps)
    async with play(life.serve, HOST, 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with asyncio.timeout(TIMEOUT):
            await life.live(f"ws://{HOST}:{port}/socket")


def test_the_tests_own_translation_is_what_the_client_writes() -> None:
    frame = encode_message("2.0.0", "12", "123", "topic", "event", body(b"efg"))
    assert isinstance(frame, bytes)
    assert read("2.0.0", "binary", frame.hex()) == ["12", "123", "topic", "event", b"efg"]
