"""Persons with browsers who use the chat example, and the house they live in: fixtures for the tests of its page.

A module that lists this one in `pytest_plugins` has them.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, expect

from tests.support.browser import TIMEOUT_MS, Complaints, chromium
from tests.support.restart import RestartableServer

CHAT = "examples.chat.app:endpoint"


class Person:
    """Somebody with a browser of their own, who has nothing but a keyboard.

    Attributes:
        page: The page.
        complaints: What it complained of.
    """

    def __init__(self, context: BrowserContext, url: str, name: str | None = None) -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(TIMEOUT_MS)
        self.complaints = Complaints(self.page)
        self.page.goto(url)
        self.log = self.page.get_by_role("log")
        self.box = self.page.get_by_role("textbox", name="Message")
        self.status = self.page.get_by_role("status")
        self.here = self.page.get_by_role("region", name=re.compile("[Hh]ere"))
        if name is not None:
            self.introduce(name)

    def introduce(self, name: str) -> None:
        """Answer the question that the page begins with."""
        expect(self.page.get_by_role("textbox", name="Your name")).to_be_focused()
        self.page.keyboard.type(name)
        self.page.keyboard.press("Enter")
        self.is_live()

    def is_live(self) -> None:
        """Wait for the connection."""
        expect(self.status).to_contain_text("Live")

    def say(self, text: str) -> None:
        """Write a message; the focus is, and stays, where one writes."""
        expect(self.box).to_be_focused()
        self.page.keyboard.type(text)
        self.page.keyboard.press("Enter")
        expect(self.box).to_have_value("")
        expect(self.box).to_be_focused()

    def message(self, text: str) -> Locator:
        """The messages of this text, whole."""
        return self.log.locator(".message").filter(
            has=self.page.locator(".text", has_text=re.compile(f"^{re.escape(text)}$"))
        )

    def sees(self, *texts: str) -> None:
        """Wait until these are the last messages, in this order."""
        # to_have_text would forgive a difference in blanks.
        expect(self.log.locator(".text").last).to_have_text(texts[-1])
        shown = self.log.locator(".text").all_text_contents()
        assert shown[-len(texts) :] == list(texts)

    def sees_here(self, *people: str) -> None:
        """Wait until these are listed as present, in this order."""
        expect(self.here.get_by_role("listitem").locator("visible=true")).to_have_text(
            [re.compile(rf"^\w*{re.escape(person)}$") for person in people], timeout=TIMEOUT_MS
        )

    def tab_to(self, goal: Locator) -> None:
        """Get there with the tab key alone."""
        for _ in range(15):
            if goal.evaluate("element => element === document.activeElement"):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError("the tab key does not lead there")


@pytest.fixture(scope="module")
def chat_browser() -> Iterator[Browser]:
    """One browser process; every person gets a profile of their own in it."""
    with chromium() as each:
        yield each


class House:
    """Where persons come from; ends with the test and holds all of their pages to have nothing to complain of."""

    def __init__(self, browser: Browser, server: RestartableServer) -> None:
        self.browser = browser
        self.server = server
        self.persons: list[Person] = []
        self.contexts: list[BrowserContext] = []
        self.was_away = False

    def kill_server(self) -> None:
        """End the server without a word; from now on pages may say that it is away."""
        self.was_away = True
        self.server.kill()

    def stop_server(self) -> None:
        """End the server as Ctrl+C does; from now on pages may say that it is away."""
        self.was_away = True
        self.server.stop()

    def context(self, **options: Any) -> BrowserContext:
        """A browser profile."""
        # The animations would be caught half-way by what looks at colours.
        settings: dict[str, Any] = {"reduced_motion": "reduce", "locale": "en-GB", **options}
        context = self.browser.new_context(**settings)
        self.contexts.append(context)
        return context

    def person(
        self,
        name: str | None,
        *,
        query: str = "",
        context: BrowserContext | None = None,
        **options: Any,
    ) -> Person:
        """Somebody in the lobby; without a name, in front of the question for it."""
        person = Person(context or self.context(**options), self.server.url(f"/{query}"), name)
        self.persons.append(person)
        return person

    def close(self) -> None:
        """Send everybody home."""
        for context in self.contexts:
            context.close()


@pytest.fixture
def house(chat_browser: Browser) -> Iterator[House]:
    """Persons with a server of their own, that nobody has said anything to."""
    # Not at `HOST`: the example accepts the origins of one's own machine as one writes them.
    with RestartableServer(CHAT, "127.0.0.1") as server:
        house = House(chat_browser, server)
        yield house
        complaints = [
            person.complaints.besides_a_server_that_is_away() if house.was_away else person.complaints.all()
            for person in house.persons
        ]
        house.close()
    assert complaints == [[] for _ in complaints]
