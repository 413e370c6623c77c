"""Channels of the Python client, by plain calls; the sentences are those of the JavaScript client's checklist."""

import pytest

from broadwing.core.client import effects as e
from broadwing.core.client.effects import ChannelStatus
from broadwing.exceptions import LocalProtocolError
from tests.core.client.machine import LOBBY, Machine


@pytest.fixture
def machine() -> Machine:
    """A client that is not connected."""
    return Machine()


class TestJoin:
    def test_a_join_is_sent_under_its_own_ref(self, machine: Machine) -> None:
        machine.open()
        machine.join()
        assert machine.sent() == [("1", "1", LOBBY, "phx_join")]

    def test_a_join_waits_for_the_connection(self, machine: Machine) -> None:
        machine.state.connect(machine.now)
        channel = machine.join()
        assert channel.status is ChannelStatus.JOINING
        machine.state.opened(machine.generation(), machine.now)
        assert machine.sent() == [("1", "1", LOBBY, "phx_join")]

    def test_the_reply_ok_makes_it_joined(self, machine: Machine) -> None:
        generation = machine.open()
        channel = machine.join()
        machine.take()
        machine.reply(generation, "1", response={"n": 1}, join_ref="1")
        assert machine.take() == [e.Joined(channel, {"n": 1}, again=False)]
        assert channel.status is ChannelStatus.JOINED

    def test_the_reply_counts_once(self, machine: Machine) -> None:
        generation = machine.open()
        machine.join()
        machine.reply(generation, "1")
        machine.take()
        machine.reply(generation, "1", "error")
        assert machine.take() == []

    def test_a_second_join_of_the_same_channel_is_refused(self, machine: Machine) -> None:
        _, channel = machine.joined()
        with pytest.raises(LocalProtocolError, match="twice"):
            machine.channels.join(channel, 10.0, machine.now)

    def test_joining_a_topic_leaves_the_channel_that_has_it(self, machine: Machine) -> None:
        _, first = machine.joined()
        second = machine.join()
        assert first.status is ChannelStatus.CLOSED
        taken = machine.take()
        assert [x.channel for x in taken if isinstance(x, e.Ended)] == [first]
        assert [(x.push.join_ref, x.push.event) for x in taken if isinstance(x, e.Send)] == [
            ("1", "phx_leave"),
            ("3", "phx_join"),
        ]
        assert second.status is ChannelStatus.JOINING

    def test_a_refused_first_join_closes_the_channel(self, machine: Machine) -> None:
        generation = machine.open()
        channel = machine.join()
        machine.take()
        machine.reply(generation, "1", "error", {"reason": "unauthorized"})
        assert machine.take() == [
            e.Refused(channel, "error", {"reason": "unauthorized"}),
            e.Ended(channel, by_server=False),
        ]
        machine.wait(60)
        assert "phx_join" not in [event for *_, event in machine.sent()]

    def test_a_first_join_without_answer_is_given_up_and_left(self, machine: Machine) -> None:
        machine.open()
        channel = machine.join(timeout=2.0)
        machine.take()
        machine.wait(1.9)
        assert machine.take() == []
        machine.wait(0.2)
        taken = machine.take()
        assert [x.status for x in taken if isinstance(x, e.Refused)] == ["timeout"]
        assert [(x.push.join_ref, x.push.event) for x in taken if isinstance(x, e.Send)] == [("1", "phx_leave")]
        assert channel.status is ChannelStatus.CLOSED

    def test_a_first_join_is_given_up_in_time_though_no_connection_ever_opens(self, machine: Machine) -> None:
        machine.state.connect(machine.now)
        machine.join(timeout=2.0)
        until = machine.now + 2.0
        while machine.now < until:
            opens = machine.of(e.Open)
            for attempt in opens:
                machine.state.failed(attempt.generation, machine.now)
            assert machine.channels.is_open is False
            if any(isinstance(effect, e.Refused) for effect in machine.state.effects):
                break
            machine.wait(0.01)
        assert [effect.status for effect in machine.of(e.Refused)] == ["timeout"]
        assert machine.now == pytest.approx(until, abs=0.011)

    def test_a_first_join_survives_a_lost_connection(self, machine: Machine) -> None:
        generation = machine.open()
        channel = machine.join()
        machine.state.closed(generation, 1006, "", machine.now)
        machine.wait(1)
        again = machine.reopen()
        assert channel.join_ref == "2"
        machine.take()
        machine.reply(again, "2", join_ref="2")
        assert machine.of(e.Joined) == [e.Joined(channel, {}, again=False)]

    def test_a_join_answered_with_a_status_of_its_own_is_refused_and_left(self, machine: Machine) -> None:
        generation = machine.open()
        machine.join()
        machine.take()
        machine.reply(generation, "1", "teapot")
        taken = machine.take()
        assert [(x.push.join_ref, x.push.event) for x in taken if isinstance(x, e.Send)] == [("1", "phx_leave")]
        assert [x.status for x in taken if isinstance(x, e.Refused)] == ["error"]


