"""The JavaScript client in a real Chromium against a real server: what networks, proxies and browsers do to a page.

What a restart of the server does to it is in test_chat_browser.py, over both transports.
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.support.background_relay import BackgroundRelay, background
from tests.support.browser import TIMEOUT_MS, chromium
from tests.support.relay import Relay, WithoutWebSockets
from tests.support.restart import RestartableServer
from tests.support.tab import Tab

READY = "globalThis.broadwing !== undefined"

# A socket, a channel, and what happened to them.
START = """
  globalThis.seen = []
  globalThis.socket = new broadwing.Socket("/socket", {
    reconnectAfterMs: () => 50,
    logger: (kind, message) => message.startsWith("not reconnecting") && seen.push("waits to be seen"),
    ...OPTIONS,
  })
  socket.onOpen(() => seen.push(`open over ${socket.transport.name}`))
  socket.onClose(() => seen.push("closed"))
  socket.connect()
  globalThis.room = socket.channel("room:lobby", {})
  room.onError(({reason}) => seen.push(reason))
  room.join().receive("ok", () => seen.push("joined"))
  globalThis.said = []
  room.on("said", ({body}) => said.push(body))
  addEventListener("pagehide", ({persisted}) => seen.push(persisted ? "into the cache" : "gone"))
  addEventListener("pageshow", ({persisted}) => persisted && seen.push("out of the cache"))
"""


def start(options: str = "{}") -> str:
    """The script with options of the socket."""
    return f"void (() => {{ {START.replace('OPTIONS', options)} }})()"


def joined(times: int) -> str:
    """That the channel is joined, for this time."""
    return f"room.state === 'joined' && seen.filter((what) => what === 'joined').length === {times}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all of them, with its back-forward cache, which Playwright would turn off."""
    with chromium(ignore_default_args=["--disable-back-forward-cache"]) as browser:
        yield browser


@pytest.fixture(scope="module")
def server() -> Iterator[RestartableServer]:
    """The server."""
    with RestartableServer("tests.support.page_app:endpoint", "127.0.0.1") as server:
        yield server


