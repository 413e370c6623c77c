"""The rules of the chat example: who may come in over real connections, the rest without a network. What its page does with them
is in integration/test_chat_browser.py."""

import base64
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from broadwing import Endpoint, Token
from broadwing.testing import Exactly, PlainChannel, PlainChannelTest, channel_test
from examples.chat import app
from examples.chat.page import FILES
from tests.support.client import V2, Client, Refused, open_longpoll, open_websocket
from tests.support.server import Served, serve

DAY = 86_400
LOBBY = "room:lobby"
PRESENCE = frozenset({"presence_state", "presence_diff"})


class Chat:
    """The chat, served, and the way into it."""

    def __init__(self, served: Served, transport: str) -> None:
        self.served = served
        self.transport = transport
        self.clients: list[Client] = []

    async def connect(self, token: str | None) -> Client:
        """Connect with a token, as browsers bring it.

        Raises:
            Refused: The server does not want to.
        """
        client: Client
        if self.transport == "longpoll":
            headers = {} if token is None else {"x-phoenix-authtoken": token}
            client = await open_longpoll(self.served.url(f"/socket/longpoll?vsn={V2}", "http"), V2, headers)
        else:
            offer: dict[str, Any] = {}
            if token is not None:
                bearer = base64.b64encode(token.encode()).decode().rstrip("=")
                offer = {"subprotocols": ["phoenix", f"base64url.bearer.phx.{bearer}"]}
            try:
                client = await open_websocket(self.served.url(f"/socket/websocket?vsn={V2}"), V2, **offer)
            except InvalidStatus as error:
                raise Refused(error.response.status_code) from None
        client.ignores = PRESENCE
        self.clients.append(client)
        return client

    async def enter(self, name: str, **params: Any) -> Client:
        """Connect as somebody and join the lobby."""
        client = await self.connect(app.log_in(name))
        await client.join(LOBBY, params=params, response={"messages": list(app.recent.values())})
        return client


@pytest.fixture(params=["websocket", "longpoll"])
async def chat(request: pytest.FixtureRequest) -> AsyncIterator[Chat]:
    """The chat over both transports."""
    app.recent.clear()
    async with serve(app.endpoint) as served:
        chat = Chat(served, request.param)
        yield chat
        for client in chat.clients:
            await client.close()


@pytest.fixture
async def browser() -> AsyncIterator[httpx.AsyncClient]:
    """What loads the page."""
    async with (
        serve(app.endpoint) as served,
        httpx.AsyncClient(base_url=served.url("", "http"), trust_env=False) as http,
    ):
        yield http


# Who may come in.


async def test_a_token_lets_its_user_in(chat: Chat) -> None:
    client = await chat.connect(app.log_in("Ada"))
    await client.join(LOBBY, response={"messages": []})


def token(**changes: Any) -> str:
    """A token of this chat's, but for what is changed."""
    given = {"context": app.SECRET, "salt": "user socket", "data": "Ada", **changes}
    return Token.sign(**given)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: None, id="none"),
        pytest.param(lambda: "", id="empty"),
        pytest.param(lambda: "not a token", id="garbage"),
        pytest.param(lambda: token()[:-1], id="cut short"),
        pytest.param(lambda: token(context="somebody else's secret of enough characters"), id="another secret"),
        pytest.param(lambda: token(salt="password reset"), id="made for something else"),
        pytest.param(lambda: token(signed_at=time.time() - 14 * DAY - 60), id="older than two weeks"),
        pytest.param(lambda: token(signed_at=time.time() + 60), id="from the future"),
    ],
)
async def test_any_other_token_is_refused(chat: Chat, make: Callable[[], str | None]) -> None:
    with pytest.raises(Refused) as refused:
        await chat.connect(make())
    assert refused.value.status == 403


async def test_a_token_is_good_for_two_weeks(chat: Chat) -> None:
    client = await chat.connect(token(signed_at=time.time() - 14 * DAY + 60))
    await client.join(LOBBY, response={"messages": []})


