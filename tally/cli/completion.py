"""`tally completion`: what a shell needs to complete commands and options."""

from __future__ import annotations

from typing import Annotated, Literal

import typer
from typer.completion import completion_init, get_completion_script  # type: ignore[attr-defined]

#: In the environment of `tally` when a shell asks it what might come next.
VARIABLE = "_TALLY_COMPLETE"


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="Which shell it is for.")],
) -> None:
    """Print a script with which a shell completes commands and options of `tally`; it changes nothing by itself.

    Put `eval "$(tally completion bash)"` into `~/.bashrc`, `eval "$(tally completion zsh)"` into `~/.zshrc` behind
    `compinit`, or `tally completion fish | source` into `~/.config/fish/config.fish`.
    """
    script = get_completion_script(prog_name="tally", complete_var=VARIABLE, shell=shell)  # nosec B604 # its name
    typer.echo(script)


def answer_shells() -> None:
    """Have the application answer a shell that asks what might come next."""
    completion_init()
