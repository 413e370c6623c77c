"""Raw clients of both wire versions, over WebSocket and over long polling, behind one face."""

import asyncio
import json
import ssl
from collections import deque
from typing import Any, NamedTuple
from urllib.parse import urlencode

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.background import TIMEOUT

V1, V2 = "1.0.0", "2.0.0"

# Nothing here is encrypted; left to itself httpx would load all certificates anew for every client, which takes 25 ms.
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

EMPTY: dict[str, Any] = {}
"""What a message carries that says no more than its event."""


class Message(NamedTuple):
    """A message as a client reads it; in version 1.0.0 `join_ref` is always `None`, because it is not on the wire."""

    join_ref: Any
    ref: Any
    topic: Any
    event: str
    payload: Any


class Closed(Exception):
    """The connection was closed while a message was expected.

    Attributes:
        code: The close code.
    """

    def __init__(self, code: int | None) -> None:
        super().__init__(f"closed with {code}")
        self.code = code


def encode(vsn: str, join_ref: Any, ref: Any, topic: Any, event: Any, payload: Any) -> str:
    """Write a message as a client does."""
    if vsn == V1:
        message = {"topic": topic, "event": event, "payload": payload, "ref": ref}
        return json.dumps(message if join_ref is None else {**message, "join_ref": join_ref})
    return json.dumps([join_ref, ref, topic, event, payload])


def decode(vsn: str, text: str) -> Message:
    """Read a message, and hold it to the form of its version."""
    value = json.loads(text)
    if vsn == V1:
        assert set(value) == {"topic", "event", "payload", "ref"}, value
        return Message(None, value["ref"], value["topic"], value["event"], value["payload"])
    assert isinstance(value, list), value
    return Message(*value)


class Client:
    """What both transports share.

    Attributes:
        vsn: The wire version.
        ignores: Events that it does not look at.
    """

    def __init__(self, vsn: str) -> None:
        self.vsn = vsn
        self.ignores: frozenset[str] = frozenset()
        self._refs = 0

    # What the transports differ in.

    async def send_raw(self, data: str | bytes) -> None:
        """Send one message as it is: text, or bytes as a binary frame."""
        raise AssertionError("supplied by the transport")

    async def receive_raw(self, timeout: float = TIMEOUT) -> str | bytes:
        """The next message as it came.

        Raises:
            Closed: There is none: the connection has ended.
        """
        raise AssertionError("supplied by the transport")

    async def close(self) -> None:
        """Leave."""
        raise AssertionError("supplied by the transport")

    # What tests are written in.

    async def send(self, join_ref: Any, ref: Any, topic: Any, event: Any, payload: Any = EMPTY) -> None:
        """Send one message."""
        await self.send_raw(encode(self.vsn, join_ref, ref, topic, event, payload))

    async def receive(self) -> Message:
        """The next message, read."""
        while True:
            data = await self.receive_raw()
            assert isinstance(data, str), data
            message = decode(self.vsn, data)
            if message.event not in self.ignores:
                return message

    async def expect(self, join_ref: Any, ref: Any, topic: Any, event: str, payload: Any = EMPTY) -> None:
        """Hold the next message against this; version 1.0.0 has no `join_ref`."""
        expected = Message(None if self.vsn == V1 else join_ref, ref, topic, event, payload)
        assert await self.receive() == expected

    async def expect_reply(
        self, join_ref: Any, ref: Any, topic: Any, status: str = "ok", response: Any = EMPTY
    ) -> None:
        """Hold the next message against a reply."""
        payload = {"status": status, "response": response}
        await self.expect(join_ref, ref, topic, "phx_reply", payload)

    async def join(self, topic: str, join_ref: Any = "1", params: Any = EMPTY, response: Any = EMPTY) -> None:
        """Join, which must succeed."""
        await self.send(join_ref, join_ref, topic, "phx_join", params)
        await self.expect_reply(join_ref, join_ref, topic, "ok", response)

    async def rest(self) -> list[Message]:
        """All messages that are on their way.

        A heartbeat is answered by the connection itself, so its reply overtakes what a channel is still about to say;
        the second one is sent after the channel has had its turn.
        """
        messages = []
        for _ in range(2):
            self._refs += 1
            ref = f"rest-{self._refs}"
            await self.send(None, ref, "phoenix", "heartbeat")
            while (message := await self.receive()).ref != ref:
                messages.append(message)
        return messages

    async def quiet(self) -> None:
        """Hold that nothing is on its way."""
        assert await self.rest() == []

    async def ended(self) -> int | None:
        """Wait for the end without a further message; its close code, or the status of a poll, 410 when the session is gone."""
        try:
            while True:
                data = await self.receive_raw()
                if isinstance(data, bytes) or decode(self.vsn, data).event not in self.ignores:
                    raise AssertionError(f"expected the end, got {data!r}")
        except Closed as closed:
            return closed.code


