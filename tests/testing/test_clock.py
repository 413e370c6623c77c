"""Time that jumps, and when it must not."""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

from broadwing import ConfigurationError
from broadwing.testing import Deadlock, VirtualClock

HOUR = 3600.0


def run(main: Callable[[VirtualClock], Awaitable[Any]], clock: VirtualClock | None = None) -> Any:
    """Run a coroutine function in virtual time."""
    clock = clock or VirtualClock()

    async def inside() -> Any:
        with clock.installed():
            return await main(clock)

    with asyncio.Runner() as runner:
        return runner.run(inside())


def test_sleeping_takes_no_time() -> None:
    async def main(clock: VirtualClock) -> float:
        before = asyncio.get_running_loop().time()
        await asyncio.sleep(HOUR)
        return asyncio.get_running_loop().time() - before

    started = time.monotonic()
    assert run(main) == pytest.approx(HOUR)
    assert time.monotonic() - started < HOUR / 2


def test_timers_fire_in_their_order() -> None:
    async def main(clock: VirtualClock) -> list[int]:
        fired: list[int] = []

        async def sleeper(seconds: int) -> None:
            await asyncio.sleep(seconds)
            fired.append(seconds)

        await asyncio.gather(*(sleeper(seconds) for seconds in (30, 1, 3000, 20)))
        return fired

    assert run(main) == [1, 20, 30, 3000]


def test_a_timeout_passes_at_its_time() -> None:
    async def main(clock: VirtualClock) -> float:
        before = clock.time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(HOUR):
                await asyncio.sleep(2 * HOUR)
        return clock.time() - before

    assert run(main) == pytest.approx(HOUR)


def test_time_stands_still_while_something_runs() -> None:
    async def main(clock: VirtualClock) -> float:
        before = clock.time()
        async with asyncio.timeout(0.001):
            for _ in range(100):
                time.sleep(0.001)
                await asyncio.sleep(0)
        return clock.time() - before

    assert run(main) == 0


def test_time_does_not_jump_while_a_thread_works() -> None:
    async def main(clock: VirtualClock) -> float:
        release = threading.Event()
        asyncio.get_running_loop().call_later(0.05, release.set)
        async with asyncio.timeout(60):
            assert await asyncio.to_thread(release.wait, 60)
        return clock.jumped

    assert run(main) == 0


def test_time_does_not_jump_while_a_file_is_watched_unless_it_is_told_to() -> None:
    async def main(clock: VirtualClock) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            threading.Timer(0.05, theirs.send, (b"x",)).start()
            async with asyncio.timeout(60):
                assert await asyncio.get_running_loop().sock_recv(ours, 1) == b"x"
            reading = asyncio.ensure_future(asyncio.get_running_loop().sock_recv(ours, 1))
            fell_due = asyncio.ensure_future(asyncio.sleep(HOUR - 1))
            await asyncio.sleep(0.001)
            assert clock.jumped == 0
            await clock.advance(HOUR)
            assert fell_due.done()
            assert not reading.done()
            reading.cancel()

    run(main)


def test_time_can_be_held() -> None:
    async def main(clock: VirtualClock) -> float:
        arrived = asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()
        threading.Timer(0.05, loop.call_soon_threadsafe, (arrived.set_result, None)).start()
        with clock.held():
            async with asyncio.timeout(60):
                await arrived
        return clock.jumped

    assert run(main) == 0


def test_without_a_timer_other_threads_are_waited_for() -> None:
    async def main(clock: VirtualClock) -> str:
        arrived: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()
        threading.Timer(0.02, loop.call_soon_threadsafe, (arrived.set_result, "arrived")).start()
        return await arrived

    assert run(main) == "arrived"


def test_waiting_for_what_nothing_can_bring_about_ends() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    loop = asyncio.SelectorEventLoop()
    clock = VirtualClock(patience=0.01)
    clock.install(loop)
    task = loop.create_task(main(), name="the one that waits")
    try:
        with pytest.raises(Deadlock, match="the one that waits"):
            loop.run_until_complete(task)
        loop.call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)
    finally:
        clock.uninstall()
        loop.close()


def test_a_loop_goes_on_from_where_its_clock_was() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        clock = VirtualClock()
        with clock.installed():
            await asyncio.sleep(HOUR)
            late = loop.time()
        assert late <= loop.time() < late + HOUR / 2
        await asyncio.sleep(0.001)
        assert await asyncio.to_thread(threading.get_ident) != threading.get_ident()
        clock.uninstall()
        with clock.installed():
            await asyncio.sleep(HOUR)

    asyncio.run(main())


def test_a_clock_is_for_one_loop_of_asyncios_own() -> None:
    async def twice(clock: VirtualClock) -> None:
        clock.install(asyncio.get_running_loop())

    with pytest.raises(ConfigurationError, match="one VirtualClock for each loop"):
        run(twice)

    async def foreign() -> None:
        VirtualClock().install(asyncio.get_running_loop())

    with (
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        pytest.raises(ConfigurationError, match="uvloop"),
    ):
        runner.run(foreign())

    async def nowhere() -> None:
        await VirtualClock().advance(1)

    with asyncio.Runner() as runner, pytest.raises(ConfigurationError, match="in no loop"):
        runner.run(nowhere())
