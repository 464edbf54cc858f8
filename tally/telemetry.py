"""Structured logs: one event a line, readable on a terminal, JSON in a container."""

from __future__ import annotations

import logging
import sys
from typing import Any, Protocol

import structlog

from tally.settings import Settings, unknown_variables

Logger = structlog.stdlib.BoundLogger


class Log(Protocol):
    """What of a logger is needed to tell of an event, with fields."""

    def info(self, event: str, **fields: Any) -> Any: ...
    def warning(self, event: str, **fields: Any) -> Any: ...
    def error(self, event: str, **fields: Any) -> Any: ...


def configure(settings: Settings, *, service: str) -> Logger:
    """Set up logging of this process, on standard error, and return its logger.

    Records of other libraries (uvicorn's, asyncio's) come out in the same form. Variables that look like
    settings but are none, or are not read, are named once.
    """
    console = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    for library in ("uvicorn", "asyncio"):  # they log every start and stop, and so do we
        logging.getLogger(library).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(service=service)
    log = get_logger()
    for sentence in unknown_variables():
        log.warning("setting has no effect", problem=sentence)
    return log


def get_logger() -> Logger:
    """Return the logger; what it logs before `configure` goes to structlog's defaults."""
    logger: Logger = structlog.stdlib.get_logger("tally")
    return logger