@pytest.mark.parametrize("topic", ["room:attic", "room:", "room:lobby2", "room:Lobby"])
async def test_nobody_gets_into_any_other_room(chat: Chat, topic: str) -> None:
    client = await chat.connect(app.log_in("Ada"))
    await client.send("1", "1", topic, "phx_join")
    await client.expect_reply("1", "1", topic, "error", {"reason": "unauthorized"})


async def test_a_user_can_be_sent_away_from_everywhere(chat: Chat) -> None:
    ada, grace = await chat.enter("Ada", again=True), await chat.enter("Grace", again=True)
    app.endpoint.broadcast("users_socket:Ada", "disconnect", {})
    # What Phoenix closes with here; a poll session is gone. The page connects again after anything but 1000.
    assert await ada.ended() in (1001, 410)
    await grace.quiet()


# What becomes of a message: of no concern to the transport, so the test kit's clients do.


class Visitors:
    """People in the lobby, without a network."""

    def __init__(self, test: PlainChannelTest) -> None:
        self.test = test

    def enter(self, name: str, **params: Any) -> PlainChannel:
        """Connect as somebody and join the lobby."""
        socket = self.test.connect(connect_info={"auth_token": app.log_in(name)})
        channel = socket.join(LOBBY, params)
        assert channel.reply == {"messages": list(app.recent.values())}
        return channel


@pytest.fixture
def visitors() -> Iterator[Visitors]:
    """The chat, with nothing said yet."""
    app.recent.clear()
    with channel_test(app.endpoint) as test:
        yield Visitors(test)


def test_a_message_reaches_everybody_and_its_sender_is_told_so(visitors: Visitors) -> None:
    ada, grace = visitors.enter("Ada", again=True), visitors.enter("Grace", again=True)
    before = time.time()
    ref = ada.push("new_msg", {"body": "hi <b>all</b>\n😀", "id": "m1"})
    for page in (grace, ada):
        # Markup is the page's business, which shows text as text.
        said = {"user": "Ada", "body": "hi <b>all</b>\n😀", "id": "m1", "at": lambda at: before <= at <= time.time()}
        page.assert_push("new_msg", Exactly(said))
    ada.assert_reply(ref, "ok", Exactly({}))


def test_a_message_needs_no_id(visitors: Visitors) -> None:
    ada = visitors.enter("Ada", again=True)
    for _ in range(2):
        ref = ada.push("new_msg", {"body": "from a client of twenty lines"})
        ada.assert_push("new_msg", {"body": "from a client of twenty lines", "id": str})
        ada.assert_reply(ref, "ok")


def test_a_message_sent_again_is_acknowledged_again_and_shown_once(visitors: Visitors) -> None:
    ada, grace = visitors.enter("Ada", again=True), visitors.enter("Grace", again=True)
    for _ in range(2):
        ada.assert_reply(ada.push("new_msg", {"body": "hi", "id": "m1"}), "ok")
    for page in (ada, grace):
        page.assert_push("new_msg", {"id": "m1"})
        page.refute_push("new_msg")


def test_two_users_may_choose_one_id(visitors: Visitors) -> None:
    ada, grace = visitors.enter("Ada", again=True), visitors.enter("Grace", again=True)
    ada.push("new_msg", {"body": "mine", "id": "m1"})
    grace.assert_push("new_msg", {"body": "mine"})
    grace.push("new_msg", {"body": "mine too", "id": "m1"})
    grace.assert_push("new_msg", {"body": "mine too"})


def test_who_joins_is_told_the_last_hundred_messages(visitors: Visitors) -> None:
    ada = visitors.enter("Ada", again=True)
    for number in range(102):
        ada.assert_reply(ada.push("new_msg", {"body": f"line {number}"}), "ok")
    messages = visitors.enter("Grace").reply["messages"]
    assert [message["body"] for message in messages] == [f"line {number}" for number in range(2, 102)]
    assert messages[0].keys() == {"user", "body", "id", "at"}


