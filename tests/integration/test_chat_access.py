"""The chat's page can be used by everybody: by keyboard, by ear, by day and night. The numbers are those of WCAG 2.2, AA."""

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.chat_page import House, Person

pytest_plugins = ["tests.support.chat_page"]

CONTRASTS = """() => {
  const canvas = Object.assign(document.createElement("canvas"), {width: 1, height: 1})
  const context = canvas.getContext("2d", {willReadFrequently: true})
  const rgba = (color) => {
    context.clearRect(0, 0, 1, 1)
    context.fillStyle = color
    context.fillRect(0, 0, 1, 1)
    return [...context.getImageData(0, 0, 1, 1).data]
  }
  const luminance = (color) => {
    const [r, g, b] = color.slice(0, 3).map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const ratio = (one, other) => {
    const [high, low] = [luminance(one), luminance(other)].sort((a, b) => b - a)
    return (high + 0.05) / (low + 0.05)
  }
  const ground = (element) => {
    for (let node = element; node; node = node.parentElement) {
      const color = rgba(getComputedStyle(node).backgroundColor)
      if (color[3] === 255) return color
      if (color[3] !== 0) throw new Error(`a translucent ground: ${node.className}`)
    }
    return [255, 255, 255, 255]
  }
  const found = []
  const measure = (what, color, element) => found.push([what, ratio(rgba(color), ground(element))])
  const isSeen = (element) => {
    const box = element.getBoundingClientRect()
    return element.checkVisibility({visibilityProperty: true}) && box.width > 1 && box.height > 1
      && !getComputedStyle(element).clipPath.startsWith("inset")
  }
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement
    const text = walker.currentNode.textContent.trim()
    if (text && isSeen(element)) measure(text, getComputedStyle(element).color, element)
  }
  for (const field of document.querySelectorAll("input, textarea")) {
    if (isSeen(field) && field.placeholder) measure(field.placeholder, getComputedStyle(field, "::placeholder").color, field)
  }
  // Every colour an avatar can have.
  const avatar = document.querySelector("#me .avatar")
  const hue = avatar.style.getPropertyValue("--hue")
  for (let angle = 0; angle < 360; angle += 5) {
    avatar.style.setProperty("--hue", angle)
    measure(`avatar ${angle}`, getComputedStyle(avatar).color, avatar)
  }
  avatar.style.setProperty("--hue", hue)
  return found
}"""

BORDERS = """() => [".composer", ".switch input"].map((selector) => {
  const element = document.querySelector(selector)
  element.checked = false
  return [selector, getComputedStyle(element).borderTopColor]
})"""


def furnish(house: House, **options: Any) -> Person:
    """A page with everything on it that can be on it."""
    ada = house.person("Ada Lovelace", **options)
    grace = house.person("Grace")
    grace.say("hello")
    grace.say("again")
    ada.say("good morning")
    ada.page.keyboard.insert_text("x " * 501)
    ada.page.keyboard.press("Enter")
    expect(ada.log).to_contain_text("Not delivered")
    ada.page.keyboard.insert_text("y " * 460)
    grace.page.keyboard.type("h")
    expect(ada.page.locator("#typing")).to_have_text("Grace is typing…")
    return ada


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read(house: House, scheme: str) -> None:
    ada = furnish(house, color_scheme=scheme)
    contrasts = ada.page.evaluate(CONTRASTS)
    assert {"Live", "hello", "good morning", "Edit", "Grace is typing…", "avatar 355"} <= {
        what for what, _ in contrasts
    }
    # 1.4.3
    assert [(what, round(ratio, 2)) for what, ratio in contrasts if ratio < 4.5] == []
    ada.page.evaluate("document.activeElement.blur()")
    ground = ada.page.evaluate("getComputedStyle(document.body).backgroundColor")
    for selector, color in ada.page.evaluate(BORDERS):
        assert contrast(color, ground) >= 3, selector  # 1.4.11


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_login_and_a_lost_connection_can_be_read_too(house: House, scheme: str) -> None:
    ada = house.person("Ada", color_scheme=scheme)
    house.kill_server()
    expect(ada.status).to_contain_text("Offline")
    ada.say("waiting")
    ada.tab_to(ada.page.get_by_role("button", name=re.compile("change your name")))
    ada.page.keyboard.press("Enter")
    ada.page.keyboard.type("Grace")
    ada.page.keyboard.press("Enter")
    expect(ada.page.get_by_role("alert")).to_have_text("The server does not answer. Please try again.")
    contrasts = ada.page.evaluate(CONTRASTS)
    assert {"Offline, reconnecting", "Waiting for the connection", "What shall we call you?"} <= {
        what for what, _ in contrasts
    }
    assert [(what, round(ratio, 2)) for what, ratio in contrasts if ratio < 4.5] == []


