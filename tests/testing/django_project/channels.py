"""Channels that use the database, from threads and from coroutines."""

from typing import Any

from django.db import connection

from broadwing import Channel, Endpoint, Ok, Socket, on
from tests.testing.django_project.models import Note

used: list[Any] = []


class NotesChannel(Channel):
    async def join(self, params: Any) -> None:
        """Admit everybody."""

    @on("add")
    def add(self, payload: dict[str, str]) -> Ok:
        """In a thread, as Django's own views."""
        Note.objects.create(body=payload["body"])
        used.append(connection.connection)
        self.broadcast("added", payload)
        return Ok()

    @on("count")
    def count(self) -> dict[str, int]:
        return {"count": Note.objects.count()}

    @on("add_async")
    async def add_async(self, payload: dict[str, str]) -> Ok:
        """In the loop, by Django's asynchronous queries."""
        await Note.objects.acreate(body=payload["body"])
        return Ok()

    @on("count_async")
    async def count_async(self) -> dict[str, int]:
        return {"count": await Note.objects.acount()}


class UserSocket(Socket):
    channels = {"notes": NotesChannel}


endpoint = Endpoint()
endpoint.socket("/socket", UserSocket)