@pytest.fixture
def line(server: RestartableServer) -> Iterator[BackgroundRelay]:
    """The network between the page and the server."""
    with background(Relay(server.port)) as line:
        yield line


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page with a profile of its own."""
    context = browser.new_context()
    context.set_default_timeout(TIMEOUT_MS)
    yield context.new_page()
    context.close()


def open_page(page: Page, url: str, options: str = "{}") -> None:
    """Open it, and wait until it has joined."""
    page.goto(url)
    page.wait_for_function(READY)
    page.evaluate(start(options))
    page.wait_for_function(joined(1))


@pytest.mark.parametrize("network", ["offline", "refused"])
def test_what_is_pushed_while_the_network_is_away_arrives_once_in_order_when_it_is_back(
    page: Page, line: BackgroundRelay, network: str
) -> None:
    open_page(page, line.url("/"))
    if network == "offline":
        # It keeps new connections from being made; those that are there, Chromium leaves to the network.
        page.context.set_offline(True)
        line.cut()
    else:
        line.refuse()
    page.wait_for_function("seen.includes('connection_closed')")
    page.evaluate("for (const body of ['one', 'two', 'three']) room.push('say', {body})")
    page.evaluate("new Promise((resolve) => socket.onError(resolve)).then(() => null)")  # it has tried in vain
    assert page.evaluate("[said.length, socket.isConnected()]") == [0, False]
    if network == "offline":
        page.context.set_offline(False)
    else:
        line.start()
    page.wait_for_function("said.length >= 3")
    page.evaluate("new Promise((resolve) => room.push('echo', {}).receive('ok', resolve))")
    assert page.evaluate("said") == ["one", "two", "three"]
    assert page.evaluate("seen") == [
        *["open over WebSocket", "joined"],
        *["connection_closed", "closed"],
        *page.evaluate("seen.slice(4, -2)"),
        *["open over WebSocket", "joined"],
    ]
    assert set(page.evaluate("seen.slice(4, -2)")) == {"closed"}


def test_a_network_that_goes_silent_is_found_out_by_the_heartbeat(page: Page, line: BackgroundRelay) -> None:
    open_page(page, line.url("/"), "{heartbeatIntervalMs: 200}")
    line.hold()
    page.wait_for_function("seen.includes('heartbeat_timeout')")
    page.evaluate("socket.heartbeatIntervalMs = 20_000")  # on a busy machine an answer may take longer than 200 ms
    line.go_on()
    page.wait_for_function("seen.at(-1) === 'joined' && room.state === 'joined'")
    assert page.evaluate("new Promise((resolve) => room.push('echo', {a: 1}).receive('ok', resolve))") == {"a": 1}


def test_a_tab_in_the_background_reconnects_when_it_is_seen_and_not_before(
    browser: Browser, line: BackgroundRelay
) -> None:
    tab = Tab(browser, line.url("/"))
    try:
        tab.wait_for(READY)
        tab.evaluate(start())
        tab.wait_for(joined(1))
        tab.hide()
        opened = line.relay.opened
        line.cut()
        tab.wait_for("seen.includes('waits to be seen')")
        assert tab.evaluate("[socket.conn, room.state]") == [None, "errored"]
        assert line.relay.opened == opened
        tab.show()
        tab.wait_for(joined(2))
        assert tab.evaluate("seen") == [
            *["open over WebSocket", "joined"],
            *["connection_closed", "closed", "waits to be seen"],
            *["open over WebSocket", "joined"],
        ]
    finally:
        tab.close()


def test_a_tab_in_the_background_keeps_a_connection_that_works(browser: Browser, line: BackgroundRelay) -> None:
    tab = Tab(browser, line.url("/"))
    try:
        tab.wait_for(READY)
        tab.evaluate(start())
        tab.wait_for(joined(1))
        tab.hide()
        tab.evaluate("void room.push('say', {body: 'from behind'})")
        tab.wait_for("said.includes('from behind')")
        tab.show()
        tab.evaluate("void room.push('say', {body: 'from before'})")
        tab.wait_for("said.includes('from before')")
        assert tab.evaluate("seen") == ["open over WebSocket", "joined"]
    finally:
        tab.close()


@pytest.mark.parametrize("transport", ["WebSocket", "LongPoll"])
def test_a_page_that_comes_back_out_of_the_back_forward_cache_connects_and_joins_again(
    page: Page, server: RestartableServer, transport: str
) -> None:
    open_page(page, server.url("/one"), f"{{transport: globalThis.{transport} ?? broadwing.{transport}}}")
    page.goto(server.url("/two"))
    page.wait_for_function(READY)
    assert page.evaluate("globalThis.seen") is None
    page.go_back(wait_until="commit")
    page.wait_for_function(joined(2))
    assert page.evaluate("location.pathname") == "/one"
    seen = page.evaluate("seen")
    # The word of the connection's end comes before the page is frozen, or after it is woken.
    seen.remove("connection_closed")
    seen.remove("closed")
    opened = f"open over {transport}"
    assert seen == [opened, "joined", "into the cache", "out of the cache", opened, "joined"]


@pytest.mark.parametrize("is_silent", [False, True], ids=["refused", "silent"])
def test_where_websockets_are_blocked_it_polls_and_remembers_so_for_the_session(
    page: Page, server: RestartableServer, is_silent: bool
) -> None:
    options = "{longPollFallbackMs: 500}"
    memory = "sessionStorage.getItem('phx:fallback:LongPoll')"
    proxy = WithoutWebSockets(server.port, is_silent)
    with background(proxy) as line:
        open_page(page, line.url("/"), options)
        assert page.evaluate("[socket.conn.constructor.name, seen]") == ["LongPoll", ["open over LongPoll", "joined"]]
        assert page.evaluate("new Promise((resolve) => room.push('echo', {a: 1}).receive('ok', resolve))") == {"a": 1}
        assert page.evaluate(memory) == "true"
        assert proxy.upgrades == 1

        page.reload()
        page.wait_for_function(READY)
        page.evaluate(start(options))
        page.wait_for_function(joined(1))
        assert page.evaluate("socket.conn.constructor.name") == "LongPoll"
        assert proxy.upgrades == 1, "the session remembers"

        # Another tab is another session.
        other = page.context.new_page()
        open_page(other, line.url("/"), options)
        assert proxy.upgrades == 2
        other.close()
        page.evaluate("new Promise((resolve) => socket.disconnect(() => resolve(null)))")


def test_where_websockets_get_through_nothing_is_remembered(page: Page, server: RestartableServer) -> None:
    # Generous, as a busy machine may take long to open a WebSocket.
    open_page(page, server.url("/"), "{longPollFallbackMs: 20_000}")
    page.evaluate("new Promise((resolve) => socket.ping(resolve))")
    assert page.evaluate("[socket.conn.constructor.name, sessionStorage.length]") == ["WebSocket", 0]
