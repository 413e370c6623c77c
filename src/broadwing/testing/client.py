"""The client's side of a test: a connection, a channel, and what they expect of the server."""

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from broadwing.channel import Channel
from broadwing.exceptions import JoinError
from broadwing.socket import Socket
from broadwing.testing.failures import Wanted
from broadwing.testing.inbox import Received
from broadwing.testing.line import Line
from broadwing.testing.patterns import ANY, shown

if TYPE_CHECKING:
    from broadwing.testing.channel_test import ChannelTest

_EMPTY: Final[Mapping[str, Any]] = {}
# How long what has been cancelled may take to end.
_LAST_GRACE: Final = 1.0


class ClientSocket:
    """A client's connection; get one from `ChannelTest.connect` or `ChannelTest.socket`.

    Attributes:
        test: The test that it belongs to.
        line: Its transport, for what this class has no word for.
    """

    def __init__(self, test: "ChannelTest", line: Line) -> None:
        self.test = test
        self.line = line

    @property
    def server(self) -> Socket:
        """The application's object for this connection."""
        return self.line.connection.socket

    @property
    def assigns(self) -> dict[str, Any]:
        """What `connect` assigned."""
        return self.server.assigns

    @property
    def closed_with(self) -> int | None:
        """The close code, once the connection is down; 1000 after `close`."""
        return self.line.closed_with

    @property
    def messages(self) -> list[Received]:
        """What came and was not asked for yet, oldest first."""
        return list(self.line.inbox.messages)

    async def join(self, topic: str, payload: Any = _EMPTY, *, timeout: float | None = None) -> "ClientChannel":
        """Join a topic by the socket's routes.

        Args:
            topic: The topic.
            payload: What `join` gets, after the way through JSON.
            timeout: Seconds that the answer may take; by default the test's.

        Raises:
            JoinError: The join was refused, with the response that a client sees. When `join` crashed, the error's notes say how.
            AssertionError: It was not answered in time.
        """
        __tracebackhide__ = True
        ref = self.line.ref()
        self.line.say(ref, ref, topic, "phx_join", payload)
        wanted = Wanted(f"join({topic!r})", lambda message: message.is_reply, ref, ANY, ANY)
        reply = await self._wait(wanted, timeout, "it was not answered", lambda message: True)
        if reply.status == "ok":
            return ClientChannel(self, topic, ref, reply.response)
        refused = JoinError(reply.response)
        if str(self.test.log):
            refused.add_note(str(self.test.log).strip())
        raise refused

    async def subscribe_and_join(
        self, topic: str, payload: Any = _EMPTY, *, timeout: float | None = None
    ) -> "ClientChannel":
        """As `join`, with the test listening to the topic, for `assert_broadcast`."""
        __tracebackhide__ = True
        listens = self.test.is_subscribed(topic)
        self.test.subscribe(topic)
        try:
            return await self.join(topic, payload, timeout=timeout)
        except BaseException:
            if not listens:
                self.test.unsubscribe(topic)
            raise

    def push(self, topic: str, event: str, payload: Any = _EMPTY, *, join_ref: str | None = None) -> str:
        """Send a message of any kind; `ClientChannel.push` is the usual way. Returns its ref."""
        ref = self.line.ref()
        self.line.say(join_ref, ref, topic, event, payload)
        return ref

    async def assert_push(
        self, event: str, payload: Any = ANY, *, topic: str | None = None, timeout: float | None = None
    ) -> Received:
        """As `ClientChannel.assert_push`, on any topic or a given one."""
        __tracebackhide__ = True
        wanted = self._push("assert_push", event, payload, lambda m: topic is None or m.topic == topic)
        return await self._wait(wanted, timeout, "nothing that fits arrived", lambda message: True)

    async def refute_push(
        self, event: str, payload: Any = ANY, *, topic: str | None = None, timeout: float | None = None
    ) -> None:
        """As `ClientChannel.refute_push`, on any topic or a given one."""
        __tracebackhide__ = True
        wanted = self._push("refute_push", event, payload, lambda m: topic is None or m.topic == topic)
        await self._refute(wanted, timeout)

    async def assert_reply(
        self, ref: str, status: Any = ANY, response: Any = ANY, *, timeout: float | None = None
    ) -> Any:
        """As `ClientChannel.assert_reply`."""
        __tracebackhide__ = True
        wanted = self._reply("assert_reply", ref, status, response)
        return (await self._wait(wanted, timeout, "no reply that fits arrived", lambda message: True)).response

    async def refute_reply(
        self, ref: str, status: Any = ANY, response: Any = ANY, *, timeout: float | None = None
    ) -> None:
        """As `ClientChannel.refute_reply`."""
        __tracebackhide__ = True
        await self._refute(self._reply("refute_reply", ref, status, response), timeout)

    async def assert_disconnected(self, code: Any = ANY, *, timeout: float | None = None) -> int:
        """Wait until the server has closed the connection.

        Returns:
            The close code.

        Raises:
            AssertionError: It has not, or with another code.
        """
        __tracebackhide__ = True
        seconds = self.test.timeout if timeout is None else timeout
        if self.closed_with is None:
            await self.line.inbox.take(lambda message: False, seconds)
        wanted = Wanted(f"assert_disconnected({shown(code)})", lambda message: False, "", ANY)
        if self.closed_with is None:
            wanted.fail(f"the connection is still open after {seconds:g} s", self.messages, self.test.log)
        if code is not ANY and self.closed_with != code:
            wanted.fail(f"the connection was closed with {self.closed_with}", self.messages, self.test.log)
        return self.closed_with

    async def close(self, timeout: float = 5.0) -> None:
        """Close the connection, and wait until its channels have ended; again it is a no-op.

        Args:
            timeout: Seconds that they may take; then what they do is cancelled.

        Raises:
            AssertionError: A channel goes on even after its cancellation.
        """
        __tracebackhide__ = True
        self.line.close(1000)
        tasks = self.line.at_work
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=timeout)
        if not late:
            return
        for task in late:
            task.cancel()
        _, late = await asyncio.wait(late, timeout=_LAST_GRACE)
        if late:
            raise AssertionError(
                f"close: {len(late)} channel(s) went on for {timeout + _LAST_GRACE:g} s after the connection had closed, and after "
                f"they had been cancelled: {late}{self.test.log}"
            )

    # For channels.

    def _push(self, name: str, event: str, payload: Any, kind: Callable[[Received], bool]) -> Wanted:
        what = f"{name}({event!r})" if payload is ANY else f"{name}({event!r}, {shown(payload)})"
        return Wanted(what, lambda message: not message.is_reply and kind(message), event, payload)

    def _reply(self, name: str, ref: str, status: Any, response: Any) -> Wanted:
        what = f"{name}({ref!r}, {shown(status)}, {shown(response)})"
        return Wanted(what, lambda message: message.is_reply, ref, response, status)

    async def _wait(
        self, wanted: Wanted, timeout: float | None, why: str, about: Callable[[Received], bool]
    ) -> Received:
        __tracebackhide__ = True
        seconds = self.test.timeout if timeout is None else timeout
        message = await self.line.inbox.take(wanted.fits, seconds)
        if message is None:
            if self.closed_with is None:
                why = f"{why} within {seconds:g} s"
            else:
                why = f"{why} before the connection was closed with {self.closed_with}"
            wanted.fail(why, [message for message in self.messages if about(message)], self.test.log)
        return message

    async def _refute(self, wanted: Wanted, timeout: float | None) -> None:
        __tracebackhide__ = True
        seconds = self.test.refute_timeout if timeout is None else timeout
        message = await self.line.inbox.take(wanted.fits, seconds)
        if message is not None:
            wanted.fail("it arrived", [message], self.test.log)


