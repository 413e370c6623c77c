"""A poll client that hides nothing of HTTP, and the application it talks to."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable
from itertools import chain
from typing import Any, ClassVar
from urllib.parse import urlencode

import httpx

from broadwing import Channel, ConnectError, Endpoint, JoinError, Ok, RawSocket, Socket, on
from broadwing.types import ConnectInfo, Params
from tests.support.background import TIMEOUT
from tests.support.server import serve

SECRET = "a secret of 64 characters or more, for tests, and for nothing else"
NDJSON = "application/x-ndjson"
JSON = "application/json"

# wire/longpoll.txt: what every answer that belongs to the protocol carries.
PROTOCOL_HEADERS = {
    "content-type": "application/json; charset=utf-8",
    "cache-control": "no-store",
    "access-control-allow-origin": "*",
}


class Ground(Endpoint):
    """An endpoint with a memory.

    Attributes:
        connected: Parameters and info of every `connect`.
        heard: What came to `record`, and to raw sockets.
        terminated: Reasons of every `terminate`.
        gate: What `wait` waits for.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(secret_key_base=SECRET, **options)
        self.connected: list[tuple[Params, ConnectInfo]] = []
        self.heard: list[Any] = []
        self.terminated: list[Any] = []
        self.gate = asyncio.Event()


def ground_of(endpoint: Endpoint) -> Ground:
    """The endpoint with its memory."""
    assert isinstance(endpoint, Ground)
    return endpoint


class Room(Channel):
    """`room:*`"""

    async def join(self, params: Any) -> Any:
        """Greet after the join, refuse, or raise, as the topic says."""
        match self.topic:
            case "room:private":
                raise JoinError({"reason": "unauthorized"})
            case "room:crash":
                raise RuntimeError("boom in join")
            case "room:greeting":
                self.send_info("greet")

    async def handle_info(self, message: Any) -> None:
        """Broadcast, then push."""
        self.broadcast("user_entered", {"user": "someone"})
        self.push("joined", {"status": "connected"})

    async def terminate(self, reason: Any) -> None:
        """Remember."""
        ground_of(self.endpoint).terminated.append(reason)

    @on("echo")
    async def echo(self, payload: Any) -> Any:
        """Reply with what came."""
        return Ok(payload)

    @on("new_msg")
    async def new_msg(self, payload: Any) -> None:
        """Broadcast."""
        self.broadcast("new_msg", payload)

    @on("record")
    async def record(self, payload: Any) -> None:
        """Remember."""
        ground_of(self.endpoint).heard.append(payload)

    @on("wait")
    async def wait(self, payload: Any) -> None:
        """Wait for the gate."""
        await ground_of(self.endpoint).gate.wait()
        ground_of(self.endpoint).heard.append(payload)

    @on("many")
    async def many(self, payload: dict[str, int]) -> None:
        """Push a number of messages of some size."""
        for _ in range(payload["count"]):
            self.push("much", {"text": "x" * payload["size"]})

    @on("raise")
    async def raise_(self) -> None:
        """Crash."""
        raise RuntimeError("boom in a handler")

    @on("info")
    async def info(self) -> Any:
        """What the channel knows of itself."""
        return {"transport": self.socket.transport, "join_ref": self.join_ref}


class UserSocket(Socket):
    """Everybody may connect who does not ask to be refused."""

    channels: ClassVar = {"room:*": Room}

    async def connect(self, params: Params, info: ConnectInfo) -> None:
        """Refuse as the parameter `refuse` says."""
        ground_of(self.endpoint).connected.append((params, info))
        match params.get("refuse"):
            case "error":
                raise ConnectError()
            case "reason":
                raise ConnectError({"reason": "rate_limit"})
            case "raise":
                raise RuntimeError("boom in connect")
            case "wait":
                await ground_of(self.endpoint).gate.wait()
        self.assign(user_id=params.get("user_id"))

    def id(self) -> str | None:
        """`users_socket:X` for the parameter `user_id=X`; not even a name for `X=5`."""
        user_id = self.assigns["user_id"]
        return None if user_id is None else 5 if user_id == "5" else f"users_socket:{user_id}"  # type: ignore[return-value]


class EchoSocket(RawSocket):
    """A raw socket that answers text with text and bytes with bytes."""

    async def connect(self, params: Params, info: ConnectInfo) -> None:
        """Remember."""
        ground_of(self.endpoint).connected.append((params, info))

    async def handle_in(self, data: str | bytes) -> str | bytes | None:
        """Echo, or push through `handle_info`."""
        ground_of(self.endpoint).heard.append(data)
        if data == "push":
            self.send_info("pushed")
            return None
        return data

    async def handle_info(self, message: Any) -> str:
        """Push."""
        return str(message)

    async def terminate(self, reason: Any) -> None:
        """Remember."""
        ground_of(self.endpoint).terminated.append(reason)


