"""`broadwing connect` by hand: a prompt, with what happens above it."""

import asyncio
import contextlib
import os
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.shortcuts import print_formatted_text
from prompt_toolkit.styles import Style

from broadwing.console.lines import HELP, BadLine, Line, read_line
from broadwing.console.memory import Memory
from broadwing.console.records import Record, as_fragments
from broadwing.console.session import Session
from broadwing.console.settings import Exit, Settings

PING_INTERVAL = 5.0
"""Seconds between two measurements of the latency in the toolbar."""

STYLE = Style.from_dict(
    {
        "good": "ansigreen",
        "bad": "ansired bold",
        "warn": "ansiyellow",
        "event": "ansicyan bold",
        "presence": "ansimagenta",
        "topic": "ansiblue",
        "json": "",
        "dim": "ansibrightblack",
    }
)


class _Completer(Completer):
    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        for text, length in self._memory.complete(document.text_before_cursor):
            yield Completion(text, start_position=-length)


class Console:
    """The prompt of one session.

    Args:
        settings: The command line.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._memory = Memory()
        self._topic = settings.topic
        self._session = Session(settings, self._show)
        self._prompt: PromptSession[str] = PromptSession(
            history=self._history(settings.history),
            completer=_Completer(self._memory),
            bottom_toolbar=self._toolbar,
            refresh_interval=0.5,
            style=STYLE,
        )
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> Exit:
        """From the connection to `/quit`."""
        try:
            if (opened := await self._session.open()) is not Exit.OK:
                return opened
            if (joined := await self._session.join(self._topic, self._settings.join)) is not Exit.OK:
                return joined
            self._show(Record("note", {"text": "EVENT JSON pushes, /help tells more, Ctrl-D ends"}))
            self._start(self._measure())
            with patch_stdout(raw=True):
                await self._talk()
            return Exit.OK
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._session.close()

    async def _talk(self) -> None:
        while True:
            try:
                text = await self._prompt.prompt_async(lambda: f"{self._topic}> ")
                line = read_line(text)
            except BadLine as error:
                self._note(str(error))
                continue
            except KeyboardInterrupt:
                continue  # as in other consoles, Ctrl-C clears the line
            except EOFError:
                return
            if line is None:
                continue
            if line.command == "/quit":
                return
            self._memory.sent(text)
            # In a task, so that what waits for a reply does not keep the prompt.
            self._start(self._do(line))

    async def _do(self, line: Line) -> None:
        match line.command:
            case "/help":
                for usage, meaning in HELP:
                    self._note(f"{usage:<20} {meaning}")
            case "/ping":
                await self._session.ping()
            case "/join":
                if await self._session.join(line.name, line.payload) is Exit.OK:
                    self._topic = line.name
            case _:
                await self._do_on_topic(line)

    async def _do_on_topic(self, line: Line) -> None:
        topic = line.name if line.command in ("/topic", "/leave") and line.name else self._topic
        channel = self._session.channels.get(topic)
        if channel is None:
            self._note(f"{topic} is not joined; write /join {topic}")
            return
        match line.command:
            case "/topic":
                self._topic = topic
            case "/leave":
                await self._session.leave(topic)
            case "/who":
                presence = self._session.presences[topic]
                who = presence.list(lambda key, entry: f"{key} ({len(entry['metas'])})")
                self._note(", ".join(who) or f"nobody, or the server tells nothing of presence on {topic}")
            case "/send":
                channel.send(line.name, line.payload)
            case _:
                await self._session.push(topic, line.name, line.payload)

    async def _measure(self) -> None:
        while True:
            await self._session.socket.ping()
            await asyncio.sleep(PING_INTERVAL)

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine, name="broadwing console: a line")
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._note(f"{type(error).__name__}: {error}")

    def _note(self, text: str) -> None:
        self._show(Record("note", {"text": text}))

    def _show(self, record: Record) -> None:
        if record.kind == "message":
            self._memory.received(record.fields["payload"])
        elif record.kind == "joined":
            self._memory.topics[record.fields["topic"]] = None
        print_formatted_text(FormattedText(as_fragments(record)), style=STYLE)

    def _toolbar(self) -> FormattedText:
        socket = self._session.socket
        channel = self._session.channels.get(self._topic)
        presence = self._session.presences.get(self._topic)
        parts = [str(socket.status), socket.transport, f"{self._topic} {channel.status if channel else 'not joined'}"]
        if socket.latency is not None:
            parts.append(f"{socket.latency * 1000:.1f} ms")
        if presence is not None and presence.state:
            parts.append(f"{len(presence.state)} here")
        return FormattedText([("", " · ".join(parts))])

    def _history(self, path: Path | None) -> History:
        if path is None:
            return InMemoryHistory()
        with contextlib.suppress(OSError):  # then nothing is remembered beyond this session
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(
                os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
            )  # payloads are nobody else's business
            history = FileHistory(str(path))
            for text in reversed(list(history.load_history_strings())):
                self._memory.sent(text)
            return history
        return InMemoryHistory()
