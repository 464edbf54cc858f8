#!/usr/bin/env python3
"""Take the pictures of the live page that are in docs/images, as `make screenshots` does. Look at them afterwards.

The page is the real one: `tally up` tells the demo's story in a folder of its own, and a Chromium on the PATH shows it.
A second `tally up` has nothing counted. Both are ended, and their folders removed, when the pictures are there.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for the tests' way to find a free port

from tests.server import free_port

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "images"

#: How long anything may take, in seconds: the demo tells two days of its past first.
PATIENCE = 180.0

#: Seconds of live counting before the first picture: then the page has a rate of a minute, too.
LIVE_SECONDS = 75.0

DESK, PHONE, PAPER = (1280, 860), (390, 844), (794, 1123)


@dataclass(frozen=True)
class Picture:
    """One of the pictures: which part of the story, on what."""

    name: str
    address: str = "?window=24h"
    size: tuple[int, int] = DESK
    scheme: Literal["light", "dark"] = "light"
    media: Literal["screen", "print"] = "screen"
    #: The part of the page that is shown; without one all that fits into `size`.
    part: str | None = None


PICTURES = (
    Picture("page"),
    Picture("page-dark", scheme="dark"),
    Picture("filters", address="?window=24h&type=payment.failed", scheme="dark"),
    Picture("name", address="?window=24h&sheet=type&name=payment.failed", part="#sheet"),
    Picture("rejected", address="?sheet=rejected", size=(1280, 600), part="#sheet"),
    Picture("phone", address="?window=1h", size=PHONE),
    Picture("phone-dark", address="?window=1h&tab=trending", size=PHONE, scheme="dark", part="#lists"),
    Picture("print", size=PAPER, media="print"),
)


def main() -> int:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.stderr.write("screenshots: there is no chromium on the PATH; on Debian: apt-get install chromium\n")
        return 1
    FOLDER.mkdir(exist_ok=True)
    with ExitStack() as stack:
        demo, empty = stack.enter_context(tally_up()), stack.enter_context(tally_up("--no-source"))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        stack.callback(browser.close)
        wait_for_the_past(demo)
        with page_of(browser, Picture("watching"), demo):  # rates are known while somebody looks
            time.sleep(LIVE_SECONDS)
        for picture in PICTURES:
            take(browser, picture, demo)
        take(browser, Picture("first-event", address="", part="#first-event"), empty)
    # What is not among the pictures any more is not left behind.
    for path in FOLDER.glob("*.png"):
        if path.stem not in {"first-event", *(picture.name for picture in PICTURES)}:
            path.unlink()
    total = sum(path.stat().st_size for path in FOLDER.glob("*.png"))
    sys.stdout.write(f"{len(PICTURES) + 1} pictures in {FOLDER.relative_to(ROOT)}, {total / 1000:.0f} kB\n")
    return 0


@contextmanager
def tally_up(*options: str) -> Iterator[str]:
    """Run `tally up` in a folder of its own, and yield its address."""
    with tempfile.TemporaryDirectory(prefix="tally-screenshots-") as folder:
        port = free_port()
        variables = {name: value for name, value in os.environ.items() if not name.startswith("TALLY_")}
        command = [sys.executable, "-m", "tally", "up", "--port", str(port), *options]
        with (Path(folder) / "log").open("w") as log:
            process = subprocess.Popen(
                command, cwd=folder, env=variables | {"PYTHONPATH": str(ROOT)}, stdout=log, stderr=log
            )
            try:
                yield f"http://127.0.0.1:{port}"
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(60)


def wait_for_the_past(address: str) -> None:
    """Wait until the story has come to now: nothing waits any more, and something was counted."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        time.sleep(1)
        try:
            status = httpx.get(f"{address}/v1/stats", timeout=10, trust_env=False).raise_for_status().json()
        except httpx.HTTPError:
            continue
        if status["totals"]["events"] and not status["backlog"]["blocks"]:
            return
    raise SystemExit(f"screenshots: the demo was not told within {PATIENCE:.0f} s")


@contextmanager
def page_of(browser: Browser, picture: Picture, address: str) -> Iterator[Page]:
    """Show the page as the picture wants it."""
    width, height = picture.size
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=picture.scheme,
        locale="en-GB",
        timezone_id="UTC",
        reduced_motion="reduce",
        device_scale_factor=1,
    )
    page = context.new_page()
    page.goto(f"{address}/{picture.address}")
    expect(page.locator("#connection-text")).to_have_text("Live", timeout=PATIENCE * 1000)
    yield page
    context.close()


def take(browser: Browser, picture: Picture, address: str) -> None:
    """Write one picture, of a page on which nothing is being asked for any more."""
    with page_of(browser, picture, address) as page:
        page.wait_for_function(
            """() => !document.querySelector("[aria-busy]")
              && !document.getElementById("rate-1").textContent.includes("–")
              && !document.getElementById("sheet-body").textContent.includes("Loading") """,
            timeout=PATIENCE * 1000,
        )
        if picture.media == "print":
            page.emulate_media(media="print")
        page.wait_for_timeout(1500)  # what is drawn by a script after it has come
        shown: Any = page.locator(picture.part) if picture.part else page
        save(shown.screenshot(), FOLDER / f"{picture.name}.png")


def save(png: bytes, path: Path) -> None:
    """Write a picture in as many colours as a reader sees: a third of the bytes."""
    few = Image.open(io.BytesIO(png)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
