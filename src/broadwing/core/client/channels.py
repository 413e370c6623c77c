"""The channels of a client: joins, pushes, replies, time-outs, without a loop or a clock.

The states and their changes are those of the JavaScript client, js/src/channel.js and js/src/push.js.
"""

from collections import deque
from typing import Any, Final

from broadwing.core.client.backoff import RetryAfter
from broadwing.core.client.deadlines import Deadlines
from broadwing.core.client.effects import (
    CLOSED,
    ERROR,
    OK,
    TIMEOUT,
    ChannelState,
    ChannelStatus,
    Deliver,
    Effect,
    Ended,
    Errored,
    Joined,
    Message,
    Push,
    Refused,
    Send,
    Settled,
)
from broadwing.core.codec import Body
from broadwing.exceptions import LocalProtocolError

EMPTY: Final = Body(b"{}")


class Channels:
    """All channels of one client.

    Args:
        effects: Where it writes what it wants done.
        deadlines: Where it writes what is to happen later.
        rejoin_after: Seconds before a failed join is tried again.

    Attributes:
        is_open: Whether there is a connection to send over.
        stale: Messages dropped because they belong to a join of the past.
        waiting: Pushes that are buffered or wait for their reply.
    """

    def __init__(self, effects: deque[Effect], deadlines: Deadlines, rejoin_after: RetryAfter) -> None:
        self.is_open = False
        self.stale = 0
        self.waiting = 0
        self._effects = effects
        self._deadlines = deadlines
        self._rejoin_after = rejoin_after
        self._by_topic: dict[str, ChannelState] = {}
        self._leaves: dict[str, Push] = {}
        self._ref = 0

    def make_ref(self) -> str:
        """The next ref; all messages of a client share the counter."""
        self._ref += 1
        return str(self._ref)

    # What the application wants.

    def join(self, channel: ChannelState, timeout: float, now: float) -> None:
        """Join for the first time; ends in `Joined` or `Refused`.

        Raises:
            LocalProtocolError: It was joined before.
        """
        if channel.joined_once:
            raise LocalProtocolError(
                f"tried to join {channel.topic!r} twice: a channel rejoins by itself after errors, and after leave() a "
                "new one is made with socket.channel(topic, params)"
            )
        channel.joined_once = True
        channel.timeout = timeout
        self._deadlines.set((channel, "give up"), now + timeout, lambda now: self._refuse(channel, TIMEOUT, None, now))
        self._rejoin(channel, now)

    def push(self, channel: ChannelState, push: Push, now: float) -> None:
        """Send, now or as soon as the channel is joined; ends in `Settled`, if somebody waits for the reply.

        Raises:
            LocalProtocolError: The channel was never joined, or is closed.
        """
        if channel.status is ChannelStatus.CLOSED:
            what = "after its end" if channel.joined_once else "before joining"
            raise LocalProtocolError(
                f"tried to push {push.event!r} to {push.topic!r} {what}: call `await channel.join()` first; what is pushed "
                "while a join is on its way is kept and sent afterwards"
            )
        self.waiting += 1
        if self.is_open and channel.status is ChannelStatus.JOINED:
            self._send(channel, push, now)
        else:
            channel.buffer[push] = None
            self._await(channel, push, now)

    def withdraw(self, channel: ChannelState, push: Push) -> None:
        """Nobody waits for this push any more: if it is not sent yet it never will be, and a reply is ignored."""
        if not push.done:
            self._forget(channel, push)

    def leave(self, channel: ChannelState, timeout: float, now: float) -> Push | None:
        """Leave; the channel is closed at once.

        Returns:
            What is settled when the server has answered; `None` when there is nothing to tell it.
        """
        if channel.status is ChannelStatus.CLOSED and not channel.joined_once:
            return None
        # With its connection the server forgot the join; to be told on the next one would mean nothing to it.
        known = self.is_open and channel.status in (ChannelStatus.JOINED, ChannelStatus.JOINING)
        join_ref = channel.join_ref
        self._end(channel, by_server=False)
        return self._send_leave(channel.topic, join_ref, timeout, now) if known else None

    # What the connection does.

    def opened(self, now: float) -> None:
        """There is a connection: join whatever should be joined."""
        self.is_open = True
        for channel in list(self._by_topic.values()):
            self._reset_retry(channel)
            self._rejoin(channel, now)

    def failed(self, reason: str) -> None:
        """There is no connection any more, or never was: channels wait for the next."""
        self.is_open = False
        for channel in list(self._by_topic.values()):
            self._reset_retry(channel)
            if channel.status is not ChannelStatus.ERRORED:
                self._fail(channel, {"source": "transport", "reason": reason})
        for push in list(self._leaves.values()):
            self._settle_leave(push, CLOSED, None)

    def close(self) -> None:
        """The client ends: nothing more is sent, and whoever waits for something is told."""
        self.is_open = False
        for channel in list(self._by_topic.values()):
            self._end(channel, by_server=False)
        for push in list(self._leaves.values()):
            self._settle_leave(push, CLOSED, None)

    def received(self, message: Message, now: float) -> None:
        """Sort a message of the server; what belongs to no channel, or to a join of the past, is dropped."""
        is_reply = message.event == "phx_reply" and isinstance(message.ref, str)
        leave = self._leaves.get(message.ref) if is_reply else None
        if leave is not None:
            status, response = _reply(message.payload)
            self._settle_leave(leave, status, response)
            return
        channel = self._by_topic.get(message.topic)
        if channel is None:
            return
        if message.join_ref and message.join_ref != channel.join_ref:
            self.stale += 1
            return
        match message.event:
            case "phx_reply":
                self._replied(channel, message, now)
            case "phx_close":
                self._end(channel, by_server=True)
            case "phx_error":
                self._fail(channel, message.payload)
                self._retry(channel, now)
            case _:
                self._effects.append(Deliver(channel, message))

    # Joins.

    def _rejoin(self, channel: ChannelState, now: float) -> None:
        other = self._by_topic.get(channel.topic)
        if other is not None and other is not channel:
            # The server knows one channel per topic and connection: the last one joined.
            self.leave(other, other.timeout, now)
        self._by_topic[channel.topic] = channel
        channel.status = ChannelStatus.JOINING
        if not self.is_open:
            return  # `opened` comes back
        push = Push(channel.topic, "phx_join", channel.payload, channel.timeout, ref=self.make_ref())
        assert push.ref is not None
        push.join_ref = channel.join_ref = push.ref
        channel.joining = push
        channel.pending[push.ref] = push
        self._deadlines.set(push, now + channel.timeout, lambda now: self._join_timed_out(channel, now))
        self._effects.append(Send(push))

    def _replied(self, channel: ChannelState, message: Message, now: float) -> None:
        push = channel.pending.get(message.ref) if isinstance(message.ref, str) else None
        if push is None:
            return  # nobody asked, or nobody asks any more
        status, response = _reply(message.payload)
        if push is not channel.joining:
            self._settle(channel, push, status, response)
        elif status == OK:
            self._joined(channel, response, now)
        else:
            self._join_refused(channel, status, response, now)

    def _joined(self, channel: ChannelState, response: Any, now: float) -> None:
        again = channel.was_joined
        self._forget_join(channel)
        self._reset_retry(channel)
        self._deadlines.cancel((channel, "give up"))
        channel.status = ChannelStatus.JOINED
        channel.was_joined = True
        self._effects.append(Joined(channel, response, again))
        waiting, channel.buffer = channel.buffer, {}
        for push in waiting:
            self._send(channel, push, now)

    def _join_refused(self, channel: ChannelState, status: str, response: Any, now: float) -> None:
        self._forget_join(channel)
        if status != ERROR:  # it may have let us in under a status of its own, which no client understands
            self._send_leave(channel.topic, channel.join_ref, channel.timeout, now)
        if not channel.was_joined:
            self._refuse(channel, ERROR, response, now)
            return
        channel.status = ChannelStatus.ERRORED
        self._effects.append(Errored(channel, response))
        self._retry(channel, now)

    def _join_timed_out(self, channel: ChannelState, now: float) -> None:
        # The server may still be working on the join; should it succeed, nobody would listen.
        self._send_leave(channel.topic, channel.join_ref, channel.timeout, now)
        self._forget_join(channel)
        channel.join_ref = None  # what this join may still bring is outdated
        channel.status = ChannelStatus.ERRORED
        self._effects.append(Errored(channel, {"source": "client", "reason": "join_timeout"}))
        self._retry(channel, now)

    def _refuse(self, channel: ChannelState, status: str, response: Any, now: float) -> None:
        self._effects.append(Refused(channel, status, response))
        if status == ERROR:
            self._end(channel, by_server=False)
        else:
            self.leave(channel, channel.timeout, now)

    def _fail(self, channel: ChannelState, reason: Any) -> None:
        self._forget_join(channel)
        channel.status = ChannelStatus.ERRORED
        self._effects.append(Errored(channel, reason))

    def _retry(self, channel: ChannelState, now: float) -> None:
        def try_again(now: float) -> None:
            channel.tries += 1
            self._rejoin(channel, now)

        self._deadlines.set((channel, "rejoin"), now + self._rejoin_after(channel.tries + 1), try_again)

    def _reset_retry(self, channel: ChannelState) -> None:
        channel.tries = 0
        self._deadlines.cancel((channel, "rejoin"))

    def _forget_join(self, channel: ChannelState) -> None:
        push, channel.joining = channel.joining, None
        if push is not None and push.ref is not None:
            push.done = True  # and is not sent, if it still waits in a transport
            channel.pending.pop(push.ref, None)
            self._deadlines.cancel(push)

    def _end(self, channel: ChannelState, *, by_server: bool) -> None:
        self._forget_join(channel)
        self._reset_retry(channel)
        self._deadlines.cancel((channel, "give up"))
        channel.status = ChannelStatus.CLOSED
        if self._by_topic.get(channel.topic) is channel:
            del self._by_topic[channel.topic]
        for push in [*channel.pending.values(), *channel.buffer]:
            self._settle(channel, push, CLOSED, None)
        self._effects.append(Ended(channel, by_server))

    # Pushes.

    def _send(self, channel: ChannelState, push: Push, now: float) -> None:
        push.ref = self.make_ref()
        push.join_ref = channel.join_ref
        if push.wants_reply:
            channel.pending[push.ref] = push
            self._await(channel, push, now)
        else:
            self.waiting -= 1
            self._deadlines.cancel(push)
        self._effects.append(Send(push))

    def _await(self, channel: ChannelState, push: Push, now: float) -> None:
        if push.timeout is not None:
            self._deadlines.set(push, now + push.timeout, lambda _: self._settle(channel, push, TIMEOUT, None))

    def _settle(self, channel: ChannelState, push: Push, status: str, response: Any) -> None:
        self._forget(channel, push)
        self._effects.append(Settled(push, status, response))

    def _forget(self, channel: ChannelState, push: Push) -> None:
        push.done = True
        self.waiting -= 1
        self._deadlines.cancel(push)
        channel.buffer.pop(push, None)
        if push.ref is not None:
            channel.pending.pop(push.ref, None)

    # Leaves, which outlive their channels.

    def _send_leave(self, topic: str, join_ref: str | None, timeout: float, now: float) -> Push:
        push = Push(topic, "phx_leave", EMPTY, timeout, ref=self.make_ref(), join_ref=join_ref)
        assert push.ref is not None
        self._leaves[push.ref] = push
        self._deadlines.set(push, now + timeout, lambda _: self._settle_leave(push, TIMEOUT, None))
        self._effects.append(Send(push))
        return push

    def _settle_leave(self, push: Push, status: str, response: Any) -> None:
        # Not `done`: that nobody waits for the answer any more is no reason not to tell the server.
        self._deadlines.cancel(push)
        if push.ref is not None:
            self._leaves.pop(push.ref, None)
        self._effects.append(Settled(push, status, response))


def _reply(payload: Any) -> tuple[str, Any]:
    """Status and response of a reply; a reply without them is an error whose response is whatever came."""
    if isinstance(payload, dict) and isinstance(payload.get("status"), str):
        return payload["status"], payload.get("response")
    return ERROR, payload
