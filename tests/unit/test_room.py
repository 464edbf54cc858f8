"""Who gives up a connection when there are too many."""

from __future__ import annotations

import pytest

from tally.web.room import Occupant, one_to_leave

#: Connections by name: a client and a number, and since when each waits (None: its request is there whole).
Everyone = dict[str, float | None]


def leaves(newcomer: str, everyone: Everyone, *, most: int) -> str:
    occupants = {
        name: Occupant(None if name.startswith("shared") else name[0], since) for name, since in everyone.items()
    }
    return one_to_leave(newcomer, occupants, most=most)[0]


@pytest.mark.parametrize(
    ("newcomer", "everyone", "left"),
    [
        pytest.param("b1", {"a1": 1.0, "a2": 2.0, "b1": 3.0}, "a1", id="who has most gives up what waited longest"),
        pytest.param("a3", {"a1": 1.0, "a2": None, "a3": 3.0}, "a1", id="its own, if that is who comes"),
        pytest.param("c1", {"a1": 1.0, "b1": 2.0, "c1": 3.0}, "c1", id="nobody has more than the newcomer"),
        pytest.param("b1", {"a1": None, "a2": None, "b1": 3.0}, "a1", id="more than half of them, although none waits"),
        pytest.param("shared1", {"a1": 1.0, "b1": 2.0, "shared1": 3.0}, "shared1", id="a shared address gives up none"),
        pytest.param("a1", {"shared1": 1.0, "shared2": 1.0, "a1": 3.0}, "a1", id="nor does one behind it give way"),
    ],
)
def test_one_to_leave(newcomer: str, everyone: Everyone, left: str) -> None:
    assert leaves(newcomer, everyone, most=len(everyone) - 1) == left
