"""The `phoenix` npm package, unchanged, and our own client: one story against a real server, over both transports."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.support.background import TIMEOUT
from tests.support.javascript import JS, node
from tests.support.loopback import HOST
from tests.support.restart import RestartableServer

GROUND = "tests.support.ground:endpoint"

# What phoenix.js 1.8.12 told when it talked to Phoenix 1.8.12; the port differs in every run. One line is left out: it
# was about presence.
RECORDED = {
    "websocket": """\
websocket join -> {} over WebSocket ws://HOST:PORT/socket/websocket?user_id=js&token=x&vsn=2.0.0
websocket echo -> {"hello":"wörld","n":[1,2.5,null]}
websocket broadcast <- {"body":"hi from websocket"}
websocket binary echo -> 00ff0102
websocket join room:private -> error {"reason":"unauthorized"}
websocket leave -> {}
websocket disconnected
""",
    "longpoll": """\
longpoll join -> {} over LongPoll http://HOST:PORT/socket/longpoll?user_id=js&token=x&vsn=2.0.0
longpoll echo -> {"hello":"wörld","n":[1,2.5,null]}
longpoll broadcast <- {"body":"hi from longpoll"}
longpoll join room:private -> error {"reason":"unauthorized"}
longpoll leave -> {}
longpoll disconnected
""",
}

CLIENTS = pytest.mark.parametrize("client", ["official", "own"])
TRANSPORTS = pytest.mark.parametrize("transport", ["websocket", "longpoll"])


class Story:
    """The client's side, as it is told."""

    def __init__(self, server: RestartableServer, client: str, transport: str, *how: str) -> None:
        self.transport = transport
        self.told: list[str] = []
        self.process = subprocess.Popen(
            [node(), "support/story.js", client, transport, *how, server.url("/socket", "ws")],
            cwd=JS,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def expect(self, line: str) -> None:
        """Hold the next line against this."""
        assert self.process.stdout is not None
        told = self.process.stdout.readline().removesuffix("\n")
        assert told == f"{self.transport} {line}", self.end()[1]

    def end(self) -> tuple[str, str]:
        """Wait for the end: what is left of the story, and what went wrong."""
        rest, errors = self.process.communicate(timeout=TIMEOUT)
        return rest, errors

    def close(self) -> None:
        """End it whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.fixture
def server() -> Iterator[RestartableServer]:
    """The server whose conversations were recorded, as a process of its own."""
    with RestartableServer(GROUND) as server:
        yield server


@CLIENTS
@TRANSPORTS
def test_the_recorded_story_is_told_word_for_word(server: RestartableServer, client: str, transport: str) -> None:
    story = Story(server, client, transport)
    told, errors = story.end()
    expected = RECORDED[transport].replace("HOST:PORT", f"{HOST}:{server.port}")
    if (client, transport) == ("own", "longpoll"):
        # Our client hears bytes that are not UTF-8 over long polling too.
        expected = expected.replace("longpoll join room", "longpoll binary echo -> 00ff0102\nlongpoll join room")
    assert told == expected, errors
    assert story.process.returncode == 0


@CLIENTS
@TRANSPORTS
def test_a_channel_rejoins_after_a_restart_and_what_was_queued_is_sent(
    server: RestartableServer, client: str, transport: str
) -> None:
    story = Story(server, client, transport, "restart")
    try:
        story.expect("joined")
        server.kill()
        story.expect("lost its connection and queued a push")
        server.start()
        story.expect("joined again")
        story.expect('queued echo -> {"queued":true}')
        story.expect("disconnected")
        assert story.process.wait(TIMEOUT) == 0
    finally:
        story.close()
