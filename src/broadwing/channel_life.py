"""How a channel begins and how it ends: join, leave, stop, and making way for a newer join of its topic."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from broadwing import journal
from broadwing.core.messages import Message
from broadwing.decoders import InvalidPayload
from broadwing.exceptions import JoinError, LocalProtocolError
from broadwing.payloads import is_annotated
from broadwing.returns import Ok, Reply, is_graceful

if TYPE_CHECKING:
    from broadwing.channel_runner import ChannelRunner

logger = logging.getLogger("broadwing.channel")

WAITING, JOINING, JOINED, ENDING, CLOSED = range(5)
"""What a channel is at: its topic's former channel has not ended yet; `join` runs; it is joined; `terminate` runs; over."""

STAYING, LEFT, SUPERSEDED = range(3)
"""Whether the client wants it to end: no; a leave waits in the mailbox; a newer join of the topic has come."""

# How long a channel that makes way for a new join of its topic may take to end, in seconds (Phoenix: `shutdown`).
SHUTDOWN_GRACE = 5.0


class AtEnd:
    """Something to be called when the channel ends, kept among its subscriptions, which end then, too."""

    __slots__ = ("cancel",)
    topic = None

    def __init__(self, callback: Callable[[], object]) -> None:
        self.cancel = callback


async def join(runner: "ChannelRunner", message: Message, params: Any, predecessor: "ChannelRunner | None") -> None:
    """Ask the application, subscribe, answer.

    Args:
        runner: The channel that begins.
        message: The client's `phx_join`.
        params: Its payload, decoded, or the `InvalidPayload` that decoding ended in.
        predecessor: The channel that has the topic so far; it ends first, and its `phx_close` follows this join's reply.
    """
    connection, serializer = runner.connection, runner.connection.serializer
    must_close = ok = crashed = False
    encoded = None
    if predecessor is not None:
        must_close = await make_way(predecessor)
        runner.status = JOINING
    started = journal.clock()
    if runner.going != SUPERSEDED:
        try:
            reply = await _ask(runner, params)
            encoded = serializer.reply(message.join_ref, message.ref, runner.topic, reply.status, reply.payload)
            ok = reply.status == "ok"
            if ok:
                await _subscribe(runner)
        except (Exception, asyncio.CancelledError) as error:  # what join raises refuses this join and nothing else
            ok = False
            crashed = not is_superseded(runner, error)
            if crashed:
                logger.exception("%s on %r: join crashed", runner.route.name, runner.topic)
                encoded = serializer.reply(message.join_ref, message.ref, runner.topic, "error", _JOIN_CRASHED)
    if runner.going == SUPERSEDED:
        ok = False
        encoded = serializer.reply(message.join_ref, message.ref, runner.topic, "error", _SUPERSEDED)
    elif not crashed:
        journal.joined(runner, message.payload, started, ok)
    runner.status = JOINED if ok else CLOSED
    if not ok:
        connection.forget(runner)
        runner.detach()
        runner.let_go()
    assert encoded is not None  # answered, crashed or superseded
    connection.send(runner.topic, encoded)
    if must_close:
        assert predecessor is not None
        _tell(predecessor, "phx_close", {})


async def _subscribe(runner: "ChannelRunner") -> None:
    pubsub = runner.connection.endpoint.bus
    # The bus first: once attached, a broadcast could come before the reply to the join.
    ready = pubsub.prepare(runner.topic)
    try:
        if ready is not None:
            await ready
        # A join that took long may have been overtaken, whatever it did about its cancellation.
        if runner.going != SUPERSEDED and not runner.connection.is_closed:
            runner.attach()
    finally:
        pubsub.unprepare(runner.topic)


async def _ask(runner: "ChannelRunner", params: Any) -> Reply:
    if isinstance(params, InvalidPayload):
        return Reply(params.response, "error")
    handler = runner.route.table.join
    try:
        result = await runner.call(handler, *((params,) if handler.takes_payload else ()))
    except JoinError as refused:
        return Reply(refused.response, "error")
    if isinstance(result, Reply):
        return result
    if result is None:
        return Ok()
    if isinstance(result, Mapping | msgspec.Struct) or is_annotated(result):
        return Ok(result)
    raise LocalProtocolError(
        f"join of {runner.route.name} returned {type(result).__name__!r}; expected None, a mapping, an annotated object or Ok(...); "
        "raise JoinError(response) to refuse"
    )


