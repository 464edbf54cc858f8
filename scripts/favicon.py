#!/usr/bin/env python3
"""Draw api/static/favicon.ico out of icon.svg, with Chromium. To be run by hand after the icon was changed.

An .ico is a list of images, which may be PNGs: a head of 6 bytes, 16 bytes about each image, the images.
"""

from __future__ import annotations

import base64
import shutil
import struct
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

STATIC = Path(__file__).resolve().parent.parent / "api" / "static"

#: Pixels of each image's side: of a tab, and of a screen with twice as many.
SIZES = (16, 32)


def main() -> None:
    svg = base64.b64encode((STATIC / "icon.svg").read_bytes()).decode()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.set_content(f'<style>body {{ margin: 0 }}</style><img src="data:image/svg+xml;base64,{svg}">')
        images = [png(page, size) for size in SIZES]
        browser.close()
    (STATIC / "favicon.ico").write_bytes(ico(images))


def png(page: Page, size: int) -> bytes:
    """Return the icon as a PNG of that size; what is outside of its round corners is transparent."""
    page.set_viewport_size({"width": size, "height": size})
    page.locator("img").evaluate("(image, size) => { image.width = image.height = size; return image.decode(); }", size)
    return page.screenshot(omit_background=True)


def ico(images: list[bytes]) -> bytes:
    """Return the images as one file."""
    head = struct.pack("<HHH", 0, 1, len(images))
    at = len(head) + 16 * len(images)
    for size, image in zip(SIZES, images, strict=True):
        head += struct.pack("<BBBBHHII", size, size, 0, 0, 1, 32, len(image), at)
        at += len(image)
    return head + b"".join(images)


if __name__ == "__main__":
    main()
