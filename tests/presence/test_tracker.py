"""A tracker by itself: what can be tracked, listed and updated, and what is refused.

Cases of phoenix_pubsub test/phoenix/tracker/integration_test.exs and pool_test.exs.
"""

import asyncio
import base64
import logging
import threading
import zlib
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest

from broadwing import (
    AlreadyTracked,
    Channel,
    ConfigurationError,
    Endpoint,
    LocalProtocolError,
    NotTracked,
    PubSub,
    Socket,
    Tracker,
)
from broadwing.presence.pace import Pace
from broadwing.presence.refs import Refs
from broadwing.presence.tracker import Diff
from tests.support.memory import line
from tests.support.trackers import until


class Recorder:
    """Where diffs go."""

    def __init__(self) -> None:
        self.diffs: list[Diff] = []

    def __call__(self, diff: Diff) -> None:
        self.diffs.append(diff)

    def take(self) -> list[Diff]:
        diffs, self.diffs = self.diffs, []
        return diffs


@pytest.fixture
async def pubsub() -> AsyncIterator[PubSub]:
    async with PubSub("local://") as made:
        yield made


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def tracker(pubsub: PubSub, recorder: Recorder) -> AsyncIterator[Tracker]:
    async with Tracker(pubsub, handle_diff=recorder) as made:
        yield made


async def test_what_is_tracked_is_listed_until_it_is_untracked(tracker: Tracker, recorder: Recorder) -> None:
    ref = tracker.track("owner", "lobby", "alice", {"at": 1})
    meta = {"at": 1, "phx_ref": ref}
    assert tracker.list("lobby") == tracker.dirty_list("lobby") == [("alice", meta)]
    assert tracker.get_by_key("lobby", "alice") == [meta]
    assert recorder.take() == [{"lobby": ([("alice", meta)], [])}]
    tracker.untrack("owner", "lobby", "alice")
    assert (tracker.list("lobby"), tracker.get_by_key("lobby", "alice")) == ([], [])
    assert recorder.take() == [{"lobby": ([], [("alice", meta)])}]


async def test_the_table_is_right_when_a_diff_is_handled(pubsub: PubSub) -> None:
    seen: list[Any] = []
    made = Tracker(pubsub, handle_diff=lambda diff: seen.append([key for key, _ in made.list("lobby")]))
    async with made:
        made.track("owner", "lobby", "alice", {})
        made.untrack("owner")
    assert seen == [["alice"], []]


async def test_untrack_of_what_is_not_there_is_no_error(tracker: Tracker, recorder: Recorder) -> None:
    tracker.untrack("owner")
    tracker.untrack("owner", "lobby")
    tracker.untrack("owner", "lobby", "alice")
    tracker.track("owner", "lobby", "alice", {})
    recorder.take()
    tracker.untrack("other", "lobby", "alice")
    tracker.untrack("owner", "lobby", "bob")
    tracker.untrack("owner", "other", "alice")
    assert recorder.take() == []
    assert [key for key, _ in tracker.list("lobby")] == ["alice"]


async def test_untrack_of_an_owner_ends_all_it_has_on_a_topic_or_everywhere(
    tracker: Tracker, recorder: Recorder
) -> None:
    for topic, key in (("a", "x"), ("a", "y"), ("b", "x"), ("c", "x")):
        tracker.track("owner", topic, key, {})
    tracker.track("other", "a", "x", {})
    recorder.take()
    tracker.untrack("owner", "a")
    (diff,) = recorder.take()
    assert [key for key, _ in diff["a"].leaves] == ["x", "y"]
    tracker.untrack("owner")
    (diff,) = recorder.take()
    assert sorted(diff) == ["b", "c"]
    assert [key for key, _ in tracker.list("a")] == ["x"]
    with pytest.raises(LocalProtocolError, match="without a topic"):
        tracker.untrack("owner", key="x")


async def test_an_owner_with_nothing_left_is_forgotten(tracker: Tracker) -> None:
    for _ in range(2):
        for key in ("x", "y"):
            tracker.track("owner", "a", key, {})
            tracker.track("other", "a", key, {})
        tracker.untrack("owner", "a", "x")
        tracker.untrack("owner", "a", "y")
        tracker.untrack("other", "a")
    tracker.track("owner", "a", "x", {})
    assert list(tracker._owners) == ["owner"]