async def make_way(runner: "ChannelRunner") -> bool:
    """End a channel because the client joins its topic anew; returns once it has ended.

    What it does at the moment is cancelled; what waits behind that is answered as on a topic that is not joined.

    Returns:
        Whether the client still has to be told `phx_close`, after the reply to the new join.
    """
    if runner.status == WAITING:
        # It is busy with making others end, which takes no longer than their grace, and must not be given up halfway.
        runner.going = SUPERSEDED
        await _ended(runner)
        return False
    if runner.going == LEFT or runner.status == ENDING:
        await _ended(runner, grace=SHUTDOWN_GRACE)  # by itself, and tells the client so
    joined = runner.status == JOINED
    runner.going = SUPERSEDED
    if runner.status < ENDING:
        runner.interrupt(("shutdown", "duplicate_join"))
    await _ended(runner, grace=SHUTDOWN_GRACE)
    if runner.task is not None:
        logger.error(
            "%s on %r did not end within %s s of a newer join of its topic; it is cut off and cancelled again",
            runner.route.name,
            runner.topic,
            SHUTDOWN_GRACE,
        )
        runner.detach()
        runner.status = CLOSED
        runner.task.cancel()
    return joined


async def _ended(runner: "ChannelRunner", *, grace: float | None = None) -> None:
    if runner.task is not None:
        await asyncio.wait((runner.task,), timeout=grace)


def is_superseded(runner: "ChannelRunner", error: BaseException) -> bool:
    """Tell whether what a handler raised is its cancellation by `make_way`.

    Any other cancellation is an error like others: something the handler awaited was cancelled by somebody else, or the
    handler's own task was. The task goes on, to tell the client.

    Raises:
        CancelledError: The connection is gone and the endpoint cancels what still works for it.
    """
    if not isinstance(error, asyncio.CancelledError):
        return False
    task = asyncio.current_task()
    if task is None:
        return False  # handled without one, so nobody can have cancelled it
    if task.cancelling() and runner.connection.is_closed and runner.going != SUPERSEDED:
        raise error
    while task.cancelling():
        task.uncancel()
    return runner.going == SUPERSEDED


async def leave(runner: "ChannelRunner", join_ref: Any, ref: Any) -> None:
    """End at the client's wish."""
    if runner.status != JOINED:
        connection = runner.connection
        connection.send(runner.topic, connection.serializer.reply(join_ref, ref, runner.topic, "ok", {}))
        return
    runner.send_reply(ref, "ok", {})
    # The close comes before terminate here, and after it everywhere else, as in Phoenix.
    _tell(runner, "phx_close", {})
    await end(runner, ("shutdown", "left"), silent=True)


async def end(runner: "ChannelRunner", reason: Any, *, silent: bool = False) -> None:
    """Unsubscribe, let the application clean up, and tell the client how it ended.

    Args:
        runner: The channel; if it has not joined, or is ending already, nothing happens.
        reason: What `terminate` gets.
        silent: The client need not be told, or has been.
    """
    if runner.status != JOINED:
        return
    runner.status = ENDING
    runner.detach()
    if runner.route.terminate is not None:
        await _terminate(runner, reason)
    runner.status = CLOSED
    if not silent and runner.going != SUPERSEDED:
        if is_graceful(reason):
            _tell(runner, "phx_close", {})
        else:
            _tell(runner, "phx_error", _CRASH)
    runner.connection.forget(runner)
    runner.let_go()


async def _terminate(runner: "ChannelRunner", reason: Any) -> None:
    assert runner.route.terminate is not None
    try:
        await runner.call(runner.route.terminate, reason)
    except (Exception, asyncio.CancelledError):  # cleaning up must not keep the end from being told
        logger.exception("terminate of %s on %r raised", runner.route.name, runner.topic)


def _tell(runner: "ChannelRunner", event: str, payload: Mapping[str, str]) -> None:
    ref = runner.client_ref
    connection = runner.connection
    connection.send(runner.topic, connection.serializer.message(ref, ref, runner.topic, event, payload))


_JOIN_CRASHED: Final = {"reason": "join crashed"}
_SUPERSEDED: Final = {"reason": "superseded by a newer join"}
_CRASH: Final = {"reason": "channel_crash"}
