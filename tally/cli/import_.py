"""`tally import`: what `tally export` has written, into a namespace."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, cast

import typer

from tally.archives import errors_explained
from tally.cli.asking import server_at_rest, with_shards
from tally.cli.stopping import until_stopped
from tally.clock import SYSTEM
from tally.export_files import opened
from tally.export_records import Record
from tally.exports import records_of
from tally.imports import Plan, planned
from tally.runtime import Failure, Misuse, fail, load_or_exit
from tally.settings import Settings
from tally.store.importing import Told, import_export
from tally.store.shards import Shards
from tally.telemetry import configure

#: How often it is said how far it is.
_TELL_SECONDS = 5.0


def import_(
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="What was exported; `-` is standard input.")],
    add: Annotated[
        bool, typer.Option("--add", help="Add it to what is counted there. Sources that both have are refused.")
    ] = False,
) -> None:
    """Bring an export into an empty namespace, also one with another number of shards, or add it to what is there.

    All of the file is checked first. Sources then go on where they were, and bodies that were sent are known by their
    keys. Services may run meanwhile. If it is stopped or killed, run the same again: nothing is counted twice.
    """
    settings = load_or_exit(log_level="warning")
    configure(settings, service="import")
    try:
        with _file(file) as export, server_at_rest(settings) as settings:
            _tell(
                with_shards(
                    settings,
                    lambda shards: until_stopped(
                        export.bring_into(shards, settings, adds=add),
                        but="run the same again, and it goes on; until then a part of it is counted",
                    ),
                    writes=True,
                )
            )
    except Failure as error:
        fail(str(error), code=error.exit_code)


def _tell(sentence: str) -> None:
    typer.echo(f"tally: {sentence}", err=True)


class _Export:
    """A file that holds an export, and is read several times. Raises NotAnExport if it does not, or not a whole one.

    It stays open for as long: another one may take its place meanwhile, and the name is not to mean two exports.
    """

    def __init__(self, path: Path, raw: IO[bytes]) -> None:
        self._path = path
        self._raw = raw
        with self.opened() as records:
            self._plan: Plan = planned(records)

    @contextmanager
    def opened(self) -> Iterator[Iterator[Record]]:
        """Give its records, from the first one on."""
        self._raw.seek(0)
        with opened(self._path, self._raw) as lines:
            yield records_of(lines)

    async def bring_into(self, shards: Shards, settings: Settings, *, adds: bool) -> str:
        """Import it; return what was done, as a sentence."""
        plan = self._plan
        began = SYSTEM.monotonic()
        tell_at = began + _TELL_SECONDS

        def tell_line(line: int) -> None:
            nonlocal tell_at
            if SYSTEM.monotonic() >= tell_at:
                _tell(f"{line:,} of {plan.records:,} lines")
                tell_at += _TELL_SECONDS

        await import_export(shards, settings, plan, self.opened, adds=adds, told=Told(line=tell_line, waits=_tell))
        seconds = SYSTEM.monotonic() - began
        return (
            f"imported {plan.names:,} names of namespace {plan.header.namespace} into {settings.namespace} in "
            f"{seconds:.1f} s. Sources that go on where they were: {plan.sources:,}; "
            f"idempotency keys that are known: {plan.keys:,}"
        )


@contextmanager
def _file(name: str) -> Iterator[_Export]:
    """Give the export in a file. What cannot be read twice, as standard input or a pipe, is kept in a temporary one."""
    if name == "-":
        if sys.stdin.isatty():
            raise Misuse("standard input is a terminal: give a file, or `ssh … tally export - |`")
        with _kept("standard input", sys.stdin.buffer) as export:
            yield export
        return
    path = Path(name)
    with errors_explained(path):
        file = path.open("rb")
    with file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            yield _Export(path, file)
            return
        with _kept(name, file) as export:
            yield export


@contextmanager
def _kept(name: str, file: IO[bytes]) -> Iterator[_Export]:
    with tempfile.TemporaryFile() as raw:
        try:
            shutil.copyfileobj(file, raw)
        except OSError as error:
            raise Failure(f"{name} cannot be kept in {tempfile.gettempdir()}: {error.strerror}") from error
        yield _Export(Path(name), cast(IO[bytes], raw))
