"""`tally export`: everything of a namespace, into a file."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal

from tally.cli.asking import server_at_rest, with_shards
from tally.cli.stopping import until_stopped
from tally.clock import SYSTEM
from tally.export_files import SUFFIX, Packed, new_file, standard_output
from tally.export_records import Counts
from tally.exports import Encoder
from tally.runtime import Misuse, fail, load_or_exit
from tally.settings import Settings
from tally.store.exporting import Exported
from tally.store.lease import quiesced
from tally.store.shards import Shards
from tally.telemetry import configure

#: So many bytes are packed and written at once, by a thread: the lease must be renewed meanwhile.
_WRITTEN_AT_ONCE = 1 << 20

#: How long it is waited, after a signal, for what is being written: nobody may read the other end of a pipe.
_PATIENCE_SECONDS = 3.0

#: How often it is said how far it is.
_TELL_SECONDS = 5.0

#: Is given a sentence.
Tell = Callable[[str], None]


def export(
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE|-]",
            help=f"Where to; NAMESPACE-TIME{SUFFIX} in this folder if that is left out. `-` is standard output.",
            show_default=False,
        ),
    ] = None,
    wait: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="How long aggregators may take to count what waits."),
    ] = 60.0,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if there is one.")] = False,
) -> None:
    """Write everything of a namespace into a file: counts, windows, how far sources are, idempotency keys, samples.

    Services may run meanwhile. Nothing is appended until it is done: sources wait, and nothing of them is lost. What
    waits is counted first, so aggregators must run, and nothing is written if they do not. `tally import` reads it.
    """
    settings = load_or_exit(log_level="warning")
    configure(settings, service="export")

    def tell(sentence: str) -> None:
        typer.echo(f"tally: {sentence}", err=True)

    try:
        destination = _destination(settings, file, force=force)
    except Misuse as error:
        fail(str(error), code=error.exit_code)
    with server_at_rest(settings) as settings:
        tell(
            with_shards(
                settings,
                lambda shards: until_stopped(
                    export_to(destination, shards, settings, wait_seconds=wait, tell=tell),
                    but=f"{'a part of it' if file == '-' else 'nothing'} was written, and appends go on",
                ),
                writes=True,
            )
        )


def _destination(settings: Settings, file: str | None, *, force: bool) -> AbstractContextManager[Packed]:
    if file == "-":
        if sys.stdout.isatty():
            raise Misuse("standard output is a terminal, and an export is packed: give a file, or `| ssh …`")
        return standard_output()
    name = f"{settings.namespace}-{datetime.fromtimestamp(SYSTEM.time(), UTC):%Y%m%dT%H%M%SZ}{SUFFIX}"
    path = Path(file or name)
    return new_file(path / name if path.is_dir() else path, force=force)


async def export_to(
    destination: AbstractContextManager[Packed],
    shards: Shards,
    settings: Settings,
    *,
    wait_seconds: float,
    tell: Tell,
) -> str:
    """Write an export and return what was written, as a sentence. If anything fails nothing is left of it.

    Raises StoreUnavailable, Failure and LayoutRefused.
    """
    exported = Exported(shards, settings=settings)
    names = 0
    began = SYSTEM.monotonic()
    tell_at = began + _TELL_SECONDS
    with destination as packed:
        await exported.look()  # nobody is held up for what can be seen before
        async with quiesced(shards, settings, what="export", seconds=wait_seconds, tell=tell) as lease:
            encoder, lines = Encoder(), bytearray()
            lines += encoder.line(await exported.begin())
            async for record in exported.records():
                lease.check()
                lines += encoder.line(record)
                if isinstance(record, Counts):
                    names += len(record.counts)
                if len(lines) >= _WRITTEN_AT_ONCE:
                    await _in_thread(packed.write, bytes(lines))
                    lines.clear()
                if SYSTEM.monotonic() >= tell_at:
                    tell(f"{names:,} names so far, in {decimal(packed.unpacked_bytes)} of lines")
                    tell_at += _TELL_SECONDS
            await exported.check()
            await lease.confirm()
        await _in_thread(packed.finish, bytes(lines) + encoder.end(), is_last=True)
    seconds = SYSTEM.monotonic() - began
    size = f"{decimal(packed.bytes)} ({decimal(packed.unpacked_bytes)} of lines)"
    return f"exported {names:,} names of namespace {settings.namespace} in {seconds:.1f} s: {packed.name}, {size}"


async def _in_thread(write: Callable[[bytes], None], data: bytes, *, is_last: bool = False) -> None:
    """Write in a thread, and to the end: a file is not to be closed meanwhile. If that was the last, all is done."""
    writing = _started(write, data)
    give_up_at: float | None = None
    while not writing.done():
        try:
            await asyncio.wait((writing,))
        except asyncio.CancelledError:
            give_up_at = give_up_at or SYSTEM.monotonic() + _PATIENCE_SECONDS
            if SYSTEM.monotonic() >= give_up_at:
                raise
    writing.result()
    if give_up_at is not None and not is_last:
        raise asyncio.CancelledError


def _started(write: Callable[[bytes], None], data: bytes) -> asyncio.Future[None]:
    """Begin to write in a thread for which the process does not wait when it ends, as it does for asyncio's own."""
    loop = asyncio.get_running_loop()
    writing: asyncio.Future[None] = loop.create_future()

    def end(error: Exception | None) -> None:
        if writing.done():
            return
        if error is None:
            writing.set_result(None)
        else:
            writing.set_exception(error)

    def run() -> None:
        error: Exception | None = None
        try:
            write(data)
        except Exception as raised:
            error = raised
        with suppress(RuntimeError):  # the loop is gone
            loop.call_soon_threadsafe(end, error)

    threading.Thread(target=run, daemon=True).start()
    return writing
