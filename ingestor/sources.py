"""Sources: where lines come from. Each gives chunks of bytes, in order, as they come.

A source that can be read again has a name that is the same after a restart, and starts at any position. One that
cannot (a pipe, a program, the generator) has a name of its own each time, and starts at 0.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

from tally.generator import Generator, GeneratorSpec
from tally.runtime import Failure, backoff_seconds
from tally.telemetry import get_logger

#: How much is asked of a file or a pipe at once.
CHUNK_BYTES = 1 << 20

#: How many of a file's first bytes, at the most, tell it from another one that had its name before.
FINGERPRINT_BYTES = 1024


class Source(Protocol):
    """What a feed reads. `chunks` may be called again, with another position, if the source is rereadable."""

    @property
    def label(self) -> str:
        """What people call it, as in TALLY_SOURCE."""

    @property
    def rereadable(self) -> bool: ...

    def name(self, stored: Iterable[str]) -> str:
        """Its name in the store, given the names that are stored. Another one each time if it isn't rereadable."""

    def chunks(self, position: int) -> AsyncIterator[bytes]:
        """The bytes from this position on. Raises Failure when they cannot be read."""


def parse_source(text: str) -> Source:
    """Make a source of its text form. Raises ValueError with what is wrong and what would be right."""
    kind, colon, rest = text.partition(":")
    if text == "-":
        return StandardInput()
    if kind == "exec" and colon:
        if not rest.strip():
            raise ValueError("exec: needs a command, as in exec:journalctl -f -o json")
        return Command(rest)
    if kind == "demo" and colon:
        return Demo(GeneratorSpec.parse(rest))
    if kind in ("tcp", "http", "tail", "unix") and colon:
        raise ValueError(f"{text!r}: {kind}: sources are not supported yet; use -, a path, exec:COMMAND or demo:")
    if not text:
        raise ValueError("a source is -, a path, exec:COMMAND or demo:?rate=100")
    path = Path(text)
    if path.is_dir():
        raise ValueError(f"{text!r} is a folder; name a file in it")
    if not path.exists():
        raise ValueError(f"there is no file {text!r}")
    return File(path)


class File:
    """A file, read from a position to its end.

    Its name holds its absolute path and a fingerprint of its first bytes, so that another file that is put in its
    place is counted and one that has only grown goes on.
    """

    rereadable = True

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self.label = str(path)

    def name(self, stored: Iterable[str]) -> str:
        with self._open() as file:
            first = file.read(FINGERPRINT_BYTES)
        prefix = f"file:{self._path}#"
        known = set(stored)
        # It may have been shorter when it was first seen: the longest beginning that is known decides.
        for length in range(len(first), 0, -1):
            name = f"{prefix}{length}-{_fingerprint(first[:length])}"
            if name in known:
                return name
        return f"{prefix}{len(first)}-{_fingerprint(first)}"

    async def chunks(self, position: int) -> AsyncIterator[bytes]:
        with self._open() as file:
            size = file.seek(0, os.SEEK_END)
            if position > size:
                get_logger().warning(
                    "file is shorter than what was read of it before; nothing to read",
                    path=str(self._path),
                    position=position,
                    bytes=size,
                )
            file.seek(position)
            while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                yield chunk

    def _open(self) -> IO[bytes]:
        try:
            return self._path.open("rb", buffering=0)
        except OSError as error:
            raise Failure(f"{self._path}: cannot be read: {error.strerror}") from error


def _fingerprint(first: bytes) -> str:
    return hashlib.blake2b(first, digest_size=8).hexdigest()


class _Once:
    """What the sources that cannot be read again have in common."""

    rereadable = False
    label: str

    def name(self, stored: Iterable[str]) -> str:  # noqa: ARG002
        return f"{self.label.partition('?')[0]}#{uuid.uuid4().hex[:12]}"


class StandardInput(_Once):
    """Standard input, to its end."""

    label = "-"

    async def chunks(self, position: int) -> AsyncIterator[bytes]:  # noqa: ARG002
        # A thread rather than asyncio's pipe reader, which refuses a file or /dev/null. A daemon, because a read
        # of an idle terminal cannot be called off.
        loop = asyncio.get_running_loop()
        chunks: asyncio.Queue[bytes] = asyncio.Queue()
        room = threading.Semaphore(2)

        def pump() -> None:
            with suppress(RuntimeError):  # the loop was closed while we read
                while True:
                    room.acquire()
                    chunk = os.read(sys.stdin.fileno(), CHUNK_BYTES)
                    loop.call_soon_threadsafe(chunks.put_nowait, chunk)
                    if not chunk:
                        return

        threading.Thread(target=pump, name="standard input", daemon=True).start()
        while chunk := await chunks.get():
            room.release()
            yield chunk


class Command(_Once):
    """A program's standard output. A program that ends with an error is started again, after a while."""

    def __init__(self, command: str) -> None:
        self._command = command
        self.label = f"exec:{command}"

    def name(self, stored: Iterable[str]) -> str:  # noqa: ARG002
        program = Path(self._command.split()[0]).name
        return f"exec:{program}#{uuid.uuid4().hex[:12]}"

    async def chunks(self, position: int) -> AsyncIterator[bytes]:  # noqa: ARG002
        log = get_logger().bind(command=self._command)
        failures = 0
        while True:
            process = await asyncio.create_subprocess_shell(
                self._command, stdout=asyncio.subprocess.PIPE, limit=CHUNK_BYTES, start_new_session=True
            )
            assert process.stdout is not None
            try:
                while chunk := await process.stdout.read(CHUNK_BYTES):
                    failures = 0
                    yield chunk
                code = await process.wait()
            finally:
                await _end_group(process)
            yield b"\n"  # half a line of this run does not go on in the next
            if code == 0:
                return
            failures += 1
            delay_seconds = backoff_seconds(failures, first=1.0, most=60.0)
            log.warning("command failed, starting it again", exit_code=code, in_seconds=round(delay_seconds, 1))
            await asyncio.sleep(delay_seconds)  # the feed cancels us when it stops


async def _end_group(process: asyncio.subprocess.Process) -> None:
    """End a program and what it started, if it still runs."""
    for each in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, each)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 2.0)


class Demo(_Once):
    """The built-in generator."""

    def __init__(self, spec: GeneratorSpec) -> None:
        self._spec = spec
        self.label = "demo:"

    async def chunks(self, position: int) -> AsyncIterator[bytes]:  # noqa: ARG002
        async for lines in Generator(self._spec).paced():
            yield lines
