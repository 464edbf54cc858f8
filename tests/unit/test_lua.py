"""How a script's text is put together of files that include each other."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tally.keys import Keys
from tally.store.lua import SCRIPTS, IncludeError, LayoutCheck, WritingScript, assembled


def _written(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name}.lua").write_text(text, encoding="utf-8")
    return folder


def test_what_is_included_stands_where_it_is_named_and_once(tmp_path: Path) -> None:
    folder = _written(
        tmp_path,
        script="-- the script\n--- @include shared\n--- @include other\nreturn shared\n",
        other="--- @include shared\nlocal other = shared\n",
        shared="local shared = 1\n",
    )
    text = assembled("script", folder=folder)
    assert [line for line in text.split("\n") if line] == [
        "-- the script",
        "local shared = 1",
        "local other = shared",
        "return shared",
    ]


def test_an_include_that_is_not_there_is_an_error_that_names_both(tmp_path: Path) -> None:
    folder = _written(tmp_path, script="--- @include shared\n")
    with pytest.raises(IncludeError, match=r"^there is no shared\.lua, which script\.lua includes$"):
        assembled("script", folder=folder)
    with pytest.raises(IncludeError, match=r"^there is no missing\.lua$"):
        assembled("missing", folder=folder)


def test_a_circular_include_is_an_error_that_names_the_circle(tmp_path: Path) -> None:
    folder = _written(tmp_path, script="--- @include a\n", a="--- @include b\n", b="--- @include a\n")
    with pytest.raises(IncludeError, match=r"^circular include: script -> a -> b -> a$"):
        assembled("script", folder=folder)


def test_no_include_of_ours_is_misspelled() -> None:
    """A line that only resembles one would be a comment, and its functions would be missing when a script runs."""
    names = [Path(file.name).stem for file in SCRIPTS.iterdir() if file.name.endswith(".lua")]
    assert len(names) > 20
    for name in names:
        assert not re.search("@ *include", assembled(name)), name


def test_arguments_go_by_name_before_the_values() -> None:
    layout = LayoutCheck(Keys(), {"format": "1"})
    call = WritingScript("append").call(["a", "b"], {"source": "ż\n"}, (b"\xff", 5), layout=layout)
    assert call[:5] == (4, "a", "b", Keys().absent, Keys().layout)
    assert json.loads(call[5]) == {"source": "ż\n", "layout": {"format": "1"}}
    assert call[6:] == (b"\xff", 5)
