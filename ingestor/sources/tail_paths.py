"""Which files a tail follows: those at a path, or at all paths that match a pattern."""

from __future__ import annotations

import glob
import os
import stat
from fnmatch import fnmatchcase
from pathlib import Path

from ingestor.sources.siblings import hops
from ingestor.sources.tail_names import beginning_of_names
from tally.archives import is_compressed


def one_spelling(path: Path) -> Path:
    """Return the absolute path without `..`, because under each spelling a file would be another one.

    Links in front of `..` are followed, as the kernel does, or it would be another path. Those behind it are not: a
    tail goes where they point next.
    """
    parts = path.absolute().parts
    if ".." not in parts:
        return Path("/", *parts[1:])  # which may have been //
    behind = len(parts) - parts[::-1].index("..")
    before = Path(*parts[:behind])
    return before.resolve().joinpath(*parts[behind:]) if before.is_dir() else path.absolute()


class FollowedPaths:
    """The path or the pattern that a tail was given. Compressed files do not grow, and match no pattern."""

    def __init__(self, text: str) -> None:
        absolute = one_spelling(Path(text))
        self._is_pattern = glob.has_magic(text) and not absolute.exists()
        self._pattern = str(absolute)
        self._base = absolute.parent
        while self._is_pattern and glob.has_magic(str(self._base)):
            self._base = self._base.parent
        self._targets: set[str] = set()  # the names of what symbolic links at the paths point to

    @property
    def has_folders_below(self) -> bool:
        """Whether files are followed in folders that are not known beforehand."""
        return self._base != Path(self._pattern).parent

    @property
    def beginning_of_names(self) -> str:
        """How the stored names begin of all files that were followed at these paths, and of some others."""
        if self._is_pattern:
            return beginning_of_names(self._base / "x").removesuffix("x#")
        return beginning_of_names(Path(self._pattern))

    def is_ours(self, path: Path) -> bool:
        """Return whether the file at this path is, or would be, followed."""
        if not self._is_pattern:
            return str(path) == self._pattern
        if is_compressed(path):
            return False
        if "**" in self._pattern:
            return fnmatchcase(str(path), self._pattern.replace("**/", "*"))
        ours = Path(self._pattern).parts
        return len(ours) == len(path.parts) and all(map(fnmatchcase, path.parts, ours))

    def may_concern(self, path: Path) -> bool:
        """Return whether a change of this file may be one of a followed file, which may have another path.

        By its name alone: behind a symbolic link the path is another one than ours, and often its name is, too.
        """
        return path.name in self._targets or fnmatchcase(path.name, Path(self._pattern).name)

    def look(self) -> tuple[dict[Path, os.stat_result], set[Path]]:
        """Return which files are at the paths; and the folders that should be watched."""
        paths = [Path(self._pattern)]
        if self._is_pattern:
            # Path.glob takes no absolute pattern.
            paths = [Path(each) for each in sorted(glob.glob(self._pattern, recursive=True))]  # noqa: PTH207
        found = {}
        folders = {self._base}
        targets = set()
        for path in paths:
            try:
                status = path.stat()
            except OSError:
                continue
            if not stat.S_ISDIR(status.st_mode) and self.is_ours(path):
                found[path] = status
            for hop in hops(path)[1:]:
                folders.add(hop.parent)
                targets.add(hop.name)
        self._targets = targets
        return found, {folder for folder in folders if folder.is_dir()}
