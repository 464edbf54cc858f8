"""Which file is which, and what is to be done with it: the rules of a tail. Pure: no I/O, no clock.

A file is known again by its inode and its content: by its first bytes and by those before the position, as they were
when it was read. An inode alone says nothing, because the system gives it to another file when it is free; content
alone makes it a copy, which counts only when the file itself is gone.

What is to be done stands in tables. Each is looked through from its top for the first row that holds, and no further:
some of what is asked of a file takes reading it, or unpacking it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from enum import Enum, auto
from typing import Generic, NamedTuple, Protocol, TypeVar

from ingestor.sources.tail_names import TailName, parse_names
from tally.store import Known

Seen = TypeVar("Seen")
Act = TypeVar("Act", bound=Enum)


class Rule(NamedTuple, Generic[Seen, Act]):
    """One row of a table."""

    seen: str
    holds: Callable[[Seen], bool]
    act: Act


def decide(table: Iterable[Rule[Seen, Act]], seen: Seen) -> Act:
    """Return what the first row says that holds; each table ends with one that always does."""
    return next(rule.act for rule in table if rule.holds(seen))


# A file beside a followed path: something that was rotated away, or nothing of ours.


class Beside(Enum):
    """What is done with a file beside a followed path, before the file at the path is read."""

    READ_ON = auto()  # from where it stands
    READ_WHOLE = auto()
    READ_WHOLE_IF_LATER = auto()  # if it was written to after the last append of a file of this path
    LEAVE = auto()


class SeenBeside(Protocol):
    """What is seen of a file beside a followed path."""

    @property
    def is_known(self) -> bool:
        """It goes by a stored name (see `match`)."""

    @property
    def holds_more(self) -> bool:
        """There is more in it than was read under that name."""

    @property
    def rotation_was_missed(self) -> bool:
        """Something was read at the path, and not of the file that is there now."""

    @property
    def is_named_like_a_rotation(self) -> bool: ...

    @property
    def is_empty(self) -> bool: ...

    @property
    def is_being_compressed(self) -> bool:
        """It is an archive, and the file that goes into it is still there."""

    @property
    def is_a_beginning(self) -> bool:
        """It holds nothing but what another file begins with, one that is open or known. Never so for archives."""

    @property
    def known_are_here(self) -> bool:
        """There are known files beside the path."""

    @property
    def is_older_than_those(self) -> bool:
        """It was last written to before each of them."""


#: A file that is not known belongs to the path if it was rotated in and out within one gap, unseen.
BESIDE: tuple[Rule[SeenBeside, Beside], ...] = (
    Rule("known, not read to its end", lambda it: it.is_known and it.holds_more, Beside.READ_ON),
    Rule("known, read to its end", lambda it: it.is_known, Beside.LEAVE),
    Rule("no rotation was missed", lambda it: not it.rotation_was_missed, Beside.LEAVE),
    Rule("empty", lambda it: it.is_empty, Beside.LEAVE),
    Rule("of another name", lambda it: not it.is_named_like_a_rotation, Beside.LEAVE),
    Rule("half compressed, and there as a whole", lambda it: it.is_being_compressed, Beside.LEAVE),
    Rule("a copy, made earlier", lambda it: it.is_a_beginning, Beside.LEAVE),
    Rule("older than what is known", lambda it: it.known_are_here and it.is_older_than_those, Beside.LEAVE),
    Rule("later than what is known", lambda it: it.known_are_here, Beside.READ_WHOLE),
    Rule("later, perhaps, than what is gone", lambda _: True, Beside.READ_WHOLE_IF_LATER),
)


# A file at a followed path that holds a whole line.


class AtPath(Enum):
    """Under which name a file at a followed path is read."""

    ITS_OWN = auto()  # which it has already
    OF_THE_ORIGINAL = auto()  # it was replaced by a copy of itself, as rsync, an editor or a restored backup does
    NOT_YET = auto()  # it may become such a copy
    NEW = auto()


class SeenAtPath(NamedTuple):
    """What is seen of a file at a followed path."""

    is_known: bool
    holds_what_was_read: bool = False  # of a file that is gone: all of it
    may_become_that: bool = False  # it begins like one that is gone, and is shorter than what was read of that
    is_done_growing: bool = False  # nothing is written to it any more, or it has taken too long


AT_PATH: tuple[Rule[SeenAtPath, AtPath], ...] = (
    Rule("known", lambda it: it.is_known, AtPath.ITS_OWN),
    Rule("a copy of what is gone", lambda it: it.holds_what_was_read, AtPath.OF_THE_ORIGINAL),
    Rule("growing to a copy", lambda it: it.may_become_that and not it.is_done_growing, AtPath.NOT_YET),
    Rule("another file", lambda _: True, AtPath.NEW),
)


# A file that was closed because nothing was written to it for long.


class Resting(Enum):
    """What is done with a file that is closed."""

    LET_REST = auto()
    OPEN = auto()
    READ_BESIDE = auto()  # it was rotated away, and what was written to it before is to be read where it is now
    FORGET = auto()  # the same, by the file that is at its path now


class SeenResting(NamedTuple):
    """What is seen of a closed file, and of the path at which it was."""

    is_at_a_path: bool
    is_as_it_was: bool = False  # at the same path, of the same size, not written to
    another_is_there: bool = False


RESTING: tuple[Rule[SeenResting, Resting], ...] = (
    Rule("as it was", lambda it: it.is_at_a_path and it.is_as_it_was, Resting.LET_REST),
    Rule("written to, or renamed", lambda it: it.is_at_a_path, Resting.OPEN),
    Rule("gone, and another in its place", lambda it: it.another_is_there, Resting.FORGET),
    Rule("gone, and nothing in its place", lambda _: True, Resting.READ_BESIDE),
)


# Names.


def find_name(
    stored: Mapping[str, Known], *, device: int, inode: int, first: bytes, fits: Callable[[Known], bool]
) -> TailName | None:
    """Return the stored name of the file with this inode that begins so and fits its position.

    Of several it is the one that was read furthest. Device numbers may change when a machine starts again, so another
    one is only the second choice.
    """
    fitting = [
        name
        for name in parse_names(stored)
        if name.inode == inode and name.fingerprint.fits(first) and fits(stored[str(name)])
    ]
    return max(
        fitting,
        key=lambda name: (stored[str(name)].reached, name.device == device, name.generation, name.fingerprint.length),
        default=None,
    )


def next_generation(names: Iterable[TailName], *, inode: int, after: int = 0) -> int:
    """Return the generation of a file that has none of these names, nor one up to `after`."""
    return max([after, *(name.generation for name in names if name.inode == inode)]) + 1


class Candidate(Protocol):
    """A file beside a path that may be one of those with a stored name."""

    @property
    def identity(self) -> tuple[int, int]: ...

    @property
    def size(self) -> int: ...

    @property
    def first(self) -> bytes: ...

    @property
    def compressed(self) -> bool: ...

    def fits(self, known: Known) -> bool:
        """Return whether it can go on where this stands. Of an archive that is not looked at before it is read."""


File = TypeVar("File", bound=Candidate)

#: Archives that were read, and found not to be of a name, by their identity and that name.
Mistaken = Collection[tuple[tuple[int, int], str]]


def match(
    names: Collection[TailName],
    files: Collection[File],
    stored: Mapping[str, Known],
    *,
    current: TailName | None,
    current_inode: int | None,
    mistaken: Mistaken = (),
) -> tuple[dict[File, TailName], list[TailName]]:
    """Return which of the files go by which of the names, and the names whose file is neither here nor at the path.

    A file goes by its own name or, if that one's file is gone, as its copy. `current` is the name of the file at the
    path, if it has one, and `current_inode` its inode.
    """
    own = _by_identity(names, files, stored, mistaken)
    missing = [name for name in names if name != current and name not in own.values()]
    others = [each for each in files if each not in own]
    return own | _by_content(missing, others, stored, mistaken, cut_down=current_inode), missing


def _by_identity(
    names: Iterable[TailName], files: Iterable[File], stored: Mapping[str, Known], mistaken: Mistaken
) -> dict[File, TailName]:
    found: dict[File, TailName] = {}
    for file in files:
        device, inode = file.identity
        fitting = [
            name
            for name in names
            if name.inode == inode
            and (file.identity, str(name)) not in mistaken
            and name.fingerprint.fits(file.first)
            and file.fits(stored[str(name)])
        ]
        if fitting:
            found[file] = max(
                fitting, key=lambda name: (stored[str(name)].reached, name.device == device, name.generation)
            )
    return found


def _by_content(
    missing: Iterable[TailName],
    files: Iterable[File],
    stored: Mapping[str, Known],
    mistaken: Mistaken,
    *,
    cut_down: int | None,
) -> dict[File, TailName]:
    """Return which files are copies of those whose names these are.

    `cut_down` is the inode at the path: of a file that was copied and then cut down, the copy may hold less than was
    read between the two. There is nothing to read in it then, and nothing to compare; its first bytes tell.
    """
    found: dict[File, TailName] = {}
    for name in sorted(missing, key=lambda name: -name.fingerprint.length):
        known = stored[str(name)]
        fitting = [
            each
            for each in files
            if each not in found
            and (each.identity, str(name)) not in mistaken
            and name.fingerprint.fits(each.first)
            and (each.fits(known) or (name.inode == cut_down and each.size < known.reached))
        ]
        if fitting:
            # One that holds all that was read, and not a compressed copy of a copy that is there as well.
            best = max(fitting, key=lambda each: (each.compressed or each.size >= known.reached, not each.compressed))
            found[best] = name
    return found


def copies(missing: Iterable[TailName], first: bytes) -> list[TailName]:
    """Return the names whose file this may be a copy of, or may become: by what it begins with so far."""
    return [name for name in missing if name.fingerprint.fits(first) or len(first) < name.fingerprint.length]
