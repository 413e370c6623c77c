"""What a client or a test has been sent, and waiting for more of it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class Received:
    """A message as it came out of the wire.

    Attributes:
        topic: Its topic.
        event: Its event; `phx_reply` for a reply.
        payload: A JSON value, or `bytes`; of a reply `{"status": …, "response": …}`.
        ref: What it replies to, if it does.
        join_ref: The join it belongs to; `None` for broadcasts, and always in wire version 1.0.0.
    """

    topic: str
    event: str
    payload: Any
    ref: Any = None
    join_ref: Any = None

    @property
    def is_reply(self) -> bool:
        """Whether it answers a push."""
        return self.event == "phx_reply"

    @property
    def status(self) -> Any:
        """Of a reply: `ok`, `error`, or a status of the application's own."""
        return self.payload["status"] if self.is_reply else None

    @property
    def response(self) -> Any:
        """Of a reply: what the handler returned."""
        return self.payload["response"] if self.is_reply else None


class Inbox:
    """Messages in the order in which they came, until somebody takes them.

    Attributes:
        messages: Those that nobody has taken yet.
        is_ended: Whether no more can come.
    """

    def __init__(self) -> None:
        self.messages: list[Received] = []
        self.is_ended = False
        self._waiting: set[asyncio.Future[None]] = set()

    def put(self, message: Received) -> None:
        """Add one."""
        self.messages.append(message)
        self._wake()

    def end(self) -> None:
        """No more will come."""
        self.is_ended = True
        self._wake()

    async def take(self, fits: Callable[[Received], bool], timeout: float) -> Received | None:
        """Take out the first message that fits, waiting for it for up to `timeout` seconds of the loop.

        What is there already is looked at whatever the timeout. Returns `None` when there is none in time, or can be none.

        Cancellation: leaves everything in.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        looked_at: dict[int, Received] = {}
        while True:
            for message in self.messages:
                # By identity: patterns may be costly, and what a captured value is must not depend on how often one looks.
                if id(message) not in looked_at:
                    looked_at[id(message)] = message
                    if fits(message):
                        self.messages.remove(message)
                        return message
            left = deadline - loop.time()
            if left <= 0 or self.is_ended:
                return None
            await self._more(left)

    async def _more(self, seconds: float) -> None:
        arrived = asyncio.get_running_loop().create_future()
        self._waiting.add(arrived)
        try:
            await asyncio.wait((arrived,), timeout=seconds)
        finally:
            self._waiting.discard(arrived)

    def _wake(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
