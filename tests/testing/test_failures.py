"""What a failed test of a channel says, as pytest shows it."""

from textwrap import dedent

import pytest

pytest_plugins = ["pytester"]

ROOM = """
    import asyncio
    import pytest
    from broadwing import Channel, JoinError, Ok, on
    from broadwing.testing import ANY, Capture, ChannelTest, Exactly

    class Room(Channel):
        async def join(self, params):
            if params.get("crash"):
                raise ZeroDivisionError("a fault in join")

        @on("say")
        async def say(self, payload):
            self.broadcast("new_msg", payload)

        @on("ask")
        async def ask(self, payload):
            return payload

        @on("crash")
        async def crash(self):
            raise ValueError("a fault in crash")

        @on("hang")
        async def hang(self):
            await asyncio.sleep(1e9)
"""


def failure(pytester: pytest.Pytester, test: str) -> pytest.RunResult:
    """Run a test that is to fail, and nothing else of it."""
    pytester.makepyfile(dedent(ROOM) + dedent(test))
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function")
    result = pytester.runpytest()
    result.assert_outcomes(failed=1)
    return result


def test_the_nearest_miss_is_told_with_the_keys_that_differ(pytester: pytest.Pytester) -> None:
    result = failure(
        pytester,
        """
        def test_it(channel_test):
            room = channel_test(Room).join("room:1")
            room.push("say", {"body": "something else", "user": {"id": 7}})
            room.push("say", {"body": "hi", "user": {"id": 2, "name": "Ada"}, "more": 1})
            room.push("ask", {"n": 1})
            room.assert_push("new_msg", {"body": "hi", "user": {"id": 1, "name": str, "age": int}})
        """,
    )
    result.stdout.fnmatch_lines(
        [
            "E * assert_push('new_msg', {'body': 'hi', 'user': {'id': 1, 'name': str, 'age': int}}): nothing that fits arrived within 1 s",
            "E * nearest: new_msg on room:1: {'body': 'hi', 'user': {'id': 2, 'name': 'Ada'}, 'more': 1}",
            "E * ✗ user.id",
            "E * expected 1",
            "E * got      2",
            "E * ✗ user.age",
            "E * expected int",
            "E * got      nothing: there is no such key",
            "E * arrived instead (3):",
            "E * new_msg on room:1: {'body': 'something else', 'user': {'id': 7}}",
            "E * new_msg on room:1: {'body': 'hi', *",
            "E * reply ok to ref 4 on room:1: {'n': 1}",
        ]
    )
    # The test's own line is shown, and none of the kit's or of asyncio's.
    result.stdout.fnmatch_lines(['>*room.assert_push("new_msg"*'])
    result.stdout.no_fnmatch_line("*base_events.py*")
    result.stdout.no_fnmatch_line("*testing/client.py*")


def test_errors_of_the_application_are_told_with_their_traceback(pytester: pytest.Pytester) -> None:
    result = failure(
        pytester,
        """
        def test_it(channel_test):
            room = channel_test(Room).join("room:1")
            room.assert_reply(room.push("crash"), "ok")
        """,
    )
    result.stdout.fnmatch_lines(
        [
            "E * assert_reply('2', 'ok', ANY): no reply that fits arrived within 1 s",
            "E * phx_error on room:1: {'reason': 'channel_crash'}",
            "E * logged meanwhile:",
            "E * ERROR broadwing.channel: Room on 'room:1' crashed; its client is told phx_error",
            "E * in crash",
            "E * ValueError: a fault in crash",
        ]
    )


def test_a_join_that_crashes_is_told_with_its_traceback(pytester: pytest.Pytester) -> None:
    result = failure(
        pytester,
        """
        def test_it(channel_test):
            channel_test(Room).join("room:1", {"crash": True})
        """,
    )
    result.stdout.fnmatch_lines(
        ["E * broadwing.exceptions.JoinError: {'reason': 'join crashed'}", "E * ZeroDivisionError: a fault in join"]
    )


def test_a_wrong_status_is_told(pytester: pytest.Pytester) -> None:
    result = failure(
        pytester,
        """
        def test_it(channel_test):
            room = channel_test(Room).join("room:1")
            room.assert_reply(room.push("ask", {"n": 1}), "error", {"n": 1})
        """,
    )
    result.stdout.fnmatch_lines(["E * ✗ status", "E * expected 'error'", "E * got      'ok'"])


