"""`broadwing connect` as scripts and people use it: a process, and a pseudo-terminal."""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.app import make_endpoint
from tests.support.background import TIMEOUT, Background, background
from tests.support.loopback import HOST, free_port

COMMAND = Path(sys.executable).with_name("broadwing")
CONTROL = re.compile(r"\x1b\][^\x07]*\x07|\x1b[\[(?][0-9;?]*[a-zA-Z]|\x1b[=>]|[\r\x00]")


@pytest.fixture(scope="module")
def served() -> Iterator[Background]:
    """The server."""
    with background(make_endpoint()) as each:
        yield each


def script(served: Background | str, topic: str, *options: str) -> tuple[int, list[str], str]:
    """Run it as in a script: exit code, lines, and what it complained of."""
    url = served if isinstance(served, str) else served.url("/socket")
    done = subprocess.run(
        [COMMAND, "connect", url, topic, "--timeout", str(TIMEOUT), *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=2 * TIMEOUT,
        env={**os.environ, "NO_PROXY": "*", "COLUMNS": "200"},
    )
    return done.returncode, done.stdout.splitlines(), done.stderr


def records(lines: list[str]) -> list[dict[str, Any]]:
    """Lines of `--json`, without times."""
    return [{k: v for k, v in json.loads(line).items() if k != "ms"} for line in lines]


class TestScript:
    @pytest.mark.parametrize("way", [(), ("--longpoll",), ("--vsn", "1.0.0")])
    def test_a_push_and_its_reply(self, served: Background, way: tuple[str, ...]) -> None:
        code, lines, errors = script(served, "room:lobby", "--push", "echo", '{"n": 1}', "--json", *way)
        assert code == 0, errors
        assert records(lines) == [
            {"kind": "connected", "transport": "longpoll" if "--longpoll" in way else "websocket"},
            {"kind": "joined", "topic": "room:lobby", "response": {}},
            {"kind": "reply", "topic": "room:lobby", "event": "echo", "status": "ok", "response": {"n": 1}},
        ]

    def test_a_push_that_has_no_reply_and_the_event_that_follows(self, served: Background) -> None:
        options = ("--push", "new_msg", '{"body": "hi"}', "--wait", "new_msg", "--json")
        code, lines, errors = script(served, "room:lobby", *options)
        assert code == 0, errors
        expected = {"kind": "message", "topic": "room:lobby", "event": "new_msg", "payload": {"body": "hi"}}
        assert records(lines)[-1] == expected

    def test_all_that_is_waited_for_has_to_come(self, served: Background) -> None:
        options = ("--push", "order", "{}", "--wait", "three", "--wait", "one", "--json")
        code, lines, errors = script(served, "story:order", *options)
        assert code == 0, errors
        assert [r["event"] for r in records(lines) if r["kind"] == "message"] == ["one", "two", "three"]

    def test_lines_for_people_are_the_default(self, served: Background) -> None:
        options = ("--join", '{"a": 1}', "--push", "echo", "0x00ff")
        code, lines, _ = script(served, "room:reply", *options)
        assert code == 0
        assert lines[1] == '▶ room:reply joined {"got":{"a":1},"n":1}'
        assert lines[2].startswith("✓ room:reply echo ok 0x00ff (")

    def test_presence_is_told_once_for_each(self, served: Background) -> None:
        options = ("--join", '{"user_id": "u1", "meta": {"device": "phone"}}', "--wait", "never", "--json")
        code, lines, _ = script(served, "presence:script", *options, "--timeout", "2")
        assert code == 6
        present = [r for r in records(lines) if r["kind"] == "present"]
        assert present == [{"kind": "present", "topic": "presence:script", "key": "u1", "metas": [{"device": "phone"}]}]

    def test_parameters_and_token_reach_the_server(self, served: Background) -> None:
        code, _, errors = script(served, "room:lobby", "--param", "user_id=7", "--push", "info", "{}")
        assert code == 0, errors
        code, lines, _ = script(served, "room:lobby", "--param", "refuse=error", "--push", "echo", "{}", "--json")
        assert code == 3
        assert "403" in records(lines)[-1]["reason"]

    @pytest.mark.parametrize(
        ("topic", "options", "code", "kind"),
        [
            ("room:private", ("--push", "echo", "{}"), 4, "refused"),
            ("room:lobby", ("--push", "reply_error_map", "{}"), 5, "reply"),
            ("room:lobby", ("--push", "reply_error_map", "{}", "--wait", "never"), 5, "reply"),
            ("room:lobby", ("--push", "noreply", "{}", "--timeout", "0.5"), 6, "failed"),
            ("room:lobby", ("--push", "noreply", "{}", "--wait", "never", "--timeout", "0.5"), 6, "failed"),
            ("room:lobby", ("--push", "stop_normal", "{}", "--wait", "never"), 7, None),
        ],
    )
    def test_the_exit_code_says_how_it_went(
        self, served: Background, topic: str, options: tuple[str, ...], code: int, kind: str | None
    ) -> None:
        ended, lines, errors = script(served, topic, *options, "--json")
        assert ended == code, errors
        if kind is not None:
            assert records(lines)[-1]["kind"] == kind

    def test_where_nobody_listens_it_ends_in_time(self) -> None:
        url = f"ws://{HOST}:{free_port()}/socket"
        code, lines, _ = script(url, "room:lobby", "--push", "echo", "{}", "--timeout", "0.5", "--json")
        assert code == 3
        assert [r["kind"] for r in records(lines)] == ["failed"]

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ((), "use --push, --wait or --follow"),
            (("--push", "echo", "{bad"), "is no JSON"),
            (("--join", "{bad", "--wait", "x"), "--join"),
            (("--param", "novalue", "--wait", "x"), "write NAME=VALUE"),
            (("--vsn", "3", "--wait", "x"), "accepted are 2.0.0, 1.0.0"),
        ],
    )
    def test_what_cannot_be_understood_ends_with_2(
        self, served: Background, options: tuple[str, ...], says: str
    ) -> None:
        code, lines, errors = script(served, "room:lobby", *options)
        assert (code, lines) == (2, [])
        assert says in errors

    def test_follow_prints_until_it_is_interrupted(self, served: Background) -> None:
        process = subprocess.Popen(
            [COMMAND, "connect", served.url("/socket"), "room:followed", "--follow", "--json"],
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env={**os.environ, "NO_PROXY": "*"},
        )
        assert process.stdout is not None
        try:
            told = [json.loads(process.stdout.readline())["kind"] for _ in range(2)]
            assert told == ["connected", "joined"]
            code, _, _ = script(served, "room:followed", "--push", "new_msg", '{"n": 1}', "--wait", "new_msg")
            assert code == 0
            assert json.loads(process.stdout.readline())["payload"] == {"n": 1}
            process.send_signal(signal.SIGINT)
            assert process.wait(TIMEOUT) == 0
        finally:
            process.kill()
            process.communicate()

    def test_help_has_examples_and_exit_codes(self) -> None:
        done = subprocess.run([COMMAND, "connect", "--help"], capture_output=True, encoding="utf-8", check=True)
        assert "--push new_msg" in " ".join(done.stdout.split())
        assert "4 the join was refused" in " ".join(done.stdout.split())


