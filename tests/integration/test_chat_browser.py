"""The chat example in real browsers: a restart of the server, what is refused, and what users see of each other."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import WebSocketRoute, expect

from tests.support.browser import mortal_chromium
from tests.support.chat_page import House, Person
from tests.support.process import ROOT

pytest_plugins = ["tests.support.chat_page"]

TRANSPORTS = ["websocket", "longpoll"]

# The story.


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("ending", ["killed", "stopped"])
def test_both_pages_come_back_after_a_restart_and_nothing_is_lost(house: House, transport: str, ending: str) -> None:
    ada = house.person("Ada", query=f"?transport={transport}")
    grace = house.person("Grace", query=f"?transport={transport}")
    for person in (ada, grace):
        expect(person.status).to_have_text(re.compile("long polling" if transport == "longpoll" else r"^\s*Live\s*$"))
    expect(ada.log.locator(".notice")).to_have_text("Grace joined")

    ada.say("Hello from Ada")
    for person in (ada, grace):
        person.sees("Hello from Ada")
    expect(ada.message("Hello from Ada")).to_contain_text("Delivered")
    assert ada.complaints.all() == grace.complaints.all() == []

    if ending == "killed":
        house.kill_server()
    else:
        house.stop_server()
    for person in (ada, grace):
        expect(person.status).to_contain_text("Offline, reconnecting")
    ada.say("Typed while offline")
    pending = ada.message("Typed while offline")
    expect(pending).to_contain_text("Waiting for the connection")

    house.server.start()
    for person in (ada, grace):
        person.is_live()
        person.sees("Hello from Ada", "Typed while offline")
    expect(pending).to_contain_text("Delivered")
    grace.say("The next message")
    for person in (ada, grace):
        person.sees("Hello from Ada", "Typed while offline", "The next message")
        expect(person.message("Typed while offline")).to_have_count(1)
    # Nobody joined: both were there all the time.
    expect(ada.log.locator(".notice")).to_have_text(["Grace joined"])
    expect(grace.log.locator(".notice")).to_have_count(0)


def test_a_message_outlives_an_outage_longer_than_a_push_waits(house: House) -> None:
    ada, grace = house.person("Ada"), house.person("Grace")
    ada.page.clock.install()
    house.kill_server()
    expect(ada.status).to_contain_text("Offline")
    ada.say("first")
    ada.say("second")
    # A push waits 10 s for its answer; the page then pushes again.
    for _ in range(3):
        ada.page.clock.fast_forward(11_000)
    house.server.start()
    ada.page.clock.fast_forward(5_000)  # the longest wait between two attempts to connect
    for person in (ada, grace):
        person.is_live()
    grace.sees("first", "second")
    for text in ("first", "second"):
        expect(ada.message(text)).to_contain_text("Delivered")
        expect(grace.message(text)).to_have_count(1)


def test_a_message_whose_answer_got_lost_goes_out_again_and_shows_once(house: House) -> None:
    answers: list[Any] = []
    sent: list[Any] = []

    def lossy(route: WebSocketRoute) -> None:
        server = route.connect_to_server()

        def to_server(data: str | bytes) -> None:
            if json.loads(data)[3] == "new_msg":
                sent.append(json.loads(data))
            server.send(data)

        def to_page(data: str | bytes) -> None:
            _, ref, _, event, _ = json.loads(data)
            if event == "phx_reply" and any(message[1] == ref for message in sent[:1]):
                answers.append(data)
            elif event == "new_msg" and len(sent) == 1:
                answers.append(data)  # nor does the broadcast arrive
            else:
                route.send(data)

        route.on_message(to_server)
        server.on_message(to_page)

    context = house.context()
    context.route_web_socket(re.compile("/socket/websocket"), lossy)
    ada, grace = house.person("Ada", context=context), house.person("Grace")
    ada.page.clock.install()
    ada.say("only once")
    grace.sees("only once")
    expect(ada.message("only once")).to_contain_text("Sending")
    ada.page.clock.fast_forward(10_500)
    expect(ada.message("only once")).to_contain_text("Delivered")
    grace.say("I see it")
    for person in (ada, grace):
        person.sees("only once", "I see it")
        expect(person.message("only once")).to_have_count(1)
    assert len(answers) == 2
    assert [message[4] for message in sent] == [sent[0][4]] * 2


def test_who_comes_later_reads_what_was_said(house: House) -> None:
    ada = house.person("Ada")
    ada.say("first")
    ada.say("second")
    expect(ada.message("second")).to_contain_text("Delivered")
    grace = house.person("Grace")
    grace.sees("first", "second")
    assert grace.page.title() == "Lobby · Broadwing chat"  # no news
    ada.page.reload()
    ada.sees("first", "second")
    expect(ada.message("second").locator(".author")).to_have_text("You")


def test_all_pages_show_one_order_whoever_was_away(house: House) -> None:
    # Ada's network is gone while the server and Grace go on.
    routes: list[WebSocketRoute] = []
    is_away = False

    def fragile(route: WebSocketRoute) -> None:
        if is_away:
            route.close(code=1001)
        else:
            route.connect_to_server()
            routes.append(route)

    context = house.context()
    context.route_web_socket(re.compile("/socket/websocket"), fragile)
    ada, grace = house.person("Ada", context=context), house.person("Grace")
    ada.say("before")
    grace.sees("before")
    is_away = True
    routes[0].close(code=1001)
    expect(ada.status).to_contain_text("Offline")
    ada.say("from the tunnel, one")
    ada.say("from the tunnel, two")
    grace.say("meanwhile")
    grace.sees("before", "meanwhile")
    is_away = False
    for person in (grace, ada):
        person.sees("before", "meanwhile", "from the tunnel, one", "from the tunnel, two")
    expect(ada.message("from the tunnel, two")).to_contain_text("Delivered")


# What the server refuses.


def test_a_refused_message_says_why_and_can_be_mended(house: House) -> None:
    ada = house.person("Ada")
    ada.page.keyboard.insert_text("x" * 950)
    expect(ada.page.locator("#count")).to_have_text("950 of 1000 characters")
    ada.page.keyboard.insert_text("y" * 51)
    ada.page.keyboard.press("Enter")
    refused = ada.message("x" * 950 + "y" * 51)
    expect(refused).to_contain_text("Not delivered: a message has at most 1000 characters, this one has 1001.")
    edit = refused.get_by_role("button", name="Edit")
    ada.page.keyboard.press("Shift+Tab")
    expect(edit).to_be_focused()
    ada.page.keyboard.press("Enter")
    expect(ada.box).to_be_focused()
    expect(ada.box).to_have_value("x" * 950 + "y" * 51)
    expect(refused).to_have_count(0)
    ada.page.keyboard.press("End")
    ada.page.keyboard.press("Backspace")
    ada.page.keyboard.press("Enter")
    expect(ada.message("x" * 950 + "y" * 50)).to_contain_text("Delivered")


def test_another_room_does_not_open_and_the_page_says_so(house: House) -> None:
    ada = house.person(None, query="?room=attic")
    ada.page.keyboard.type("Ada")
    ada.page.keyboard.press("Enter")
    expect(ada.log).to_contain_text("The room “attic” did not let you in: unauthorized.")
    expect(ada.status).to_contain_text("Not admitted")
    lobby = ada.page.get_by_role("link", name="Go to the lobby")
    expect(lobby).to_be_focused()
    ada.page.keyboard.press("Enter")
    ada.is_live()
    expect(ada.page.get_by_role("heading", level=1)).to_have_text("Lobby")


def test_a_name_is_needed_and_a_bad_one_is_explained(house: House) -> None:
    ada = house.person(None)
    name = ada.page.get_by_role("textbox", name="Your name")
    ada.page.keyboard.press("Escape")
    expect(name).to_be_visible()
    ada.page.keyboard.press("Enter")
    expect(ada.page.get_by_role("alert")).to_have_text("Please enter a name; one letter is enough.")
    expect(name).to_be_focused()
    expect(name).to_have_attribute("aria-invalid", "true")
    ada.introduce("Ada")


# What the users see of each other.


def test_what_is_typed_in_one_tab_shows_in_all_others(house: House) -> None:
    context = house.context()
    first = house.person("Ada", context=context)
    second = house.person(None, context=context)  # the same browser knows the name
    second.is_live()
    grace = house.person("Grace")
    first.page.bring_to_front()
    first.page.keyboard.type("h")
    for person in (second, grace):
        expect(person.page.locator("#typing")).to_have_text("Ada is typing…")
    first.page.keyboard.type("ello")
    first.page.keyboard.press("Enter")
    for person in (first, second, grace):
        person.sees("hello")
        expect(person.page.locator("#typing")).to_have_text("")
    expect(second.message("hello").locator(".author")).to_have_text("You")
    expect(grace.message("hello").locator(".author")).to_have_text("Ada")


def test_notices_of_who_joins_can_be_turned_off_and_on(house: House) -> None:
    ada, grace = house.person("Ada"), house.person("Grace")
    switch = ada.page.get_by_role("switch", name="Show who joins")
    expect(switch).to_be_checked()
    expect(ada.log.locator(".notice")).to_have_text("Grace joined")
    ada.tab_to(switch)
    ada.page.keyboard.press("Space")
    expect(switch).not_to_be_checked()
    barbara = house.person("Barbara")
    expect(grace.log.locator(".notice")).to_have_text("Barbara joined")
    barbara.say("hi")
    ada.sees("hi")
    expect(ada.log.locator(".notice")).to_have_text(["Grace joined"])
    ada.page.keyboard.press("Space")
    house.person("Edsger")
    expect(ada.log.locator(".notice")).to_have_text(["Grace joined", "Edsger joined"])
    house.person("Alan")
    expect(ada.log.locator(".notice")).to_have_text(["Grace joined", "Edsger and Alan joined"])


def test_a_user_can_take_another_name(house: House) -> None:
    ada, grace = house.person("Ada"), house.person("Grace")
    button = ada.page.get_by_role("button", name=re.compile("change your name"))
    ada.tab_to(button)
    ada.page.keyboard.press("Enter")
    expect(ada.page.get_by_role("textbox", name="Your name")).to_be_focused()
    ada.page.keyboard.press("Escape")
    expect(button).to_be_focused()
    ada.page.keyboard.press("Enter")
    ada.page.keyboard.type("Countess of Lovelace")
    ada.page.keyboard.press("Enter")
    expect(grace.log.locator(".notice")).to_have_text("Countess of Lovelace joined")
    ada.is_live()
    ada.say("It is me")
    grace.sees("It is me")
    expect(grace.message("It is me").locator(".author")).to_have_text("Countess of Lovelace")
    expect(grace.message("It is me").locator(".avatar")).to_have_text("CL")
    ada.page.reload()
    expect(button).to_contain_text("Countess of Lovelace")


def test_messages_of_one_user_in_a_row_stand_together(house: House) -> None:
    ada, grace = house.person("Ada"), house.person("Grace")
    ada.say("one")
    ada.say("two")
    grace.sees("one", "two")
    grace.say("three")
    ada.sees("one", "two", "three")
    ada.say("four")
    grace.sees("two", "three", "four")
    heads = [message.locator(".meta").bounding_box() for message in grace.log.locator(".message").all()[-4:]]
    # The head of the second is there for screen readers only.
    assert [head is not None and head["width"] > 1 for head in heads] == [True, False, True, True]
    expect(grace.message("two").locator(".author")).to_have_text("Ada")
    expect(grace.message("four").locator("time")).to_have_text(re.compile(r"^\d\d:\d\d$"))


def test_markup_in_a_message_is_text(house: House) -> None:
    ada, grace = house.person("Ada <b>"), house.person("Grace")
    attack = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
    ada.say(attack)
    grace.sees(attack)
    expect(grace.message(attack).locator(".author")).to_have_text("Ada <b>")
    assert grace.page.title() == "Lobby · Broadwing chat"
    assert grace.log.locator("img, script, b").count() == 0


def test_markup_that_got_into_the_page_all_the_same_could_run_no_script(house: House) -> None:
    context = house.context()
    ada = house.person("Ada", context=context)
    house.persons.remove(ada)  # it has reason to complain
    ada.page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=\"/favicon.svg\" onload=\"document.title=1\">')"
    )
    expect(ada.page.locator("body > img")).to_have_js_property("complete", True)
    ada.say("still here")
    ada.sees("still here")
    assert ada.page.title() == "Lobby · Broadwing chat"
    assert any("policy: script-src-attr inline" in text for text in ada.complaints.all())


def test_unread_messages_are_counted_in_the_title(house: House) -> None:
    ada, grace = house.person("Ada"), house.person("Grace")
    ada.page.evaluate("document.hasFocus = () => false")
    grace.say("one")
    grace.say("two")
    ada.sees("one", "two")
    assert ada.page.title() == "(2) Lobby · Broadwing chat"
    ada.page.evaluate("document.hasFocus = () => true; dispatchEvent(new Event('focus'))")
    assert ada.page.title() == "Lobby · Broadwing chat"


def test_who_reads_old_messages_is_not_torn_away_from_them(house: House) -> None:
    ada, grace = house.person("Ada"), house.person("Grace")
    for number in range(30):
        grace.say(f"line {number}")
    ada.sees("line 29")
    ada.log.evaluate("log => { log.scrollTop = 0 }")
    grace.say("news")
    button = ada.page.get_by_role("button", name="New messages")
    expect(button).to_be_visible()
    expect(ada.message("line 0")).to_be_in_viewport()
    ada.tab_to(button)
    ada.page.keyboard.press("Enter")
    expect(ada.message("news")).to_be_in_viewport()
    expect(button).to_be_hidden()
    expect(ada.box).to_be_focused()


# Who is here.


def test_a_page_shows_who_is_here_and_several_tabs_of_one_user_as_one_person(house: House) -> None:
    ada = house.person("Ada")
    ada.sees_here("Ada (you)")
    expect(ada.page.get_by_role("heading", name="Here now")).to_be_visible()
    grace = house.person("Grace")
    for person, people in ((ada, ["Ada (you)", "Grace"]), (grace, ["Grace (you)", "Ada"])):
        person.sees_here(*people)
    other_tab = house.person(None, context=grace.page.context)
    other_tab.is_live()
    ada.sees_here("Ada (you)", "Grace, 2 tabs")
    other_tab.sees_here("Grace (you), 2 tabs", "Ada")
    other_tab.page.close()
    ada.sees_here("Ada (you)", "Grace")
    grace.page.reload()
    grace.is_live()
    ada.sees_here("Ada (you)", "Grace")
    grace.page.close()
    ada.sees_here("Ada (you)")


def test_somebody_whose_browser_is_killed_is_no_longer_here(house: House, tmp_path: Path) -> None:
    ada = house.person("Ada")
    with mortal_chromium(house.browser, tmp_path / "profile") as (browser, kill):
        grace = Person(browser.new_context(locale="en-GB"), house.server.url("/"), "Grace")
        ada.sees_here("Ada (you)", "Grace")
        grace.say("my battery is low")
        ada.sees("my battery is low")
        kill()
        ada.sees_here("Ada (you)")
    ada.say("and gone she is")
    ada.sees("my battery is low", "and gone she is")


def test_a_new_name_takes_the_place_of_the_old_one(house: House) -> None:
    ada, grace = house.person("Ada"), house.person("Grace")
    ada.sees_here("Ada (you)", "Grace")
    grace.tab_to(grace.page.get_by_role("button", name=re.compile("change your name")))
    grace.page.keyboard.press("Enter")
    grace.page.keyboard.press("Control+A")
    grace.introduce("Hopper")
    grace.sees_here("Hopper (you)", "Ada")
    ada.sees_here("Ada (you)", "Hopper")


def test_a_list_that_may_be_out_of_date_says_so_and_is_right_again_after_a_restart(house: House) -> None:
    ada, grace = house.person("Ada"), house.person("Grace")
    ada.sees_here("Ada (you)", "Grace")
    house.kill_server()
    expect(ada.status).to_contain_text("Offline")
    expect(ada.page.get_by_role("heading", name="Last seen here")).to_be_visible()
    ada.sees_here("Ada (you)", "Grace")
    house.persons.remove(grace)  # her page may be in the middle of an attempt to connect, and complain
    grace.page.close()
    house.server.start()
    ada.is_live()
    ada.sees_here("Ada (you)")
    expect(ada.page.get_by_role("heading", name="Here now")).to_be_visible()


def test_of_a_crowd_some_are_named_and_the_others_counted(house: House) -> None:
    ada = house.person("Ada")
    ada.sees_here("Ada (you)")
    ada.page.evaluate(
        """async () => {
          const {Socket} = await import("/broadwing/broadwing.js")
          for (let n = 10; n < 25; n++) {
            const answer = await fetch("/login", {method: "POST", body: JSON.stringify({name: `Guest ${n}`})})
            const {token} = await answer.json()
            const socket = new Socket("/socket", {authToken: token})
            socket.connect()
            socket.channel("room:lobby", {again: true}).join()
          }
        }"""
    )
    ada.sees_here("Ada (you)", *(f"Guest {number}" for number in range(10, 19)), "and 6 more")
    for width in (320, 390, 900, 1600):
        ada.page.set_viewport_size({"width": width, "height": 640})
        needed, there = ada.page.locator("html").evaluate("element => [element.scrollWidth, element.clientWidth]")
        assert needed <= there, width
        expect(ada.box).to_be_in_viewport(ratio=1)


# Pictures for README and docs.


@pytest.mark.parametrize(
    ("picture", "options"),
    [
        ("chat-light", {"color_scheme": "light", "viewport": {"width": 960, "height": 815}}),
        ("chat-dark", {"color_scheme": "dark", "viewport": {"width": 960, "height": 815}}),
        ("chat-narrow", {"color_scheme": "light", "viewport": {"width": 390, "height": 700}}),
    ],
)
def test_the_pictures_in_the_documentation_can_be_taken(
    house: House, tmp_path: Path, picture: str, options: dict[str, Any]
) -> None:
    ada = house.person("Ada Lovelace", **options)
    grace, barbara = house.person("Grace Hopper"), house.person("Barbara Liskov")
    house.person(None, context=barbara.page.context)  # a second tab
    barbara.page.bring_to_front()
    ada.sees_here("Ada Lovelace (you)", "Barbara Liskov, 2 tabs", "Grace Hopper")
    ada.say("Good morning! Is anybody up on the ridge yet?")
    grace.say("Morning. Forty broad-winged hawks in one kettle, all turning on the same thermal.")
    grace.say("And not one of them flaps.")
    barbara.say("Forty! Here it rains.")
    ada.say("Then stay in and restart the server for us: the pages come back by themselves.")
    barbara.say("Restarting.")
    ada.sees("Restarting.")
    if picture == "chat-narrow":
        house.kill_server()
        expect(ada.page.locator("#status-detail")).to_have_text(re.compile(r"^in \d s$"))
        ada.say("Written while the server was away")
    else:
        grace.page.keyboard.type("h")
        expect(ada.page.locator("#typing")).to_have_text("Grace Hopper is typing…")
    folder = ROOT / "docs" / "images" if os.environ.get("UPDATE_SCREENSHOTS") else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    taken = ada.page.screenshot(path=folder / f"{picture}.png", caret="hide")
    assert len(taken) < 150_000