class TestRejoin:
    def test_an_error_of_the_channel_joins_again_after_a_second(self, machine: Machine) -> None:
        generation, channel = machine.joined()
        machine.receive(generation, "1", "1", "phx_error", {"reason": "channel_crash"})
        assert machine.take() == [e.Errored(channel, {"reason": "channel_crash"})]
        machine.wait(0.99)
        assert machine.take() == []
        machine.wait(0.02)
        assert machine.sent() == [("2", "2", LOBBY, "phx_join")]

    def test_the_waits_grow_to_ten_seconds(self, machine: Machine) -> None:
        generation, channel = machine.joined()
        machine.receive(generation, "1", "1", "phx_error")
        waits = []
        for _ in range(5):
            machine.take()
            began = machine.now
            while not (sent := machine.sent()):
                machine.wait(0.1)
            waits.append(round(machine.now - began))
            machine.reply(generation, sent[-1][1], "error", {"reason": "no"}, join_ref=channel.join_ref)
        assert waits == [1, 2, 5, 10, 10]

    def test_a_join_that_succeeds_begins_the_waits_anew(self, machine: Machine) -> None:
        generation, channel = machine.joined()
        for _ in range(3):
            machine.receive(generation, channel.join_ref, channel.join_ref, "phx_error")
            machine.wait(1.01)
            assert channel.status is ChannelStatus.JOINING
            machine.reply(generation, channel.join_ref)

    def test_a_refused_rejoin_is_told_and_tried_again(self, machine: Machine) -> None:
        generation, channel = machine.joined()
        machine.receive(generation, "1", "1", "phx_error")
        machine.wait(1.01)
        machine.take()
        machine.reply(generation, "2", "error", {"reason": "full"})
        assert machine.take() == [e.Errored(channel, {"reason": "full"})]
        machine.wait(2.01)
        assert machine.sent() == [("3", "3", LOBBY, "phx_join")]

    def test_a_rejoin_without_answer_is_left_and_tried_again(self, machine: Machine) -> None:
        generation, channel = machine.joined()
        machine.receive(generation, "1", "1", "phx_error")
        machine.wait(1.01)
        machine.take()
        machine.wait(10.01)
        taken = machine.take()
        assert [(x.push.join_ref, x.push.event) for x in taken if isinstance(x, e.Send)] == [("2", "phx_leave")]
        assert channel.status is ChannelStatus.ERRORED
        # What that join may still bring is outdated.
        machine.receive(generation, "2", None, "news")
        assert machine.of(e.Deliver) == []
        machine.wait(2.0)
        assert [event for *_, event in machine.sent()] == ["phx_join"]

    def test_an_open_connection_joins_at_once_what_was_lost(self, machine: Machine) -> None:
        generation, channel = machine.joined()
        machine.state.closed(generation, 1006, "", machine.now)
        assert machine.of(e.Errored) == [e.Errored(channel, {"source": "transport", "reason": "connection_closed"})]
        machine.wait(0.06)
        again = machine.reopen()
        assert machine.sent() == [("2", "2", LOBBY, "phx_join")]
        machine.reply(again, "2", join_ref="2")
        assert machine.take() == [e.Joined(channel, {}, again=True)]

    def test_a_channel_that_was_left_is_not_joined_again(self, machine: Machine) -> None:
        generation, channel = machine.joined()
        machine.channels.leave(channel, 10.0, machine.now)
        machine.state.closed(generation, 1006, "", machine.now)
        machine.wait(0.06)
        machine.reopen()
        assert machine.sent() == []

    def test_a_rejoin_timer_without_connection_sends_nothing(self, machine: Machine) -> None:
        generation, _ = machine.joined()
        machine.receive(generation, "1", "1", "phx_error")
        machine.state.closed(generation, 1000, "", machine.now)
        machine.take()
        machine.wait(60)
        assert machine.take() == []


