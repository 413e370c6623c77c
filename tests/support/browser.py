"""The distribution's Chromium, driven by Playwright, and what the tests ask of pages in it."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

TIMEOUT_MS = 30_000
"""Most that anything in a page may take."""
expect.set_options(timeout=TIMEOUT_MS)

# Names of the programs, and where macOS keeps them, as tools/system_parts.sh has them.
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_APPS = tuple(Path(f"/Applications/{app}.app/Contents/MacOS/{app}") for app in ("Chromium", "Google Chrome"))

# No browser may look further than this machine, and none needs a graphics card.
_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium_path() -> str:
    """The browser; a test that cannot run for want of one is a failure, never a skip."""
    named = os.environ.get("CHROMIUM")
    found = [named] if named else [path for name in _NAMES if (path := shutil.which(name))]
    found += [str(app) for app in _APPS if app.exists()]
    assert found, "there is no Chromium here: install one (`make test` says how), or name it in CHROMIUM"
    return found[0]


@contextmanager
def chromium(ignore_default_args: Sequence[str] = ()) -> Iterator[Browser]:
    """A browser with a fresh profile.

    Args:
        ignore_default_args: What Playwright would start it with and should not.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium_path(), args=_ARGUMENTS, ignore_default_args=list(ignore_default_args)
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def mortal_chromium(browser: Browser, profile: Path) -> Iterator[tuple[Browser, Callable[[], None]]]:
    """A browser of its own that can be killed, and what does so: as if its machine had lost power, it says goodbye to nobody.

    Args:
        browser: Any that runs, for its Playwright.
        profile: An empty folder.
    """
    process = subprocess.Popen(
        [chromium_path(), *_ARGUMENTS, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # all of its processes die together
    )

    def kill() -> None:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    try:
        where = profile / "DevToolsActivePort"
        deadline = time.monotonic() + TIMEOUT_MS / 1000
        while not (where.exists() and where.read_text().count("\n")):
            assert process.poll() is None, "Chromium has ended"
            assert time.monotonic() < deadline, "Chromium does not start"
            time.sleep(0.02)
        yield browser.browser_type.connect_over_cdp(f"http://127.0.0.1:{where.read_text().split()[0]}"), kill
    finally:
        kill()


# What Chromium says of a server that is away, or refuses newcomers with 503 while it stops; it cannot be kept from saying it.
_AWAY = re.compile(
    r"net::ERR_(CONNECTION_(REFUSED|RESET|CLOSED|ABORTED)|EMPTY_RESPONSE|INCOMPLETE_CHUNKED_ENCODING)|status of 503 "
)


class Complaints:
    """Everything a page complains of: uncaught errors, errors and warnings in the console, breaches of its policy."""

    def __init__(self, page: Page) -> None:
        self._heard: list[str] = []
        page.on("pageerror", lambda error: self._heard.append(f"uncaught: {error}"))
        page.on("console", lambda said: self._heard.append(said.text) if said.type in ("error", "warning") else None)
        page.add_init_script(
            "addEventListener('securitypolicyviolation', (event) =>"
            " console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`))"
        )

    def besides_a_server_that_is_away(self) -> list[str]:
        """What no restart explains."""
        return [text for text in self._heard if not _AWAY.search(text)]

    def all(self) -> list[str]:
        """Everything."""
        return list(self._heard)
