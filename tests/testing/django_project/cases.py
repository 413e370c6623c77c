"""Tests of the project, for Django's own runner; tests/testing/test_beside_django.py starts it."""

import asyncio
import sqlite3

from django.db import connection
from django.test import TestCase, TransactionTestCase

from broadwing.testing import ChannelTest, VirtualClock, channel_test
from tests.testing.django_project.channels import endpoint, used
from tests.testing.django_project.models import Note


class HandlersInThreads(TransactionTestCase):  # type: ignore[misc] # Django has no types
    """What is written is committed, so that the test and the threads see each other's rows."""

    def test_a_handler_and_the_test_see_each_others_rows(self) -> None:
        Note.objects.create(body="of the test")
        with channel_test(endpoint, timeout=30) as test:
            notes = test.subscribe_and_join("notes")
            notes.assert_reply(notes.push("add", {"body": "of the handler"}), "ok")
            notes.assert_broadcast("added", {"body": "of the handler"})
            notes.assert_reply(notes.push("count"), "ok", {"count": 2})
            self.assertEqual(Note.objects.count(), 2)

    def test_no_thread_keeps_its_connection(self) -> None:
        used.clear()
        with channel_test(endpoint, timeout=30) as test:
            notes = test.join("notes")
            notes.assert_reply(notes.push("add", {"body": "of the handler"}), "ok")
            (one,) = used
            with self.assertRaisesRegex(sqlite3.ProgrammingError, "closed"):
                one.execute("select 1")
        self.assertIsNot(one, connection.connection)

    def test_coroutines_see_committed_rows(self) -> None:
        Note.objects.create(body="of the test")
        with channel_test(endpoint, timeout=30) as test:
            notes = test.join("notes")
            notes.assert_reply(notes.push("add_async", {"body": "of the handler"}), "ok")
            notes.assert_reply(notes.push("count_async"), "ok", {"count": 2})
        self.assertEqual(Note.objects.count(), 2)


class InOneTransaction(TestCase):  # type: ignore[misc] # Django has no types
    """The test runs in a transaction that is rolled back, and only its own connection sees what is in it."""

    def test_a_handler_in_a_thread_does_not_see_the_tests_rows(self) -> None:
        Note.objects.create(body="of the test")
        with channel_test(endpoint, timeout=30) as test:
            notes = test.join("notes")
            notes.assert_reply(notes.push("count"), "ok", {"count": 0})
        self.assertEqual(Note.objects.count(), 1)

    async def test_coroutines_are_in_the_tests_transaction(self) -> None:
        await Note.objects.acreate(body="of the test")
        async with ChannelTest(endpoint, timeout=30) as test:
            notes = await test.join("notes")
            await notes.assert_reply(notes.push("add_async", {"body": "of the handler"}), "ok")
            await notes.assert_reply(notes.push("count_async"), "ok", {"count": 2})
        self.assertEqual(await Note.objects.acount(), 2)

    async def test_there_is_virtual_time_too(self) -> None:
        with VirtualClock().installed() as clock:
            async with ChannelTest(endpoint) as test:
                notes = await test.join("notes")
                await notes.assert_reply(notes.push("add_async", {"body": "of the handler"}), "ok")
                await asyncio.sleep(3600)
                await notes.assert_reply(notes.push("count_async"), "ok", {"count": 1})
            self.assertGreater(clock.jumped, 3599)
