"""Names of fields as settings give them: `repo.name` is the field `name` of the object `repo`.

A *path* is the names from the outermost object inwards. A dot or a comma that is part of a name has a backslash
before it: `log\\.level` is one field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

Path = tuple[str, ...]

#: Objects within objects that a path may go through, itself included.
MAX_DEPTH = 16

#: Paths that one setting may name.
MAX_PATHS = 64

# msgspec, which finds the fields, takes no names with these.
_UNREADABLE = re.compile(r'["\\\x00-\x1f\ud800-\udfff]')


def parse_paths(text: str) -> tuple[Path, ...]:
    """Read paths with commas between; of an empty text, none. Raises ValueError with what would be right."""
    if not text.strip():
        return ()
    paths = tuple(_parse_path(part) for part in _split(text, ","))
    if len(paths) > MAX_PATHS:
        raise ValueError(f"{len(paths)} fields are named, and {MAX_PATHS} are the most")
    for at, path in enumerate(paths):
        if path in paths[:at]:
            raise ValueError(f"{format_path(path)} is named twice")
    return paths


def parse_one(text: str) -> Path:
    """Read a single path. Raises ValueError with what would be right."""
    paths = parse_paths(text)
    if len(paths) != 1:
        raise ValueError(r"name one field, as in repo.name (a comma that is part of a name is written \,)")
    return paths[0]


def format_path(path: Path) -> str:
    """Return what parse_paths reads as this path."""
    return ".".join(name.replace(".", "\\.").replace(",", "\\,") for name in path)


def check_setting(name: str, value: str, *, before: Mapping[str, str]) -> None:
    """Check `type_field`, `text_field` or `time_field` by itself, then against those that were checked before.

    Raises ValueError with what would be right.
    """
    if name == "text_field":
        paths = parse_paths(value)
    else:
        paths = () if name == "time_field" and not value.strip() else (parse_one(value),)
    owners = {owner: parse_paths(before[owner]) for owner in ("type_field", "text_field") if owner in before}
    for path in paths:
        for owner, theirs in {name: paths, **owners}.items():
            _check_apart(path, theirs, owner=f"TALLY_{owner.upper()}")
            if name == "time_field" and owner != name and path in theirs:
                raise ValueError(f"TALLY_{owner.upper()} names the same field, and it cannot be a string and a time")


def _check_apart(path: Path, others: Sequence[Path], *, owner: str) -> None:
    for other in others:
        shorter, longer = sorted((path, other), key=len)
        if shorter != longer and longer[: len(shorter)] == shorter:
            raise ValueError(
                f"{format_path(path)} and {format_path(other)} ({owner}) exclude each other: "
                f"{format_path(shorter)} is either a value or an object"
            )


def _parse_path(text: str) -> Path:
    names = tuple(_unescape(name) for name in _split(text.strip(), "."))
    if len(names) > MAX_DEPTH:
        raise ValueError(f"a path has at most {MAX_DEPTH} names, and {text.strip()[:100]!r} has {len(names)}")
    for name in names:
        if not name:
            raise ValueError(
                f"{text.strip()!r} has an empty name in it; fields are named like repo.name, with commas between "
                r"several, and a dot that is part of a name is written \."
            )
        if _UNREADABLE.search(name):
            raise ValueError(
                f"{name!r}: a field with a quotation mark, a backslash or a control character in its name cannot be "
                r"read; a backslash stands only before a dot or comma that is part of a name, as in log\.level"
            )
    return names


def _split(text: str, separator: str) -> list[str]:
    """Split at separators without a backslash before them; the backslashes stay."""
    return re.split(rf"(?<!\\){re.escape(separator)}", text)


def _unescape(name: str) -> str:
    return name.replace("\\.", ".").replace("\\,", ",")
