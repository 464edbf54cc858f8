"""What a shell completes, and what each module says of itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.commands import assert_refused, tally
from tests.processes import run

#: Where `tally` is installed.
FOLDER = Path(sys.executable).parent


def test_bash_completes_commands_options_and_files() -> None:
    Path("events.ndjson").touch()
    ask = 'COMP_WORDS=({words}); COMP_CWORD={at}; COMPREPLY=(); _tally_completion tally; echo "${{COMPREPLY[*]}}"'
    asked = [("tally dead", 1), ("tally dead-letters ''", 2), ("tally status --", 2), ("tally completion ''", 2)]
    script = ['eval "$(tally completion bash)"', *(ask.format(words=words, at=at) for words, at in asked)]
    done = subprocess.run(
        ["bash", "--norc", "-c", "\n".join([*script, "complete -p tally"])],
        env={**os.environ, "PATH": f"{FOLDER}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    top, letters, options, shells, how = done.stdout.splitlines()
    assert (top, letters, shells) == ("dead-letters", "list show retry drop", "bash zsh fish")
    assert {"--json", "--help"} <= set(options.split())
    assert "-o default" in how, "where there is nothing of ours, files"
    assert not done.stderr


@pytest.mark.parametrize(
    ("shell", "said"),
    [("zsh", '"list":"List the dead letters, the oldest first."'), ("fish", "list\tList the dead letters")],
)
def test_other_shells_are_answered_with_descriptions(shell: str, said: str) -> None:
    asked = {"_TYPER_COMPLETE_ARGS": "tally dead-letters ", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    script = tally("completion", shell).stdout
    assert "_TALLY_COMPLETE=complete_" + shell in script
    done = subprocess.run(
        [FOLDER / "tally"],
        env={**os.environ, **asked, "_TALLY_COMPLETE": f"complete_{shell}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert said in done.stdout, done.stderr


def test_help_has_no_options_about_completion() -> None:
    assert "completion bash" in tally("completion", "--help").stdout
    assert "--install-completion" not in tally("--help").stdout


@pytest.mark.parametrize(
    ("module", "said"),
    [("ingestor", ["--stay", "tail:PATH", "TALLY_SOURCE"]), ("aggregator", ["--drain"]), ("api", ["live page"])],
)
def test_each_module_says_what_it_takes_and_refuses_what_it_does_not(module: str, said: list[str]) -> None:
    done = run(module, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: python -m {module} [-h]")
    for each in [*said, "docs/reference/settings.md"]:
        assert each in done.stdout
    assert_refused(run(module, "--nonsense"), 2, "tally: unrecognized arguments: --nonsense;", f"{module} --help")


def test_a_source_may_begin_with_a_dash() -> None:
    assert_refused(tally("ingest", "--", "--stay"), 2, "source '--stay': there is no such file")
