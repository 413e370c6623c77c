"""The connection of the Python client, by plain calls: reconnecting, heartbeats, closing, falling back."""

import pytest

from broadwing.core.client import effects as e
from broadwing.core.client.backoff import reconnect_after, rejoin_after
from broadwing.core.client.effects import LONGPOLL, WEBSOCKET, ChannelStatus, Status
from tests.core.client.machine import Machine

HEARTBEAT = (None, "phoenix", "heartbeat")


def beats(machine: Machine) -> list[str | None]:
    """Refs of the heartbeats sent."""
    return [ref for join_ref, ref, topic, event in machine.sent() if (join_ref, topic, event) == HEARTBEAT]


class TestBackoff:
    # The table of js/src/timer.js: 50 to 100 % of these.
    LONGEST = (0.05, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0, 5.0)

    def test_reconnecting_waits_as_long_as_the_javascript_client(self) -> None:
        tries = range(1, len(self.LONGEST) + 1)
        assert [reconnect_after(n, 1.0) for n in tries] == pytest.approx(self.LONGEST)
        assert [reconnect_after(n, 0.0) for n in tries] == pytest.approx([x / 2 for x in self.LONGEST])

    def test_rejoining_waits_as_long_as_the_javascript_client(self) -> None:
        assert [rejoin_after(n) for n in range(1, 6)] == [1, 2, 5, 10, 10]


class TestConnect:
    def test_it_asks_for_one_connection(self) -> None:
        machine = Machine()
        machine.state.connect(machine.now)
        machine.state.connect(machine.now)
        assert machine.take() == [e.Open(1, WEBSOCKET)]
        assert machine.state.status is Status.CONNECTING

    def test_open_is_told_once(self) -> None:
        machine = Machine()
        machine.state.connect(machine.now)
        machine.take()
        machine.state.opened(1, machine.now)
        machine.state.opened(1, machine.now)
        assert machine.take() == [e.Connected()]

    def test_a_failed_attempt_is_repeated_with_growing_waits(self) -> None:
        machine = Machine()
        machine.state.connect(machine.now)
        generation = machine.generation()
        for wait in TestBackoff.LONGEST:
            machine.state.failed(generation, machine.now)
            assert machine.take() == [e.Disconnected(1006, "", again=True)]
            machine.wait(wait - 0.001)
            assert machine.take() == []
            machine.wait(0.002)
            generation = machine.generation()

    def test_an_open_connection_begins_the_waits_anew(self) -> None:
        machine = Machine()
        generation = machine.open()
        for _ in range(3):
            machine.state.closed(generation, 1006, "", machine.now)
            machine.wait(0.051)
            generation = machine.reopen()

    @pytest.mark.parametrize("code", [1001, 1006, 1011, 1012, 4001])
    def test_a_connection_that_is_closed_is_made_again(self, code: int) -> None:
        machine = Machine()
        generation = machine.open()
        machine.take()
        machine.state.closed(generation, code, "why", machine.now)
        assert machine.take() == [e.Disconnected(code, "why", again=True)]
        machine.wait(0.06)
        assert [x.kind for x in machine.take() if isinstance(x, e.Open)] == [WEBSOCKET]

    def test_after_1000_it_is_not_until_connect_is_called(self) -> None:
        machine = Machine()
        generation = machine.open()
        channel = machine.join()
        machine.reply(generation, "1")
        machine.take()
        machine.state.closed(generation, 1000, "", machine.now)
        assert machine.of(e.Disconnected) == [e.Disconnected(1000, "", again=False)]
        machine.wait(60)
        assert machine.take() == []
        machine.open()
        assert [event for *_, event in machine.sent()] == ["phx_join"]
        assert channel.status is ChannelStatus.JOINING

    def test_a_disconnect_closes_and_stays_closed(self) -> None:
        machine = Machine()
        generation = machine.open()
        machine.take()
        machine.state.disconnect(3001, "bye")
        assert machine.take() == [e.Close(generation, 3001, "bye"), e.Disconnected(3001, "bye", again=False)]
        machine.state.closed(generation, 1006, "", machine.now)
        machine.wait(60)
        assert machine.take() == []
        machine.state.disconnect()
        assert machine.take() == []

    def test_a_disconnect_during_an_attempt_ends_it(self) -> None:
        machine = Machine()
        machine.state.connect(machine.now)
        generation = machine.generation()
        machine.state.disconnect()
        assert machine.of(e.Close) == [e.Close(generation, 1000, "")]
        machine.state.opened(generation, machine.now)
        machine.state.failed(generation, machine.now)
        assert machine.state.status is Status.CLOSED
        assert machine.take() == []

    def test_a_disconnect_between_two_attempts_ends_them(self) -> None:
        machine = Machine()
        generation = machine.open()
        machine.state.closed(generation, 1006, "", machine.now)
        machine.take()
        machine.state.disconnect()
        assert machine.take() == [e.Disconnected(1000, "", again=False)]
        assert machine.state.next_deadline() is None


