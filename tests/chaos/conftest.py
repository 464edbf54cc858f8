"""Many events in a file, and their counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tally.generator import Generator, GeneratorSpec
from tests.effort import THOROUGH
from tests.oracle import Expected

#: So that there is time for many crashes while they are counted.
LINES = 1_000_000 if THOROUGH else 300_000


@pytest.fixture(scope="session")
def many_events(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Expected]:
    """A file of many lines, one in ten of them garbage, and what an independent count says of it."""
    path = tmp_path_factory.mktemp("many") / "events.ndjson"
    with path.open("wb") as file:
        for chunk in Generator(GeneratorSpec(count=LINES, seed=11)).lines():
            file.write(chunk)
    with path.open("rb") as file:
        return path, Expected.of(file)
