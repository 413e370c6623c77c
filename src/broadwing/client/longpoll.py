"""Long polling as transport, on `httpx`: polls for messages, and posts them in batches, one after the other."""

import asyncio
import contextlib
import json
import logging
import ssl
from collections.abc import AsyncGenerator
from typing import Any

import httpx

from broadwing.client.errors import ConnectFailed
from broadwing.client.outbox import Outbox
from broadwing.client.transport import CLOSE_TIMEOUT, Dial
from broadwing.core.client.effects import Push
from broadwing.core.client.polls import Polled, batch, polled
from broadwing.core.client.wire import Encoded

_TOKEN = "X-Phoenix-Longpoll-Token"  # noqa: S105 - the header's name
_AUTH_TOKEN = "X-Phoenix-AuthToken"  # noqa: S105


class _WithoutQuery(logging.Filter):
    """httpx logs the URL of every request, and that of a poll holds the connect parameters."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                value.copy_with(query=None)
                if isinstance(value, httpx.URL) and value.path.endswith("/longpoll")
                else value
                for value in record.args
            )
        return True


logging.getLogger("httpx").addFilter(_WithoutQuery())


class LongPollTransport:
    """A session of long polling."""

    def __init__(self, client: httpx.AsyncClient, dial: Dial, token: str | None) -> None:
        self.code = 1006
        self.reason = ""
        self._client = client
        self._dial = dial
        self._token = token
        self._outbox = Outbox()
        self._over = asyncio.Event()

    @property
    def backlog(self) -> int:
        """Messages not on their way."""
        return len(self._outbox)

    def send(self, push: Push, data: Encoded) -> None:
        """Send, in order and without waiting."""
        self._outbox.put(push, data)

    async def messages(self) -> AsyncGenerator[Encoded, None]:
        """What arrives, until the session is over."""
        poster = asyncio.create_task(self._post(), name="broadwing client: poster")
        over = asyncio.create_task(self._over.wait(), name="broadwing client: end of the session")
        poll: asyncio.Task[Polled] | None = None
        try:
            while not self._over.is_set():
                poll = asyncio.create_task(_poll(self._client, self._dial, self._token), name="broadwing client: poll")
                await asyncio.wait([poll, over], return_when=asyncio.FIRST_COMPLETED)
                if not poll.done():
                    break
                answer = poll.result()
                if answer.closed is not None:
                    self._end(*answer.closed)
                self._token = answer.token
                for message in answer.messages:
                    yield message
        finally:
            tasks = [task for task in (poster, over, poll) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._client.aclose()

    async def close(self, code: int, reason: str) -> None:
        """Send what waits, and stop polling; the server ends the session when no poll comes any more."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._outbox.wait_empty()
        self._end(code, reason)

    async def _post(self) -> None:
        while True:
            await self._outbox.wait_filled()
            queue = self._outbox.live()
            before = len(queue)
            if before > 0:
                content_type, content = batch(queue, self._dial.vsn)
                self._outbox.sent(before - len(queue))
                headers = {"Content-Type": content_type, _TOKEN: self._token or ""}
                answer = await _request(self._client, "POST", self._dial.url, headers, content)
                status = answer.get("status") if isinstance(answer, dict) else None
                if status != 200:
                    self._end(1011, f"a POST was answered with {status}")
                    return
            self._outbox.settled()

    def _end(self, code: int, reason: str) -> None:
        if not self._over.is_set():
            self.code, self.reason = code, reason
            self._over.set()


async def open_longpoll(dial: Dial) -> LongPollTransport:
    """Begin a session.

    Raises:
        ConnectFailed: The server answered, and refused.
        OSError: It could not be reached.
    """
    verify: ssl.SSLContext | bool = dial.ssl if dial.ssl is not None else True
    if dial.url.startswith("http:") and dial.ssl is None and dial.proxy is not True:
        verify = ssl.SSLContext(
            ssl.PROTOCOL_TLS_CLIENT
        )  # never used; httpx would load all certificates, which takes 25 ms
    client = httpx.AsyncClient(
        verify=verify,
        trust_env=dial.proxy is True,
        proxy=dial.proxy if isinstance(dial.proxy, str) else None,
        headers=dict(dial.headers),
        timeout=dial.request_timeout,
    )
    try:
        async with asyncio.timeout(dial.open_timeout):
            answer = await _poll(client, dial, None)
        if not answer.opened:
            code, reason = answer.closed or (1011, "")
            raise ConnectFailed(f"no session of long polling: {reason}", 403 if code == 1008 else None)
    except BaseException:
        await client.aclose()
        raise
    return LongPollTransport(client, dial, answer.token)


async def _poll(client: httpx.AsyncClient, dial: Dial, token: str | None) -> Polled:
    headers = {"Accept": "application/json"}
    if token is not None:
        headers[_TOKEN] = token
    if dial.token is not None:
        headers[_AUTH_TOKEN] = dial.token
    return polled(await _request(client, "GET", dial.url, headers, None), token, dial.vsn)


async def _request(
    client: httpx.AsyncClient, method: str, url: str, headers: dict[str, str], content: bytes | None
) -> Any:
    """The JSON of the answer; a text that says what went wrong where there is none."""
    try:
        response = await client.request(method, url, headers=headers, content=content)
        return json.loads(response.content)
    except (httpx.HTTPError, ValueError) as error:
        return repr(error)