class TestHeartbeat:
    def test_one_is_sent_every_thirty_seconds(self) -> None:
        machine = Machine()
        generation = machine.open()
        machine.take()
        machine.wait(29.9)
        assert beats(machine) == []
        for _ in range(3):
            machine.wait(0.2)
            (ref,) = beats(machine)
            machine.reply(generation, ref, topic="phoenix")
            machine.wait(29.9)

    def test_one_that_stays_unanswered_means_a_dead_connection(self) -> None:
        machine = Machine()
        generation, channel = machine.joined()
        machine.wait(30.01)
        machine.take()
        machine.wait(29.98)
        assert machine.take() == []
        machine.wait(0.02)
        taken = machine.take()
        assert taken == [
            e.Close(generation, 1000, "heartbeat timeout"),
            e.Ponged("2", None),
            e.Errored(channel, {"source": "transport", "reason": "heartbeat_timeout"}),
            e.Disconnected(1006, "heartbeat timeout", again=True),
        ]
        machine.wait(0.06)
        assert [type(x) for x in machine.take()] == [e.Open]

    def test_other_messages_are_no_answer(self) -> None:
        machine = Machine()
        generation, _ = machine.joined()
        machine.wait(30.01)
        machine.receive(generation, None, None, "news")
        machine.take()
        machine.wait(30.01)
        assert any(isinstance(x, e.Close) for x in machine.take())

    def test_none_is_sent_while_connecting_or_closed(self) -> None:
        machine = Machine()
        machine.state.connect(machine.now)
        machine.wait(100)
        assert beats(machine) == []
        machine.state.disconnect()
        machine.wait(100)
        assert beats(machine) == []

    def test_long_polling_sends_none(self) -> None:
        machine = Machine(transport=LONGPOLL)
        machine.open()
        machine.take()
        machine.wait(100)
        assert machine.take() == []

    def test_a_ping_measures_the_way_there_and_back(self) -> None:
        machine = Machine()
        generation = machine.open()
        ref = machine.state.ping(machine.now)
        machine.take()
        machine.wait(0.25)
        machine.reply(generation, ref, topic="phoenix")
        (ponged,) = machine.take()
        assert isinstance(ponged, e.Ponged)
        assert ponged.ref == "1"
        assert ponged.seconds == pytest.approx(0.25)
        assert machine.state.latency == pytest.approx(0.25)

    def test_a_ping_of_a_lost_connection_is_told_so(self) -> None:
        machine = Machine()
        assert machine.state.ping(machine.now) is None
        generation = machine.open()
        machine.state.ping(machine.now)
        machine.take()
        machine.state.closed(generation, 1006, "", machine.now)
        assert machine.of(e.Ponged) == [e.Ponged("1", None)]


class TestFallback:
    def kinds(self, machine: Machine) -> list[str]:
        """Of the connections asked for."""
        return [effect.kind for effect in machine.of(e.Open)]

    def test_without_the_option_it_stays_with_websockets(self) -> None:
        machine = Machine()
        machine.state.connect(machine.now)
        machine.state.failed(machine.generation(), machine.now)
        machine.wait(1)
        assert self.kinds(machine) == [WEBSOCKET]

    def test_a_websocket_that_fails_falls_back_at_once(self) -> None:
        machine = Machine(longpoll_fallback=2.5)
        machine.state.connect(machine.now)
        machine.state.failed(machine.generation(), machine.now)
        assert self.kinds(machine) == [LONGPOLL]

    def test_a_websocket_that_does_not_open_falls_back_in_time(self) -> None:
        machine = Machine(longpoll_fallback=2.5)
        machine.state.connect(machine.now)
        machine.take()
        machine.wait(2.4)
        assert machine.take() == []
        machine.wait(0.2)
        assert machine.take() == [e.Close(1, 1000, ""), e.Open(3, LONGPOLL)]

    def test_a_websocket_that_swallows_what_it_carries_falls_back(self) -> None:
        machine = Machine(longpoll_fallback=2.5)
        generation = machine.open()
        assert len(beats(machine)) == 1  # the ping
        channel = machine.join()
        machine.take()
        machine.wait(2.6)
        assert machine.take() == [
            e.Close(generation, 1000, ""),
            e.Ponged("1", None),
            e.Errored(channel, {"source": "transport", "reason": "connection_closed"}),
            e.Open(3, LONGPOLL),
        ]
        machine.state.opened(3, machine.now)
        assert [event for *_, event in machine.sent()] == ["phx_join"]

    def test_a_websocket_that_answers_is_trusted_from_then_on(self) -> None:
        machine = Machine(longpoll_fallback=2.5)
        generation = machine.open()
        (ref,) = beats(machine)
        machine.reply(generation, ref, topic="phoenix")
        machine.wait(3)
        assert self.kinds(machine) == []
        machine.state.closed(generation, 1006, "", machine.now)
        machine.wait(0.06)
        machine.state.failed(machine.generation(), machine.now)
        machine.wait(0.06)
        assert self.kinds(machine) == [WEBSOCKET]

    def test_long_polling_stays_long_polling(self) -> None:
        machine = Machine(longpoll_fallback=2.5)
        machine.state.connect(machine.now)
        machine.state.failed(machine.generation(), machine.now)
        generation = machine.reopen()
        machine.state.closed(generation, 3410, "session_gone", machine.now)
        machine.take()
        machine.wait(0.06)
        assert self.kinds(machine) == [LONGPOLL]