async def test_the_same_owner_topic_and_key_cannot_be_tracked_twice(tracker: Tracker) -> None:
    tracker.track("owner", "lobby", "alice", {})
    with pytest.raises(AlreadyTracked, match="'owner' tracks 'alice' on 'lobby' already; `update`"):
        tracker.track("owner", "lobby", "alice", {})
    tracker.track("owner", "lobby", "bob", {})
    tracker.track("owner", "other", "alice", {})
    tracker.track("another", "lobby", "alice", {})
    assert [key for key, _ in tracker.list("lobby")] == ["alice", "alice", "bob"]
    assert len(tracker.get_by_key("lobby", "alice")) == 2


async def test_an_update_joins_the_new_meta_and_leaves_the_old_one(tracker: Tracker, recorder: Recorder) -> None:
    first = tracker.track("owner", "lobby", "alice", {"n": 1})
    recorder.take()
    second = tracker.update("owner", "lobby", "alice", {"n": 2, "phx_ref": "mine", "phx_ref_prev": "mine"})
    new = {"n": 2, "phx_ref": second, "phx_ref_prev": first}
    assert recorder.take() == [{"lobby": ([("alice", new)], [("alice", {"n": 1, "phx_ref": first})])}]
    third = tracker.update("owner", "lobby", "alice", lambda meta: {**meta, "n": meta["n"] + 1})
    assert tracker.list("lobby") == [("alice", {"n": 3, "phx_ref": third, "phx_ref_prev": second})]
    assert len({first, second, third}) == 3


async def test_a_function_that_updates_has_a_copy_of_its_own(tracker: Tracker) -> None:
    tracker.track("owner", "lobby", "alice", {"tags": ["a"]})
    old = tracker.get_by_key("lobby", "alice")[0]

    def add(meta: dict[str, Any]) -> dict[str, Any]:
        meta["tags"].append("b")
        return meta

    tracker.update("owner", "lobby", "alice", add)
    assert old["tags"] == ["a"]
    assert tracker.get_by_key("lobby", "alice")[0]["tags"] == ["a", "b"]


async def test_what_is_not_tracked_cannot_be_updated(tracker: Tracker) -> None:
    with pytest.raises(NotTracked, match="'owner' does not track 'alice' on 'lobby'"):
        tracker.update("owner", "lobby", "alice", {})
    tracker.track("owner", "lobby", "alice", {})
    for owner, topic, key in (("other", "lobby", "alice"), ("owner", "x", "alice"), ("owner", "lobby", "x")):
        with pytest.raises(NotTracked):
            tracker.update(owner, topic, key, {})


async def test_a_meta_is_kept_as_it_was_when_it_was_given(tracker: Tracker) -> None:
    meta = {"tags": ["a"]}
    tracker.track("owner", "lobby", "__proto__", meta)
    meta["tags"].append("b")
    assert tracker.list("lobby")[0][0] == "__proto__"
    assert tracker.list("lobby")[0][1]["tags"] == ["a"]
    assert "phx_ref" not in meta


@pytest.mark.parametrize("bad", [["a"], {"a": object()}, {"a": "x" * 70_000}])
async def test_what_cannot_be_sent_is_refused_where_it_is_given(tracker: Tracker, bad: Any) -> None:
    with pytest.raises(LocalProtocolError):
        tracker.track("owner", "lobby", "alice", bad)
    with pytest.raises(LocalProtocolError):
        tracker.track("owner", "lobby", 7, {})  # type: ignore[arg-type]
    assert tracker.list("lobby") == []
    tracker.track("owner", "lobby", "alice", {})
    with pytest.raises(LocalProtocolError):
        tracker.update("owner", "lobby", "alice", bad)
    assert len(tracker.list("lobby")) == 1


@pytest.mark.parametrize("shards", [1, 2, 8, 512])
async def test_any_number_of_shards_behaves_the_same(pubsub: PubSub, recorder: Recorder, shards: int) -> None:
    async with Tracker(pubsub, shards=shards, handle_diff=recorder) as tracker:
        topics = [f"topic{number}" for number in range(100)]
        refs = {topic: tracker.track("owner", topic, "me", {"name": topic}) for topic in topics}
        for topic in topics:
            assert tracker.list(topic) == [("me", {"name": topic, "phx_ref": refs[topic]})]
        for topic in topics:
            tracker.update("owner", topic, "me", lambda meta: {**meta, "more": 1})
            ((_, meta),) = tracker.list(topic)
            assert (meta["more"], meta["phx_ref_prev"]) == (1, refs[topic])
        for topic in topics[:50]:
            tracker.untrack("owner", topic, "me")
        tracker.untrack("owner")
        assert [topic for topic in topics if tracker.list(topic)] == []
        joined = [key for diff in recorder.diffs for changes in diff.values() for key, _ in changes.joins]
        left = [key for diff in recorder.diffs for changes in diff.values() for key, _ in changes.leaves]
        assert len(joined) == len(left) == 200


