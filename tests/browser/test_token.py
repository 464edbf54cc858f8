"""The bearer token, which the page asks for where the api wants one."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenTab, StartPipeline
from tests.browser.pipeline import event
from tests.server import Server

pytestmark = pytest.mark.browser


@pytest.mark.slow
def test_the_token_is_asked_for(server: Server, start: StartPipeline, open_tab: OpenTab) -> None:
    pipeline = start(server, TALLY_API_TOKEN="sésame".encode().hex())
    pipeline.count(event("foo"))
    tab = open_tab(pipeline.url)
    tab.forgive("401")
    dialog = tab.page.get_by_role("dialog", name="Token")
    expect(dialog).to_be_visible()
    tab.page.keyboard.press("Escape")
    expect(dialog).to_be_visible()
    tab.page.keyboard.type("wrong")
    tab.page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_have_text("The api does not know this token.")
    dialog.get_by_label("Token").fill(pipeline.token or "")
    dialog.get_by_role("button", name="Continue").click()
    expect(dialog).to_be_hidden()
    tab.expect_state("Live")
    tab.expect_rows("types", {"foo": 1})
    tab.page.reload()
    tab.expect_rows("types", {"foo": 1})
    expect(dialog).to_be_hidden()
    assert (pipeline.token or "") not in tab.page.url
    tab.page.get_by_role("link", name="API docs").click()
    expect(tab.page.locator("#docs")).to_contain_text(re.compile("/v1/types|make assets"))


@pytest.mark.slow
def test_who_looks_for_the_token_is_not_called_disconnected(
    server: Server, start: StartPipeline, open_tab: OpenTab
) -> None:
    pipeline = start(server, TALLY_API_TOKEN="right")
    tab = open_tab("about:blank")
    tab.forgive("401")
    tab.page.clock.install()
    tab.open(pipeline.url)
    dialog = tab.page.get_by_role("dialog", name="Token")
    expect(dialog).to_be_visible()
    tab.page.clock.fast_forward(15_000)
    tab.watch_states()
    dialog.get_by_label("Token").fill("right")
    dialog.get_by_role("button", name="Continue").click()
    tab.expect_state("Live")
    assert tab.states() == ["Live"]


@pytest.mark.slow
def test_a_token_that_no_header_carries_is_refused_in_the_dialog(
    server: Server, start: StartPipeline, open_tab: OpenTab
) -> None:
    pipeline = start(server, TALLY_API_TOKEN="right")
    pipeline.count(event("foo"))
    for token in ("☃", "sésame", "two words", "   "):
        tab = open_tab(pipeline.url)
        tab.forgive("401")
        dialog = tab.page.get_by_role("dialog", name="Token")
        dialog.get_by_label("Token").fill(token)
        dialog.get_by_role("button", name="Continue").click()
        expect(dialog.get_by_role("alert")).to_contain_text("ASCII")
        assert tab.page.evaluate("sessionStorage.length") == 0
        # One that an earlier page has kept is asked for again.
        tab.page.evaluate("token => sessionStorage.setItem('tally-token', token)", token)
        tab.page.reload()
        expect(dialog).to_be_visible()
        dialog.get_by_label("Token").fill(" right\t")
        dialog.get_by_role("button", name="Continue").click()
        tab.expect_state("Live")
        tab.expect_rows("types", {"foo": 1})
