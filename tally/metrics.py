"""What every service tells Prometheus about itself. What one of them tells besides is in its own `metrics.py`.

They are objects of the library's default registry, which has what it tells of the process, too. A child of a label is
made once, outside of the paths that count: `labels` looks it up under a lock.

A label never has a value that a client chooses: each is a series that is kept as long as the process lives.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import choose_encoder

from tally import __version__
from tally.clock import Clock

# A second series beside each of a counter or histogram, with the time at which the process made it.
disable_created_metrics()  # type: ignore[no-untyped-call]

#: The label of what comes beyond the values that a label may have.
OTHER = "__other__"

#: How many sources a label may have; the others are OTHER.
MOST_SOURCES = 100

#: How often it is looked how late the event loop is.
LOOP_CHECK_SECONDS = 0.5

# Not `namespace`, which to Prometheus is that of Kubernetes.
BUILD = Gauge(
    "tally_build_info",
    "1, for the version that runs, what this process is, and in which namespace of Redis (TALLY_NAMESPACE) it works.",
    ["version", "service", "tally_namespace"],
)
LOOP_LAG = Histogram(
    "tally_event_loop_lag_seconds",
    "How much later than it should the event loop went on, looked at twice a second.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
REDIS_UP = Gauge("tally_redis_up", "1 if Redis answered when it was last asked, in every shard; else 0.")
REDIS_SECONDS = Histogram(
    "tally_redis_operation_duration_seconds",
    "How long Redis took for a script or command (xreadgroup: until there was a block), by what came of it: ok; "
    "unavailable: no answer, or refused for now; refused: for good.",
    ["operation", "outcome"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1, 5, 30),
)
REDIS_RECONNECTS = Counter("tally_redis_reconnects", "Times that Redis answered again after it had not.")
LOG_MESSAGES = Counter("tally_log_messages", "Lines that were logged, by their level.", ["level"])

_SOURCES: set[str] = set()

_OF_LEVELS = {level: LOG_MESSAGES.labels(level) for level in ("debug", "info", "warning", "error", "critical")}


def exposition(accept: str) -> tuple[bytes, str]:
    """Return all metrics in the form that the header Accept asks for, and its media type."""
    try:
        encode, media_type = choose_encoder(accept)
    except (TypeError, ValueError):  # by a version that is none, as in text/plain;version=x
        encode, media_type = choose_encoder("")
    return encode(REGISTRY), media_type


def count_log_message(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Count a line that is logged: a processor of structlog, behind the one that adds the level."""
    if (counter := _OF_LEVELS.get(event.get("level", ""))) is not None:
        counter.inc()
    return event


def source_label(source: str) -> str:
    """Return the value of a label for a source as it was configured; OTHER beyond MOST_SOURCES.

    Of a program its name alone: there may be a password among its arguments, and a label is shown to many. What is no
    UTF-8, as in the path of a file, is escaped: it could not be told.
    """
    if source.startswith("exec:"):
        source = "exec:" + "".join(source.removeprefix("exec:").split(maxsplit=1)[:1])
    source = source.encode("utf-8", "backslashreplace").decode()
    if source in _SOURCES or len(_SOURCES) < MOST_SOURCES:
        _SOURCES.add(source)
        return source
    return OTHER


def set_service(name: str, *, namespace: str) -> None:
    """Say which service this process is, and in which namespace of Redis it works."""
    BUILD.clear()
    BUILD.labels(__version__, name, namespace).set(1)


async def watch_event_loop(clock: Clock) -> None:
    """Look again and again how late the event loop is, until cancelled."""
    while True:
        due = clock.monotonic() + LOOP_CHECK_SECONDS
        await clock.sleep(LOOP_CHECK_SECONDS)
        LOOP_LAG.observe(max(0.0, clock.monotonic() - due))
