"""A page that is watched: what it shows, what it complains of, and whom it talks to."""

from __future__ import annotations

import re
from typing import cast

from playwright.sync_api import ConsoleMessage, Locator, Page, Request, expect

#: Chromium gives up what it is loading when a network interface comes or goes, as when a container starts nearby.
NETWORK_CHANGED = "ERR_NETWORK_CHANGED"


class Tab:
    """A page in a profile of its own."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        self._forgiven = [NETWORK_CHANGED]
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("request", self._asked)

    def open(self, url: str) -> None:
        """Go there; again, if the page could not be loaded for what happens to this machine's network."""
        for _ in range(5):
            before = len(self.complaints)
            self.page.goto(url)
            if not any(NETWORK_CHANGED in complaint for complaint in self.complaints[before:]):
                return

    def forgive(self, pattern: str) -> None:
        """Let a complaint pass that this test brings about on purpose."""
        self._forgiven.append(pattern)

    def check(self) -> None:
        """Fail if the page complained by itself, or talked to anybody but the api."""
        left = [each for each in self.complaints if not any(re.search(known, each) for known in self._forgiven)]
        assert left == [], left
        assert len(self.hosts) <= 1, self.hosts

    def rows(self, kind: str) -> dict[str, str]:
        """Return name and count of each row, as the list of types or words shows them."""
        found: list[list[str]] = self.page.locator(f"#{kind} tbody tr").evaluate_all(
            "rows => rows.map(row => ['.given', '.count'].map(part => row.querySelector(part).textContent))"
        )
        return {name: count for name, count in found}  # noqa: C416 - dict() has no type for lists of two

    def expect_rows(self, kind: str, rows: dict[str, int]) -> None:
        """Wait until the list shows these, in this order."""
        body = self.page.locator(f"#{kind} tbody")
        expect(body.locator(".given")).to_have_text(list(rows))
        expect(body.locator(".count")).to_have_text([f"{count:,}" for count in rows.values()])

    def name(self, kind: str, name: str) -> Locator:
        """Return the button of a row's name, which filters by it."""
        return self.page.locator(f"#{kind}").get_by_role("button", name=name, exact=True)

    def details(self, kind: str, name: str) -> Locator:
        """Return the button of a row that opens the sheet of its name."""
        return self.page.locator(f"#{kind}").get_by_role("button", name=f"Details of {name}", exact=True)

    def expect_state(self, text: str | re.Pattern[str]) -> None:
        """Wait until the connection is said to be in this state."""
        expect(self.page.locator("#connection-text")).to_have_text(text)

    def watch_states(self) -> None:
        """Write down from now on every state that the connection is said to be in."""
        self.page.evaluate(
            """() => {
                const text = document.getElementById("connection-text");
                window.states = [];
                new MutationObserver(() => window.states.push(text.textContent)).observe(text, { childList: true });
            }"""
        )

    def states(self) -> list[str]:
        """Return the states since `watch_states`."""
        return cast(list[str], self.page.evaluate("window.states"))

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith(("data:", "blob:")):
            self.hosts.add(request.url.split("/")[2])
