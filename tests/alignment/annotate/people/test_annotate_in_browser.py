"""The page in Chromium: the answers stand side by side, and its policy lets it reach nothing else."""

from __future__ import annotations

import json
import re
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from alignment.annotate.people import server as server_module
from tests.alignment.annotate.people.conftest import Page
from tests.alignment.report.browser import CHROMIUM, NEEDS_BROWSER

pytestmark = NEEDS_BROWSER

# a test's own addition to the page, under the page's own policy
LOOKS = r"""
const found = { refused: [] };
addEventListener("securitypolicyviolation", (event) => found.refused.push(event.effectiveDirective));
const until = async (condition) => {
  for (let turn = 0; turn < 400 && !condition(); turn++) await new Promise((done) => setTimeout(done, 5));
};
const look = async () => {
  await until(() => $("progress").textContent !== "");
  const left = $("left").getBoundingClientRect(), right = $("right").getBoundingClientRect();
  found.beside = left.right <= right.left && Math.abs(left.top - right.top) < 1 && right.right <= innerWidth;
  found.shown = [$("left"), $("right")].map((side) => side.querySelector(".text").textContent);
  new Image().src = "http://127.0.0.1:9/x.png";
  const script = document.createElement("script");
  script.textContent = "document.title = 'ran'";
  document.body.append(script);
  await fetch("http://127.0.0.1:9/").catch(() => {});
  await until(() => found.refused.length > 2);
  found.title = document.title;
};
look().finally(() => { document.body.dataset.found = JSON.stringify(found); });
"""


@pytest.fixture
def found(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a look at the first item finds."""
    real = server_module.page_html
    more = '<script nonce="@">{' + LOOKS + "}</script></body>"
    monkeypatch.setattr(
        server_module, "page_html", lambda nonce: real(nonce).replace("</body>", more.replace("@", nonce))
    )
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,1000", "--virtual-time-budget=10000",
        "--dump-dom", page.server.url,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    told = re.search(r'data-found="([^"]*)"', done.stdout)
    assert told is not None, done.stderr[-2000:]
    result: dict[str, Any] = json.loads(unescape(told.group(1)))
    return result


def test_answers_stand_side_by_side_and_the_page_can_load_run_and_reach_nothing_else(found: dict[str, Any]) -> None:
    assert found["beside"]
    assert all(re.fullmatch(r"answer \d (one|two)", text) for text in found["shown"])
    assert set(found["refused"]) == {"img-src", "script-src-elem", "connect-src"}
    assert found["title"] == "align annotate"
