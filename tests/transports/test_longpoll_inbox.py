"""Poll sessions reached through PubSub, because the request came to a node that does not have the session."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from typing import Any

import pytest

from broadwing import PubSubUnavailable, Token, bus
from broadwing.core.close import CloseCode
from broadwing.core.codec import Body
from broadwing.core.etf import Atom
from broadwing.core.longpoll_relay import EVENT, Answer, Verdict, pack
from broadwing.core.messages import Broadcast
from broadwing.pubsub.adapter import Receive
from broadwing.pubsub.pubsub import PubSub
from broadwing.pubsub.registry import Sink, Subscribers
from broadwing.transports.longpoll import SALT, LongPollEntrance
from broadwing.transports.longpoll_session import LongPollSession
from tests.support.background import TIMEOUT
from tests.support.server import until
from tests.transports.polling import NDJSON, SECRET, Ground, House, Poller, UserSocket, house_of, reply

WINDOW, PUBSUB_TIMEOUT = 1.0, 0.6


class Bus(PubSub):
    """A PubSub that two endpoints share.

    Attributes:
        is_later: Whether letters take a turn of the loop, or arrive while they are being published.
        is_down: Whether publishing letters fails.
        ready: What who opens an inbox has to await.
        published: The topic of every letter.
    """

    def __init__(self, of: PubSub) -> None:
        super().__init__(codec=of._codec, dispatcher=of._dispatch)
        self.is_later = False
        self.is_down = False
        self.ready: Awaitable[None] | None = None
        self.published: list[str] = []

    def broadcast(self, topic: str, message: Any, sender: Hashable = None) -> None:
        """Deliver now, in a turn of the loop, or not at all."""
        if not topic.startswith("phx:lp:"):
            super().broadcast(topic, message, sender)  # of one's own, delivery is immediate on every bus
            return
        if self.is_down:
            raise PubSubUnavailable("the bus is down")
        self.published.append(topic)
        if self.is_later:
            asyncio.get_running_loop().call_soon(super().broadcast, topic, message, sender)
        else:
            super().broadcast(topic, message, sender)

    def attach(
        self, topic: str, key: Hashable, sink: Sink, metadata: Hashable = None
    ) -> tuple[Subscribers, Awaitable[None] | None]:
        """Subscribe, with something to await where the test says so."""
        subscribers, _ = super().attach(topic, key, sink, metadata)
        return subscribers, self.ready if topic.startswith("phx:lp:") else None


class WireAdapter:
    """One end of a wire."""

    is_alone = False

    def __init__(self, wire: "Wire", node_name: str) -> None:
        self.node_name = node_name
        self.is_up = False
        self.topics: set[str] = set()
        self.receive: Receive | None = None
        self.changed: Callable[[], None] = lambda: None
        self._wire = wire

    async def start(self, receive: Receive, changed: Callable[[], None]) -> None:
        """Connect."""
        self.receive, self.changed, self.is_up = receive, changed, True
        changed()

    async def stop(self) -> None:
        """Disconnect."""
        self.receive, self.is_up = None, False

    async def flush(self) -> None:
        """What is published has arrived."""

    async def reconnect(self) -> None:
        """There is nothing to it."""

    def subscribe(self, topic: str) -> Awaitable[None] | None:
        """Confirm a turn of the loop later."""
        self.topics.add(topic)
        return asyncio.sleep(0)

    def unsubscribe(self, topic: str) -> None:
        """Listen no more."""
        self.topics.discard(topic)

    def publish(self, topic: str, data: bytes) -> None:
        """Send to the other ends that listen."""
        for end in self._wire.ends:
            if end is not self and topic in end.topics:
                self._wire.carry(end, topic, data)

    def publish_to(self, node: str, topic: str, data: bytes) -> None:
        """Send to one end, this one included: that is how it proves that it hears."""
        for end in self._wire.ends:
            if end.node_name == node:
                self._wire.carry(end, topic, data)


class Wire:
    """Carries bytes between the adapters of several endpoints, each in a turn of the loop."""

    def __init__(self) -> None:
        self.ends: list[WireAdapter] = []

    def adapter(self) -> WireAdapter:
        """One more end."""
        self.ends.append(WireAdapter(self, f"node-{len(self.ends)}"))
        return self.ends[-1]

    def carry(self, end: WireAdapter, topic: str, data: bytes) -> None:
        """Deliver, if somebody is there."""
        if end.receive is not None:
            asyncio.get_running_loop().call_soon(end.receive, topic, data)

    def cut(self, node: str) -> None:
        """One end knows that it is down."""
        self._set(node, False)

    def mend(self) -> None:
        """All ends are up."""
        for end in self.ends:
            self._set(end.node_name, True)

    def _set(self, node: str, is_up: bool) -> None:
        for end in self.ends:
            if end.node_name == node:
                end.is_up = is_up
                end.changed()


class Pair:
    """Two nodes and the bus between them."""

    def __init__(self, here: House, there: House, bus: Bus | None = None, wire: Wire | None = None) -> None:
        self.here = here
        self.there = there
        self._bus = bus
        self._wire = wire

    @property
    def bus(self) -> Bus:
        """The PubSub that both share."""
        assert self._bus is not None
        return self._bus

    @property
    def wire(self) -> Wire:
        """What their own two are connected by."""
        assert self._wire is not None
        return self._wire

    def across(self, poller: Poller) -> Poller:
        """The same client, with its requests going to the other node."""
        other = Poller(self.there.http, poller.url.replace(self.here.base, self.there.base), None)
        other.token = poller.token
        return other

    def session(self) -> LongPollSession:
        """The only session."""
        (session,) = entrance_of(self.here).sessions.values()
        return session


def entrance_of(house: House, mount: str = "/socket") -> LongPollEntrance:
    found = house.endpoint.longpoll_entrance(f"{mount}/longpoll")
    assert found is not None
    return found[0]


def make_endpoint(between: Bus | Wire | None = None) -> Ground:
    endpoint = Ground(pubsub=bus.PubSub(between.adapter()) if isinstance(between, Wire) else None)
    if not isinstance(between, Wire):
        endpoint.bus = endpoint.pubsub.engine = between or Bus(endpoint.bus)
    settings = {"window": WINDOW, "pubsub_timeout": PUBSUB_TIMEOUT}
    patient = {"window": 2 * TIMEOUT, "pubsub_timeout": PUBSUB_TIMEOUT}  # a test does not wait for its end
    endpoint.socket("/socket", UserSocket, websocket=False, longpoll=settings)
    endpoint.socket("/other", UserSocket, websocket=False, longpoll=settings)
    endpoint.socket("/patient", UserSocket, websocket=False, longpoll=patient)
    return endpoint


def bus_of(endpoint: Ground) -> Bus:
    assert isinstance(endpoint.bus, Bus)
    return endpoint.bus


@contextlib.asynccontextmanager
async def sharing(is_later: bool) -> AsyncIterator[Pair]:
    """Two nodes that share a PubSub."""
    here = make_endpoint()
    bus = bus_of(here)
    bus.is_later = is_later
    there = make_endpoint(bus)
    async with house_of(here) as one, house_of(there) as two:
        yield Pair(one, two, bus)


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[Pair]:
    """Two nodes that have only bytes between them."""
    wire = Wire()
    here, there = make_endpoint(wire), make_endpoint(wire)
    async with house_of(here) as one, house_of(there) as two:
        yield Pair(one, two, wire=wire)


@pytest.fixture(params=["at once", "later"])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    """Two nodes, on a bus that delivers at once or later."""
    async with sharing(request.param == "later") as pair:
        yield pair


@pytest.fixture
async def wired() -> AsyncIterator[Pair]:
    """Two nodes that have only bytes between them."""
    async with connected() as pair:
        yield pair


@pytest.fixture(params=["at once", "later", "bytes"])
async def nodes(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    """Two nodes of every kind."""
    async with connected() if request.param == "bytes" else sharing(request.param == "later") as pair:
        yield pair


async def test_a_session_works_when_its_requests_come_to_another_node(nodes: Pair) -> None:
    poller = await nodes.here.open()  # checklist 82, the story of 81
    across = nodes.across(poller)
    assert await across.post(["1", "1", "room:greeting", "phx_join", {}]) == 200
    assert await across.receive(3) == [
        reply("1", "1", "room:greeting"),
        [None, None, "room:greeting", "user_entered", {"user": "someone"}],
        ["1", None, "room:greeting", "joined", {"status": "connected"}],
    ]
    assert await across.get() == (204, [])
    assert entrance_of(nodes.there).sessions == {}
    # And both ways in turn.
    assert await poller.post(["1", "2", "room:greeting", "echo", {"a": 1}]) == 200
    assert await across.receive(1) == [reply("1", "2", "room:greeting", "ok", {"a": 1})]
    assert await across.post(["1", "3", "room:greeting", "echo", {"a": 2}]) == 200
    assert await poller.receive(1) == [reply("1", "3", "room:greeting", "ok", {"a": 2})]


async def test_a_token_whose_endpoint_id_is_unknown_leads_over_the_bus_to_the_same_session() -> None:
    async with house_of(make_endpoint()) as house:
        poller = await house.open()  # checklist 82 as Phoenix's suite tests it
        version, _, inbox, topic = Token.verify(SECRET, SALT, poller.token)
        poller.token = Token.sign(SECRET, SALT, (version, "unknown", inbox, topic))
        bus = bus_of(house.endpoint)
        bus.published.clear()
        await poller.join()
        assert bus.published
        assert len(entrance_of(house).sessions) == 1


async def test_a_poll_that_waits_on_another_node_is_answered_by_the_next_message(nodes: Pair) -> None:
    poller = await nodes.here.open("/patient")
    across = nodes.across(poller)
    await across.join()
    polling = asyncio.create_task(across.get())
    (session,) = entrance_of(nodes.here, "/patient").sessions.values()
    await until(lambda: session._state._waiter)
    for number in range(2):
        nodes.here.endpoint.broadcast("room:lobby", "n", {"n": number})
    async with asyncio.timeout(TIMEOUT):
        assert await polling == (200, [[None, None, "room:lobby", "n", {"n": number}] for number in range(2)])


async def test_a_batch_of_text_and_binary_reaches_a_session_on_another_node(nodes: Pair) -> None:
    across = nodes.across(await nodes.here.open())
    await across.join()
    fields = [b"1", b"2", b"room:lobby", b"echo"]
    frame = b"".join((bytes([0, *map(len, fields)]), *fields, b"\x00\xff"))
    lines = [base64.b64encode(frame).decode(), ["1", "3", "room:lobby", "echo", {"n": 3}]]
    assert await across.batch(*lines) == 200
    messages: list[str] = []
    while len(messages) < 2:
        messages += (await across.http.get(across.url, headers=across.headers)).json()["messages"]
    assert base64.b64decode(messages[0]) == b"\x01\x01\x01\x0a\x0212room:lobbyok\x00\xff"
    assert json.loads(messages[1]) == reply("1", "3", "room:lobby", "ok", {"n": 3})


async def test_what_is_wrong_with_a_body_is_found_where_it_came(pair: Pair) -> None:
    across = pair.across(await pair.here.open())
    pair.bus.published.clear()
    assert await across.post_raw(b"not base64!", NDJSON) == 400
    assert await across.post_raw(b"[]\n" * 101, NDJSON) == 413
    assert pair.bus.published == []


async def test_a_message_that_cannot_be_read_ends_a_session_on_another_node(nodes: Pair) -> None:
    across = nodes.across(await nodes.here.open())
    assert await across.post_raw(b"{oops") == 408
    assert await across.post([]) == 410
    assert entrance_of(nodes.here).sessions == {}


async def test_a_post_to_another_node_waits_for_handlers_up_to_the_window(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broadwing.intake.MAX_QUEUED", 1)
    across = pair.across(await pair.here.open())
    await across.join()
    waits = [["1", str(n), "room:lobby", "wait", {"n": n}] for n in range(2)]
    posting = asyncio.create_task(across.batch(*waits))
    await until(lambda: pair.here.endpoint.statistics.readers_paused)
    assert await across.post(["1", "9", "room:lobby", "wait", {}]) == 408
    pair.here.endpoint.gate.set()
    assert await posting in (200, 408)  # its own window was about to end
    assert await across.post(["1", "10", "room:lobby", "echo", {}]) == 200


async def test_a_session_that_its_node_has_lost_is_gone_without_waiting(pair: Pair) -> None:
    across = pair.across(await pair.here.open("/patient"))
    (session,) = entrance_of(pair.here, "/patient").sessions.values()
    session.close(CloseCode.GOING_AWAY)
    assert await across.post([]) == 410
    assert (await across.get())[0] == 410
    assert len(entrance_of(pair.there, "/patient").sessions) == 1  # the new one is where the request came


async def test_a_session_of_a_node_that_is_gone_is_given_up_after_the_timeout(wired: Pair) -> None:
    across = wired.across(wired.here.poller())
    across.token = Token.sign(SECRET, SALT, (Atom("v1"), "unknown", "unknown", "phx:lp:unknown"))
    loop = asyncio.get_running_loop()
    started = loop.time()
    assert await across.post([]) == 410
    assert loop.time() - started >= PUBSUB_TIMEOUT * 0.9
    assert (await across.get())[0] == 410


async def test_a_process_that_is_alone_waits_for_no_other_node() -> None:
    # As after a restart, when all clients come with the tokens of the process before.
    async with house_of(make_endpoint()) as house:
        bus = bus_of(house.endpoint)
        poller = house.poller()
        poller.token = Token.sign(SECRET, SALT, (Atom("v1"), "unknown", "unknown", "phx:lp:unknown"))
        assert await poller.post([]) == 410
        assert (await poller.get())[0] == 410
        assert bus.published == []


async def test_nothing_is_asked_of_a_bus_that_is_known_to_be_down(wired: Pair) -> None:
    poller = await wired.here.open()
    across = wired.across(poller)
    await across.join()
    wired.wire.cut(wired.there.endpoint.pubsub.node_name)
    assert await across.post(["1", "2", "room:lobby", "record", {}]) == 410
    assert (await across.get())[0] == 410
    wired.wire.mend()
    assert await poller.post([None, "3", "phoenix", "heartbeat", {}]) == 200
    assert wired.here.endpoint.heard == []


async def test_a_poll_on_another_node_is_answered_when_the_session_ends(pair: Pair) -> None:
    across = pair.across(await pair.here.open("/patient"))
    polling = asyncio.create_task(across.get())
    (session,) = entrance_of(pair.here, "/patient").sessions.values()
    await until(lambda: session._state._waiter)
    session.close(CloseCode.GOING_AWAY)
    async with asyncio.timeout(TIMEOUT):
        assert await polling == (204, [])
    assert (await across.get())[0] == 410


async def test_messages_stay_when_the_client_of_another_node_hangs_up(pair: Pair) -> None:
    poller = await pair.here.open("/patient")
    across = pair.across(poller)
    await across.join()
    polling = asyncio.create_task(across.get())
    (session,) = entrance_of(pair.here, "/patient").sessions.values()
    await until(lambda: session._state._waiter)
    polling.cancel()
    await asyncio.wait((polling,))
    await until(lambda: not entrance_of(pair.there, "/patient").inbox._exchanges)
    pair.here.endpoint.broadcast("room:lobby", "hi", {})
    assert await poller.receive(1) == [[None, None, "room:lobby", "hi", {}]]


async def test_polls_of_other_nodes_that_ended_with_their_window_leave_nothing_behind(pair: Pair) -> None:
    across = pair.across(await pair.here.open())
    for _ in range(3):
        assert await across.get() == (204, [])
    assert pair.session()._state._forgotten is None
    assert entrance_of(pair.there).inbox._exchanges == {}


async def test_a_poll_that_was_told_of_messages_and_finds_them_taken_is_204(pair: Pair) -> None:
    poller = await pair.here.open("/patient")
    across = pair.across(poller)
    await across.join()
    polling = asyncio.create_task(across.get())
    (session,) = entrance_of(pair.here, "/patient").sessions.values()
    await until(lambda: session._state._waiter)
    pair.here.endpoint.broadcast("room:lobby", "hi", {})
    pair.here.endpoint.fastlane.settle()
    session.take()
    assert await polling == (204, [])


async def test_a_token_of_one_mount_finds_its_session_through_another(pair: Pair) -> None:
    poller = await pair.here.open()
    elsewhere = pair.here.poller("/other")
    elsewhere.token = poller.token
    await elsewhere.join()
    assert entrance_of(pair.here, "/other").sessions == {}


async def test_a_session_is_given_up_at_once_when_the_bus_takes_nothing(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    across = pair.across(await pair.here.open())
    pair.bus.is_down = True
    assert await across.post([]) == 410
    assert "the bus is down" in caplog.text


async def test_a_post_whose_outcome_the_bus_loses_is_408(pair: Pair) -> None:
    across = pair.across(await pair.here.open())
    await across.join()
    original = LongPollSession.publish

    async def publish(self: LongPollSession, messages: Any) -> Any:
        status = await original(self, messages)
        pair.bus.is_down = True
        return status

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LongPollSession, "publish", publish)
        assert await across.post(["1", "2", "room:lobby", "record", {}]) == 408


async def test_a_message_lost_on_the_bus_costs_the_poll_and_not_the_session(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    poller = await pair.here.open()
    across = pair.across(poller)
    await across.join()
    polling = asyncio.create_task(across.get())
    await until(lambda: pair.session()._state._waiter)
    inbox = entrance_of(pair.here).inbox
    with monkeypatch.context() as patch:
        patch.setattr(inbox, "write", lambda message: None)  # it hears of no second question
        pair.here.endpoint.broadcast("room:lobby", "hi", {})
        assert await polling == (204, [])
    assert await across.receive(1) == [[None, None, "room:lobby", "hi", {}]]


async def test_the_first_sessions_wait_until_the_bus_has_confirmed_their_inbox() -> None:
    endpoint = make_endpoint()
    async with house_of(endpoint) as house:
        confirmed = asyncio.get_running_loop().create_future()
        bus_of(endpoint).ready = confirmed
        opening = [asyncio.create_task(house.open()) for _ in range(2)]
        await until(lambda: entrance_of(house).inbox._opening)
        assert entrance_of(house).sessions == {}
        confirmed.set_result(None)
        for poller in opening:
            await (await poller).join()
        await house.open()


async def test_an_inbox_that_is_being_opened_can_be_closed() -> None:
    endpoint = make_endpoint()
    async with house_of(endpoint) as house:
        bus_of(endpoint).ready = asyncio.get_running_loop().create_future()
        opening = asyncio.create_task(house.open())
        inbox = entrance_of(house).inbox
        await until(lambda: inbox._opening)
        await inbox.close()
        await (await opening).join()


async def test_what_is_no_letter_and_answers_nobody_waits_for_are_ignored(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    poller = await pair.here.open()
    inbox = entrance_of(pair.here).inbox
    pair.bus.broadcast(inbox.topic, Broadcast(inbox.topic, EVENT, Body(b"garbage", True)))
    pair.bus.broadcast(inbox.topic, pack(inbox.topic, Answer(99, Verdict.DONE, 200, [])))
    await poller.join()
    assert "which is no letter" in caplog.text


async def test_the_topic_of_an_inbox_cannot_be_read_from_a_token(pair: Pair) -> None:
    # Whoever joined it as a channel would be sent what other clients poll for.
    poller = await pair.here.open()
    topic = entrance_of(pair.here).inbox.topic.removeprefix("phx:lp:")
    assert len(topic) == 24  # 18 bytes of a derived key
    for part in Token.verify(SECRET, SALT, poller.token)[1:]:
        assert topic not in part
    assert len({entrance_of(house).inbox.topic for house in (pair.here, pair.there)}) == 2


async def test_names_are_made_by_the_first_request_so_that_forked_workers_have_their_own() -> None:
    endpoint = make_endpoint()
    async with house_of(endpoint) as house:
        entrance = entrance_of(house)
        assert {"id", "name", "topic"}.isdisjoint({*vars(entrance), *vars(entrance.inbox)})
        poller = await house.open()
        assert Token.verify(SECRET, SALT, poller.token)[1:3] == (entrance.id, entrance.inbox.name)


async def test_an_endpoint_that_stops_leaves_its_inbox_and_what_it_did_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    endpoint = make_endpoint()
    async with house_of(endpoint) as house:
        poller = await house.open()
        await poller.join()
        monkeypatch.setattr("broadwing.intake.MAX_QUEUED", 0)
        version, _, inbox, topic = Token.verify(SECRET, SALT, poller.token)
        poller.token = Token.sign(SECRET, SALT, (version, "unknown", inbox, topic))
        posting = asyncio.create_task(poller.post(["1", "2", "room:lobby", "wait", {}]))
        entrance = entrance_of(house)
        await until(lambda: entrance.inbox._tasks)
        await entrance.inbox.close()
        assert entrance.inbox._tasks == set()
        assert endpoint.pubsub.registry.count(entrance.inbox.topic) == 0
        await entrance.inbox.close()
        assert await posting == 408  # as far as the other node can know
