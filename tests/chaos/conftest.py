"""A million events in a file, and their counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tally.generator import Generator, GeneratorSpec
from tests.oracle import Expected


@pytest.fixture(scope="session")
def million(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Expected]:
    """A file of a million lines, one in ten of them garbage, and what an independent count says of it."""
    path = tmp_path_factory.mktemp("million") / "events.ndjson"
    with path.open("wb") as file:
        for chunk in Generator(GeneratorSpec(count=1_000_000, seed=11)).lines():
            file.write(chunk)
    with path.open("rb") as file:
        return path, Expected.of(file)
