"""The limit of open files is raised as far as it is needed, and what is allowed is shared."""

from __future__ import annotations

import errno
import os
import resource

import pytest

from tally import open_files
from tally.open_files import OTHER_FILES, allow_open_files, is_out_of_files


class Limit:
    """What getrlimit and setrlimit say, without touching those of the tests' own process."""

    def __init__(self, soft: int, hard: int) -> None:
        self.soft, self.hard = soft, hard
        self.refuses = False

    def get(self, _: int) -> tuple[int, int]:
        return self.soft, self.hard

    def set(self, _: int, limits: tuple[int, int]) -> None:
        if self.refuses:
            raise ValueError("current limit exceeds maximum limit")
        self.soft, self.hard = limits


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Limit:
    limit = Limit(1024, 4096)
    monkeypatch.setattr(open_files, "_wanted", {})
    monkeypatch.setattr(resource, "getrlimit", limit.get)
    monkeypatch.setattr(resource, "setrlimit", limit.set)
    return limit


def test_the_limit_is_left_alone_while_it_is_enough(limit: Limit) -> None:
    assert allow_open_files("a", 500) == 500
    assert limit.soft == 1024


def test_the_limit_is_raised_to_what_all_need_together(limit: Limit) -> None:
    assert allow_open_files("a", 1000) == 1000
    assert limit.soft == 1000 + OTHER_FILES
    assert allow_open_files("b", 1000) == 1000
    assert limit.soft == 2000 + OTHER_FILES
    assert allow_open_files("b", 1500) == 1500
    assert limit.soft == 2500 + OTHER_FILES, "what an owner asked for before is no longer wanted"
    assert limit.hard == 4096


def test_no_more_is_allowed_than_the_hard_limit_lets(limit: Limit) -> None:
    assert allow_open_files("a", 3000) == 3000
    assert allow_open_files("b", 3000) == 4096 - 4096 * 3 // 4
    allow_open_files("a", 0)
    assert allow_open_files("b", 5000) == 4096 - OTHER_FILES


def test_a_limit_that_cannot_be_raised_is_gone_by(limit: Limit) -> None:
    limit.refuses = True
    assert allow_open_files("a", 3000) == 1024 - OTHER_FILES


@pytest.mark.parametrize("soft", [16, 100, 160])
def test_a_part_of_a_low_limit_is_allowed(limit: Limit, soft: int) -> None:
    limit.soft = limit.hard = soft
    assert 0 < allow_open_files("a", 3000) < soft


def test_without_a_limit_all_is_allowed(limit: Limit) -> None:
    limit.soft = limit.hard = resource.RLIM_INFINITY
    assert allow_open_files("a", 10**6) == 10**6


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), True),
        (OSError(errno.ENFILE, "in other words"), True),
        (ConnectionError(f"Error 24 connecting to here:6379. {os.strerror(errno.EMFILE)}."), True),
        (OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED)), False),
    ],
)
def test_an_error_of_no_more_files_is_told_from_others(error: Exception, is_one: bool) -> None:
    assert is_out_of_files(error) is is_one
