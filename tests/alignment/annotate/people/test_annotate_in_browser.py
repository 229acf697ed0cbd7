"""The page in Chromium: judged by keys and by clicks, what it shows is text, and it can reach nothing else."""

from __future__ import annotations

import json
import re
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from alignment.annotate.people import server as server_module
from alignment.annotate.people.desk import Desk, left_is_second
from alignment.annotate.people.items import ITEMS_FILE, Item, write_items
from alignment.annotate.people.verdicts import read_verdicts
from tests.alignment.annotate.people.conftest import items, served
from tests.alignment.report.browser import CHROMIUM, NEEDS_BROWSER

pytestmark = NEEDS_BROWSER

MARKUP = "<img src=x onerror=\"document.title='ran'\"><script>document.title='ran'</script>\n  two  spaces"
# a test's own addition to the page, under the page's own policy
DRIVER = r"""
const told = { violations: [] };
addEventListener("securitypolicyviolation", (event) => told.violations.push(event.effectiveDirective));
const at = (selector) => document.querySelector(selector);
const press = (...keys) => keys.forEach((key) =>
  document.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true })));
const pause = () => new Promise((done) => setTimeout(done, 5));
const until = async (what, condition) => {
  for (let turn = 0; turn < 400; turn++) { if (condition()) return; await pause(); }
  throw new Error(`waited in vain: ${what}`);
}
const judged = (count) => until(`${count} judged`, () => at("#progress").textContent.startsWith(`${count} of`) && !busy);
const drive = async () => {
  await judged(0);
  const left = at("#left").getBoundingClientRect(), right = at("#right").getBoundingClientRect();
  told.beside = left.right <= right.left && Math.abs(left.top - right.top) < 1 && right.right <= innerWidth;
  told.shown = ["prompt p bdi", "left .text", "right .text"].map((place) => at(`#${place}`).textContent);
  told.elements = document.querySelectorAll("#item img, #item script").length;
  told.labelsForHelpfulness = getComputedStyle(at("#left .safety")).display;
  press("3");
  told.missing = at("#missing").textContent;
  press("ArrowRight");
  await judged(1);
  press("u");
  await judged(2);
  press("Backspace");
  await until("the item before", () => at("#earlier").textContent !== "" && !busy);
  told.earlier = at("#earlier").textContent;
  press("ArrowLeft", "1");
  await until("the next item", () => at("#earlier").textContent === "" && !busy);
  press("ArrowLeft", "4");
  await judged(3);
  told.labelsForSafety = getComputedStyle(at("#left .safety")).display;
  press("ArrowLeft", "2", "q");
  told.missingLabel = at("#missing").textContent;
  press("l");
  await judged(4);
  for (const button of ['#left [data-value="false"]', '#right [data-value="false"]', "#right .side", '[data-grade="better"]'])
    at(button).click();
  await judged(5);
  told.finished = !at("#finished").hidden && at("#item").hidden;
  press("?");
  told.help = at("#people").textContent;
  const outside = new Image();
  outside.src = "http://127.0.0.1:9/x.png";
  await fetch("http://127.0.0.1:9/").catch(() => {});
  await until("refusals", () => told.violations.length > 1);
  told.title = document.title;
}
drive().catch((error) => { told.error = String(error); }).finally(() => { document.body.dataset.told = JSON.stringify(told); });
"""


def drive(url: str, folder: Path) -> dict[str, Any]:
    """Open the page and let the driver judge what waits."""
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        f"--user-data-dir={folder / 'profile'}", "--window-size=1400,1000", "--virtual-time-budget=10000",
        "--dump-dom", url,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    found = re.search(r'data-told="([^"]*)"', done.stdout)
    assert found is not None, done.stderr[-2000:]
    told: dict[str, Any] = json.loads(unescape(found.group(1)))
    assert "error" not in told, told
    return told


def test_a_person_judges_all_by_keys_and_clicks_and_the_page_stays_by_itself(
    stage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = [
        Item(id=item.id, campaign=item.campaign, prompt=(("user", MARKUP),), first=f"1 {MARKUP}", second=f"2 {MARKUP}")
        for item in items()
    ]
    write_items(stage / ITEMS_FILE, known)
    real = server_module.page_html
    monkeypatch.setattr(
        server_module,
        "page_html",
        lambda nonce: real(nonce).replace("</body>", f'<script nonce="{nonce}">{{{DRIVER}}}</script></body>'),
    )
    with served(Desk(stage, "anna")) as page:
        told = drive(page.server.url, tmp_path)
    assert told["shown"][0] == MARKUP
    assert set(told["shown"][1:]) == {f"1 {MARKUP}", f"2 {MARKUP}"}
    assert (told["elements"], told["title"]) == (0, "align annotate")
    assert told["beside"]
    assert told["missing"] == "Still to say: which answer is better (← or →)"
    assert told["earlier"] == "You said: unsure. Say it anew, or leave it with Enter."
    assert (told["labelsForHelpfulness"], told["labelsForSafety"] != "none") == ("none", True)
    assert told["missingLabel"] == "Still to say: whether the right answer is safe (p or l)"
    assert told["finished"]
    assert told["help"] == "Verdicts by annotator: anna 5. No item has been judged by two yet."
    assert set(told["violations"]) == {"img-src", "connect-src"}
    campaign = {item.id: item for item in known}
    said = []
    for key, verdict in read_verdicts(stage, known)["anna"].items():
        swapped = left_is_second(campaign[key], "anna")
        labels = [verdict.first_safe, verdict.second_safe]
        side = verdict.preferred * (-1 if swapped else 1)
        said.append((side, verdict.grade, *(labels[::-1] if swapped else labels)))
    assert said == [
        (-1, "better", None, None),
        (1, "negligibly", None, None),
        (1, "significantly", None, None),
        (1, "slightly", True, False),
        (-1, "better", False, False),
    ]
