"""`python -m api`: answer over HTTP until a signal comes."""

from __future__ import annotations

from tally.early_signals import hold

if __name__ == "__main__":
    hold()  # before what takes long to import

from api.service import STOP_SECONDS, run
from tally.arguments import Arguments
from tally.runtime import run_service

if __name__ == "__main__":
    Arguments("api", "Answer over HTTP, and show the live page, until a signal comes.").parse_args()
    run_service("api", run, stop_seconds=STOP_SECONDS)