def test_a_name_that_is_nearly_right_is_told(pytester: pytest.Pytester) -> None:
    result = failure(
        pytester,
        """
        def test_it(channel_test):
            room = channel_test(Room).join("room:1")
            room.push("say", {})
            room.assert_push("new_mesg")
        """,
    )
    result.stdout.fnmatch_lines(["E * did you mean the event 'new_msg'?"])


def test_when_nothing_came_that_is_told(pytester: pytest.Pytester) -> None:
    result = failure(
        pytester,
        """
        def test_it(channel_test):
            room = channel_test(Room).join("room:1")
            room.push("hang")
            room.assert_push("new_msg", timeout=3)
        """,
    )
    result.stdout.fnmatch_lines(
        ["E * assert_push('new_msg'): nothing that fits arrived within 3 s", "E * nothing else arrived"]
    )


def test_of_many_messages_the_last_are_told(pytester: pytest.Pytester) -> None:
    result = failure(
        pytester,
        """
        def test_it(channel_test):
            room = channel_test(Room).join("room:1")
            for n in range(50):
                room.push("ask", {"n": n})
            room.assert_push("new_msg")
        """,
    )
    result.stdout.fnmatch_lines(
        ["E * arrived instead (50):", "E * … 30 before these", "E * {'n': 30}", "E * {'n': 49}"]
    )
    result.stdout.no_fnmatch_line("*{'n': 29}*")


def test_a_broadcast_that_did_not_come_is_told(pytester: pytest.Pytester) -> None:
    result = failure(
        pytester,
        """
        def test_it(channel_test):
            room = channel_test(Room).subscribe_and_join("room:1")
            room.push("say", {"body": "hi"})
            room.assert_broadcast("new_msg", Exactly({}))
        """,
    )
    result.stdout.fnmatch_lines(
        [
            "E * assert_broadcast('new_msg', Exactly({})): nothing that fits was broadcast within 1 s",
            "E * ✗ body",
            "E * expected no such key",
            "E * got      'hi'",
        ]
    )


def test_coroutines_fail_with_the_same_words(pytester: pytest.Pytester) -> None:
    result = failure(
        pytester,
        """
        async def test_it(broadwing_clock):
            async with ChannelTest(Room) as test:
                room = await test.join("room:1")
                room.push("say", {"body": "ho"})
                await room.assert_push("new_msg", {"body": "hi"})
        """,
    )
    result.stdout.fnmatch_lines(
        [
            '>*await room.assert_push("new_msg"*',
            "E * assert_push('new_msg', {'body': 'hi'}): nothing that fits arrived within 1 s",
            "E * ✗ body",
        ]
    )
    result.stdout.no_fnmatch_line("*testing/client.py*")


def test_a_thread_that_never_comes_back_fails_the_test_and_lets_the_run_end(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import threading
        from broadwing import Channel, on

        class Room(Channel):
            async def join(self, params):
                pass

            @on("hang")
            def hang(self):
                threading.Event().wait()

        def test_it(channel_test):
            test = channel_test(Room, timeout=0.1)
            room = test.join("room:1")
            ref = room.push("hang")
            try:
                room.assert_reply(ref, "ok")
            finally:
                room.close(timeout=0.1)
        """
    )
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function")
    result = pytester.runpytest_subprocess(timeout=60)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E * assert_reply('2', 'ok', ANY): no reply that fits arrived within 0.1 s"])


@pytest.mark.parametrize("options", [[], ["-o", "broadwing_timeout=7"]])
def test_the_time_to_wait_is_a_setting(pytester: pytest.Pytester, options: list[str]) -> None:
    pytester.makepyfile(
        dedent(ROOM)
        + dedent(
            """
            def test_it(channel_test):
                channel_test(Room).join("room:1").assert_push("new_msg")
            """
        )
    )
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function")
    result = pytester.runpytest(*options)
    seconds = 7 if options else 1
    result.stdout.fnmatch_lines([f"E * nothing that fits arrived within {seconds} s"])