class Terminal:
    """A person at a terminal."""

    def __init__(self, *arguments: str, history: Path) -> None:
        self.seen = ""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1", "NO_PROXY": "*"}
        self.process = subprocess.Popen(
            [COMMAND, "connect", *arguments, "--history", str(history)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def answer(self, text: str) -> None:
        """Wait for a line above the prompt, and for the prompt below it: in between the terminal is not its own."""
        self.expect(text)
        self.expect(">")

    def expect(self, text: str) -> None:
        """Wait until this is on the screen, behind what was expected before."""
        deadline = time.monotonic() + TIMEOUT
        raw = b""
        while True:
            position = self.seen.find(text)
            if position >= 0:
                self.seen = self.seen[position + len(text) :]
                return
            assert time.monotonic() < deadline, f"no {text!r} in {self.seen!r}"
            if select.select([self._master], [], [], 0.1)[0]:
                with contextlib.suppress(OSError):  # the other end is gone
                    raw += os.read(self._master, 65_536)
                text_so_far = raw.decode(errors="ignore")
                if not text_so_far.endswith("\x1b"):
                    self.seen += CONTROL.sub("", text_so_far)
                    raw = b""

    def end(self) -> int:
        """Wait for the end."""
        deadline = time.monotonic() + TIMEOUT
        while self.process.poll() is None and time.monotonic() < deadline:
            if select.select([self._master], [], [], 0.05)[0]:
                with contextlib.suppress(OSError):
                    os.read(self._master, 65_536)
        return self.process.wait(1)

    def close(self) -> None:
        """Whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)


@contextlib.contextmanager
def terminal(served: Background, topic: str, *options: str, history: Path) -> Iterator[Terminal]:
    """A terminal with the console in it."""
    each = Terminal(served.url("/socket"), topic, *options, history=history)
    try:
        yield each
    finally:
        each.close()


class TestPrompt:
    def test_a_person_joins_pushes_and_sees_what_comes(self, served: Background, tmp_path: Path) -> None:
        join = ("--join", '{"user_id": "ann"}')
        with terminal(served, "presence:prompt", *join, history=tmp_path / "history") as person:
            person.expect("▶ presence:prompt joined")
            person.expect("+ presence:prompt ann")
            person.expect("presence:prompt>")
            person.type("/who\r")
            person.answer("ann (1)")
            person.type("/join room:lobby\r")
            person.answer("▶ room:lobby joined {}")
            person.type('echo {"n": 1}\r')
            person.answer('✓ room:lobby echo ok {"n":1}')
            person.type('/send new_msg {"body": "hi"}\r')
            person.answer('← room:lobby new_msg {"body":"hi"}')
            person.type("reply_error_map\r")
            person.answer('✗ room:lobby reply_error_map error {"reason":"bad"}')
            person.type("/ping\r")
            person.answer("⇄ pong")
            person.type("/topic presence:prompt\r")
            person.expect("presence:prompt>")
            person.type("/leave\r")
            person.answer("■ presence:prompt closed")
            person.type("echo\r")
            person.answer("is not joined; write /join presence:prompt")
            person.type("/nonsense\r")
            person.answer("there is no /nonsense")
            person.type("/help\r")
            person.answer("/send EVENT [JSON]")
            person.type("\x03")  # clears the line
            person.type("/quit\r")
            assert person.end() == 0

    def test_what_was_typed_is_remembered_and_completed_the_next_time(self, served: Background, tmp_path: Path) -> None:
        history = tmp_path / "state" / "history"
        with terminal(served, "room:lobby", history=history) as person:
            person.expect("room:lobby>")
            person.type('echo {"remembered": true}\r')
            person.answer('echo ok {"remembered":true}')
            person.type("\x04")
            assert person.end() == 0
        assert history.stat().st_mode & 0o777 == 0o600
        with terminal(served, "room:lobby", history=history) as person:
            person.expect("room:lobby>")
            person.type('echo {"r')
            person.expect('{"remembered": true}')  # the menu has the payload sent the last time
            person.type("\t")
            person.expect('{"remembered": true}')
            person.type("\r")
            person.answer('echo ok {"remembered":true}')
            person.type("\x1b[A")  # arrow up: the last line
            person.expect('echo {"remembered": true}')
            person.type("\r")
            person.answer('echo ok {"remembered":true}')
            person.type("\x04")
            assert person.end() == 0

    def test_a_refused_join_ends_it(self, served: Background, tmp_path: Path) -> None:
        with terminal(served, "room:private", history=tmp_path / "history") as person:
            person.expect('✗ room:private refused {"reason":"unauthorized"}')
            assert person.end() == 4
