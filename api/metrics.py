"""What the api tells Prometheus: how it answers, and what Redis holds, which only the api tells.

What was counted is read of Redis at a scrape, so that it never falls when a service is started again, and stands there
once, however many aggregators there are. Where Redis does not answer it is left out: none is better than an old one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, Metric
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

from tally.store.node_memory import NodeMemory
from tally.store.status import SourceState, Status

REQUEST_SECONDS = Histogram(
    "tally_api_request_duration_seconds",
    "How long a request waited until its answer began, by route and by class of status.",
    ["route", "method", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
SNAPSHOT_AGE = Histogram(
    "tally_api_snapshot_age_seconds",
    "How long before an answer was made Redis had been asked for what it was made of.",
    buckets=(0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
SNAPSHOT_BYTES = Gauge(
    "tally_api_snapshot_bytes", "Memory that snapshots and answers take, of what TALLY_MAX_SNAPSHOT_BYTES allows."
)
WATCHERS = Gauge("tally_api_watchers", "Connections that follow the live feed.")
REFUSED_TOKENS = Counter("tally_api_refused_tokens", "Requests without the token of TALLY_API_TOKEN, or with another.")


@dataclass(frozen=True, slots=True)
class Stored:
    """What Redis held at a moment. `types` are those that are told; none, if there was no room or time to read them.

    `most_names` are those of which the status tells nothing; `limits` how many names of each kind there may be.
    """

    status: Status
    types: Mapping[str, int]
    memory: Sequence[NodeMemory]
    most_names: Mapping[str, int]
    limits: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Family:
    """A metric that is made at each scrape, of one series, or of one for each value of its label."""

    name: str
    help: str
    read: Callable[[Stored], float | Mapping[str, float]]
    label: str = ""

    def metric(self, stored: Stored | None) -> Metric:
        """Return it as the library has it, without any series if nothing was read."""
        labels = [self.label] if self.label else []
        made: CounterMetricFamily | GaugeMetricFamily
        if self.name.endswith("_total"):
            made = CounterMetricFamily(self.name.removesuffix("_total"), self.help, labels=labels)
        else:
            made = GaugeMetricFamily(self.name, self.help, labels=labels)
        if stored is not None:
            found = self.read(stored)
            for value, number in found.items() if isinstance(found, Mapping) else [("", found)]:
                made.add_metric([value] if self.label else [], number)
        return made


class StoredMetrics:
    """What Redis holds, as a collector of the registry: each scrape tells what was read just before it."""

    def __init__(self) -> None:
        self.stored: Stored | None = None

    def describe(self) -> Iterator[Metric]:
        """Yield every metric without its series."""
        return (family.metric(None) for family in _FAMILIES)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric that has any series now."""
        found = (family.metric(self.stored) for family in _FAMILIES)
        return (metric for metric in found if metric.samples)


def _most_names(stored: Stored) -> Mapping[str, float]:
    status = stored.status
    if status.shards is None:
        return {"types": status.distinct_types, "words": status.distinct_words, **stored.most_names}
    return {
        "types": max(shard.distinct_types for shard in status.shards),
        "words": max(shard.distinct_words for shard in status.shards),
        **stored.most_names,
    }


def _unserved(stored: Stored) -> float:
    status = stored.status
    if status.shards is None:
        return float(not status.alive)
    return sum(not shard.aggregators_alive for shard in status.shards)


def _last_seen(sources: Sequence[SourceState]) -> Mapping[str, float]:
    """Return when each source was last appended to: of those that have a new name each time, the last of them."""
    found: dict[str, float] = {}
    for source in sources:
        if source.appended_at is not None:
            name = source.name.rpartition("#")[0] or source.name
            found[name] = max(source.appended_at, found.get(name, 0.0))
    return found


_FAMILIES = (
    _Family(
        "tally_events_total",
        "Events counted, of the most frequent types alone (TALLY_METRICS_TOP_TYPES) and those of TALLY_METRICS_TYPES; "
        "all events are tally_lines_total without tally_rejected_lines_total.",
        lambda stored: stored.types,
        "type",
    ),
    _Family("tally_words_total", "Words counted.", lambda stored: stored.status.totals["words"]),
    _Family(
        "tally_lines_total", "Lines counted: events, and rejected lines.", lambda stored: stored.status.totals["lines"]
    ),
    _Family("tally_bytes_total", "Bytes of the blocks counted.", lambda stored: stored.status.totals["bytes"]),
    _Family(
        "tally_rejected_lines_total",
        "Lines that are no events, by reason.",
        lambda stored: stored.status.rejected_by_reason,
        "reason",
    ),
    _Family(
        "tally_lost_blocks_total",
        "Blocks that somebody deleted before they were counted.",
        lambda stored: stored.status.totals["lost"],
    ),
    _Family(
        "tally_dead_letters",
        "Blocks that ended every aggregator, and chunks of counts that nobody could read, set aside.",
        lambda stored: stored.status.dead_letters,
    ),
    _Family("tally_backlog_blocks", "Blocks that wait to be counted.", lambda stored: stored.status.backlog.blocks),
    _Family("tally_backlog_bytes", "Bytes of lines that wait.", lambda stored: stored.status.backlog.bytes),
    _Family(
        "tally_backlog_oldest_seconds",
        "For how long the oldest block has waited; 0 if none waits.",
        lambda stored: stored.status.backlog.oldest_seconds or 0.0,
    ),
    _Family(
        "tally_backlog_full",
        "1 if as much waits as may, and no source is read.",
        lambda stored: float(stored.status.backlog.full),
    ),
    _Family(
        "tally_appends_held",
        "1 while a command, as an export, reads or changes all that is stored, and no source is read.",
        lambda stored: float(stored.status.backlog.held is not None),
    ),
    _Family(
        "tally_aggregators",
        "Aggregators in the consumer group: alive, or idle for too long, as one is that was killed.",
        lambda stored: {
            "alive": stored.status.alive,
            "idle": len(stored.status.aggregators) - stored.status.alive,
        },
        "state",
    ),
    _Family("tally_unserved_shards", "Shards that no aggregator serves that is alive.", _unserved),
    _Family(
        "tally_distinct_names",
        "Names of all time that have a place of their own: types, words, words of the type that has most, sources; of "
        "several shards, of the one that has most.",
        _most_names,
        "kind",
    ),
    _Family(
        "tally_distinct_names_limit",
        "How many names a shard has places for, as TALLY_MAX_TYPES, TALLY_MAX_WORDS, TALLY_MAX_TYPE_WORDS and "
        "TALLY_MAX_SOURCES are set for the api.",
        lambda stored: stored.limits,
        "kind",
    ),
    _Family(
        "tally_other_total",
        "Events and words counted under __other__, as their name had no place, by the kind of name.",
        lambda stored: {"types": stored.status.other_types, "words": stored.status.other_words},
        "kind",
    ),
    _Family(
        "tally_source_last_seen_timestamp_seconds",
        "When a source was last appended to, or said to be open, of the hundred last.",
        lambda stored: _last_seen(stored.status.sources),
        "source",
    ),
    _Family(
        "tally_redis_used_memory_bytes",
        "Memory that a server of Redis uses.",
        lambda stored: {each.node: each.used_bytes for each in stored.memory},
        "node",
    ),
    _Family(
        "tally_redis_max_memory_bytes",
        "Memory that it may use, where that is bounded (maxmemory).",
        lambda stored: {each.node: each.max_bytes for each in stored.memory if each.max_bytes},
        "node",
    ),
)

#: What every scrape of the api tells of Redis.
STORED = StoredMetrics()
REGISTRY.register(STORED)
