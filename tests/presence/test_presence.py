"""Presence without sockets: what it tells, what its hooks see, and what becomes of their faults."""

import asyncio
import dataclasses
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from broadwing import Broadcast, ConfigurationError, Endpoint, LocalProtocolError, Presence, PubSub
from broadwing.exceptions import AlreadyTracked, NotTracked
from broadwing.pubsub.registry import Subscribers
from tests.support.server import until

TOPIC = "room"


class Heard:
    """The diffs that a subscriber of a topic got."""

    def __init__(self, pubsub: PubSub, topic: str = TOPIC) -> None:
        self.diffs: list[Any] = []
        self.pubsub = pubsub
        pubsub.subscribe(topic, self._take)

    def _take(self, message: Broadcast) -> None:
        assert message.event == "presence_diff"
        self.diffs.append(message.payload)

    async def has(self, count: int) -> list[Any]:
        """Wait for so many, and hold that there are no more."""
        await until(lambda: len(self.diffs) >= count)
        await asyncio.sleep(0)
        assert len(self.diffs) == count
        return self.diffs


@asynccontextmanager
async def running(cls: type[Presence] = Presence, **options: Any) -> AsyncIterator[tuple[Any, Heard]]:
    """A presence on a bus of its own, and a subscriber."""
    async with PubSub("local://") as pubsub, cls(pubsub, **options) as presence:
        yield presence, Heard(pubsub)


def metas(ref: str, **more: Any) -> dict[str, Any]:
    """An entry with one meta."""
    return {"metas": [{**more, "phx_ref": ref}]}


# What is tracked.


async def test_a_presence_is_named_after_its_class_and_needs_no_subclass() -> None:
    """checklist 213"""

    class RoomPresence(Presence):
        pass

    pubsub = PubSub("local://")
    assert Presence(pubsub).name == "Presence"
    assert RoomPresence(pubsub).name == "RoomPresence"
    assert Presence(pubsub, name="rooms").name == "rooms"


async def test_track_tells_of_a_join_and_untrack_of_a_leave() -> None:
    """checklist 217"""
    async with running() as (presence, heard):
        ref = presence.track("a worker", "ada", {"at": 1}, topic=TOPIC)
        assert await presence.list(TOPIC) == {"ada": metas(ref, at=1)}
        presence.untrack("a worker", "ada", topic=TOPIC)
        assert await presence.list(TOPIC) == {}
        assert await heard.has(2) == [
            {"joins": {"ada": metas(ref, at=1)}, "leaves": {}},
            {"joins": {}, "leaves": {"ada": metas(ref, at=1)}},
        ]


async def test_an_owner_has_a_key_once_on_a_topic_and_others_may_have_it_too() -> None:
    async with running() as (presence, _):
        one, other = object(), object()
        first = presence.track(one, "ada", topic=TOPIC)
        with pytest.raises(AlreadyTracked):
            presence.track(one, "ada", topic=TOPIC)
        second = presence.track(other, "ada", topic=TOPIC)
        presence.track(one, "ada", topic="elsewhere")
        assert await presence.list(TOPIC) == {"ada": {"metas": [{"phx_ref": first}, {"phx_ref": second}]}}


async def test_untrack_takes_away_one_key_or_all_of_a_topic_or_all_and_nothing_of_others() -> None:
    """checklist 219"""
    async with running() as (presence, _):
        for key in ("ada", "grace"):
            for topic in (TOPIC, "elsewhere"):
                presence.track("one", key, topic=topic)
        presence.track("other", "ada", topic=TOPIC)
        presence.untrack("one", "ada", topic=TOPIC)
        assert [len(entry["metas"]) for entry in (await presence.list(TOPIC)).values()] == [1, 1]
        presence.untrack("one", topic=TOPIC)
        assert set(await presence.list(TOPIC)) == {"ada"}
        assert set(await presence.list("elsewhere")) == {"ada", "grace"}
        presence.untrack("one")
        assert await presence.list("elsewhere") == {}
        presence.untrack("one")  # it holds nothing any more, which is no error
        presence.untrack("nobody", "ada", topic=TOPIC)
        assert set(await presence.list(TOPIC)) == {"ada"}


