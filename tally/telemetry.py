"""Structured logs: one event a line, readable on a terminal, JSON in a container."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, copy_context
from typing import Any, Protocol

from tally.metrics import count_log_message, set_service
from tally.printing import shows_colours
from tally.settings import Settings, unknown_variables


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Let imports believe that there is no such package."""
    before = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before


# structlog imports rich where it is, and so pygments, for tracebacks in colour, which we do not ask for: seventy
# modules, a tenth of a service's start.
with _hidden("rich"):
    import structlog

Logger = structlog.stdlib.BoundLogger


class Log(Protocol):
    """What of a logger is needed to tell of an event, with fields."""

    def bind(self, **fields: Any) -> Log: ...
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
        count_log_message,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: list[structlog.typing.Processor] = (
        [
            structlog.dev.ConsoleRenderer(
                colors=shows_colours(sys.stderr), exception_formatter=structlog.dev.plain_traceback
            )
        ]
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
    set_service(service, namespace=settings.namespace)
    log = get_logger()
    for sentence in unknown_variables():
        log.warning("setting has no effect", problem=sentence)
    return log


#: What lines about a request have besides.
_OF_A_REQUEST = ("request_id", "peer")


def bind_request(*, request_id: str, peer: str | None) -> None:
    """Have all that the present task logs from now on say which request it is about, and who asked."""
    structlog.contextvars.bind_contextvars(**dict(zip(_OF_A_REQUEST, (request_id, peer), strict=True)))


def shared_context() -> Context:
    """Return the context for a task that works for several requests, the present one among them: it is of none."""
    context = copy_context()
    context.run(structlog.contextvars.unbind_contextvars, *_OF_A_REQUEST)
    return context


def get_logger() -> Logger:
    """Return the logger; what it logs before `configure` goes to structlog's defaults."""
    logger: Logger = structlog.stdlib.get_logger("tally")
    return logger
