"""Presence in tests of applications: what it tells clients are pushes like others."""

from typing import Any

import pytest

from broadwing import Channel, Endpoint, Presence, Socket
from broadwing.testing import Capture, ChannelTest, Exactly, VirtualClock, channel_test


class RoomChannel(Channel):
    async def join(self, params: Any) -> None:
        """Track after the join."""
        self.send_info(("joined", params["user"]))

    async def handle_info(self, message: Any) -> None:
        presence = self.socket.assigns["presence"]
        presence.track(self, message[1], {"status": "here"})
        self.push("presence_state", await presence.list(self))


class UserSocket(Socket):
    channels = {"room:*": RoomChannel}


@pytest.fixture
def endpoint() -> Endpoint:
    """An endpoint with presence."""
    endpoint = Endpoint()
    presence = Presence(endpoint)

    class PresentSocket(UserSocket):
        async def connect(self, params: Any, info: Any) -> None:
            self.assign(presence=presence)

    endpoint.socket("/socket", PresentSocket)
    return endpoint


def entry(ref: Any = str) -> dict[str, Any]:
    """Somebody's entry, with one meta."""
    return {"metas": [{"status": "here", "phx_ref": ref}]}


def test_who_is_there_and_who_comes_and_goes_is_pushed(endpoint: Endpoint) -> None:
    with channel_test(endpoint) as test:
        ada = test.subscribe_and_join("room:1", {"user": "ada"})
        ada.assert_push("presence_state", Exactly({"ada": entry()}), timeout=10)
        ref = Capture(str)
        grace = test.join("room:1", {"user": "grace"})
        ada.assert_push("presence_diff", {"joins": {"grace": entry(ref)}, "leaves": {}}, timeout=10)
        grace.assert_push("presence_state", Exactly({"ada": entry(), "grace": entry(ref.value)}), timeout=10)
        grace.leave()
        ada.assert_push("presence_diff", {"joins": {}, "leaves": {"grace": entry(ref.value)}}, timeout=10)
        ada.refute_push("presence_diff", {"leaves": {"ada": ...}}, timeout=3600)


async def test_in_coroutines_too(endpoint: Endpoint, broadwing_clock: VirtualClock) -> None:
    async with ChannelTest(endpoint, timeout=10) as test:
        ada = await test.join("room:1", {"user": "ada"})
        await ada.assert_push("presence_state", {"ada": entry()})
        grace = await test.join("room:1", {"user": "grace"})
        await ada.assert_push("presence_diff", {"joins": {"grace": entry()}})
        await grace.close()
        await ada.assert_push("presence_diff", {"leaves": {"grace": entry()}})