class TestPush:
    def test_a_push_carries_the_joins_ref_and_one_of_its_own(self, machine: Machine) -> None:
        _, channel = machine.joined()
        machine.push(channel)
        assert machine.sent() == [("1", "2", LOBBY, "e")]

    @pytest.mark.parametrize("status", ["ok", "error", "teapot"])
    def test_the_reply_settles_it_whatever_its_status(self, machine: Machine, status: str) -> None:
        generation, channel = machine.joined()
        push = machine.push(channel)
        machine.take()
        machine.reply(generation, "2", status, {"a": 1}, join_ref="1")
        assert machine.take() == [e.Settled(push, status, {"a": 1})]
        machine.wait(11)
        assert machine.of(e.Settled) == []

    def test_a_reply_that_holds_no_status_is_an_error(self, machine: Machine) -> None:
        generation, channel = machine.joined()
        push = machine.push(channel)
        machine.take()
        machine.receive(generation, "1", "2", "phx_reply", ["odd"])
        assert machine.take() == [e.Settled(push, "error", ["odd"])]

    @pytest.mark.parametrize("ref", [None, 2, ["2"], "99"])
    def test_a_reply_to_nobody_is_ignored(self, machine: Machine, ref: object) -> None:
        generation, channel = machine.joined()
        machine.push(channel)
        machine.take()
        machine.reply(generation, ref, join_ref="1")
        assert machine.take() == []

    def test_before_the_join_it_is_refused(self, machine: Machine) -> None:
        machine.open()
        with pytest.raises(LocalProtocolError, match="before joining"):
            machine.push(machine.channel())

    def test_after_the_end_it_is_refused(self, machine: Machine) -> None:
        _, channel = machine.joined()
        machine.channels.leave(channel, 10.0, machine.now)
        with pytest.raises(LocalProtocolError, match="after its end"):
            machine.push(channel)

    def test_while_joining_it_waits_and_follows_the_join_in_order(self, machine: Machine) -> None:
        generation = machine.open()
        channel = machine.join()
        machine.push(channel, "first")
        machine.push(channel, "second")
        assert [event for *_, event in machine.sent()] == ["phx_join"]
        machine.reply(generation, "1")
        assert machine.sent() == [("1", "2", LOBBY, "first"), ("1", "3", LOBBY, "second")]

    def test_while_offline_it_waits_and_follows_the_rejoin(self, machine: Machine) -> None:
        generation, channel = machine.joined()
        machine.state.closed(generation, 1006, "", machine.now)
        machine.push(channel)
        machine.wait(0.06)
        again = machine.reopen()
        machine.reply(again, "2")
        assert machine.sent() == [("2", "2", LOBBY, "phx_join"), ("2", "3", LOBBY, "e")]

    def test_its_time_runs_while_it_waits_and_then_it_is_never_sent(self, machine: Machine) -> None:
        generation = machine.open()
        channel = machine.join(timeout=60)
        push = machine.push(channel, timeout=5.0)
        machine.take()
        machine.wait(5.01)
        assert machine.take() == [e.Settled(push, "timeout", None)]
        machine.reply(generation, "1")
        assert machine.sent() == []
        assert push.done

    def test_when_it_is_sent_its_time_begins_anew(self, machine: Machine) -> None:
        generation = machine.open()
        channel = machine.join(timeout=60)
        push = machine.push(channel, timeout=5.0)
        machine.wait(4)
        machine.reply(generation, "1")
        machine.take()
        machine.wait(4)
        assert machine.take() == []
        machine.wait(1.01)
        assert machine.take() == [e.Settled(push, "timeout", None)]

    def test_a_reply_after_its_time_is_ignored(self, machine: Machine) -> None:
        generation, channel = machine.joined()
        machine.push(channel)
        machine.wait(10.01)
        machine.take()
        machine.reply(generation, "2", join_ref="1")
        assert machine.take() == []

    def test_a_lost_connection_does_not_settle_it_before_its_time(self, machine: Machine) -> None:
        generation, channel = machine.joined()
        push = machine.push(channel)
        machine.state.closed(generation, 1006, "", machine.now)
        machine.wait(9)
        assert machine.of(e.Settled) == []
        machine.wait(1.01)
        assert machine.of(e.Settled) == [e.Settled(push, "timeout", None)]

    def test_withdrawn_it_is_not_sent_and_a_reply_is_ignored(self, machine: Machine) -> None:
        generation = machine.open()
        channel = machine.join()
        waiting = machine.push(channel)
        machine.channels.withdraw(channel, waiting)
        machine.reply(generation, "1")
        assert [event for *_, event in machine.sent()] == ["phx_join"]
        sent = machine.push(channel)
        machine.channels.withdraw(channel, sent)
        machine.channels.withdraw(channel, sent)
        machine.take()
        machine.reply(generation, sent.ref)
        assert machine.take() == []
        assert machine.channels.waiting == 0

    def test_one_whose_reply_nobody_wants_is_forgotten_when_sent(self, machine: Machine) -> None:
        generation, channel = machine.joined()
        machine.push(channel, wants_reply=False)
        assert machine.sent() == [("1", "2", LOBBY, "e")]
        machine.reply(generation, "2")
        machine.wait(11)
        assert machine.take() == []
        assert machine.channels.waiting == 0

    def test_one_whose_reply_nobody_wants_is_dropped_when_it_waits_too_long(self, machine: Machine) -> None:
        generation = machine.open()
        channel = machine.join(timeout=60)
        machine.push(channel, timeout=1.0, wants_reply=False)
        machine.wait(1.01)
        machine.take()
        machine.reply(generation, "1")
        assert machine.sent() == []
        assert machine.channels.waiting == 0