async def test_topics_go_to_shards_by_a_hash_that_is_the_same_everywhere(pubsub: PubSub) -> None:
    async with Tracker(pubsub, name="users", shards=4) as tracker:
        tracker.track("owner", "lobby", "alice", {})
        full = [len(shard.participant.state) for shard in tracker._shards]
        assert full.index(1) == zlib.crc32(b"lobby") % 4
        assert [shard.topic for shard in tracker._shards] == [f"phx_presence:users_shard{n}" for n in range(4)]


async def test_trackers_of_other_names_know_nothing_of_each_other(pubsub: PubSub) -> None:
    async with Tracker(pubsub, name="one") as one, Tracker(pubsub, name="two") as two:
        one.track("owner", "lobby", "alice", {})
        assert two.list("lobby") == []
        with pytest.raises(ConfigurationError, match="a tracker named 'one' on this node already"):
            await Tracker(pubsub, name="one").start()


async def test_a_tracker_that_is_started_again_is_empty(pubsub: PubSub) -> None:
    tracker = Tracker(pubsub, shards=2)
    for _ in range(2):
        async with tracker:
            assert tracker.is_started
            tracker.track("owner", "lobby", "alice", {})
            with pytest.raises(LocalProtocolError, match="was started already"):
                await tracker.start()
        assert not tracker.is_started
        assert (tracker.list("lobby"), tracker.get_by_key("lobby", "alice"), tracker.replicas) == ([], [], {})
        assert pubsub.registry.topics == {}
    await tracker.stop()


async def test_graceful_permdown_stops_all_shards(pubsub: PubSub) -> None:
    tracker = Tracker(pubsub, shards=8)
    await tracker.start()
    before = asyncio.all_tasks()
    await tracker.graceful_permdown()
    assert len(asyncio.all_tasks()) == len(before) - 1
    assert pubsub.registry.topics == {}
    await tracker.graceful_permdown()


async def test_nothing_can_be_tracked_by_a_tracker_that_is_not_started(pubsub: PubSub) -> None:
    tracker = Tracker(pubsub)
    with pytest.raises(LocalProtocolError, match="is not started"):
        tracker.track("owner", "lobby", "alice", {})
    with pytest.raises(LocalProtocolError, match="is not started"):
        tracker.update("owner", "lobby", "alice", {})
    tracker.untrack("owner")
    assert tracker.list("lobby") == tracker.dirty_list("lobby") == []
    with pytest.raises(LocalProtocolError, match="before its bus"):
        await Tracker(PubSub("local://")).start()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"broadcast_period": 1.5, "down_period": 2.9}, "down_period must be at least twice as large as the broadcast_period"),
        ({"down_period": 1_200.0}, "permdown_period must be larger than the down_period"),
        ({"permdown_period": 30.0}, "permdown_period must be larger"),
        ({"broadcast_period": 0.0}, "broadcast_period"),
        ({"shards": 0}, "shards must be at least 1"),
        ({"max_silent_periods": 0}, "max_silent_periods"),
        ({"clock_sample_periods": 0}, "clock_sample_periods"),
        ({"max_delta_sizes": ()}, "max_delta_sizes"),
        ({"max_delta_sizes": (100, 10)}, "max_delta_sizes"),
        ({"max_delta_sizes": (0, 10)}, "max_delta_sizes"),
    ],
)  # fmt: skip
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Tracker(PubSub("local://"), **options)


def test_the_down_period_follows_from_the_others() -> None:
    assert Tracker(PubSub("local://")).down_period == 30.0
    assert Tracker(PubSub("local://"), broadcast_period=1, max_silent_periods=4).down_period == 8


async def test_a_handler_of_diffs_that_raises_stops_nothing(pubsub: PubSub, caplog: pytest.LogCaptureFixture) -> None:
    def fail(diff: Diff) -> None:
        raise RuntimeError("no")

    async with Tracker(pubsub, handle_diff=fail) as tracker:
        tracker.track("owner", "lobby", "alice", {})
        assert [key for key, _ in tracker.list("lobby")] == ["alice"]
    assert "handle_diff of the tracker 'tracker' raised" in caplog.text


