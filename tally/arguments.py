"""The arguments of `python -m ingestor`, `python -m aggregator` and `python -m api`, and what `--help` says of them."""

from __future__ import annotations

import argparse
from typing import NoReturn

from tally.runtime import EXIT_USAGE, fail

_SETTINGS = (
    "Settings are environment variables that begin with TALLY_, or lines of a .env file; docs/reference/settings.md "
    "has them all."
)


class Arguments(argparse.ArgumentParser):
    """A parser for a module. What it cannot parse ends the process with a sentence, as any other misuse does."""

    def __init__(self, module: str, description: str) -> None:
        super().__init__(prog=f"python -m {module}", description=description, epilog=_SETTINGS, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Exit with this sentence."""
        fail(f"{message}; `{self.prog} --help` says what there is", code=EXIT_USAGE)
