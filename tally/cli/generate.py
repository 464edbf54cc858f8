"""`tally generate`: made-up events on standard output."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tally.cli.output import discard_output
from tally.generator import Generator, GeneratorSpec
from tally.runtime import EXIT_USAGE, fail, run_or_exit


def generate(
    rate: Annotated[float | None, typer.Option(help="Lines a second. Default: as fast as it goes.")] = None,
    count: Annotated[int | None, typer.Option(help="How many lines. Default: endless.")] = None,
    corrupt: Annotated[float, typer.Option(help="Share of lines that are garbage, 0 to 1.")] = 0.1,
    seed: Annotated[
        int | None, typer.Option(help="The same seed gives the same lines, but for their timestamps.")
    ] = None,
    start: Annotated[
        float | None,
        typer.Option(help="Unix seconds of the first timestamp. Default: the clock, for every line."),
    ] = None,
) -> None:
    """Print made-up events, one JSON object on a line, with garbage in between.

    Types are foo bar baz spam ham eggs, words are of lorem ipsum; the garbage is of several kinds: binary, truncated
    JSON, wrong types, missing fields.
    """
    try:
        spec = GeneratorSpec(rate=rate, count=count, corrupt=corrupt, seed=seed, start=start)
    except ValueError as error:
        fail(str(error), code=EXIT_USAGE)

    async def body() -> None:
        async for chunk in Generator(spec).paced():
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()

    def unpaced() -> None:
        for chunk in Generator(spec).lines():
            sys.stdout.buffer.write(chunk)

    try:
        if spec.rate is not None:
            run_or_exit(body())
        else:
            unpaced()
            sys.stdout.buffer.flush()
    except BrokenPipeError:
        discard_output()
        raise typer.Exit from None  # `tally generate | head`: the reader has what it wanted
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
