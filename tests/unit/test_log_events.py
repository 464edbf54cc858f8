"""Every event that is logged is explained in docs/operations.md, at its level; and what is explained is logged."""

from __future__ import annotations

import ast
import importlib
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("ingestor", "aggregator", "api", "tally")

#: Rows of the tables: `event` | level | …; in two backticks what has some itself.
ROW = re.compile(r"^\| (``|`) ?(.+?) ?\1 \| (info|warning|error)(?: or (info|warning|error))? \|", re.MULTILINE)

LEVELS = {"info": "info", "warning": "warning", "error": "error", "critical": "error", "exception": "error"}

#: What is handed on by a function that is given the event; the constants that it is given count as logged.
HANDED_ON = {("tally/log_throttle.py", "event"), ("ingestor/source_appender.py", "sentence")}


def _modules() -> Iterator[tuple[Path, ModuleType]]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            yield path, importlib.import_module(name)


def _value(node: ast.expr, module: ModuleType) -> object:
    """Return what a name or an attribute of the module is; None for what only a run knows."""
    if isinstance(node, ast.Name):
        return getattr(module, node.id, None)
    return getattr(_value(node.value, module), node.attr, None) if isinstance(node, ast.Attribute) else None


def _texts(node: ast.expr, module: ModuleType) -> list[str | None]:
    """Return the texts that an expression may be, with … for what differs; None for one that is not known here."""
    if isinstance(node, ast.IfExp):
        return _texts(node.body, module) + _texts(node.orelse, module)
    if isinstance(node, ast.JoinedStr):
        return ["".join(_texts(part, module)[0] or "…" for part in node.values)]
    if isinstance(node, ast.FormattedValue):
        return _texts(node.value, module)
    value = node.value if isinstance(node, ast.Constant) else _value(node, module)
    return [value if isinstance(value, str) else None]


def _calls(path: Path) -> Iterator[tuple[str, ast.expr]]:
    """Yield the level and the first argument of each call of a logger."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and node.args:
            functions = [node.func.body, node.func.orelse] if isinstance(node.func, ast.IfExp) else [node.func]
            for function in functions:
                if isinstance(function, ast.Attribute) and function.attr in LEVELS:
                    yield LEVELS[function.attr], node.args[0]


@pytest.fixture(scope="module")
def logged() -> dict[str, set[str]]:
    """The levels at which each text is logged. (INFO of Redis is among them, which harms nothing.)"""
    found: dict[str, set[str]] = defaultdict(set)
    handed_on = set()
    for path, module in _modules():
        for level, node in _calls(path):
            for text in _texts(node, module):
                if text is None:
                    handed_on.add((str(path.relative_to(ROOT)), ast.unparse(node)))
                else:
                    found[text].add(level)
    assert handed_on <= HANDED_ON, "an event is a text, or a constant"
    return found


@pytest.fixture(scope="module")
def constants() -> set[str]:
    """What stands in the modules log_events."""
    return {
        text
        for path, module in _modules()
        if path.name == "log_events.py"
        for name, text in vars(module).items()
        if name.isupper()
    }


@pytest.fixture(scope="module")
def explained() -> dict[str, set[str]]:
    """The levels of each event that the page names."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    rows = ROW.findall(page.partition("\n## Log events\n")[2].partition("\n## ")[0])
    names = [name for _, name, *_ in rows]
    assert len(names) == len(set(names)), "one row an event"
    return {name: set(filter(None, levels)) for _, name, *levels in rows}


def test_every_event_is_explained(
    logged: dict[str, set[str]], constants: set[str], explained: dict[str, set[str]]
) -> None:
    to_explain = constants | {text for text, levels in logged.items() if levels - {"info"}}
    missing = sorted(to_explain - explained.keys())
    assert missing == [], "each needs a row under Log events in docs/operations.md"


def test_every_event_that_is_explained_is_logged_at_that_level(
    logged: dict[str, set[str]], constants: set[str], explained: dict[str, set[str]]
) -> None:
    for event, levels in explained.items():
        assert event in logged or event in constants, f"nothing logs {event!r}"
        assert logged.get(event, levels) == levels, event
