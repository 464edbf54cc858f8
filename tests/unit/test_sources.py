"""What a source's text means, what a file is called in the store, and how a program is run and run again."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import signal
import socket
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest

from ingestor.service import parse_sources
from ingestor.sources import CHUNK_BYTES, Command, Demo, File, Runner, StandardInput, parse_source, pipes
from tally.generator import GeneratorSpec
from tally.runtime import Failure, Misuse
from tests.waiting import wait_until


@pytest.fixture
def events(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"event_type":"foo","data":"a"}\n')
    return path


@pytest.mark.parametrize(
    ("text", "kind", "label", "rereadable"),
    [
        ("-", StandardInput, "-", False),
        ("events.jsonl", File, "events.jsonl", True),
        ("./events.jsonl", File, "events.jsonl", True),
        ("exec:journalctl -f", Command, "exec:journalctl -f", False),
        ("exec: printf 'a:b?c' | cat", Command, "exec: printf 'a:b?c' | cat", False),
        ("demo:", Demo, "demo:", False),
        ("demo:?rate=5", Demo, "demo:", False),
    ],
)
def test_a_source_is_made_of_its_text(events: Path, text: str, kind: type, label: str, rereadable: bool) -> None:
    source = parse_source(text)
    assert not isinstance(source, Runner)
    assert (type(source), source.label, source.rereadable) == (kind, label, rereadable)


@pytest.mark.parametrize("name", ["demo", "exec", "tail", "-x", "a:b", "http"])
def test_a_file_may_have_any_name_that_is_not_a_kind_of_source(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    assert isinstance(parse_source(name), File)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", r"a source is -, a path, a folder, a pattern, tail:PATH, .* or demo:\?rate=100"),
        ("nowhere.jsonl", "'nowhere.jsonl': there is no such file"),
        ("*.nothing", r"no file matches '\*.nothing'"),
        ("exec:", "exec: needs a command"),
        ("exec:  ", "exec: needs a command"),
        ("demo:?rate=x", "rate=x: not a number"),
        ("demo:?speed=1", "does not know 'speed'"),
    ],
)
def test_a_text_that_is_no_source_is_explained(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_source(text)


def test_what_is_no_file_is_named_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo("my pipe")
    (tmp_path / "link").symlink_to("my pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        for text, kind in (
            ("my pipe", "a pipe"),
            ("link", "a pipe"),
            ("socket", "a socket"),
            ("/dev/null", "a device"),
        ):
            with pytest.raises(ValueError, match=f"^'{text}' is {kind} and no file: use - .* as in 'exec:cat "):
                parse_source(text)


def test_standard_input_is_one_source_only() -> None:
    parse_sources(["-", "demo:", "demo:"])
    with pytest.raises(Failure, match=r"^source -: standard input can be read once only$"):
        parse_sources(["-", "demo:", "-"])


def test_every_wrong_source_is_named_at_once(events: Path) -> None:
    with pytest.raises(Failure) as caught:
        parse_sources(["nowhere", str(events), "exec:"])
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("text", ["private", "private/events.jsonl", "tail:private/*.log"])
def test_a_folder_that_is_closed_to_us_is_named(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    Path("private").mkdir()
    # Nothing is closed to root, as whom tests may run.
    monkeypatch.setattr(Path, "iterdir" if text == "private" else "is_dir", refuse)
    with pytest.raises(Misuse, match=f"^source {re.escape(repr(text))}: cannot be read: Permission denied$"):
        parse_sources([text])


# Files.


def test_a_files_name_holds_its_absolute_path_and_says_the_same_again(events: Path) -> None:
    name = File(Path("events.jsonl")).name({})
    assert name.startswith(f"file:{events}#")
    assert File(events).name({}) == name
    assert File(events).name({name: 5}) == name


def test_a_file_has_one_name_however_it_is_spelled(events: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "below").mkdir(parents=True)
    (tmp_path / "linked").symlink_to(tmp_path / "elsewhere" / "below")
    (tmp_path / "current").symlink_to("events.jsonl")
    names = {
        File(Path(spelling)).name({})
        for spelling in (
            "events.jsonl",
            "elsewhere/../events.jsonl",
            "linked/../../events.jsonl",
            f"/{events}",
            "current",
        )
    }
    assert names == {File(events).name({})}
    assert ".." not in names.pop()


def test_a_file_goes_on_under_the_name_that_it_was_given_before_names_held_the_real_path(events: Path) -> None:
    (events.parent / "elsewhere").mkdir()
    spelled = Path("elsewhere/../events.jsonl")
    before = File(events).name({}).replace(str(events), str(spelled.absolute()))
    assert ".." in before
    assert File(spelled).name({before: 5}) == before
    assert File(spelled).name({before: 5, File(events).name({}): 7}) == File(events).name({})


@pytest.mark.parametrize("first_bytes", [1, 31, 1024, 5000])
def test_a_file_that_has_grown_keeps_its_name(events: Path, first_bytes: int) -> None:
    events.write_bytes(b"a" * first_bytes)
    name = File(events).name({})
    events.write_bytes(b"a" * first_bytes + b"b" * 7000)
    assert File(events).name({"file:/another#1-0000": 1, name: 5}) == name


def test_a_file_that_was_seen_at_several_lengths_goes_on_under_the_longest(events: Path) -> None:
    names = []
    for length in (10, 20):
        events.write_bytes(b"a" * length)
        names.append(File(events).name({}))
    events.write_bytes(b"a" * 30)
    assert File(events).name(dict.fromkeys(names, 5)) == names[1]


@pytest.mark.parametrize("replacement", [b"B" + b"a" * 4000, b"a" * 29 + b"B", b"a" * 10, b""], ids=len)
def test_another_file_in_its_place_has_another_name(events: Path, replacement: bytes) -> None:
    events.write_bytes(b"a" * 30)
    name = File(events).name({})
    events.write_bytes(replacement)
    assert File(events).name({name: 5}) != name


def test_the_same_content_elsewhere_has_another_name(events: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(events.read_bytes())
    assert File(copy).name({File(events).name({}): 5}) != File(events).name({})


def test_an_empty_file_has_a_name_and_what_it_becomes_starts_at_its_beginning(events: Path) -> None:
    events.write_bytes(b"")
    empty = File(events).name({})
    assert File(events).name({empty: 0}) == empty
    events.write_bytes(b"a")
    assert File(events).name({empty: 0}) != empty, "nothing was read under the name of the empty file"


async def test_a_file_is_read_from_any_position_to_its_end(events: Path) -> None:
    content = os.urandom(2 * CHUNK_BYTES + 17)
    events.write_bytes(content)
    for position in (0, 1, CHUNK_BYTES, len(content) - 1, len(content), len(content) + 5):
        assert b"".join([chunk async for chunk in File(events).chunks(position)]) == content[position:]


async def test_a_file_that_cannot_be_read_is_a_failure_that_names_it(events: Path) -> None:
    source = File(events)
    events.unlink()
    with pytest.raises(Failure, match=r"events\.jsonl: cannot be read"):
        source.name({})
    with pytest.raises(Failure, match=r"events\.jsonl: cannot be read"):
        _ = [chunk async for chunk in source.chunks(0)]


# What cannot be read again.


@pytest.mark.parametrize("source", [StandardInput(), Command("/bin/cat x"), Demo(GeneratorSpec())])
def test_what_cannot_be_read_again_has_another_name_each_time(source: StandardInput | Command | Demo) -> None:
    first, second = source.name({}), source.name({})
    assert first != second
    assert source.name({first: 5, second: 5}) not in (first, second)


def test_a_commands_name_keeps_its_arguments_to_itself() -> None:
    assert Command("/usr/bin/curl -H 'Authorization: secret'").name({}).startswith("exec:curl#")


async def _all_of(source: Command) -> bytes:
    return b"".join([chunk async for chunk in source.chunks(0)])


async def test_a_command_that_ends_well_ends_the_source_with_its_lines_ended() -> None:
    assert await _all_of(Command("printf 'a\\nb'")) == b"a\nb\n"


@pytest.mark.parametrize(
    ("said", "steady_seconds", "expected"),
    [
        pytest.param("half", 60, [1, 2, 3], id="with half a line"),
        pytest.param("", 60, [1, 2, 3], id="without a word"),
        pytest.param("half", 0, [1, 1, 1], id="after a steady run"),
    ],
)
async def test_a_command_that_fails_is_started_again_later_each_time_and_half_its_line_does_not_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, steady_seconds: float, expected: list[int]
) -> None:
    waits: list[int] = []

    def no_wait(failures: int, **_: float) -> float:
        waits.append(failures)
        return 0.0

    monkeypatch.setattr(pipes, "backoff_seconds", no_wait)
    monkeypatch.setattr(pipes, "STEADY_SECONDS", steady_seconds)
    count = tmp_path / "runs"
    command = f"echo x >> {count}; printf '{said}'; [ $(wc -l < {count}) -ge 4 ]"
    assert await _all_of(Command(command)) == f"{said}\n".encode() * 4
    assert waits == expected


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize(
    "command",
    [
        pytest.param("sleep 1000 & echo $!; wait", id="one that ends when asked"),
        pytest.param("trap '' TERM; sleep 1000 & echo $!; wait", id="one that has to be killed"),
        pytest.param("sleep 1000 & echo $!", id="one that is gone before its child"),
        pytest.param("sh -c 'trap \"\" TERM; echo $$; exec sleep 1000' & wait", id="one whose child has to be killed"),
    ],
)
async def test_a_command_that_is_no_longer_read_is_ended_with_all_that_it_started(command: str) -> None:
    chunks = Command(command).chunks(0)
    assert isinstance(chunks, AsyncGenerator)
    async with aclosing(chunks):
        child = int(await asyncio.wait_for(anext(chunks), 30))
        assert _runs(child)
    try:
        await asyncio.to_thread(wait_until, lambda: not _runs(child), what="the command's child is gone", seconds=5)
    finally:
        if _runs(child):
            os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("ending", ["exit 0", "[ $(wc -l < pids) = 2 ]"], ids=["ends", "fails first"])
async def test_what_a_command_leaves_behind_is_ended_after_each_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ending: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipes, "backoff_seconds", lambda *_, **__: 0.0)
    await _all_of(Command(f"sleep 1000 > /dev/null & echo $! >> pids; {ending}"))
    children = [int(pid) for pid in Path("pids").read_text(encoding="utf-8").split()]
    await asyncio.to_thread(wait_until, lambda: not any(map(_runs, children)), what="its children are gone", seconds=5)


async def test_the_demo_gives_as_many_lines_as_its_spec_says() -> None:
    source = parse_source("demo:?rate=100000&count=250&seed=1")
    assert isinstance(source, Demo)
    assert b"".join([chunk async for chunk in source.chunks(0)]).count(b"\n") == 250
