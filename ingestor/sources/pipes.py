"""Standard input and programs: what they give comes once."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from ingestor.metrics import of_source
from ingestor.sources.base import CHUNK_BYTES, NotReplayable, source_backoff
from tally.archives import refuse_packed
from tally.backoff import Backoff
from tally.clock import SYSTEM, Clock
from tally.runtime import Failure
from tally.telemetry import get_logger

#: How long a program may take to end when it is told to, and how often it is looked whether it has.
END_SECONDS, END_POLL_SECONDS = 2.0, 0.02

#: Ends a program when we can no longer do it: waits for its group, then for a word or the end of the pipe, which comes
#: when we are killed. A word means that the program is over.
_SURVIVOR = """
read -r group || exit 0
read -r word && exit 0
kill -TERM "-$group"
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do kill -0 "-$group" || exit 0; sleep 0.1; done
kill -KILL "-$group"
"""


class StandardInput(NotReplayable):
    """Standard input, to its end."""

    label = "-"
    finite = True

    async def chunks(self, position: int) -> AsyncIterator[bytes]:  # noqa: ARG002
        # A thread rather than asyncio's pipe reader, which refuses a file or /dev/null. A daemon, because a read
        # of an idle terminal cannot be called off.
        loop = asyncio.get_running_loop()
        chunks: asyncio.Queue[bytes | OSError] = asyncio.Queue()
        room = threading.Semaphore(2)

        def pump() -> None:
            with suppress(RuntimeError):  # the loop was closed while we read
                while True:
                    room.acquire()
                    chunk: bytes | OSError
                    try:
                        chunk = os.read(sys.stdin.fileno(), CHUNK_BYTES)
                    except OSError as error:
                        chunk = error
                    loop.call_soon_threadsafe(chunks.put_nowait, chunk)
                    if not chunk or isinstance(chunk, OSError):
                        return

        threading.Thread(target=pump, name="standard input", daemon=True).start()
        first = True
        while chunk := await chunks.get():
            if isinstance(chunk, OSError):
                raise Failure(f"it cannot be read: {chunk.strerror}") from chunk
            if first:
                refuse_packed(chunk)
                first = False
            room.release()
            yield chunk


class Command(NotReplayable):
    """A program's standard output. A program that ends with an error is started again, after a while."""

    def __init__(self, command: str, *, backoff: Backoff | None = None, clock: Clock = SYSTEM) -> None:
        self._command = command
        self._backoff = backoff or source_backoff()
        self._clock = clock
        # Not the whole line: it may have secrets in it, and this is logged.
        self.label = f"exec:{_program(command)}"

    async def chunks(self, position: int) -> AsyncIterator[bytes]:  # noqa: ARG002
        log = get_logger().bind(command=self.label)
        metrics = of_source(self.label)
        while True:
            self._backoff.begin()
            async with _survivor() as end_with_us:
                process = await asyncio.create_subprocess_shell(
                    self._command, stdout=asyncio.subprocess.PIPE, limit=CHUNK_BYTES, start_new_session=True
                )
                end_with_us(process.pid)
                assert process.stdout is not None
                try:
                    while chunk := await process.stdout.read(CHUNK_BYTES):
                        yield chunk
                    code = await process.wait()
                finally:
                    await _end_group(process)
            yield b"\n"  # half a line of this run does not go on in the next
            if code == 0:
                return
            delay_seconds = self._backoff.next_seconds()
            log.warning("command failed, starting it again", exit_code=code, in_seconds=round(delay_seconds, 1))
            metrics.failures.inc()
            with metrics.up(lambda: False):
                await self._clock.sleep(delay_seconds)  # the reader cancels us when it stops


def _program(command: str) -> str:
    """Return the name of the program that a line of the shell runs, without variables that are set in front of it."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = []  # the shell will say what is wrong with its quotes
    return next((Path(word).name for word in words if not re.match(r"\w+=", word)), "") or "command"


@asynccontextmanager
async def _survivor() -> AsyncIterator[Callable[[int], None]]:
    """Run a process that ends a program when we are killed; what is yielded tells it the program's group.

    The kernel could do that (PR_SET_PDEATHSIG), but to the shell alone and not to what that has started.
    """
    reading, writing = os.pipe()  # the program inherits neither
    try:
        survivor = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            _SURVIVOR,
            stdin=reading,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # a Ctrl-C is not for it
        )
    except BaseException:
        os.close(writing)
        raise
    finally:
        os.close(reading)

    def tell(what: object) -> None:
        with suppress(BrokenPipeError):  # it was ended by something else
            os.write(writing, f"{what}\n".encode())

    try:
        yield tell
    finally:
        tell("over")
        os.close(writing)
        await survivor.wait()


async def _end_group(process: asyncio.subprocess.Process) -> None:
    """End a program that still runs, and what it started: a shell may be gone before its children are.

    After a run that ended by itself too, or each run of a program that fails would leave its children to the next one.
    """
    # The group is asked, not the shell: its children may still be writing out what they hold.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
        for _ in range(int(END_SECONDS / END_POLL_SECONDS)):
            await SYSTEM.sleep(END_POLL_SECONDS)
            os.killpg(process.pid, 0)
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