def test_nobody_can_speak_for_another(visitors: Visitors) -> None:
    ada = visitors.enter("Ada", again=True)
    ada.push("new_msg", {"body": "hi", "user": "Grace"})
    ada.assert_push("new_msg", {"user": "Ada"})


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({}, "body"),
        ({"body": None}, "body"),
        ({"body": ["a", "list"]}, "body"),
        ({"body": ""}, "body"),
        ({"body": " \n\t "}, "body"),
        ({"body": "x" * 1001}, "body"),
        ({"body": "hi", "id": 1}, "id"),
        ({"body": "hi", "id": ""}, "id"),
        ({"body": "hi", "id": "x" * 65}, "id"),
    ],
)
def test_a_refused_message_is_answered_with_the_field_at_fault(visitors: Visitors, payload: Any, field: str) -> None:
    ada, grace = visitors.enter("Ada", again=True), visitors.enter("Grace", again=True)
    answer = {"reason": "invalid payload", "field": field, "message": re.compile(".")}
    ada.assert_reply(ada.push("new_msg", payload), "error", answer)
    grace.refute_push("new_msg")


def test_a_message_of_a_thousand_characters_is_not_too_long(visitors: Visitors) -> None:
    ada = visitors.enter("Ada", again=True)
    ref = ada.push("new_msg", {"body": "ü" * 1000})
    ada.assert_push("new_msg", {"body": "ü" * 1000})
    ada.assert_reply(ref, "ok")


def test_the_others_learn_that_somebody_types(visitors: Visitors) -> None:
    ada, grace = visitors.enter("Ada", again=True), visitors.enter("Grace", again=True)
    ada.push("typing")
    grace.assert_push("typing", Exactly({"user": "Ada"}))
    ada.refute_push("typing")


# Who is told of whom.


def test_the_others_learn_who_joins(visitors: Visitors) -> None:
    ada = visitors.enter("Ada", again=True)
    grace = visitors.enter("Grace")
    ada.assert_push("user_joined", Exactly({"user": "Grace"}))
    grace.refute_push("user_joined")


def test_who_comes_back_is_not_announced(visitors: Visitors) -> None:
    ada = visitors.enter("Ada", again=True)
    visitors.enter("Grace", again=True)
    ada.refute_push("user_joined")


def test_a_user_can_ignore_who_joins_and_change_his_mind(visitors: Visitors) -> None:
    ada, barbara = visitors.enter("Ada", again=True), visitors.enter("Barbara", again=True)
    ada.assert_reply(ada.push("notices", {"show": False}), "ok")
    visitors.enter("Grace")
    barbara.assert_push("user_joined", {"user": "Grace"})
    ada.refute_push("user_joined")
    ada.assert_reply(ada.push("notices", {"show": True}), "ok")
    visitors.enter("Edsger")
    ada.assert_push("user_joined", {"user": "Edsger"})


def test_a_page_that_comes_back_says_what_its_user_wants_to_see(visitors: Visitors) -> None:
    ada = visitors.enter("Ada", notices=False, again=True)
    visitors.enter("Grace")
    ada.refute_push("user_joined")


def test_a_wish_that_is_none_is_answered_with_the_field_at_fault(visitors: Visitors) -> None:
    ada = visitors.enter("Ada", again=True)
    ada.assert_reply(ada.push("notices", {"show": "please"}), "error", {"field": "show"})


# Who is there.


async def test_who_joins_is_told_who_is_there_and_the_others_of_him(chat: Chat) -> None:
    ada = await chat.enter("Ada")
    grace = await chat.enter("Grace")
    ada.ignores = grace.ignores = frozenset({"user_joined"})
    assert set((await grace.receive()).payload["joins"]) == {"Grace"}
    assert set((await grace.receive()).payload) == {"Ada", "Grace"}
    told = [await ada.receive() for _ in range(3)]
    assert [message.event for message in told] == ["presence_diff", "presence_state", "presence_diff"]
    assert [set(told[1].payload), set(told[2].payload["joins"])] == [{"Ada"}, {"Grace"}]


