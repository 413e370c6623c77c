"""One sweep over all connections instead of a timer for each."""

import asyncio

import pytest

from broadwing.transports.sweep import Sweeper
from tests.support.background import TIMEOUT


class Member:
    """Notes when it was looked at, and leaves after so many times."""

    def __init__(self, sweeper: Sweeper, stays: int) -> None:
        self.sweeper = sweeper
        self.stays = stays
        self.seen: list[float] = []

    def sweep(self, now: float) -> None:
        self.seen.append(now)
        if len(self.seen) == self.stays:
            self.sweeper.members.discard(self)

    def close(self, code: int, reason: str = "") -> None:
        raise AssertionError("a sweeper closes nobody itself")


async def until_idle(sweeper: Sweeper) -> None:
    async with asyncio.timeout(TIMEOUT):
        while sweeper._timer is not None:
            await asyncio.sleep(0.01)


async def test_members_are_looked_at_until_they_leave_and_no_timer_stays_behind() -> None:
    sweeper = Sweeper(0.1)
    members = [Member(sweeper, 3), Member(sweeper, 5)]
    for member in members:
        sweeper.add(member)
    await until_idle(sweeper)
    assert [len(member.seen) for member in members] == [3, 5]
    assert members[1].seen == sorted(members[1].seen)
    assert members[0].seen == members[1].seen[:3]


async def test_the_clock_is_the_loops_as_of_the_last_sweep() -> None:
    sweeper = Sweeper(0.1)
    before = asyncio.get_running_loop().time()
    member = Member(sweeper, 1)
    sweeper.add(member)
    assert before <= sweeper.now <= asyncio.get_running_loop().time()
    await until_idle(sweeper)
    assert member.seen[0] >= before + 0.05


async def test_a_sweeper_that_was_idle_begins_anew() -> None:
    sweeper = Sweeper(0.1)
    for _ in range(2):
        member = Member(sweeper, 1)
        sweeper.add(member)
        await until_idle(sweeper)
        assert len(member.seen) == 1


@pytest.mark.parametrize(("timeout", "interval"), [(60.0, 1.0), (5.0, 0.5), (0.1, 0.05), (1_000.0, 1.0)])
def test_the_interval_is_a_tenth_of_the_timeout_within_bounds(timeout: float, interval: float) -> None:
    assert Sweeper(timeout)._interval == pytest.approx(interval)


async def test_many_members_are_looked_at_in_turns_with_the_loop_running_in_between() -> None:
    # 10,000 connections looked at in one go would hold the loop for a millisecond.
    sweeper = Sweeper(0.1)
    members = [Member(sweeper, 1) for _ in range(10_000)]
    for member in members:
        sweeper.add(member)
    async with asyncio.timeout(TIMEOUT):
        while not any(member.seen for member in members):
            await asyncio.sleep(0)
    assert 0 < sum(len(member.seen) for member in members) < 10_000
    await until_idle(sweeper)
    assert {len(member.seen) for member in members} == {1}


async def test_a_member_that_leaves_during_a_sweep_may_be_looked_at_once_more_and_no_further() -> None:
    sweeper = Sweeper(0.1)
    leaving = Member(sweeper, 10**9)
    sweeper.add(leaving)
    sweeper.members.discard(leaving)
    await until_idle(sweeper)
    assert leaving.seen == []


async def test_a_stopped_sweeper_looks_at_nobody() -> None:
    sweeper = Sweeper(0.1)
    member = Member(sweeper, 10**9)
    sweeper.add(member)
    sweeper.stop()
    assert sweeper._timer is None
    sweeper.stop()
    assert member.seen == []
