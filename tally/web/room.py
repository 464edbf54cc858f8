"""Which connection is given up when there are too many. Pure: no I/O, no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Occupant:
    """A connection: whose it is, and since when it has waited for its next request to be there whole, if it does.

    `peer` None is an address that is shared by clients of whom nothing more is known: none of them gives way.
    """

    peer: str | None
    waits_since: float | None


def one_to_leave(newcomer: C, everyone: Mapping[C, Occupant], *, most: int) -> tuple[C, int | None]:
    """Return the connection to give up of `everyone`, and how many its client has (None: a shared address).

    That is, of the client with the most, the one that has waited longest. One whose request is there whole does not
    wait, and gives way only if its client has more than half of all. What is behind a shared address gives no other
    one up.
    """
    counts = Counter(each.peer for each in everyone.values() if each.peer is not None)

    def of_its_client(connection: C) -> int:
        return counts[everyone[connection].peer or ""]

    peer = everyone[newcomer].peer
    mine = counts.get(peer or "", 1)
    waiting = [
        connection
        for connection, each in everyone.items()
        if each.peer is not None and each.waits_since is not None and (each.peer == peer or counts[each.peer] > mine)
    ]
    if not any(of_its_client(each) > mine for each in waiting):
        # A client with more than half of them is in the way of the others whatever it does with them: watch, say.
        waiting += [
            connection
            for connection, each in everyone.items()
            if each.peer is not None and counts[each.peer] > max(mine, most // 2)
        ]
    leaving = min(waiting, key=lambda each: (-of_its_client(each), everyone[each].waits_since or 0.0), default=newcomer)
    return leaving, counts.get(everyone[leaving].peer or "")