async def test_a_process_that_is_alone_keeps_nothing_to_say(pubsub: PubSub) -> None:
    async with Tracker(pubsub, broadcast_period=0.01) as tracker:
        said: list[Any] = []
        pubsub.subscribe("phx_presence:tracker_shard0", said.append)
        tracker.track("owner", "lobby", "alice", {})
        state = tracker._shards[0].participant.state
        await until(lambda: not state._delta)
        assert (said, tracker.replicas, tracker.node_name) == ([], {}, pubsub.node_name)


# Other threads.


async def test_another_thread_may_do_all_of_it_and_waits_for_the_loop(tracker: Tracker) -> None:
    def work() -> list[Any]:
        assert threading.current_thread() is not threading.main_thread()
        first = tracker.track("owner", "lobby", "alice", {"n": 1})
        with pytest.raises(AlreadyTracked):
            tracker.track("owner", "lobby", "alice", {})
        tracker.update("owner", "lobby", "alice", lambda meta: {"n": 2})
        seen = [first, *tracker.list("lobby"), *tracker.get_by_key("lobby", "alice"), *tracker.dirty_list("lobby")]
        tracker.untrack("owner")
        return seen

    seen = await asyncio.to_thread(work)
    assert seen[2]["phx_ref_prev"] == seen[0]
    assert seen[1] == seen[3] == ("alice", seen[2])
    assert tracker.list("lobby") == []


def test_a_loop_that_has_ended_is_said_to_have() -> None:
    async def main() -> Tracker:
        async with PubSub("local://") as pubsub:
            tracker = Tracker(pubsub)
            await tracker.start()
            tracker._ticking.cancel()  # type: ignore[union-attr]
            return tracker

    tracker = asyncio.run(main())
    raised = []

    def work() -> None:
        with pytest.raises(LocalProtocolError, match="has ended"):
            tracker.track("owner", "lobby", "alice", {})
        raised.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert raised == [True]


# Parts.


def test_a_ref_is_sixteen_characters_that_nobody_else_has() -> None:
    refs, others = Refs("a 1 x"), Refs("b 1 x")
    made = [refs.next() for _ in range(70_000)] + [others.next() for _ in range(1_000)]
    assert len(set(made)) == len(made)
    for ref in made[:10]:
        assert len(ref) == 16
        assert len(base64.urlsafe_b64decode(ref)) == 12
    assert base64.urlsafe_b64decode(made[0])[8:10] == base64.urlsafe_b64decode(made[1])[8:10]


def test_time_stands_still_while_the_node_does() -> None:
    clock = [100.0]
    pace = Pace(lambda: clock[0], 2.0)
    assert pace.now() == 0.0
    clock[0] += 1.5
    assert (pace.now(), pace.tick(), pace.now()) == (1.5, 0.0, 1.5)
    clock[0] += 3_600.0
    assert pace.now() == 3.5
    assert pace.tick() == 3_598.0
    assert pace.now() == 3.5
    clock[0] += 1.0
    assert pace.now() == 4.5


async def test_no_client_joins_a_topic_on_which_nodes_speak_to_each_other() -> None:
    class AnyChannel(Channel):
        async def join(self, params: Any) -> None:
            pass

    class AnySocket(Socket):
        channels: ClassVar = {"*": AnyChannel}

    client = await line(AnySocket, endpoint=Endpoint())
    assert (await client.join("anything"))["status"] == "ok"
    answer = await client.join("phx_presence:tracker_shard0", join_ref="2")
    assert answer == {"status": "error", "response": {"reason": "unmatched topic"}}


async def test_what_an_application_broadcasts_on_such_a_topic_is_dropped_with_one_line(
    pubsub: PubSub, caplog: pytest.LogCaptureFixture
) -> None:
    async with Tracker(pubsub) as tracker:
        with caplog.at_level(logging.WARNING):
            payloads: list[Any] = [{}, b"\xc1", b""]
            for payload in payloads:
                for event in ("heartbeat", "part", "anything"):
                    pubsub.broadcast("phx_presence:tracker_shard0", event, payload)
        assert tracker._shards[0].dropped == 9
        assert len(caplog.records) == 1
        assert "is not a tracker's (1 so far): 'heartbeat' came as JSON" in caplog.text
