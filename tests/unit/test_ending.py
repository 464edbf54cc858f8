"""Why a source is not in the stream whole."""

from __future__ import annotations

import pytest

from ingestor.ending import Ending


@pytest.mark.parametrize("replayable", [True, False])
@pytest.mark.parametrize(
    ("facts", "shortfall"),
    [
        ({}, ""),
        ({"is_kept": False}, "stopped before it was certain that Redis keeps all of it"),
        ({"is_at_end": False, "is_kept": False}, "stopped at position 7, before its end"),
        ({"name": "", "is_at_end": False}, "stopped before Redis had answered"),
        ({"lost_bytes": 1234}, "1,234 bytes of it are lost, or not known to be in the stream; see the log"),
        (
            {"lost_bytes": 1, "is_at_end": False, "is_kept": False},
            "1 bytes of it are lost, or not known to be in the stream; see the log",
        ),
    ],
)
def test_the_gravest_shortfall_is_told(facts: dict[str, object], shortfall: str, replayable: bool) -> None:
    whole = {"name": "s", "position": 7, "is_at_end": True, "is_kept": True, "lost_bytes": 0}
    told = Ending(**whole | facts, replayable=replayable).shortfall  # type: ignore[arg-type]
    again = "; run it again, and it goes on there" if replayable and shortfall.endswith("before its end") else ""
    assert told == shortfall + again
