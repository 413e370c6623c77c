"""A tab of Chromium that can be in the background, spoken to over the DevTools protocol.

Playwright tells all of its pages that they have the focus, so none of them is ever hidden. Tabs that it does not know of are
what users have: one in front, the others hidden.
"""

import itertools
import json
import time
from typing import Any

from playwright.sync_api import Browser

from tests.support.background import TIMEOUT


class Tab:
    """A tab in a window of its own, with another tab beside it.

    Args:
        browser: Where.
        url: Of what page.
    """

    def __init__(self, browser: Browser, url: str) -> None:
        self._devtools = browser.new_browser_cdp_session()
        self._devtools.on("Target.receivedMessageFromTarget", self._receive)
        self._answers: dict[int, dict[str, Any]] = {}
        self._numbers = itertools.count(1)
        # Neither is a page to Playwright, as it has not made their context.
        context = self._devtools.send("Target.createBrowserContext")["browserContextId"]
        self._context = context
        self._self = self._target(url)
        attached = self._devtools.send("Target.attachToTarget", {"targetId": self._self, "flatten": False})
        self._session = attached["sessionId"]
        self._other = self._target("about:blank")
        self.show()

    def evaluate(self, expression: str) -> Any:
        """The value of an expression on the page, as JSON has it."""
        number = next(self._numbers)
        parameters = {"expression": expression, "returnByValue": True}
        message = {"id": number, "method": "Runtime.evaluate", "params": parameters}
        self._devtools.send("Target.sendMessageToTarget", {"sessionId": self._session, "message": json.dumps(message)})
        deadline = time.monotonic() + TIMEOUT
        while number not in self._answers:
            assert time.monotonic() < deadline, f"no answer to {expression}"
            self._devtools.send("Target.getTargets")  # events come while something is waited for
        answer = self._answers.pop(number)["result"]
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Wait until the expression is true."""
        deadline = time.monotonic() + TIMEOUT
        while not self.evaluate(expression):
            assert time.monotonic() < deadline, expression
            time.sleep(0.01)

    def hide(self) -> None:
        """Bring the other tab to the front."""
        self._devtools.send("Target.activateTarget", {"targetId": self._other})
        self.wait_for("document.visibilityState === 'hidden'")

    def show(self) -> None:
        """Bring this tab to the front."""
        self._devtools.send("Target.activateTarget", {"targetId": self._self})
        self.wait_for("document.visibilityState === 'visible'")

    def close(self) -> None:
        """Close both."""
        self._devtools.send("Target.disposeBrowserContext", {"browserContextId": self._context})
        self._devtools.detach()

    def _target(self, url: str) -> str:
        made = self._devtools.send("Target.createTarget", {"url": url, "browserContextId": self._context})
        return str(made["targetId"])

    def _receive(self, event: dict[str, Any]) -> None:
        message = json.loads(event["message"])
        if event["sessionId"] == self._session and "id" in message:
            self._answers[message["id"]] = message
