"""How appending a source ended: with all of it in the stream, or not, and why. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tally.runtime import Failure


class Incomplete(Failure):
    """We were stopped before all of a source was in the stream, or some of it was lost."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What is known when nothing more is done for a source."""

    name: str  # in the store; empty if it was never opened
    position: int  # behind what is in the stream under that name
    is_at_end: bool  # the source has ended, and all of it was appended
    is_kept: bool  # what was appended outlives a crash of the server, or that was not asked for
    lost_bytes: int  # which cannot be read again, and are not in the stream, or not known to be
    replayable: bool

    @property
    def shortfall(self) -> str:
        """Why not all of the source is in the stream and stays there; empty if it is."""
        if self.lost_bytes:
            return f"{self.lost_bytes:,} bytes of it are lost, or not known to be in the stream; see the log"
        if not self.name:
            return "stopped before Redis had answered"
        if not self.is_at_end:
            again = "; run it again, and it goes on there" if self.replayable else ""
            return f"stopped at position {self.position}, before its end{again}"
        if not self.is_kept:
            return "stopped before it was certain that Redis keeps all of it"
        return ""