def test_everything_one_can_reach_has_a_role_and_a_name(house: House) -> None:
    ada = furnish(house)
    session = ada.page.context.new_cdp_session(ada.page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    focusable = []
    for node in nodes:
        properties = {each["name"]: each["value"].get("value") for each in node.get("properties", [])}
        if properties.get("focusable") and not node.get("ignored") and node["role"]["value"] != "RootWebArea":
            focusable.append((node["role"]["value"], node["name"]["value"].strip()))
    assert sorted(focusable) == [
        ("button", "Ada Lovelace, change your name"),
        ("button", "Edit"),
        ("button", "Send"),
        ("link", "Skip to the message box"),
        ("log", "Messages"),
        ("switch", "Show who joins"),
        ("textbox", "Message"),
    ]
    session.detach()


def test_the_structure_of_the_page_can_be_heard(house: House) -> None:
    ada = furnish(house)
    page = ada.page
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.title() == "Lobby · Broadwing chat"
    for role in ("banner", "main", "log", "status"):
        expect(page.get_by_role(role)).to_have_count(1)
    # role="log" is live by itself: polite, additions only (WAI-ARIA 1.2); nothing may turn that off.
    expect(ada.log).not_to_have_attribute("aria-live", re.compile(".*"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Lobby")
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((element) => element.id)")
    assert len(ids) == len(set(ids))
    for attribute in ("aria-describedby", "aria-labelledby", "for"):
        for referring in page.locator(f"[{attribute}]").all():
            assert set((referring.get_attribute(attribute) or "").split()) <= set(ids)
    # A message is heard with its author even where the eye is spared the name.
    expect(ada.message("again")).to_contain_text("Grace")


def test_every_control_shows_the_focus_and_is_large_enough(house: House) -> None:
    ada = furnish(house)
    ada.page.get_by_role("link", name="Skip").focus()
    seen: list[tuple[str, str, float]] = []
    for _ in range(7):
        seen.append(
            ada.page.evaluate(
                """() => {
                  const element = document.activeElement
                  const framed = element.closest(".composer") && element.id === "body" ? element.closest(".composer") : element
                  const {width, height} = element.getBoundingClientRect()
                  const label = element.closest("label")?.getBoundingClientRect().height ?? 0
                  return [
                    element.id || element.textContent.trim(),
                    getComputedStyle(framed).outlineStyle,
                    Math.min(width, Math.max(height, label)),
                  ]
                }"""
            )
        )
        ada.page.keyboard.press("Tab")
    names = [name for name, _, _ in seen]
    assert names == ["Skip to the message box", "me", "log", "Edit", "body", "Send", "notices"]
    assert [name for name, outline, _ in seen if outline == "none"] == []  # 2.4.7
    assert [name for name, _, size in seen if size < 24] == []  # 2.5.8


def contrast(one: str, other: str) -> float:
    """The ratio of two colours `rgb(r, g, b)`, as WCAG defines it."""

    def luminance(color: str) -> float:
        values = [int(value) / 255 for value in re.findall(r"\d+", color)[:3]]
        red, green, blue = (v / 12.92 if v <= 0.04045 else float(((v + 0.055) / 1.055) ** 2.4) for v in values)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_page_fits_every_width(house: House) -> None:
    ada = furnish(house)
    ada.box.fill("https://example.com/" + "a" * 200)
    ada.page.keyboard.press("Enter")
    for width in (320, 390, 900, 1600):
        ada.page.set_viewport_size({"width": width, "height": 640})
        for locator in (ada.page.locator("html"), ada.log):
            needed, there = locator.evaluate("element => [element.scrollWidth, element.clientWidth]")
            assert needed <= there, width  # 1.4.10
        for locator in (ada.box, ada.status, ada.log.locator(".text").last):
            expect(locator).to_be_in_viewport(ratio=1)


def test_the_page_works_where_the_browser_remembers_nothing(house: House) -> None:
    context = house.context()
    context.add_init_script("Object.defineProperty(window, 'localStorage', {get() { throw new Error('forbidden') }})")
    ada = house.person("Ada", context=context)
    ada.say("hi")
    ada.sees("hi")
