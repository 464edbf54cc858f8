"""The rules of a tail: what is seen of a file, and what is done with it. Each rule is shown by what only it decides."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import pytest

from ingestor.fingerprints import Fingerprint
from ingestor.sources.tail_names import TailName
from ingestor.sources.tail_rules import (
    AT_PATH,
    BESIDE,
    RESTING,
    AtPath,
    Beside,
    Resting,
    SeenAtPath,
    SeenBeside,
    SeenResting,
    copies,
    decide,
    match,
    next_generation,
)
from tally.store import Known


@dataclass(frozen=True)
class File:
    """What is seen of a file beside a path. As it is here, it is read whole if it is later than what is gone."""

    is_known: bool = False
    holds_more: bool = False
    rotation_was_missed: bool = True
    is_named_like_a_rotation: bool = True
    is_empty: bool = False
    is_being_compressed: bool = False
    is_a_beginning: bool = False
    known_are_here: bool = False
    is_older_than_those: bool = False


@pytest.mark.parametrize(
    ("seen", "act"),
    [
        ({}, Beside.READ_WHOLE_IF_LATER),
        ({"is_known": True, "holds_more": True}, Beside.READ_ON),
        ({"is_known": True, "holds_more": True, "rotation_was_missed": False}, Beside.READ_ON),
        ({"is_known": True, "holds_more": True, "is_named_like_a_rotation": False}, Beside.READ_ON),
        ({"is_known": True, "known_are_here": True}, Beside.LEAVE),
        ({"rotation_was_missed": False}, Beside.LEAVE),
        ({"is_named_like_a_rotation": False}, Beside.LEAVE),
        ({"is_empty": True}, Beside.LEAVE),
        ({"is_being_compressed": True}, Beside.LEAVE),
        ({"is_a_beginning": True}, Beside.LEAVE),
        ({"known_are_here": True, "is_older_than_those": True}, Beside.LEAVE),
        ({"known_are_here": True}, Beside.READ_WHOLE),
        ({"known_are_here": True, "is_a_beginning": True}, Beside.LEAVE),
    ],
)
def test_what_is_done_with_a_file_beside_a_path(seen: dict[str, bool], act: Beside) -> None:
    file: SeenBeside = File(**seen)
    assert decide(BESIDE, file) is act


def test_a_file_is_not_read_or_unpacked_to_see_what_nothing_depends_on() -> None:
    class Untouched(File):
        def __getattribute__(self, name: str) -> Any:
            assert name not in ("holds_more", "is_a_beginning"), "it takes reading"
            return super().__getattribute__(name)

    for seen in (Untouched(rotation_was_missed=False), Untouched(is_named_like_a_rotation=False)):
        file: SeenBeside = seen
        assert decide(BESIDE, file) is Beside.LEAVE


@pytest.mark.parametrize(
    ("seen", "act"),
    [
        (SeenAtPath(is_known=True), AtPath.ITS_OWN),
        (SeenAtPath(is_known=True, holds_what_was_read=True, may_become_that=True), AtPath.ITS_OWN),
        (SeenAtPath(is_known=False, holds_what_was_read=True, may_become_that=True), AtPath.OF_THE_ORIGINAL),
        (SeenAtPath(is_known=False, may_become_that=True), AtPath.NOT_YET),
        (SeenAtPath(is_known=False, may_become_that=True, is_done_growing=True), AtPath.NEW),
        (SeenAtPath(is_known=False), AtPath.NEW),
    ],
)
def test_under_which_name_a_file_at_its_path_is_read(seen: SeenAtPath, act: AtPath) -> None:
    assert decide(AT_PATH, seen) is act


@pytest.mark.parametrize(
    ("seen", "act"),
    [
        (SeenResting(is_at_a_path=True, is_as_it_was=True, another_is_there=True), Resting.LET_REST),
        (SeenResting(is_at_a_path=True), Resting.OPEN),
        (SeenResting(is_at_a_path=False, another_is_there=True), Resting.FORGET),
        (SeenResting(is_at_a_path=False), Resting.READ_BESIDE),
    ],
)
def test_what_is_done_with_a_file_that_is_closed(seen: SeenResting, act: Resting) -> None:
    assert decide(RESTING, seen) is act


# Names.

A, B = b"a one\na two\n", b"b one\nb two\n"


@dataclass(frozen=True)
class Content:
    """A file beside a path, in memory."""

    inode: int
    content: bytes
    compressed: bool = False
    device: int = 9

    @property
    def identity(self) -> tuple[int, int]:
        return self.device, self.inode

    @property
    def size(self) -> int:
        return len(self.content)

    @property
    def first(self) -> bytes:
        return self.content[:1024]

    def fits(self, known: Known) -> bool:
        last = Fingerprint.parse(known.last)
        return self.compressed or (last is not None and last.fits_last(self.content[: known.position]))


def _name(content: bytes, *, inode: int = 1, generation: int = 1) -> TailName:
    return TailName("/logs/events.log", 9, inode, generation, Fingerprint.of(content))


def _read(name: TailName, content: bytes) -> dict[str, Known]:
    return {str(name): Known(str(name), len(content), str(Fingerprint.of(content)))}


def _match(
    stored: dict[TailName, bytes],
    *files: Content,
    current: TailName | None = None,
    current_inode: int | None = None,
    mistaken: Collection[tuple[tuple[int, int], str]] = (),
) -> tuple[dict[Content, TailName], list[TailName]]:
    known = {key: value for name, read in stored.items() for key, value in _read(name, read).items()}
    return match(list(stored), files, known, current=current, current_inode=current_inode, mistaken=mistaken)


def test_a_file_goes_by_the_name_of_its_inode_only_with_its_content() -> None:
    name = _name(A)
    same, grown, other = Content(1, A), Content(1, A + B), Content(1, B)
    assert _match({name: A}, same) == ({same: name}, [])
    assert _match({name: A}, grown) == ({grown: name}, [])
    assert _match({name: A}, other) == ({}, [name])
    assert _match({name: A + B}, same) == ({}, [name]), "less than what was read"


def test_a_copy_goes_by_the_name_only_if_the_file_itself_is_gone() -> None:
    name = _name(A)
    itself, copy = Content(1, A), Content(2, A)
    assert _match({name: A}, itself, copy) == ({itself: name}, [])
    assert _match({name: A}, copy) == ({copy: name}, [name])
    assert _match({name: A}, copy, current=name) == ({}, []), "it is at the path"


def test_a_copy_that_holds_less_than_was_read_counts_only_for_a_file_that_was_cut_down() -> None:
    name, copy = _name(A), Content(2, A)
    assert _match({name: A + B}, copy) == ({}, [name])
    assert _match({name: A + B}, copy, current_inode=1) == ({copy: name}, [name])
    assert _match({name: A + B}, copy, current_inode=3) == ({}, [name])


def test_of_several_copies_the_whole_and_plain_one_goes_by_the_name() -> None:
    name = _name(A)
    short, packed, plain = Content(2, A), Content(3, A + B, compressed=True), Content(4, A + B)
    assert _match({name: A + B}, short, packed, plain, current_inode=1)[0] == {plain: name}
    assert _match({name: A + B}, short, packed, current_inode=1)[0] == {packed: name}


def test_an_archive_that_was_found_to_be_another_does_not_go_by_that_name_again() -> None:
    name, archive = _name(A), Content(1, A + B, compressed=True)
    assert _match({name: A}, archive)[0] == {archive: name}
    assert _match({name: A}, archive, mistaken=[((9, 1), str(name))]) == ({}, [name])
    other = replace(archive, inode=2)
    assert _match({name: A}, other, mistaken=[((9, 1), str(name))])[0] == {other: name}


def test_the_longest_beginning_chooses_first_among_copies() -> None:
    short, long = _name(A[:6]), _name(A, inode=2)
    copy = Content(3, A)
    assert _match({short: A[:6], long: A}, copy)[0] == {copy: long}


def test_a_file_may_be_a_copy_of_what_it_begins_like_and_become_one_while_it_is_shorter() -> None:
    names = [_name(A), _name(B, inode=2)]
    assert copies(names, A + B) == [names[0]]
    assert copies(names, A[:3]) == names, "too short to tell"
    assert copies(names, b"") == names


def test_a_generation_is_one_that_the_inode_has_not_had() -> None:
    names = [_name(A, generation=4), _name(B, generation=2), _name(A, inode=2, generation=9)]
    assert next_generation(names, inode=1) == 5
    assert next_generation(names, inode=1, after=7) == 8
    assert next_generation(names, inode=3) == 1
