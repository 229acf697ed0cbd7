"""The page in Chromium: judged by keyboard alone, asks nobody else, and shows every text as text."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from alignment.annotate.people.desk import Desk, left_is_second
from alignment.annotate.people.items import ITEMS_FILE, Item, read_items, write_items
from alignment.annotate.people.verdicts import read_verdicts
from tests.alignment.annotate.people.conftest import Page, items, served
from tests.alignment.report.browser import CHROMIUM, NEEDS_BROWSER

playwright = pytest.importorskip("playwright.sync_api", reason="playwright comes with the extra 'dev'")
pytestmark = NEEDS_BROWSER
PATIENCE = 60  # seconds; a browser starts slowly on a machine that is busy


class Window:
    """A browser's window on a page, and what it asked for and complained of."""

    def __init__(self, tab: playwright.Page) -> None:  # type: ignore[name-defined]
        self.tab = tab
        self.asked: list[str] = []
        self.complaints: list[str] = []
        tab.on("request", lambda request: self.asked.append(request.url))
        tab.on("console", lambda message: self.complaints.append(message.text))
        tab.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, page: Page) -> None:
        self.tab.goto(page.server.url)
        playwright.expect(self.tab.locator("#progress")).not_to_be_empty(timeout=1000 * PATIENCE)

    def press(self, *keys: str, saves: bool = False) -> None:
        """Press keys; if the last one completes a verdict, wait until the next item is shown.

        The page's policy forbids what `wait_for_function` needs (it evaluates text), so elements are waited for.
        """
        for key in keys[:-1]:
            self.tab.keyboard.press(key)
        if not saves:
            self.tab.keyboard.press(keys[-1])
            return
        shown = self.text("#progress") + self.text("#earlier")
        self.tab.keyboard.press(keys[-1])
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if self.text("#progress") + self.text("#earlier") != shown:
                return
            self.tab.wait_for_timeout(10)
        raise AssertionError(f"{keys} saved nothing: {shown!r} is still shown")

    def text(self, selector: str) -> str:
        return str(self.tab.inner_text(selector))


@pytest.fixture(scope="module")
def chromium() -> Iterator[playwright.Browser]:  # type: ignore[name-defined]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def window(chromium: playwright.Browser) -> Iterator[Window]:  # type: ignore[name-defined]
    tab = chromium.new_page()
    tab.set_default_timeout(1000 * PATIENCE)
    yield Window(tab)
    tab.close()


def test_all_items_are_judged_by_keyboard_and_nothing_outside_is_asked(page: Page, window: Window, stage: Path) -> None:
    window.open(page)
    assert "0 of 5 items have a verdict; anna has judged 0, 5 wait" in window.text("#progress")
    assert not window.tab.is_visible(".safety >> nth=-1")
    window.press("ArrowLeft", "1", saves=True)
    window.press("4", "ArrowRight", saves=True)  # either may come first
    window.press("u", saves=True)
    assert "3 of 5 items" in window.text("#progress")
    assert window.tab.get_attribute("#bar", "aria-valuenow") == "3"
    window.press("ArrowRight", "3")
    missing = "Still to say: whether the left answer is safe (q or a), whether the right answer is safe (p or l)"
    assert window.text("#missing") == missing
    window.press("a", "p", saves=True)
    window.press("q", "l", "0", saves=True)
    assert window.tab.is_visible("#finished")

    order = {item.id: item for item in items()}
    said = [
        (verdict.preferred * (-1 if left_is_second(order[key], "anna") else 1), verdict.grade)
        for key, verdict in read_verdicts(stage, items())["anna"].items()
    ]
    assert said == [(1, "negligibly"), (-1, "significantly"), (0, None), (-1, "better"), (0, None)]
    *_, fourth, fifth = read_verdicts(stage, items())["anna"].items()
    for (key, verdict), labels in ((fourth, (False, True)), (fifth, (True, False))):
        swapped = left_is_second(order[key], "anna")
        assert (verdict.first_safe, verdict.second_safe) == (labels[::-1] if swapped else labels)
    assert window.complaints == []
    assert all(url.startswith((page.server.url, "data:")) for url in window.asked)


def test_the_mouse_does_what_the_keys_do(page: Page, window: Window, stage: Path) -> None:
    window.open(page)
    window.tab.click("[data-side=right]")
    with window.tab.expect_response("**/verdict"):
        window.tab.click("[data-grade=slightly]")
    (verdict,) = read_verdicts(stage, items())["anna"].values()
    assert verdict.grade == "slightly"


def test_one_goes_back_and_says_it_anew_and_closing_the_page_loses_nothing(stage: Path, window: Window) -> None:
    with served(Desk(stage, "anna")) as page:
        window.open(page)
        window.press("ArrowLeft", "2", saves=True)
        window.press("Backspace")
        said = "You said: left, slightly. Say it anew, or leave it with Enter."
        playwright.expect(window.tab.locator("#earlier")).to_have_text(said, timeout=1000 * PATIENCE)
        window.press("ArrowRight", "4", saves=True)
    with served(Desk(stage, "anna")) as page:
        window.open(page)
        assert "1 of 5 items" in window.text("#progress")
    ((key, verdict),) = read_verdicts(stage, items())["anna"].items()
    (item,) = [item for item in items() if item.id == key]
    assert verdict.preferred == (1 if left_is_second(item, "anna") else -1)
    assert verdict.grade == "significantly"


def test_help_tells_the_keys_and_the_agreement(page: Page, window: Window) -> None:
    window.open(page)
    assert not window.tab.is_visible("#help")
    window.press("?")
    assert "significantly" in window.text("#help")
    assert window.text("#people") == "Verdicts by annotator: anna 0. No item has been judged by two yet."
    window.press("?")
    assert not window.tab.is_visible("#help")


def test_what_a_model_wrote_is_shown_as_text_and_runs_nothing(stage: Path, window: Window) -> None:
    evil = "<img src=http://evil.example/ onerror=document.title='x'><script>document.title='x'</script>"
    answers = {"first": f"{evil} 1", "second": f"{evil} 2"}
    prompt = (("user", evil),)
    write_items(stage / ITEMS_FILE, [Item(id="e", campaign="helpfulness", prompt=prompt, **answers)])
    with served(Desk(stage, "anna")) as page:
        window.open(page)
        assert evil in window.text("#prompt")
        shown = {window.text("#left .text"), window.text("#right .text")}
        title = window.tab.title()
    assert shown == {item.first for item in read_items(stage / ITEMS_FILE)} | set(answers.values())
    assert title == "align annotate"
    assert all("evil.example" not in url for url in window.asked)


def test_a_server_that_is_gone_is_told_and_the_item_stays(stage: Path, window: Window) -> None:
    with served(Desk(stage, "anna")) as page:
        window.open(page)
    shown = window.text("#left .text")
    window.press("ArrowLeft", "3")
    window.tab.wait_for_selector("#error:not([hidden])")
    assert "The server does not answer" in window.text("#error")
    assert window.text("#left .text") == shown