async def test_update_with_a_meta_or_a_function() -> None:
    """checklist 220"""
    async with running() as (presence, heard):
        first = presence.track("one", "ada", {"at": 1}, topic=TOPIC)
        second = presence.update("one", "ada", {"at": 2}, topic=TOPIC)
        await heard.has(1)  # together, as they happened in one turn of the loop
        third = presence.update("one", "ada", lambda meta: {**meta, "typing": True}, topic=TOPIC)
        told = (await heard.has(2))[1]
        assert told == {
            "joins": {"ada": metas(third, at=2, typing=True, phx_ref_prev=second)},
            "leaves": {"ada": metas(second, at=2, phx_ref_prev=first)},
        }
        assert await presence.list(TOPIC) == {"ada": told["joins"]["ada"]}


async def test_update_of_nobody_is_an_error() -> None:
    """checklist 221"""
    async with running() as (presence, _):
        presence.track("one", "ada", topic=TOPIC)
        for owner, key, topic in (("one", "grace", TOPIC), ("one", "ada", "elsewhere"), ("other", "ada", TOPIC)):
            with pytest.raises(NotTracked):
                presence.update(owner, key, {}, topic=topic)


async def test_get_by_key_gives_all_metas_of_that_key_alone() -> None:
    """checklist 216"""
    async with running() as (presence, _):
        first = presence.track("one", 7, topic=TOPIC)
        second = presence.track("other", "7", topic=TOPIC)
        presence.track("one", "ada", topic=TOPIC)
        assert await presence.get_by_key(TOPIC, 7) == {"metas": [{"phx_ref": first}, {"phx_ref": second}]}
        assert await presence.get_by_key(TOPIC, "grace") is None
        assert await presence.get_by_key("elsewhere", 7) is None


NUMBER = uuid.UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("ada", "ada"),
        ("__proto__", "__proto__"),
        ("", ""),
        ('"', '"'),
        (7, "7"),
        (1.5, "1.5"),
        (True, "true"),
        (None, "null"),
        (NUMBER, str(NUMBER)),
        ([1, "a"], '[1,"a"]'),
    ],
)
async def test_a_key_is_tracked_by_its_string_form(key: Any, text: str) -> None:
    """checklist 215; 7 and "7" are one key, a departure"""
    async with running() as (presence, _):
        presence.track("one", key, topic=TOPIC)
        assert list(await presence.list(TOPIC)) == [text]
        with pytest.raises(AlreadyTracked):
            presence.track("one", text, topic=TOPIC)
        presence.update("one", key, {}, topic=TOPIC)
        presence.untrack("one", text, topic=TOPIC)
        assert await presence.list(TOPIC) == {}


@dataclasses.dataclass
class Device:
    kind: str


async def test_a_meta_is_what_its_json_is_and_nobody_can_change_it_afterwards() -> None:
    async with running() as (presence, heard):
        given = {"id": NUMBER, "device": Device("phone"), "tags": ["a"]}
        ref = presence.track("one", "ada", given, topic=TOPIC)
        given["tags"].append("b")  # type: ignore[attr-defined]
        told = metas(ref, id=str(NUMBER), device={"kind": "phone"}, tags=["a"])
        listed = await presence.list(TOPIC)
        assert listed == {"ada": told}
        listed["ada"]["metas"][0]["device"] = "a watch"
        presence.track("other", "grace", Device("phone"), topic=TOPIC)
        assert (await presence.list(TOPIC))["ada"] == told
        assert (await heard.has(2))[0]["joins"] == {"ada": told}


@pytest.mark.parametrize("meta", [7, "text", ["a list"], b"bytes", {"key": object()}, {"half": "\ud800"}])
async def test_a_meta_that_is_no_object_is_refused(meta: Any) -> None:
    async with running() as (presence, _):
        with pytest.raises(LocalProtocolError, match=r"accepted are|a meta is a mapping"):
            presence.track("one", "ada", meta, topic=TOPIC)
        assert await presence.list(TOPIC) == {}


