"""What a source's text means, what a file is called in the store, and how a program is run and run again."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import signal
import socket
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from ingestor.fingerprints import FINGERPRINT_BYTES, Fingerprint
from ingestor.service import parse_sources
from ingestor.sources import CHUNK_BYTES, Command, Demo, DemoStory, File, Runner, Source, StandardInput, parse_source
from ingestor.sources.base import Another, Lookup
from ingestor.sources.files import FileName
from tally.backoff import Backoff
from tally.generator import GeneratorSpec
from tally.runtime import Failure, Misuse
from tally.store import Known
from tally.store.known import is_listed
from tests.packing import PACK
from tests.waiting import wait_until


@pytest.fixture
def events(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"event_type":"foo","data":"a"}\n')
    return path


@pytest.mark.parametrize(
    ("text", "kind", "label", "replayable"),
    [
        ("-", StandardInput, "-", False),
        ("events.jsonl", File, "events.jsonl", True),
        ("./events.jsonl", File, "events.jsonl", True),
        ("exec:journalctl -f", Command, "exec:journalctl", False),
        ("exec: printf 'a:b?c' | cat", Command, "exec:printf", False),
        ("exec:TOKEN=secret PASS='more of it' /usr/bin/curl -H 'secret'", Command, "exec:curl", False),
        ("exec:TOKEN=secret", Command, "exec:command", False),
        ("exec:TOKEN='secret", Command, "exec:command", False),
        ("demo:", DemoStory, "demo:", True),
        ("demo:story?seed=2", DemoStory, "demo:", True),
        ("demo:?rate=5", Demo, "demo:", False),
    ],
)
def test_a_source_is_made_of_its_text(events: Path, text: str, kind: type, label: str, replayable: bool) -> None:
    source = parse_source(text)
    assert not isinstance(source, Runner)
    assert (type(source), source.label, source.replayable) == (kind, label, replayable)


@pytest.mark.parametrize("name", ["demo", "exec", "tail", "-x", "a:b", "http"])
def test_a_file_may_have_any_name_that_is_not_a_kind_of_source(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    assert isinstance(parse_source(name), File)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", r"a source is -, a path, a folder, a pattern, tail:PATH, .*, demo: or demo:\?rate=100"),
        ("nowhere.jsonl", "'nowhere.jsonl': there is no such file"),
        ("*.nothing", r"no file matches '\*.nothing'"),
        ("exec:", "exec: needs a command"),
        ("exec:  ", "exec: needs a command"),
        ("demo:?rate=x", "rate=x: not a number"),
        ("demo:?speed=1", "does not know 'speed'"),
        ("demo:story?rate=5", r"write it as demo:story, or demo:story\?seed=2"),
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
    parse_sources(["-", "demo:?rate=1", "demo:?rate=1"])
    with pytest.raises(Failure, match=r"^source -: standard input can be read once only$"):
        parse_sources(["-", "demo:", "-"])


def test_a_story_is_told_once_only() -> None:
    parse_sources(["demo:", "demo:?rate=1"])
    with pytest.raises(Failure, match=r"^source demo:: its story can be told once only"):
        parse_sources(["demo:", "demo:story?seed=1"])


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


def _lookup(stored: Mapping[str, Known]) -> Lookup:
    """What a store answers that holds just this."""

    async def ask(*, names: Sequence[str] = (), beginnings: Sequence[str] = ()) -> Mapping[str, Known]:
        listed = (name for name in stored if is_listed(name) and name.startswith(tuple(beginnings)))
        return {name: stored[name] for name in (*names, *listed) if name in stored}

    return ask


async def _named(source: Source, stored: Mapping[str, int] | None = None) -> str:
    """How a source is called where so much is stored of others, or of itself, without fingerprints of positions."""
    known = {name: Known(name, position) for name, position in (stored or {}).items()}
    return (await source.known_as(_lookup(known))).name


async def test_a_files_name_holds_its_absolute_path_and_says_the_same_again(events: Path) -> None:
    name = await _named(File(Path("events.jsonl")))
    assert name.startswith(f"file:{events}#")
    assert await _named(File(events)) == name
    assert await _named(File(events), {name: 5}) == name


async def test_a_file_has_one_name_however_it_is_spelled(events: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "below").mkdir(parents=True)
    (tmp_path / "linked").symlink_to(tmp_path / "elsewhere" / "below")
    (tmp_path / "current").symlink_to("events.jsonl")
    names = {
        await _named(File(Path(spelling)))
        for spelling in (
            "events.jsonl",
            "elsewhere/../events.jsonl",
            "linked/../../events.jsonl",
            f"/{events}",
            "current",
        )
    }
    assert names == {await _named(File(events))}
    assert ".." not in names.pop()


async def test_a_file_goes_on_under_the_name_that_it_was_given_before_names_held_the_real_path(events: Path) -> None:
    (events.parent / "elsewhere").mkdir()
    spelled = Path("elsewhere/../events.jsonl")
    name = await _named(File(events))
    before = name.replace(str(events), str(spelled.absolute()))
    assert ".." in before
    assert await _named(File(spelled), {before: 5}) == before
    assert await _named(File(spelled), {before: 5, name: 7}) == name


@pytest.mark.parametrize("first_bytes", [1, 31, 1024, 5000])
async def test_a_file_that_has_grown_keeps_its_name(events: Path, first_bytes: int) -> None:
    events.write_bytes(b"a" * first_bytes)
    name = await _named(File(events))
    events.write_bytes(b"a" * first_bytes + b"b" * 7000)
    assert await _named(File(events), {"file:/another#1-0000": 1, name: 5}) == name


async def test_a_file_that_was_seen_at_several_lengths_goes_on_where_it_is_furthest(events: Path) -> None:
    names = []
    for length in (10, 20):
        events.write_bytes(b"a" * length)
        names.append(await _named(File(events)))
    events.write_bytes(b"a" * 30)
    assert await _named(File(events), dict.fromkeys(names, 5)) == names[1]
    assert await _named(File(events), {names[0]: 7, names[1]: 5}) == names[0]


@pytest.mark.parametrize("replacement", [b"B" + b"a" * 4000, b"a" * 29 + b"B", b"a" * 10, b""], ids=len)
async def test_another_file_in_its_place_has_another_name(events: Path, replacement: bytes) -> None:
    events.write_bytes(b"a" * 30)
    name = await _named(File(events))
    events.write_bytes(replacement)
    assert await _named(File(events), {name: 5}) != name


async def test_the_same_content_elsewhere_has_another_name(events: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(events.read_bytes())
    name = await _named(File(events))
    assert await _named(File(copy), {name: 5}) != name


async def test_an_empty_file_has_a_name_and_what_it_becomes_starts_at_its_beginning(events: Path) -> None:
    events.write_bytes(b"")
    empty = await _named(File(events))
    assert await _named(File(events), {empty: 0}) == empty
    events.write_bytes(b"a")
    assert await _named(File(events), {empty: 0}) != empty, "nothing was read under the name of the empty file"


HEAD = b"h" * FINGERPRINT_BYTES


def _read_of(name: str, content: bytes) -> Known:
    """What is stored of a file when so much of it was read."""
    return Known(name, len(content), str(Fingerprint.of(content[-FINGERPRINT_BYTES:])))


@pytest.mark.parametrize(
    ("read", "now", "goes_on"),
    [
        pytest.param(HEAD + b"monday\n", HEAD + b"monday\n", True, id="the same"),
        pytest.param(HEAD + b"monday\n", HEAD + b"monday\nmore\n", True, id="grown"),
        pytest.param(HEAD + b"monday\n", HEAD + b"tuesday\n", False, id="another"),
        pytest.param(HEAD + b"monday\n", HEAD + b"friday\nmonday\n", False, id="another, longer"),
        pytest.param(HEAD + b"monday\n", HEAD + b"sun\n", False, id="shorter"),
        pytest.param(HEAD, HEAD, True, id="as long as a fingerprint"),
        pytest.param(b"one\ntwo\n", b"one\ntwo\nthree\n", True, id="short and grown"),
        pytest.param(b"one\ntwo\n", b"one\n", False, id="short and cut down"),
        pytest.param(HEAD + b"no end", HEAD + b"no end of it\n", True, id="its last line has gone on"),
    ],
)
async def test_a_file_goes_on_if_its_first_bytes_and_those_before_the_position_are_the_same(
    events: Path, read: bytes, now: bytes, goes_on: bool
) -> None:
    events.write_bytes(read)
    name = await _named(File(events))
    events.write_bytes(now)
    found = await File(events).known_as(_lookup({name: _read_of(name, read)}))
    assert (found.name == name) is goes_on
    assert found.position == (len(read) if goes_on else 0)


async def test_each_other_file_of_the_same_beginning_has_a_generation_and_comes_back_to_it(events: Path) -> None:
    days = [HEAD + b"%d\n" % day * (day + 1) for day in range(4)]
    stored: dict[str, Known] = {}
    names = []
    for content in days:
        events.write_bytes(content)
        found = await File(events).known_as(_lookup(stored))
        assert found.name not in stored
        assert found.position == 0
        stored[found.name] = _read_of(found.name, content)
        names.append(found.name)
    assert [name.removeprefix(names[0]) for name in names] == ["", "-2", "-3", "-4"]
    for content, name in zip(days, names, strict=True):
        events.write_bytes(content + b"more\n")
        assert await File(events).known_as(_lookup(stored)) == stored[name]


async def test_of_several_positions_that_a_file_fits_it_goes_on_at_the_furthest(events: Path) -> None:
    content = HEAD + b"one\ntwo\nthree\n"
    events.write_bytes(content)
    name = await _named(File(events))
    stored = {
        each.name: each
        for each in (
            _read_of(name, content[:-6]),
            _read_of(f"{name}-2", content[:-10]),
            _read_of(f"{name}-3", content + b"and what is not there"),
        )
    }
    assert (await File(events).known_as(_lookup(stored))).name == name


async def test_of_a_file_that_was_read_whole_no_more_than_its_own_name_is_asked_for(events: Path) -> None:
    events.write_bytes(HEAD + b"monday\n")
    name = await _named(File(events))
    asked: list[str] = []
    lookup = _lookup({name: _read_of(name, events.read_bytes())})

    async def ask(*, names: Sequence[str] = (), beginnings: Sequence[str] = ()) -> Mapping[str, Known]:
        asked.extend(names)
        return await lookup(names=names, beginnings=beginnings)

    assert (await File(events).known_as(ask)).name == name
    assert asked == [name]


@pytest.mark.parametrize("suffix", sorted(PACK))
async def test_an_archive_is_compared_when_reading_gets_there_and_then_looked_through_once(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"events.{suffix}"
    days = [HEAD + b"%d\n" % day * 1000 * (day + 1) for day in range(3)]
    path.write_bytes(PACK[suffix](days[1]))
    name = await _named(File(path))
    names = [name, f"{name}-2", f"{name}-3"]
    stored = {each: _read_of(each, day) for each, day in zip(names, days, strict=True)}
    file = File(path)
    assert (await file.known_as(_lookup(stored))).name == names[2], "the furthest, without unpacking it"
    assert (await file.known_as(_lookup(stored), never={names[2]})).name == names[1]
    assert (await file.known_as(_lookup(stored), never=set(names))).name == f"{name}-4"


@pytest.mark.parametrize("name", ["file:/a#b#12-ab", "file:/a#12-ab-2", "file:/a b#0-ab-17"])
def test_a_files_name_is_read_as_it_was_written(name: str) -> None:
    assert str(FileName.parse(name)) == name


@pytest.mark.parametrize("other", ["file:/a", "file:/a#12", "file:/a#x-ab", "file:/a#1-2-x", "file:/a#1-2-3-4"])
def test_a_name_that_is_no_files_is_none(other: str) -> None:
    assert FileName.parse(other) is None


async def test_a_file_is_read_from_any_position_to_its_end_with_the_bytes_before_it(events: Path) -> None:
    content = os.urandom(2 * CHUNK_BYTES + 17)
    events.write_bytes(content)
    for position in (0, 1, FINGERPRINT_BYTES, CHUNK_BYTES, len(content) - 1, len(content), len(content) + 5):
        found = b"".join([chunk async for chunk in File(events).chunks(position)])
        assert found == content[max(0, position - FINGERPRINT_BYTES) :]


@pytest.mark.parametrize("when", ["before it is read", "while it is read", "cut down while it is read"])
async def test_a_file_that_is_replaced_is_known_anew(events: Path, when: str) -> None:
    events.write_bytes(b"one\n" * CHUNK_BYTES)
    file = File(events)
    await file.known_as(_lookup({}))
    chunks = file.chunks(0)
    if when != "before it is read":
        await anext(chunks)
    if when.startswith("cut"):
        os.truncate(events, 8)
    else:
        (events.parent / "new").write_bytes(b"two\n")
        (events.parent / "new").rename(events)
    with pytest.raises(Another):
        _ = [chunk async for chunk in chunks]


async def test_a_file_that_cannot_be_read_is_a_failure_that_names_it(events: Path) -> None:
    source = File(events)
    events.unlink()
    with pytest.raises(Failure, match=r"events\.jsonl: cannot be read"):
        await _named(source)
    with pytest.raises(Failure, match=r"events\.jsonl: cannot be read"):
        _ = [chunk async for chunk in source.chunks(0)]


# What cannot be read again.


@pytest.mark.parametrize("source", [StandardInput(), Command("/bin/cat x"), Demo(GeneratorSpec())])
async def test_what_cannot_be_read_again_has_another_name_each_time(source: StandardInput | Command | Demo) -> None:
    first, second = await _named(source), await _named(source)
    assert first != second
    assert await _named(source, {first: 5, second: 5}) not in (first, second)


async def test_a_commands_name_keeps_its_arguments_to_itself() -> None:
    assert (await _named(Command("/usr/bin/curl -H 'Authorization: secret'"))).startswith("exec:curl#")


async def _all_of(source: Command) -> bytes:
    return b"".join([chunk async for chunk in source.chunks(0)])


async def test_a_command_that_ends_well_ends_the_source_with_its_lines_ended() -> None:
    assert await _all_of(Command("printf 'a\\nb'")) == b"a\nb\n"


@pytest.mark.parametrize(
    ("said", "steady_seconds", "expected"),
    [
        pytest.param("half", 60, [1, 2, 4], id="with half a line"),
        pytest.param("", 60, [1, 2, 4], id="without a word"),
        pytest.param("half", 0, [1, 1, 1], id="after a steady run"),
    ],
)
async def test_a_command_that_fails_is_started_again_later_each_time_and_half_its_line_does_not_go_on(
    tmp_path: Path, said: str, steady_seconds: float, expected: list[int]
) -> None:
    waits: list[float] = []

    def no_wait(_: float, longest: float) -> float:
        waits.append(longest)
        return 0.0

    count = tmp_path / "runs"
    command = f"echo x >> {count}; printf '{said}'; [ $(wc -l < {count}) -ge 4 ]"
    backoff = Backoff(first_seconds=1, steady_seconds=steady_seconds, jitter=no_wait)
    assert await _all_of(Command(command, backoff=backoff)) == f"{said}\n".encode() * 4
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
    await _all_of(Command(f"sleep 1000 > /dev/null & echo $! >> pids; {ending}", backoff=Backoff(most_seconds=0)))
    children = [int(pid) for pid in Path("pids").read_text(encoding="utf-8").split()]
    await asyncio.to_thread(wait_until, lambda: not any(map(_runs, children)), what="its children are gone", seconds=5)


async def test_the_demo_gives_as_many_lines_as_its_spec_says() -> None:
    source = parse_source("demo:?rate=100000&count=250&seed=1")
    assert isinstance(source, Demo)
    assert b"".join([chunk async for chunk in source.chunks(0)]).count(b"\n") == 250
