"""Signals that come before a process can stop in order, which is while it still imports what it needs.

Importing takes half a second. A SIGTERM would end the process by its default action meanwhile, whatever a stop means to
it (the exit code 1 of a file that is not appended whole, say), and is dropped by the kernel where we are a container's
process 1. A Ctrl-C would print a traceback. So the first one is noted, for `stop_on_signals` to begin with.

It is to be imported before anything else, and so imports next to nothing. What comes before even that, while Python
itself starts, has the default action.
"""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False  # as typing has it, which takes longer to import than all else here
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

_STOPPING = (signal.SIGINT, signal.SIGTERM)

_before: dict[signal.Signals, Any] = {}
_noted: signal.Signals | None = None
_stops = False


def hold() -> None:
    """Note the next of these signals rather than end by it; one that is ignored stays so. A second one ends at once."""
    for each in _STOPPING:
        if each not in _before and (now := signal.getsignal(each)) is not signal.SIG_IGN:
            _before[each] = now
            signal.signal(each, _note)


def taken() -> signal.Signals | None:
    """Return the signal that came meanwhile, once."""
    global _noted
    noted, _noted = _noted, None
    return noted


def stops() -> None:
    """Note that the process stops: a signal that comes when nothing else takes it any more is a second one.

    So it is while threads are waited for in the end, one that reads from a file server, say.
    """
    global _stops
    _stops = True


def release() -> None:
    """Put back what was there before, for what does not stop in order. A signal that came has its effect now."""
    while _before:
        signal.signal(*_before.popitem())
    if (noted := taken()) is not None:
        signal.raise_signal(noted)


def _note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    global _noted
    if _noted is not None or _stops:
        os._exit(128 + number)
    _noted = signal.Signals(number)