class ClientChannel:
    """A joined channel, as its client has it.

    Attributes:
        socket: The connection.
        topic: The topic.
        join_ref: The ref of the join.
        reply: What the join was answered with.
    """

    def __init__(self, socket: ClientSocket, topic: str, join_ref: str, reply: Any) -> None:
        self.socket = socket
        self.topic = topic
        self.join_ref = join_ref
        self.reply = reply

    @property
    def test(self) -> "ChannelTest":
        """The test that it belongs to."""
        return self.socket.test

    @property
    def server(self) -> Channel:
        """The application's object for this channel.

        Raises:
            LookupError: The channel has ended.
        """
        for runner in self.socket.line.connection.runners:
            if runner.topic == self.topic and runner.join_ref == self.join_ref:
                return runner.channel
        raise LookupError(f"the channel on {self.topic!r} has ended{self.test.log}")

    @property
    def assigns(self) -> dict[str, Any]:
        """The channel's assigns."""
        return self.server.assigns

    def push(self, event: str, payload: Any = _EMPTY) -> str:
        """Send an event to the server; harmless when the channel has ended.

        Args:
            event: The event's name.
            payload: What the handler gets, after the way through JSON; `bytes` go in a binary frame.

        Returns:
            The ref, for `assert_reply`.

        Raises:
            LocalProtocolError: The payload has no JSON form.
        """
        return self.socket.push(self.topic, event, payload, join_ref=self.join_ref)

    def send_info(self, message: Any) -> None:
        """Have the server's `handle_info` get a message, which may be anything."""
        self.server.send_info(message)

    async def assert_push(self, event: str, payload: Any = ANY, *, timeout: float | None = None) -> Received:
        """Expect an event from the server: a push, or a broadcast that reaches this client.

        The first that fits is taken; what does not fit stays.

        Args:
            event: The event's name.
            payload: A pattern, see `broadwing.testing.patterns`.
            timeout: Seconds that it may take; by default the test's.

        Raises:
            AssertionError: None fits. The message tells what came instead, and the errors that were logged.
        """
        __tracebackhide__ = True
        wanted = self.socket._push("assert_push", event, payload, self._is_ours)
        return await self.socket._wait(wanted, timeout, "nothing that fits arrived", lambda message: True)

    async def refute_push(self, event: str, payload: Any = ANY, *, timeout: float | None = None) -> None:
        """Expect that no such event comes from the server.

        Args:
            event: The event's name.
            payload: A pattern; others of this event may come.
            timeout: Seconds to wait for it; by default the test's `refute_timeout`.

        Raises:
            AssertionError: One came.
        """
        __tracebackhide__ = True
        await self.socket._refute(self.socket._push("refute_push", event, payload, self._is_ours), timeout)

    async def assert_reply(
        self, ref: str, status: Any = ANY, response: Any = ANY, *, timeout: float | None = None
    ) -> Any:
        """Expect the reply to a push.

        Args:
            ref: What `push` or `leave` returned.
            status: `ok`, `error`, or a status of the application's own.
            response: A pattern for what it holds.
            timeout: Seconds that it may take; by default the test's.

        Returns:
            What it holds.

        Raises:
            AssertionError: There is none, or it does not fit.
        """
        __tracebackhide__ = True
        return await self.socket.assert_reply(ref, status, response, timeout=timeout)

    async def refute_reply(
        self, ref: str, status: Any = ANY, response: Any = ANY, *, timeout: float | None = None
    ) -> None:
        """Expect that no such reply to a push comes."""
        __tracebackhide__ = True
        await self.socket.refute_reply(ref, status, response, timeout=timeout)

    async def assert_broadcast(self, event: str, payload: Any = ANY, *, timeout: float | None = None) -> Received:
        """Expect a broadcast on the topic, whoever made it; the channel was joined with `subscribe_and_join`."""
        __tracebackhide__ = True
        return await self.test.assert_broadcast(event, payload, topic=self.topic, timeout=timeout)

    async def refute_broadcast(self, event: str, payload: Any = ANY, *, timeout: float | None = None) -> None:
        """Expect that no such broadcast is made on the topic."""
        __tracebackhide__ = True
        await self.test.refute_broadcast(event, payload, topic=self.topic, timeout=timeout)

    def broadcast_from(self, event: str, payload: Any) -> None:
        """Broadcast on the topic, to all but the test itself, which does not find it with `assert_broadcast`."""
        self.test.broadcast_from(self.topic, event, payload)

    async def assert_closed(self, *, timeout: float | None = None) -> None:
        """Expect that the channel ends well: the client is told `phx_close`."""
        __tracebackhide__ = True
        await self.assert_push("phx_close", timeout=timeout)

    async def assert_crashed(self, *, timeout: float | None = None) -> None:
        """Expect that the channel ends with an error: the client is told `phx_error`, after which it would join again."""
        __tracebackhide__ = True
        await self.assert_push("phx_error", timeout=timeout)

    def leave(self) -> str:
        """Leave the topic; harmless when the channel has ended. Returns the ref of the ok reply that follows."""
        return self.push("phx_leave")

    async def close(self, timeout: float = 5.0) -> None:
        """Close the connection that this channel is on; see `ClientSocket.close`."""
        __tracebackhide__ = True
        await self.socket.close(timeout)

    def _is_ours(self, message: Received) -> bool:
        return message.topic == self.topic and message.join_ref in (None, self.join_ref)
