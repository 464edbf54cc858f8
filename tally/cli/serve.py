"""`tally serve`: the api."""

from __future__ import annotations

from typing import Annotated

import typer

from tally.runtime import run_service


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: TALLY_HTTP_HOST, 127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port. Default: TALLY_HTTP_PORT, 9090.")] = None,
) -> None:
    """Answer over HTTP, and show the live page, until Ctrl-C."""
    from api.service import STOP_SECONDS, run  # only now: other commands need not wait for it

    run_service("api", run, stop_seconds=STOP_SECONDS, http_host=host, http_port=port)