class TestMessages:
    @pytest.mark.parametrize("join_ref", ["1", None, ""])
    def test_those_of_the_present_join_and_broadcasts_are_delivered(
        self, machine: Machine, join_ref: str | None
    ) -> None:
        generation, channel = machine.joined()
        machine.receive(generation, join_ref, None, "news", {"n": 1})
        assert machine.take() == [e.Deliver(channel, e.Message(join_ref, None, LOBBY, "news", {"n": 1}))]

    def test_those_of_a_join_of_the_past_are_dropped(self, machine: Machine) -> None:
        generation, channel = machine.joined()
        machine.receive(generation, "1", "1", "phx_error")
        machine.wait(1.01)
        machine.reply(generation, "2")
        machine.take()
        for event in ("news", "phx_close", "phx_error"):
            machine.receive(generation, "1", None, event)
        assert machine.take() == []
        assert channel.status is ChannelStatus.JOINED
        assert machine.channels.stale == 3

    def test_those_of_other_topics_are_dropped(self, machine: Machine) -> None:
        generation, _ = machine.joined()
        machine.receive(generation, None, None, "news", topic="room:other")
        assert machine.take() == []

    def test_those_of_a_connection_of_the_past_are_dropped(self, machine: Machine) -> None:
        generation, _ = machine.joined()
        machine.state.closed(generation, 1006, "", machine.now)
        machine.wait(0.06)
        machine.reopen()
        machine.take()
        machine.receive(generation, None, None, "news")
        assert machine.take() == []