async def test_two_tabs_of_a_user_are_one_entry_and_he_leaves_with_the_last(chat: Chat) -> None:
    tabs = [await chat.enter("Grace", again=True) for _ in range(2)]
    await tabs[1].rest()
    metas = (await app.presence.list(LOBBY))["Grace"]["metas"]
    assert len(metas) == 2
    for number, tab in enumerate(tabs, 1):
        await tab.send("1", "2", LOBBY, "phx_leave")
        await tab.expect_reply("1", "2", LOBBY)
        await tab.rest()
        there = await app.presence.list(LOBBY)
        assert there == ({"Grace": {"metas": metas[number:]}} if number < 2 else {})


# The page.


@pytest.mark.parametrize("path", FILES)
async def test_every_file_of_the_page_is_served(browser: httpx.AsyncClient, path: str) -> None:
    answer = await browser.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, FILES[path][1])
    head = await browser.head(path)
    assert (head.status_code, head.content, head.headers) == (200, b"", answer.headers)


async def test_the_page_names_no_other_host_and_nothing_inline(browser: httpx.AsyncClient) -> None:
    policy = (await browser.get("/")).headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    # Content Security Policy level 3, section 2.3.1: every source besides these would let something else in.
    sources = {source for directive in policy.split("; ") for source in directive.split()[1:]}
    assert sources == {"'none'", "'self'"}
    page = (await browser.get("/")).text
    addresses = re.findall(r'(?:src|href)="(.*?)"', page)
    assert len(addresses) > 3
    assert [address for address in addresses if not re.match(r"/(?!/)|#", address)] == []


async def test_what_the_page_imports_is_there(browser: httpx.AsyncClient) -> None:
    script = (await browser.get("/chat.js")).text
    imported = re.findall(r'^import .* from "(.+)"', script, re.MULTILINE)
    assert "/broadwing/broadwing.js" in imported
    for path in imported:
        answer = await browser.get(httpx.URL("/chat.js").join(path))
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/javascript; charset=utf-8")


@pytest.mark.parametrize("path", ["/nothing", "/app.py", "/static/index.html", "/..%2fapp.py", "/chat.css/"])
async def test_there_is_nothing_else(browser: httpx.AsyncClient, path: str) -> None:
    assert (await browser.get(path)).status_code == 404


async def test_a_name_is_traded_for_a_token(browser: httpx.AsyncClient) -> None:
    answer = await browser.post("/login", json={"name": "  Ada \n Lovelace "})
    assert answer.status_code == 200
    assert answer.json()["name"] == "Ada Lovelace"
    assert Token.verify(app.SECRET, "user socket", answer.json()["token"]) == "Ada Lovelace"


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b'{"name": "   "}', "name"),
        (b'{"name": "%s"}' % (b"x" * 25), "name"),
        (b"{}", "name"),
        (b"not json", "JSON"),
        (b'{"name": "%s"}' % (b" " * 2000), "Input data was truncated"),
    ],
)
async def test_what_is_no_name_gets_none(browser: httpx.AsyncClient, body: bytes, word: str) -> None:
    answer = await browser.post("/login", content=body)
    assert answer.status_code == 422
    assert word in answer.json()["message"]


async def test_a_login_is_a_post(browser: httpx.AsyncClient) -> None:
    assert (await browser.get("/login")).status_code == 404


def test_the_secret_is_the_environments_where_it_has_one() -> None:
    code = "from examples.chat import app; print(app.endpoint.secret_key_base)"
    secret = "one of the operator's, and long enough"
    run = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "SECRET_KEY_BASE": secret}, capture_output=True, text=True
    )
    assert run.stdout.strip() == secret, run.stderr


def test_the_endpoint_is_what_the_command_serves() -> None:
    assert isinstance(app.endpoint, Endpoint)