class Poller:
    """One client of one mount.

    Attributes:
        token: Its session's token; empty before `open`.
    """

    def __init__(self, http: httpx.AsyncClient, url: str, vsn: str | None = "2.0.0", **params: str) -> None:
        self.http = http
        query = {**({"vsn": vsn} if vsn is not None else {}), **params}
        self.url = f"{url}?{urlencode(query)}" if query else url
        self.token = ""

    @property
    def headers(self) -> dict[str, str]:
        """The session's token."""
        return {"x-phoenix-longpoll-token": self.token} if self.token else {}

    async def open(self, **headers: str) -> "Poller":
        """Open a session, which must succeed."""
        response = await self.http.get(self.url, headers=headers)
        assert response.status_code == 200, response.text
        body = response.json()
        assert body["status"] == 410, body
        self.token = body["token"]
        return self

    async def get(self, **headers: str) -> tuple[int, list[Any]]:
        """Poll: the status, and the messages read as JSON."""
        response = await self.http.get(self.url, headers={**self.headers, **headers})
        assert response.status_code == 200, response.text
        body = response.json()
        if self.token and body["status"] != 410:
            assert body["token"] == self.token
        return body["status"], [json.loads(message) for message in body.get("messages", [])]

    async def post(self, *messages: Any) -> int:
        """Post one message as JSON; the status."""
        assert len(messages) == 1
        return await self.post_raw(json.dumps(messages[0]).encode(), JSON)

    async def batch(self, *lines: Any) -> int:
        """Post a batch of messages, or of lines as they are; the status."""
        body = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
        return await self.post_raw(body.encode(), NDJSON)

    async def post_raw(self, body: bytes, content_type: str | None = None) -> int:
        """Post a body; the status."""
        response = await self.posted(body, content_type)
        status = response.json()["status"]
        assert response.status_code == (200 if status in (200, 403, 408, 410) else status)
        assert isinstance(status, int)
        return status

    async def posted(self, body: Any, content_type: str | None = None) -> httpx.Response:
        """Post a body; the whole answer."""
        headers = {**self.headers, **({"content-type": content_type} if content_type is not None else {})}
        return await self.http.post(self.url, content=body, headers=headers)

    async def join(self, topic: str = "room:lobby", ref: Any = "1") -> None:
        """Join, which must succeed."""
        assert await self.post([ref, ref, topic, "phx_join", {}]) == 200
        status, messages = await self.get()
        assert (status, messages[0]) == (200, reply(ref, ref, topic))

    async def receive(self, count: int) -> list[Any]:
        """Poll until that many messages came."""
        messages: list[Any] = []
        async with asyncio.timeout(TIMEOUT):
            while len(messages) < count:
                status, more = await self.get()
                assert status in (200, 204), status
                messages += more
        return messages


def reply(join_ref: Any, ref: Any, topic: str, status: str = "ok", response: Any = None) -> list[Any]:
    """A reply in version 2.0.0."""
    return [join_ref, ref, topic, "phx_reply", {"status": status, "response": {} if response is None else response}]


class House:
    """A served endpoint, and clients for it."""

    def __init__(self, endpoint: Ground, base: str, http: httpx.AsyncClient) -> None:
        self.endpoint = endpoint
        self.base = base
        self.http = http

    def poller(self, mount: str = "/socket", vsn: str | None = "2.0.0", **params: str) -> Poller:
        """A client without a session."""
        return Poller(self.http, f"{self.base}{mount}/longpoll", vsn, **params)

    async def open(self, mount: str = "/socket", vsn: str | None = "2.0.0", **params: str) -> Poller:
        """A client with a session."""
        return await self.poller(mount, vsn, **params).open()


async def ask(
    endpoint: Endpoint, method: str, path: str, headers: dict[str, str], parts: Iterable[bytes] = ()
) -> tuple[int, Any]:
    """One request without a server, its body in parts: the HTTP status, and the body of the answer."""
    sent: list[Any] = []
    messages = chain(
        ({"type": "http.request", "body": part, "more_body": True} for part in parts),
        ({"type": "http.request", "body": b"", "more_body": False},),
    )

    async def receive() -> Any:
        message = next(messages, None)
        return message if message is not None else await asyncio.get_running_loop().create_future()

    async def send(message: Any) -> None:
        sent.append(message)

    fields = [(b"host", b"localhost"), *((name.encode(), value.encode()) for name, value in headers.items())]
    scope = {"type": "http", "method": method, "path": path, "query_string": b"vsn=2.0.0", "headers": fields}
    await endpoint(scope, receive, send)
    start, end = sent
    return start["status"], json.loads(end["body"])


@contextlib.asynccontextmanager
async def house_of(endpoint: Ground, kind: str = "lean") -> AsyncIterator[House]:
    """Serve an endpoint."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with (
        serve(endpoint, kind) as served,
        httpx.AsyncClient(trust_env=False, timeout=TIMEOUT, limits=limits) as http,
    ):
        try:
            yield House(endpoint, served.url("", "http"), http)
        finally:
            endpoint.gate.set()