async def test_a_key_without_json_form_and_an_owner_without_topic_are_refused() -> None:
    async with running() as (presence, _):
        with pytest.raises(LocalProtocolError, match="accepted are"):
            presence.track("one", object(), topic=TOPIC)
        with pytest.raises(LocalProtocolError, match="accepted are"):
            presence.track("one", 10**5_000, topic=TOPIC)  # longer than Python writes down
        with pytest.raises(LocalProtocolError, match="here a str, is on no topic by itself; pass topic="):
            presence.track("one", "ada")


async def test_another_thread_may_track_and_gets_ref_and_errors() -> None:
    async with running() as (presence, _):
        ref = await asyncio.to_thread(presence.track, "one", "ada", topic=TOPIC)
        assert await presence.list(TOPIC) == {"ada": metas(ref)}
        with pytest.raises(AlreadyTracked):
            await asyncio.to_thread(presence.track, "one", "ada", topic=TOPIC)
        await asyncio.to_thread(presence.untrack, "one")
        assert await presence.list(TOPIC) == {}


async def test_the_dispatcher_of_the_bus_delivers_the_diffs() -> None:
    """checklist 218"""
    dispatched: list[Any] = []

    def dispatch(subscribers: Subscribers, message: Any, sender: Any) -> int:
        dispatched.append((subscribers.topic, message))
        return 1

    async with running() as (presence, heard):
        heard.pubsub.engine.serve(dispatch)
        ref = presence.track("one", "ada", topic=TOPIC)
        await until(lambda: dispatched)
        assert heard.diffs == []
    ((topic, message),) = dispatched
    assert (topic, message.event) == (TOPIC, "presence_diff")
    assert message.payload == {"joins": {"ada": metas(ref)}, "leaves": {}}


# What subclasses make of it.


class Named(Presence):
    """Looks names up, for all at once."""

    asked: list[list[str]]

    async def fetch(self, topic: str, entries: Any) -> Any:
        self.asked = [*getattr(self, "asked", []), list(entries)]
        return {key: {**entry, "name": key.title()} for key, entry in entries.items()}


class NamedInThread(Presence):
    """The same with a driver that blocks."""

    def fetch(self, topic: str, entries: Any) -> Any:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        assert super().fetch(topic, entries) is entries
        return {key: {**entry, "name": key.title()} for key, entry in entries.items()}


@pytest.mark.parametrize("cls", [Named, NamedInThread])
async def test_fetch_enriches_lists_single_keys_and_diffs(cls: type[Presence]) -> None:
    """checklist 214"""
    async with running(cls) as (presence, heard):
        ref = presence.track("one", "ada", topic=TOPIC)
        ada = {**metas(ref), "name": "Ada"}
        assert await presence.list(TOPIC) == {"ada": ada}
        assert await presence.get_by_key(TOPIC, "ada") == ada
        assert await heard.has(1) == [{"joins": {"ada": ada}, "leaves": {}}]
        presence.untrack("one")
        assert (await heard.has(2))[1] == {"joins": {}, "leaves": {"ada": ada}}


async def test_fetch_is_asked_once_for_all_who_come_in_one_turn_and_never_for_nobody() -> None:
    async with running(Named) as (presence, heard):
        for number in range(5):
            presence.track(number, f"user {number}", topic=TOPIC)
        await heard.has(1)
        assert presence.asked == [[f"user {number}" for number in range(5)]]
        await presence.list("elsewhere")
        presence.track("one", "ada", topic="where nobody listens")
        await asyncio.sleep(0)
        assert len(presence.asked) == 1


class Gated(Presence):
    """Waits where it is told to."""

    gate: asyncio.Event

    async def fetch(self, topic: str, entries: Any) -> Any:
        if "ada" in entries:
            await self.gate.wait()
        return entries


