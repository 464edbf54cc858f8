"""The append-only file of a server that is not running: what is in it, and a crash that took its end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Command:
    """One command of the file, with the positions of its first byte and behind its last."""

    words: tuple[bytes, ...]
    start: int
    end: int


def incremental_files(server_folder: Path) -> list[Path]:
    """Return the files with what was written since the last rewrite began, or before while it lasts, oldest first."""
    files = (server_folder / "appendonlydir").glob("*.incr.aof")
    return sorted(files, key=lambda file: int(file.name.split(".")[-3]))


def commands(file: Path) -> list[Command]:
    """Return what is in it, up to what is not whole."""
    content, found, at = file.read_bytes(), [], 0
    try:
        while at < len(content):
            start, words = at, []
            if content.startswith(b"#", at):  # a comment, as with the time
                at = content.index(b"\n", at) + 1
                continue
            line = content.index(b"\r\n", at)
            count, at = int(content[at + 1 : line]), line + 2
            for _ in range(count):
                line = content.index(b"\r\n", at)
                length, at = int(content[at + 1 : line]), line + 2
                words.append(content[at : at + length])
                at += length + 2
            if at > len(content):
                break
            found.append(Command(tuple(words), start, at))
    except ValueError:
        pass
    return found


def cut_in_the_last_transaction_with(file: Path, *words: str) -> None:
    """Cut the file in the middle of the transaction that writes this last, in the middle of a command."""
    found = commands(file)
    wanted = tuple(word.encode() for word in words)
    at = max(at for at, command in enumerate(found) if command.words[: len(wanted)] == wanted)
    first = max(each for each in range(at) if found[each].words == (b"MULTI",))
    last = min(each for each in range(at, len(found)) if found[each].words == (b"EXEC",))
    middle = found[(first + last + 1) // 2]
    assert found[first] != middle != found[last]
    with file.open("r+b") as opened:
        opened.truncate(middle.start + (middle.end - middle.start) // 2)
