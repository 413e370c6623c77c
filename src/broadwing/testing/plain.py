"""The same test kit for plain functions: each method runs the loop until the coroutine of the same name is done.

Nothing is written twice: a line of a class here names the method it runs, and has its signature from there.
"""

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from broadwing.channel import Channel
from broadwing.endpoint import Endpoint
from broadwing.exceptions import ConfigurationError
from broadwing.socket import Socket
from broadwing.testing.channel_test import ChannelTest, Target, Wire
from broadwing.testing.client import ClientChannel, ClientSocket
from broadwing.testing.clock import VirtualClock
from broadwing.testing.inbox import Received

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")


class Stage:
    """A loop of the test's own, which runs only while the test waits for something."""

    def __init__(self, clock: VirtualClock | None) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.clock = clock
        self._endpoint: Endpoint | None = None
        self._threads = (0, 0)

    def open(self, inner: ChannelTest) -> None:
        """Make the loop, and begin the test in it."""
        if asyncio._get_running_loop() is not None:
            raise ConfigurationError(
                "channel_test was used in a coroutine; there it is `async with ChannelTest(...)`, whose methods are awaited"
            )
        self.loop = asyncio.SelectorEventLoop()
        try:
            if self.clock is not None:
                self.clock.install(self.loop)
            self.run(inner.__aenter__)
        except BaseException:
            self.close()
            raise
        self._endpoint = inner.endpoint
        self._keep_out()

    def run(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `work` in the loop, and await what it returns if that can be."""
        __tracebackhide__ = True

        async def main() -> tuple[Any, Exception | None]:
            __tracebackhide__ = True
            try:
                result = work(*args, **kwargs)
                return await result if isinstance(result, Coroutine) else result, None
            except Exception as error:  # raised below, so that asyncio's own lines stay out of its traceback
                return None, error

        if self.loop is None:
            raise ConfigurationError(
                "a channel_test was used that is not open; write `with channel_test(...) as test:`"
            )
        self._let_in()
        try:
            result, error = self.loop.run_until_complete(main())
        finally:
            self._keep_out()
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback has this frame, which would have it
        return result

    def close(self) -> None:
        """End what still runs, and the loop."""

        async def end() -> None:
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left, timeout=1.0)
            await asyncio.get_running_loop().shutdown_asyncgens()

        loop, self.loop, self._endpoint = self.loop, None, None
        if loop is None:
            return
        try:
            loop.run_until_complete(end())
        finally:
            if self.clock is not None:
                self.clock.uninstall()
            loop.close()

    # While the loop stands still, whoever calls the endpoint does so from outside of it, as from another thread: a broadcast
    # that the test itself makes is delivered when the loop runs again.

    def _let_in(self) -> None:
        endpoint = self._endpoint
        if endpoint is not None and endpoint._loop is self.loop:
            endpoint._thread, endpoint.bus._thread = self._threads

    def _keep_out(self) -> None:
        endpoint = self._endpoint
        if endpoint is not None and endpoint._loop is self.loop:
            self._threads = endpoint._thread, endpoint.bus._thread
            endpoint._thread = endpoint.bus._thread = 0


class Plain(Generic[T]):
    """One of the kit's objects, and the loop in which its methods run."""

    def __init__(self, inner: T, stage: Stage) -> None:
        self._inner = inner
        self._stage = stage


class Runs(Generic[P, R]):
    """A method that runs the one of a `Plain`'s inner object that it was made from."""

    def __init__(self, method: Callable[..., Any], made: Callable[[Any, Stage], Any] | None = None) -> None:
        self._method = method
        self._made = made
        self.__doc__ = method.__doc__

    def __get__(self, plain: Any, owner: type) -> Callable[P, R]:
        if plain is None:
            return self  # type: ignore[return-value] # looked at on the class, as help() does

        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            __tracebackhide__ = True
            result = plain._stage.run(self._method, plain._inner, *args, **kwargs)
            return self._made(result, plain._stage) if self._made is not None else result  # type: ignore[no-any-return]

        run.__name__, run.__doc__ = self._method.__name__, self._method.__doc__
        return run


def _waits(method: Callable[Concatenate[S, P], Coroutine[Any, Any, R]]) -> Runs[P, R]:
    return Runs(method)


def _does(method: Callable[Concatenate[S, P], R]) -> Runs[P, R]:
    return Runs(method)


def _makes(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, Any]], made: Callable[[Any, Stage], R]
) -> Runs[P, R]:
    return Runs(method, made)