class TestEnd:
    def test_a_close_by_the_server_is_final(self, machine: Machine) -> None:
        generation, channel = machine.joined()
        push = machine.push(channel)
        machine.take()
        machine.receive(generation, "1", "1", "phx_close")
        assert machine.take() == [e.Settled(push, "closed", None), e.Ended(channel, by_server=True)]
        machine.wait(20)
        assert "phx_join" not in [event for *_, event in machine.sent()]

    def test_a_leave_closes_at_once_and_is_settled_by_the_reply(self, machine: Machine) -> None:
        generation, channel = machine.joined()
        leave = machine.channels.leave(channel, 10.0, machine.now)
        assert channel.status is ChannelStatus.CLOSED
        assert machine.sent() == [("1", "2", LOBBY, "phx_leave")]
        machine.reply(generation, "2", join_ref="1")
        machine.receive(generation, "1", "1", "phx_close")
        assert machine.take() == [e.Settled(leave, "ok", {})]

    def test_a_leave_without_answer_is_settled_by_its_time(self, machine: Machine) -> None:
        _, channel = machine.joined()
        leave = machine.channels.leave(channel, 3.0, machine.now)
        machine.take()
        machine.wait(3.01)
        assert machine.take() == [e.Settled(leave, "timeout", None)]

    def test_a_leave_is_settled_when_the_connection_goes(self, machine: Machine) -> None:
        generation, channel = machine.joined()
        leave = machine.channels.leave(channel, 3.0, machine.now)
        machine.state.closed(generation, 1006, "", machine.now)
        assert machine.of(e.Settled) == [e.Settled(leave, "closed", None)]

    def test_a_leave_without_connection_tells_the_server_nothing(self, machine: Machine) -> None:
        generation, channel = machine.joined()
        machine.state.closed(generation, 1006, "", machine.now)
        assert machine.channels.leave(channel, 10.0, machine.now) is None
        machine.wait(0.06)
        machine.reopen()
        assert machine.sent() == []

    def test_a_leave_of_what_was_never_joined_does_nothing(self, machine: Machine) -> None:
        machine.open()
        assert machine.channels.leave(machine.channel(), 10.0, machine.now) is None

    def test_a_leave_while_joining_is_sent_under_that_join(self, machine: Machine) -> None:
        generation = machine.open()
        channel = machine.join()
        machine.channels.leave(channel, 10.0, machine.now)
        assert machine.sent() == [("1", "1", LOBBY, "phx_join"), ("1", "2", LOBBY, "phx_leave")]
        machine.reply(generation, "1", join_ref="1")
        assert machine.take() == []

    def test_a_leave_settles_pushes_that_wait(self, machine: Machine) -> None:
        _, channel = machine.joined()
        push = machine.push(channel)
        machine.channels.leave(channel, 10.0, machine.now)
        assert machine.of(e.Settled) == [e.Settled(push, "closed", None)]

    def test_the_topic_can_be_joined_again_at_once(self, machine: Machine) -> None:
        generation, old = machine.joined()
        leave = machine.channels.leave(old, 10.0, machine.now)
        new = machine.join()
        machine.take()
        machine.reply(generation, "2", join_ref="1")
        machine.receive(generation, "1", "1", "phx_close")
        machine.reply(generation, "3", join_ref="3")
        assert machine.take() == [e.Settled(leave, "ok", {}), e.Joined(new, {}, again=False)]

    def test_closing_the_client_ends_all_channels_and_leaves_no_deadline(self, machine: Machine) -> None:
        _, channel = machine.joined()
        push = machine.push(channel)
        leave = machine.channels.leave(machine.join(topic="room:other"), 10.0, machine.now)
        machine.take()
        machine.state.close()
        settled = machine.take()
        assert {x.push for x in settled if isinstance(x, e.Settled)} == {push, leave}
        assert [x.channel for x in settled if isinstance(x, e.Ended)] == [channel]
        assert machine.state.next_deadline() is None