async def test_diffs_keep_their_order_though_fetch_takes_its_time() -> None:
    async with running(Gated) as (presence, heard):
        presence.gate = asyncio.Event()
        elsewhere = Heard(heard.pubsub, "elsewhere")
        ada = presence.track("one", "ada", topic=TOPIC)
        await asyncio.sleep(0.01)
        presence.track("two", "grace", topic=TOPIC)
        presence.track("three", "grace", topic="elsewhere")
        presence.track("four", "barbara", topic=TOPIC)
        presence.untrack("four")
        presence.track("five", "edsger", topic="a third one")
        presence.untrack("five")
        await asyncio.sleep(0.01)
        assert heard.diffs == elsewhere.diffs == []
        presence.gate.set()
        first, second = await heard.has(2)
        assert first == {"joins": {"ada": metas(ada)}, "leaves": {}}
        # What happened meanwhile is one diff, and who came and went in it is not told of.
        assert set(second["joins"]) == {"grace"}
        assert second["leaves"] == {}
        await elsewhere.has(1)
        await until(lambda: len(presence._diffs) == 0)


def raises(self: Presence, topic: str, entries: Any) -> Any:
    raise RuntimeError("no database")


async def hangs(self: Presence, topic: str, entries: Any) -> Any:
    await asyncio.Event().wait()


async def forgets(self: Presence, topic: str, entries: Any) -> Any:
    return {key: {"name": "metas lost"} for key in entries}


async def returns_a_list(self: Presence, topic: str, entries: Any) -> Any:
    return list(entries)


async def returns_what_is_no_json(self: Presence, topic: str, entries: Any) -> Any:
    return {key: {**entry, "user": object()} for key, entry in entries.items()}


@pytest.mark.parametrize("fetch", [raises, hangs, forgets, returns_a_list])
async def test_a_fetch_that_fails_is_logged_and_its_diff_goes_out_with_the_metas_alone(
    fetch: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    cls = type("Faulty", (Presence,), {"fetch": fetch})
    async with running(cls, hook_timeout=0.05) as (presence, heard):
        ada = presence.track("one", "ada", topic=TOPIC)
        assert await heard.has(1) == [{"joins": {"ada": metas(ada)}, "leaves": {}}]
        presence.untrack("one")
        assert (await heard.has(2))[1] == {"joins": {}, "leaves": {"ada": metas(ada)}}
    logged = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in logged] == [
        "fetch for the diff of 'room' failed; it is sent with the metas alone"
    ] * 2


@pytest.mark.parametrize(
    ("fetch", "error", "message"),
    [
        (raises, RuntimeError, "no database"),
        (forgets, LocalProtocolError, "Faulty.fetch returned a dict without an entry with `metas` for 'ada' on 'room'"),
        (returns_a_list, LocalProtocolError, "Faulty.fetch returned a list"),
    ],
)
async def test_a_fetch_that_fails_for_a_list_fails_the_list(
    fetch: Callable[..., Any], error: type[Exception], message: str
) -> None:
    cls = type("Faulty", (Presence,), {"fetch": fetch})
    async with running(cls) as (presence, _):
        presence.track("one", "ada", topic=TOPIC)
        with pytest.raises(error, match=message):
            await presence.list(TOPIC)
        with pytest.raises(error, match=message):
            await presence.get_by_key(TOPIC, "ada")


async def test_a_diff_that_fetch_has_made_unsendable_is_logged_and_the_next_one_goes_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Faulty(Presence):
        async def fetch(self, topic: str, entries: Any) -> Any:
            return await returns_what_is_no_json(self, topic, entries) if "ada" in entries else entries

    async with running(Faulty) as (presence, heard):
        presence.track("one", "ada", topic=TOPIC)
        await until(lambda: caplog.records)
        assert "the diff of 'room' has no JSON form and is not sent" in caplog.text
        ref = presence.track("two", "grace", topic=TOPIC)
        assert await heard.has(1) == [{"joins": {"grace": metas(ref)}, "leaves": {}}]


