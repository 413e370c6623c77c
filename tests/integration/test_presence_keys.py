"""CVE-2026-56812, end to end: presence keys that are names of JavaScript's object members, from a server to a client."""

import asyncio
import json
import subprocess
from typing import Any, ClassVar

import pytest

from broadwing import Channel, Endpoint, Socket, on
from broadwing.socket import Routes
from tests.support.javascript import JS, node
from tests.support.server import serve

# What a key or a field may be called; a client that uses plain objects carelessly takes these for something else.
ODD: dict[str, Any] = {
    "__proto__": {"metas": [{"phx_ref": "A", "polluted": True}]},
    "constructor": {"metas": [{"phx_ref": "B", "prototype": {"polluted": True}}]},
    "hasOwnProperty": {"metas": [{"phx_ref": "C"}]},
}
MORE: dict[str, Any] = {
    "__proto__": {"metas": [{"phx_ref": "D"}]},
    "toString": {"metas": [{"phx_ref": "E"}]},
}


class OddChannel(Channel):
    """A topic whose users have chosen their names with care."""

    async def join(self, params: Any) -> None:
        self.send_info("after_join")

    async def handle_info(self, message: Any) -> None:
        self.push("presence_state", ODD)

    @on("change")
    async def change(self, payload: Any) -> None:
        self.broadcast("presence_diff", {"joins": MORE, "leaves": ODD})


class OddSocket(Socket):
    """Lets everybody in."""

    channels: ClassVar[Routes] = {"presence:*": OddChannel}


@pytest.mark.parametrize("client", ["official", "own"])
@pytest.mark.parametrize("transport", ["websocket", "longpoll"])
async def test_cve_2026_56812_hostile_presence_keys_neither_pollute_nor_throw_nor_are_lost(
    client: str, transport: str
) -> None:
    endpoint = Endpoint(secret_key_base="a secret for tests, and for nothing else")
    endpoint.socket("/socket", OddSocket, longpoll=True)
    async with serve(endpoint) as served:
        url = served.url("/socket", "ws")
        process = await asyncio.create_subprocess_exec(
            *(node(), "support/presence_story.js", client, transport, url),
            cwd=JS,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        told, errors = await process.communicate()  # it ends itself after 30 s
    assert process.returncode == 0, errors.decode()
    state, diff, end = (json.loads(line) for line in told.decode().splitlines())
    assert state == {
        "calls": [["join", key, None, entry["metas"]] for key, entry in ODD.items()],
        "list": [[key, entry["metas"]] for key, entry in ODD.items()],
    }
    assert diff == {
        "calls": [
            # Of the key that stays, the join finds its one meta there and the leave one of two still there.
            ["join", "__proto__", 1, MORE["__proto__"]["metas"]],
            ["join", "toString", None, MORE["toString"]["metas"]],
            ["leave", "__proto__", 1, ODD["__proto__"]["metas"]],
            ["leave", "constructor", 0, ODD["constructor"]["metas"]],
            ["leave", "hasOwnProperty", 0, ODD["hasOwnProperty"]["metas"]],
        ],
        "list": [["__proto__", MORE["__proto__"]["metas"]], ["toString", MORE["toString"]["metas"]]],
    }
    assert end == {"clean": True}
