"""How results are shown: Markdown, with the machine they came from, on standard output and in results.md."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results.md"

_TITLE = "# Measurements\n\nWritten by `python -m bench --write`.\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first column is text, the others are figures."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = [("-" * width if at == 0 else "-" * (width - 1) + ":") for at, width in enumerate(widths)]
    return "\n".join((line(head), line(rule), *map(line, rows)))


def machine(server: str) -> str:
    """Return one sentence about where the figures come from."""
    cores = len(os.sched_getaffinity(0))
    packages = ", ".join(f"{name} {version(name)}" for name in ("redis", "msgspec", "duckdb"))
    return (
        f"{time.strftime('%Y-%m-%d')}, {cores} cores of {_processor()}, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, {server}, {packages}; "
        f"load of the machine before the first run: {os.getloadavg()[0]:.1f}."
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def write_section(title: str, text: str) -> None:
    """Put a section into results.md, in the place of the one with this title."""
    written = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else _TITLE
    head, *sections = written.split("\n## ")
    by_title = {section.partition("\n")[0]: section for section in sections}
    by_title[title] = f"{title}\n\n{text.strip()}\n"
    RESULTS.write_text("\n## ".join((head, *by_title.values())), encoding="utf-8")
