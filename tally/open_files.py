"""How many files and connections this process may have open: the soft limit is raised as far as it is needed."""

from __future__ import annotations

import errno
import os
import resource

#: Open files beside those that are asked for: the log, connections to Redis, watches, the event loop's own.
OTHER_FILES = 128

#: What an error says when the limit is reached, of this process or of the machine.
_REACHED = (errno.EMFILE, errno.ENFILE)

_wanted: dict[str, int] = {}


def allow_open_files(owner: str, count: int) -> int:
    """Raise the limit so that `owner` may have so many files open beside what others asked for; return how many it may.

    Each call of an owner takes the place of the one before.
    """
    _wanted[owner] = count
    needed = sum(_wanted.values()) + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return count
    if soft < needed:
        allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
            soft = allowed
        except (OSError, ValueError):  # macOS has a lower limit of its own
            pass
    # Where the limit is very low, a part of it is better than nothing.
    others = min(needed - count, soft * 3 // 4)
    return min(count, soft - others)


def is_out_of_files(error: BaseException) -> bool:
    """Return whether an error means that no more files may be open, even if a library has put it into other words."""
    if isinstance(error, OSError) and error.errno in _REACHED:
        return True
    return any(os.strerror(number) in str(error) for number in _REACHED)
