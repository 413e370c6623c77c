"""Long polling: one client's line as HTTP requests, for where WebSockets do not get through.

A GET opens a session, or waits for its messages; a POST brings the client's. Nearly all answers are HTTP 200 with the
status in the body, readable for pages of any origin: who may connect is judged here and not by the browser.

Source: Phoenix `lib/phoenix/transports/long_poll.ex` and `long_poll_server.ex`.
"""

import asyncio
import base64
import logging
import secrets
import time
from collections.abc import Mapping
from functools import cached_property
from math import inf
from typing import Any, Final

from broadwing.core.close import CloseCode
from broadwing.core.etf import Atom
from broadwing.core.longpoll_state import IDLE_WINDOWS, Status, poll_body, read_messages, status_body
from broadwing.core.request import Request
from broadwing.exceptions import BadRequest, MissingSecret, TokenError
from broadwing.pubsub.pubsub import PubSub
from broadwing.token import Token
from broadwing.transports.asgi import Receive, Scope, Send, request_of
from broadwing.transports.base import Handler
from broadwing.transports.entrance import Entrance, Refusal, Visitor
from broadwing.transports.longpoll_inbox import Inbox
from broadwing.transports.longpoll_session import LongPollSession, Reachable
from broadwing.transports.options import LongPollOptions
from broadwing.transports.sweep import Sweeper

logger = logging.getLogger("broadwing.transport")

# Phoenix takes the name of its PubSub server.
SALT: Final = "Broadwing.PubSub"

_V1: Final = Atom("v1")
_CORS: Final = (b"access-control-allow-origin", b"*")
_JSON: Final = (
    (b"content-type", b"application/json; charset=utf-8"),
    (b"cache-control", b"no-store"),
    _CORS,
)
_EMPTY: Final = ((b"cache-control", b"max-age=0, private, must-revalidate"), _CORS)