class Watching(Presence):
    """Remembers what it was told."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.told: list[tuple[str, list[str], list[str], dict[str, list[Any]]]] = []

    async def handle_metas(self, topic: str, diff: Any, presences: Mapping[str, Any]) -> None:
        await asyncio.sleep(0)
        seen = {key: [meta["phx_ref"] for meta in metas] for key, metas in presences.items()}
        self.told.append((topic, list(diff.joins), list(diff.leaves), seen))


async def test_handle_metas_sees_each_diff_and_who_is_there_after_it() -> None:
    """checklist 224; it needs no `init`, as the object is there to remember (223)"""
    async with running(Watching) as (presence, heard):
        one = presence.track("one", "ada", topic=TOPIC)
        await heard.has(1)
        two = presence.track("two", "ada", topic=TOPIC)
        three = presence.track("three", "grace", topic="where nobody listens")
        await until(lambda: len(presence.told) == 3)
        presence.untrack("one")
        presence.untrack("three")
        await until(lambda: len(presence.told) == 5)
        presence.untrack("two")
        await until(lambda: len(presence.told) == 6)
    assert presence.told == [
        (TOPIC, ["ada"], [], {"ada": [one]}),
        (TOPIC, ["ada"], [], {"ada": [one, two]}),
        ("where nobody listens", ["grace"], [], {"grace": [three]}),
        (TOPIC, [], ["ada"], {"ada": [two]}),
        ("where nobody listens", [], ["grace"], {}),
        (TOPIC, [], ["ada"], {}),
    ]


async def test_handle_metas_may_be_a_plain_def_and_its_faults_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Faulty(Presence):
        def handle_metas(self, topic: str, diff: Any, presences: Any) -> None:
            with pytest.raises(TypeError):
                presences["eve"] = []  # it is there to be read
            raise RuntimeError("cannot watch")

    async with running(Faulty) as (presence, heard):
        presence.track("one", "ada", topic=TOPIC)
        await heard.has(1)
        await until(lambda: "handle_metas for the diff of 'room' failed" in caplog.text)
        presence.track("two", "ada", topic=TOPIC)
        await heard.has(2)


@pytest.mark.parametrize("hook", ["fetch", "handle_metas"])
@pytest.mark.parametrize("value", ["no method", lambda self: None])
def test_a_hook_that_could_not_be_called_is_refused(hook: str, value: Any) -> None:
    cls = type("Wrong", (Presence,), {hook: value})
    with pytest.raises(
        ConfigurationError, match=rf"Wrong\.{hook} cannot be called: .*; expected a method that takes \(self"
    ):
        cls(PubSub("local://"))


@pytest.mark.parametrize("options", [{"diff_rate": -1}, {"hook_timeout": 0}])
def test_an_option_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="accepted are"):
        Presence(PubSub("local://"), **options)


# Large rooms.


def crowd(pubsub: PubSub, count: int) -> None:
    """Subscribers whom nobody asks what they got."""
    for _ in range(count):
        pubsub.subscribe(TOPIC, lambda message: None)


async def test_a_small_room_is_told_of_every_change_in_the_turn_in_which_it_happens() -> None:
    async with running() as (presence, heard):
        crowd(heard.pubsub, 48)
        for number in range(20):
            presence.track("one", str(number), topic=TOPIC)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert len(heard.diffs) == number + 1
        assert len(presence._diffs) == 0


async def test_a_large_room_is_told_at_once_and_then_of_all_that_happens_while_it_rests() -> None:
    async with running(diff_rate=100) as (presence, heard):
        crowd(heard.pubsub, 99)  # so that it rests for a second
        loop = asyncio.get_running_loop()
        first = presence.track("one", "first", topic=TOPIC)
        await heard.has(1)
        told = loop.time()
        for number in range(20):
            presence.track("one", f"user {number}", topic=TOPIC)
            await asyncio.sleep(0)
        presence.untrack("one", "user 3", topic=TOPIC)
        presence.untrack("one", "first", topic=TOPIC)
        await asyncio.sleep(0)
        assert len(heard.diffs) == 1
        diff = (await heard.has(2))[1]
        assert loop.time() - told >= 0.99
        assert len(diff["joins"]) == 19
        assert diff["leaves"] == {"first": metas(first)}
        await until(lambda: len(presence._diffs) == 0)  # and then it costs nothing


async def test_the_room_of_a_presence_without_a_rate_never_rests() -> None:
    async with running(diff_rate=0) as (presence, heard):
        crowd(heard.pubsub, 2_000)
        for number in range(5):
            presence.track("one", str(number), topic=TOPIC)
            await heard.has(number + 1)


async def test_a_list_while_a_room_rests_is_followed_by_the_leave_of_whoever_it_had() -> None:
    async with running(diff_rate=100) as (presence, heard):
        crowd(heard.pubsub, 99)
        presence.track("one", "first", topic=TOPIC)
        await heard.has(1)
        ref = presence.track("one", "ada", topic=TOPIC)
        assert "ada" in await presence.list(TOPIC)
        presence.untrack("one", "ada", topic=TOPIC)
        assert (await heard.has(2))[1] == {"joins": {}, "leaves": {"ada": metas(ref)}}


async def test_a_presence_that_stops_lets_go_of_everything() -> None:
    async with running(Gated, diff_rate=1_000) as (presence, heard):
        presence.gate = asyncio.Event()
        presence.track("one", "ada", topic=TOPIC)
        await asyncio.sleep(0.01)  # fetch is at work
    assert len(presence._diffs) == 0
    assert heard.diffs == []
    async with running(diff_rate=1_000) as (presence, heard):
        crowd(heard.pubsub, 99)
        presence.track("one", "ada", topic=TOPIC)
        await heard.has(1)  # it rests
        presence.track("one", "grace", topic="another")  # it has its turn soon
    assert len(presence._diffs) == 0


async def test_an_endpoint_starts_and_stops_its_presences_and_takes_none_while_it_runs() -> None:
    endpoint = Endpoint()
    presence = Presence(endpoint)
    await endpoint.start()
    heard = Heard(endpoint.pubsub)
    presence.track("one", "ada", topic=TOPIC)
    await heard.has(1)
    with pytest.raises(ConfigurationError, match="Presence was attached to an endpoint that has started"):
        Presence(endpoint, name="late")
    await endpoint.stop()


def test_an_endpoint_whose_loop_ended_without_a_stop_serves_in_the_next_one() -> None:
    endpoint = Endpoint()
    presence = Presence(endpoint)

    async def serve_once() -> list[str]:
        await endpoint.start()
        presence.track("one", "ada", topic=TOPIC)
        return list(await presence.list(TOPIC))

    assert asyncio.run(serve_once()) == ["ada"]
    assert asyncio.run(serve_once()) == ["ada"]


async def test_who_connects_while_an_endpoint_starts_waits_for_its_services() -> None:
    class Slow:
        def __init__(self) -> None:
            self.go_on = asyncio.Event()
            self.is_stopped = False

        async def start(self) -> None:
            await self.go_on.wait()

        async def stop(self) -> None:
            self.is_stopped = True

    endpoint, service = Endpoint(), Slow()
    endpoint.attach(service)
    first, second = (asyncio.create_task(endpoint.start()) for _ in range(2))
    await asyncio.sleep(0.01)
    assert (endpoint.is_started, endpoint.is_serving, endpoint.unready) == (True, False, "starting")
    first.cancel()  # whoever waited for it; it goes on
    stopping = asyncio.create_task(endpoint.stop())
    await asyncio.sleep(0.01)
    assert not second.done()
    assert not service.is_stopped
    service.go_on.set()
    await second
    await stopping
    assert service.is_stopped


async def test_an_endpoint_whose_service_does_not_start_tries_again() -> None:
    class Failing:
        attempts = 0

        async def start(self) -> None:
            self.attempts += 1
            if self.attempts == 1:
                raise RuntimeError("no database")

        async def stop(self) -> None:
            pass

    endpoint, service = Endpoint(), Failing()
    endpoint.attach(service)
    with pytest.raises(RuntimeError, match="no database"):
        await endpoint.start()
    assert not endpoint.is_started
    await endpoint.start()
    assert endpoint.is_serving
    await endpoint.stop()