class PlainChannel(Plain[ClientChannel]):
    """See `broadwing.testing.client.ClientChannel`."""

    push = _does(ClientChannel.push)
    send_info = _does(ClientChannel.send_info)
    leave = _does(ClientChannel.leave)
    broadcast_from = _does(ClientChannel.broadcast_from)
    assert_push = _waits(ClientChannel.assert_push)
    refute_push = _waits(ClientChannel.refute_push)
    assert_reply = _waits(ClientChannel.assert_reply)
    refute_reply = _waits(ClientChannel.refute_reply)
    assert_broadcast = _waits(ClientChannel.assert_broadcast)
    refute_broadcast = _waits(ClientChannel.refute_broadcast)
    assert_closed = _waits(ClientChannel.assert_closed)
    assert_crashed = _waits(ClientChannel.assert_crashed)
    close = _waits(ClientChannel.close)

    @property
    def socket(self) -> "PlainSocket":
        """The connection."""
        return PlainSocket(self._inner.socket, self._stage)

    @property
    def topic(self) -> str:
        """The topic."""
        return self._inner.topic

    @property
    def join_ref(self) -> str:
        """The ref of the join."""
        return self._inner.join_ref

    @property
    def reply(self) -> Any:
        """What the join was answered with."""
        return self._inner.reply

    @property
    def server(self) -> Channel:
        """The application's object for this channel."""
        return self._inner.server

    @property
    def assigns(self) -> dict[str, Any]:
        """The channel's assigns."""
        return self._inner.assigns


class PlainSocket(Plain[ClientSocket]):
    """See `broadwing.testing.client.ClientSocket`."""

    join = _makes(ClientSocket.join, PlainChannel)
    subscribe_and_join = _makes(ClientSocket.subscribe_and_join, PlainChannel)
    push = _does(ClientSocket.push)
    assert_push = _waits(ClientSocket.assert_push)
    refute_push = _waits(ClientSocket.refute_push)
    assert_reply = _waits(ClientSocket.assert_reply)
    refute_reply = _waits(ClientSocket.refute_reply)
    assert_disconnected = _waits(ClientSocket.assert_disconnected)
    close = _waits(ClientSocket.close)

    @property
    def server(self) -> Socket:
        """The application's object for this connection."""
        return self._inner.server

    @property
    def assigns(self) -> dict[str, Any]:
        """What `connect` assigned."""
        return self._inner.assigns

    @property
    def closed_with(self) -> int | None:
        """The close code, once the connection is down."""
        return self._inner.closed_with

    @property
    def messages(self) -> list[Received]:
        """What came and was not asked for yet, oldest first."""
        return self._inner.messages


class PlainChannelTest(Plain[ChannelTest]):
    """`ChannelTest` for plain functions; made by `channel_test`."""

    connect = _makes(ChannelTest.connect, PlainSocket)
    socket = _makes(ChannelTest.socket, PlainSocket)
    join = _makes(ChannelTest.join, PlainChannel)
    subscribe_and_join = _makes(ChannelTest.subscribe_and_join, PlainChannel)
    subscribe = _does(ChannelTest.subscribe)
    unsubscribe = _does(ChannelTest.unsubscribe)
    broadcast = _does(ChannelTest.broadcast)
    broadcast_from = _does(ChannelTest.broadcast_from)
    assert_broadcast = _waits(ChannelTest.assert_broadcast)
    refute_broadcast = _waits(ChannelTest.refute_broadcast)

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint."""
        return self._inner.endpoint

    @property
    def clock(self) -> VirtualClock:
        """The time of the loop.

        Raises:
            ConfigurationError: It is real time.
        """
        if self._stage.clock is None:
            raise ConfigurationError("this test runs in real time; leave out virtual_time=False")
        return self._stage.clock

    def advance(self, seconds: float) -> None:
        """Let time pass, with all that falls due in it."""
        self._stage.run(self.clock.advance, seconds)

    def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Any:
        """Call a function of yours in the loop; when it is a coroutine function, wait for its end."""
        __tracebackhide__ = True
        return self._stage.run(work, *args, **kwargs)

    def __enter__(self) -> Self:
        self._stage.open(self._inner)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._stage.run(self._inner.aclose)
        finally:
            self._stage.close()


def channel_test(
    target: Target,
    *,
    wire: Wire = "2.0.0",
    timeout: float = 1.0,
    refute_timeout: float = 0.1,
    virtual_time: bool | VirtualClock = True,
) -> PlainChannelTest:
    """Test channels in a plain function.

        with channel_test(endpoint) as test:
            channel = test.subscribe_and_join("room:lobby")
            ref = channel.push("ping", {"n": 1})
            channel.assert_reply(ref, "ok", {"n": 1})

    The application runs in a loop of the test's own, which stands still but for the methods of the kit.

    Args:
        target: What is tested: an endpoint, or a subclass of `Socket` or `Channel`.
        wire: The version that the clients speak.
        timeout: Seconds that anything expected may take.
        refute_timeout: Seconds for which anything refuted is waited for.
        virtual_time: Whether waiting takes no time; or a clock of yours.
    """
    clock = VirtualClock() if virtual_time is True else virtual_time or None
    inner = ChannelTest(target, wire=wire, timeout=timeout, refute_timeout=refute_timeout)
    return PlainChannelTest(inner, Stage(clock))