class WebSocketClient(Client):
    """A client on a WebSocket."""

    def __init__(self, vsn: str, connection: ClientConnection) -> None:
        super().__init__(vsn)
        self.connection = connection

    async def send_raw(self, data: str | bytes) -> None:
        """Send a text or a binary frame."""
        await self.connection.send(data)

    async def receive_raw(self, timeout: float = TIMEOUT) -> str | bytes:
        """The next frame."""
        try:
            async with asyncio.timeout(timeout):
                return await self.connection.recv()
        except ConnectionClosed as closed:
            raise Closed(closed.rcvd.code if closed.rcvd is not None else None) from None

    async def close(self) -> None:
        """Close with 1000."""
        await self.connection.close()


class LongPollClient(Client):
    """A client that polls."""

    def __init__(self, vsn: str, http: httpx.AsyncClient, url: str) -> None:
        super().__init__(vsn)
        self.http = http
        self.url = url
        self.token = ""
        self._messages: deque[str] = deque()

    async def open(self) -> None:
        """Get a session.

        Raises:
            Refused: The server wants no session with this client.
        """
        answer = await self.http.get(self.url)
        body = answer.json() if answer.status_code == 200 else {}
        if body.get("status") != 410:
            raise Refused(body.get("status", answer.status_code), answer.content)
        self.token = body["token"]

    @property
    def headers(self) -> dict[str, str]:
        """What every further request carries."""
        return {"x-phoenix-longpoll-token": self.token}

    async def send_raw(self, data: str | bytes) -> None:
        """Post one message."""
        assert isinstance(data, str), "this client posts one text at a time"
        answer = await self.http.post(
            self.url, headers={**self.headers, "content-type": "application/json"}, content=data.encode()
        )
        if answer.json()["status"] == 410:
            raise Closed(410)
        assert answer.json() == {"status": 200}, answer.text

    async def receive_raw(self, timeout: float = TIMEOUT) -> str | bytes:
        """The next message of those a poll brought."""
        async with asyncio.timeout(timeout):
            while not self._messages:
                answer = await self.http.get(self.url, headers=self.headers)
                if answer.status_code != 200:
                    raise Closed(answer.status_code)
                body = answer.json()
                if body["status"] == 410:
                    raise Closed(410)
                assert body["status"] in (200, 204), body
                assert body["token"] == self.token
                self._messages.extend(body["messages"])
        return self._messages.popleft()

    async def close(self) -> None:
        """There is no farewell in long polling: the session ends by itself."""
        await self.http.aclose()


class Refused(Exception):
    """The server did not let the client in.

    Attributes:
        status: HTTP status, or the status in the body of a poll.
        body: The body of the answer.
    """

    def __init__(self, status: int, body: bytes = b"") -> None:
        super().__init__(f"refused with {status}")
        self.status = status
        self.body = body


def address(path: str, vsn: str | None, params: dict[str, Any]) -> str:
    """A path with its query."""
    query = {**({"vsn": vsn} if vsn is not None else {}), **params}
    return f"{path}?{urlencode(query)}" if query else path


async def open_websocket(url: str, vsn: str, headers: dict[str, str] | None = None, **options: Any) -> WebSocketClient:
    """Connect a WebSocket.

    Raises:
        websockets.exceptions.InvalidStatus: The server does not want to.
    """
    connection = await connect(
        url, compression=None, ping_interval=None, max_size=None, additional_headers=headers, proxy=None, **options
    )
    return WebSocketClient(vsn, connection)


async def open_longpoll(url: str, vsn: str, headers: dict[str, str] | None = None) -> LongPollClient:
    """Open a poll session.

    Raises:
        Refused: The server does not want to.
    """
    http = httpx.AsyncClient(headers=headers, timeout=TIMEOUT, trust_env=False, verify=_NO_TLS)
    client = LongPollClient(vsn, http, url)
    try:
        await client.open()
    except BaseException:
        await client.close()
        raise
    return client
