"""Every key is as the design spells it, and is spelled in one place."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import aggregator
import api
import ingestor
import tally
import tally.keys
from tally.keys import Keys, all_time_key, number_of, window_key, words_of

KEYS = Keys()


@pytest.mark.parametrize(
    ("key", "spelled"),
    [
        (KEYS.stream, "tally:{0}:stream"),
        (KEYS.backlog, "tally:{0}:backlog"),
        (KEYS.deltas, "tally:{0}:deltas"),
        (KEYS.delta("f00"), "tally:{0}:deltas:f00"),
        (KEYS.sources, "tally:{0}:sources"),
        (KEYS.sources_seen, "tally:{0}:sources:seen"),
        (KEYS.sources_last, "tally:{0}:sources:last"),
        (KEYS.sources_names, "tally:{0}:sources:names"),
        (KEYS.types, "tally:{0}:types"),
        (KEYS.words, "tally:{0}:words"),
        (KEYS.top, "tally:{0}:top"),
        (KEYS.totals, "tally:{0}:totals"),
        (KEYS.windows(60), "tally:{0}:windows:60"),
        (KEYS.rolled(60), "tally:{0}:rolled:60"),
        (KEYS.floors, "tally:{0}:floors"),
        (KEYS.folds, "tally:{0}:folds"),
        (KEYS.window_types(60, 1632663960), "tally:{0}:types:60:1632663960"),
        (KEYS.window_words(3600, -3600), "tally:{0}:words:3600:-3600"),
        (KEYS.types_numbers, "tally:{0}:types:numbers"),
        (KEYS.types_numbered, "tally:{0}:types:numbered"),
        (KEYS.types_retired, "tally:{0}:types:retired"),
        (all_time_key(KEYS, "words"), "tally:{0}:words"),
        (all_time_key(KEYS, words_of(7)), "tally:{0}:words@7"),
        (window_key(KEYS, words_of(7), 60, 1632663960), "tally:{0}:words@7:60:1632663960"),
        (KEYS.rejected, "tally:{0}:rejected"),
        (KEYS.dead_letters, "tally:{0}:dead-letters"),
        (KEYS.once_new, "tally:{0}:once:new"),
        (KEYS.once_own_old, "tally:{0}:once:own:old"),
        (KEYS.layout, "tally:{0}:layout"),
        (KEYS.layout_history, "tally:{0}:layout:history"),
        (KEYS.rewritten, "tally:{0}:rewritten"),
        (KEYS.purging, "tally:{0}:purging"),
        (KEYS.probe, "tally:{0}:probe"),
        (KEYS.absent, "tally:{0}:absent"),
        (Keys(tag=7).stream, "tally:{7}:stream"),
        (Keys(tag=7, namespace="web-shop").stream, "web-shop:{7}:stream"),
    ],
)
def test_a_key_is_spelled_as_designed(key: str, spelled: str) -> None:
    assert key == spelled


def test_a_table_tells_the_number_of_its_type() -> None:
    assert [number_of(table) for table in (words_of(1), words_of(123456789))] == [1, 123456789]
    assert [
        number_of(table) for table in ("words", "words@", "words@0", "words@1x", "words@-1", "words@1234567890")
    ] == [None] * 6


#: A key's first part with a hash tag behind it, as text or in an f-string.
SPELLED = re.compile(r"tally:\{|\}:\{\{")

FOLDERS = [Path(str(package.__file__)).parent for package in (tally, ingestor, aggregator, api)]


def test_no_key_is_spelled_outside_the_key_map() -> None:
    files = [file for folder in FOLDERS for kind in ("*.py", "*.lua", "*.js") for file in folder.rglob(kind)]
    assert any(file.suffix == ".lua" for file in files)
    spelling = [file for file in files if SPELLED.search(file.read_text(encoding="utf-8"))]
    assert [file.name for file in spelling] == ["keys.py"]


def test_no_key_is_made_without_the_namespace_of_the_settings() -> None:
    """One that is would be in the default namespace whatever is set, with another pipeline's counts."""
    calls = [
        (file.name, node)
        for folder in FOLDERS
        for file in folder.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Keys"
    ]
    assert calls
    without = [
        f"{file}:{call.lineno}"
        for file, call in calls
        if len(call.args) < 2 and not any(keyword.arg == "namespace" for keyword in call.keywords)
    ]
    assert not without


def test_every_key_in_the_modules_table_is_made_by_it_and_the_reverse() -> None:
    table = {line.split("`")[1] for line in str(tally.keys.__doc__).splitlines() if line.startswith("| `")}
    placeholders = {"seconds": "L", "start": "START", "name": "NAME", "table": "words@N"}
    keys, made = Keys(tag="S", namespace="NAMESPACE"), set()  # type: ignore[arg-type]
    for name, member in vars(Keys).items():
        if isinstance(member, property):
            made.add(getattr(keys, name))
        elif inspect.isfunction(member) and not name.startswith("_"):
            parameters = list(inspect.signature(member).parameters)[1:]
            made.add(member(keys, *(placeholders.get(each, each[0].upper()) for each in parameters)))
    assert made == table
