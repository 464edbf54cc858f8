"""The application of the command line: its commands, in the order in which `--help` has them, and `main`."""

from __future__ import annotations

import errno
from typing import Annotated

import typer

from tally import __version__, early_signals
from tally.cli.aggregate import aggregate
from tally.cli.check import check
from tally.cli.compact import compact
from tally.cli.completion import answer_shells, completion
from tally.cli.count import count
from tally.cli.dead_letters import dead_letters
from tally.cli.export import export
from tally.cli.forget import forget
from tally.cli.generate import generate
from tally.cli.import_ import import_
from tally.cli.ingest import ingest
from tally.cli.layout import layout
from tally.cli.output import discard_output
from tally.cli.redis_users import redis_users
from tally.cli.reset import reset
from tally.cli.serve import serve
from tally.cli.size import size
from tally.cli.status import status
from tally.cli.top import top
from tally.cli.up import up
from tally.printing import let_output_lack_characters
from tally.runtime import EXIT_FAILURE, fail

#: Commands that take signals to stop by; any other one ends by them.
_STOP_IN_ORDER = frozenset({"up", "ingest", "aggregate", "serve", "count", "top", "export"})

_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})

app = typer.Typer(
    name="tally",
    no_args_is_help=True,
    add_completion=False,  # its two options would stand in front of ours; `tally completion` does what they do
    rich_markup_mode="markdown",
    help="Counts an endless stream of JSON events exactly, while it runs, and answers over HTTP.\n\n"
    "`tally up` runs everything on this machine; `tally ingest`, `tally aggregate` and `tally serve` run one part. "
    "Settings are environment variables that begin with `TALLY_`, or lines of a `.env` file; "
    "docs/reference/settings.md has them all.",
)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"tally {__version__}")
        raise typer.Exit


@app.callback()
def _tally(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    del version
    if context.invoked_subcommand not in _STOP_IN_ORDER:
        early_signals.release()


#: Those that look after a namespace; the others are for everybody.
_KEEPING = (layout, export, import_, reset, forget, compact, redis_users)

for command in (up, ingest, aggregate, serve, generate, count, check, size, status, top, *_KEEPING):
    app.command("import" if command is import_ else None)(command)
app.add_typer(dead_letters, name="dead-letters")
app.command()(completion)


def main() -> None:
    """Run the command. What cannot be written is one line: a full disk is nothing that a traceback explains."""
    let_output_lack_characters()
    answer_shells()
    try:
        app()
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        discard_output()
        fail(f"cannot write {error.filename or 'the output'}: {error.strerror}", code=EXIT_FAILURE)