class LongPollEntrance(Entrance):
    """The long-poll transport of one mount.

    Attributes:
        settings: The mount's options.
        sessions: Its poll sessions by their private topic.
        sweeper: Ends sessions whose client does not poll any more.
        inbox: How other nodes reach the sessions here.
        slow_readers: Sessions that ended because their client did not poll.

    Raises:
        MissingSecret: The endpoint has no `secret_key_base` to sign session tokens with.
        ConfigurationError: It is too short.
    """

    def __init__(self, *args: Any, pubsub: PubSub, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        assert isinstance(self.options, LongPollOptions)
        if self.secret_key_base is None:
            raise MissingSecret(
                f"{self.host.name} at {self.pattern.template} needs secret_key_base to sign the tokens of its poll sessions; "
                "pass Endpoint(secret_key_base=...) a secret of at least 20 characters, the same on all nodes, or mount it "
                "with longpoll=False"
            )
        # A secret that is too short is told of now, not by the first client.
        Token.sign(self.secret_key_base, SALT, None)
        self.settings = self.options
        self.sessions: dict[str, LongPollSession] = {}
        self.sweeper = Sweeper(IDLE_WINDOWS * self.settings.window)
        self.inbox = Inbox(self, pubsub, self.secret_key_base)
        self.slow_readers = 0
        self._told = -inf
        self._secret = self.secret_key_base

    @cached_property
    def id(self) -> str:
        """Tells this mount of this process from all others; made by the first request, after a server has forked."""
        return base64.b64encode(secrets.token_bytes(16)).decode("ascii").rstrip("=")

    @property
    def label(self) -> str:
        """The mount's name, for logs."""
        return self.host.name

    def slow_reader(self) -> None:
        """Count a session that ends because its client does not poll, and say so, at most once a second."""
        self.slow_readers += 1
        if self.sweeper.now >= self._told + 1:  # a whole room may fall behind at once
            self._told = self.sweeper.now
            logger.warning(
                "%s at %s: a client does not poll, more than %d bytes wait for it; its session ends (%d so far)",
                self.host.name,
                self.pattern.template,
                self.settings.max_buffer_bytes,
                self.slow_readers,
            )

    async def stop(self) -> None:
        """End what draining left, and leave the bus."""
        for session in list(self.sessions.values()):
            session.close(CloseCode.SERVICE_RESTART)
        self.sweeper.stop()
        await self.inbox.close()

    async def serve(self, scope: Scope, path: str, variables: Mapping[str, str], receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        request = request_of(scope, path)
        try:
            params = self.params(request, variables)
        except BadRequest as error:
            logger.info("%s: %s", self.host.name, error)
            await _answer(send, error.status)
            return
        if not self.origin_allowed(request):
            await _answer(send, Status.FORBIDDEN)
        elif request.method == "GET":
            await self._get(request, params, receive, send)
        elif request.method == "POST":
            await self._post(request, params, receive, send)
        elif request.method == "OPTIONS":
            asked = request.header(b"access-control-request-headers") or b""
            await _send(send, 200, b"", (*_EMPTY, (b"access-control-allow-headers", asked), *_PREFLIGHT))
        else:
            await _send(send, 400, b"", _EMPTY)

    # GET: open, or poll.

    async def _get(self, request: Request, params: dict[str, Any], receive: Receive, send: Send) -> None:
        token = self._token_of(request, params)
        session = self._find(token)
        if session is not None:
            assert token is not None  # or it would not have been found
            leaving = asyncio.get_running_loop().create_task(_hang_up(receive))
            try:
                polled = await session.poll(leaving)
            finally:
                leaving.cancel()
                await asyncio.wait((leaving,))
            if polled is None:
                return  # there is nobody to answer; what came meanwhile stays for the next poll
            if polled.status is not Status.GONE:
                await _send(send, 200, poll_body(polled.status, token, polled.frames), _JSON)
                return
        await self._open(request, params, send)

    async def _open(self, request: Request, params: dict[str, Any], send: Send) -> None:
        opened = await self._admit(request, params)
        if isinstance(opened, str):
            await _send(send, 200, poll_body(Status.GONE, opened), _JSON)
        elif opened is Status.UNAVAILABLE:
            # Without a body clients take it for a fault that passes, and come back; Phoenix's raises at an unknown status.
            await _send(send, opened.http, b"", _EMPTY)
        else:
            await _answer(send, opened)

    async def _admit(self, request: Request, params: dict[str, Any]) -> str | Status:
        """Open a session and return its token, or the status that says why not."""
        if self.is_draining:
            return Status.UNAVAILABLE
        auth_token = request.header(b"x-phoenix-authtoken") if self.auth_token else None
        try:
            info = self.info(request, params, None if auth_token is None else auth_token.decode("latin-1"))
        except Exception:  # the application's session function runs here
            logger.exception("connect_info of %s raised", self.host.name)
            return Status.SERVER_ERROR
        await self.inbox.open()
        outcome = await self.admit(LongPollSession.name, Visitor(params, info, None))
        return Status(outcome.status) if isinstance(outcome, Refusal) else self._begin(outcome)

    def _begin(self, handler: Handler) -> str | Status:
        topic = f"phx:lp:{base64.b64encode(secrets.token_bytes(16)).decode('ascii')}{time.time_ns() // 1_000_000}"
        session = LongPollSession(self, topic)
        try:
            session.open(handler)
        except Exception:  # the application may have its say when a line opens
            logger.exception("%s: a poll session could not be opened", self.host.name)
            session.close(CloseCode.INTERNAL_ERROR)
            return Status.SERVER_ERROR
        data = (_V1, self.id, self.inbox.name, topic)
        return Token.sign(self._secret, SALT, data, max_age=self.settings.max_age)

    # POST: publish.

    async def _post(self, request: Request, params: dict[str, Any], receive: Receive, send: Send) -> None:
        session = self._find(self._token_of(request, params))
        if session is None:
            await _answer(send, Status.GONE)
            return
        try:
            body = await self._read(request, receive)
            if body is None:
                return
            messages = read_messages(request.header(b"content-type"), body)
        except BadRequest as error:
            # Not a warning: it costs the client nothing, so there may be many.
            logger.info("%s: %s", self.host.name, error)
            await _answer(send, error.status)
            return
        del body  # not held while its messages wait to be taken
        await _answer(send, await session.publish(messages))

    async def _read(self, request: Request, receive: Receive) -> bytes | None:
        """Read the body as far as it may go; `None` when the client hangs up."""
        limit = self.settings.max_body_bytes
        length = request.header(b"content-length")
        # Python refuses to read numbers of more than 4,300 digits.
        if length is not None and length.isdigit() and (len(length) > 18 or int(length) > limit):
            raise _too_large(limit)
        body = bytearray()  # not a list: a body may come in crumbs, and as objects they would be sixty times as large
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            part: bytes = message.get("body", b"")
            if len(body) + len(part) > limit:
                raise _too_large(limit)
            if not message.get("more_body", False):
                return bytes(body) + part if body else part
            body += part

    # Tokens.

    def _token_of(self, request: Request, params: Mapping[str, Any]) -> Any:
        header = request.header(b"x-phoenix-longpoll-token")
        return params.get("token") if header is None else header.decode("latin-1")

    def _find(self, token: Any) -> Reachable | None:
        """The session that a token is for; `None` when there is none here, and it would be here."""
        try:
            data = Token.verify(self._secret, SALT, token, max_age=self.settings.max_age)
        except TokenError:
            return None
        match data:
            case (Atom("v1"), str(entrance), str(inbox), str(topic)):
                return self.sessions.get(topic) if entrance == self.id else self.inbox.reach(inbox, topic)
        return None


_PREFLIGHT: Final = (
    (b"access-control-allow-methods", b"get, post, options"),
    (b"access-control-max-age", b"3600"),
)


def _too_large(limit: int) -> BadRequest:
    return BadRequest(f"a body of more than {limit} bytes; raise max_body_bytes if it may", Status.TOO_LARGE)


async def _hang_up(receive: Receive) -> None:
    """Return once the client has left."""
    while (await receive())["type"] == "http.request":
        pass


async def _answer(send: Send, status: int) -> None:
    http = status.http if isinstance(status, Status) else status
    await _send(send, http, status_body(status), _JSON)


async def _send(send: Send, status: int, body: bytes, headers: tuple[tuple[bytes, bytes], ...]) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})
