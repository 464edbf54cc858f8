"""What an ingestor measures, by its sources as they were configured: not by the files and connections of each.

What happens is added where it happens, a block, a round trip or a request at a time. What is so at a moment is asked
for when somebody looks at it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property, partial

from prometheus_client import Counter, Gauge, Histogram

from tally.metrics import source_label

_SOURCE = ("source",)

LINES = Counter("tally_ingestor_lines", "Lines that were put into the stream.", _SOURCE)
BYTES = Counter("tally_ingestor_bytes", "Bytes of lines, with their ends, that were put into the stream.", _SOURCE)
BLOCKS = Counter(
    "tally_ingestor_blocks",
    "Blocks by what Redis said of them: appended; duplicate, as after a lost answer; full, so that they wait or are "
    "refused; moved, as the source stands elsewhere; conflict, as another body has the key.",
    ("source", "outcome"),
)
APPEND_DURATION = Histogram(
    "tally_ingestor_append_duration_seconds",
    "How long Redis took to answer when blocks were appended, a round trip.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0),
)
SOURCE_UP = Gauge(
    "tally_ingestor_source_up",
    "Whether all of the source is read or listened to: 0 until it is opened, and while some of it waits for another "
    "try after a failure. A source that has ended has no value.",
    _SOURCE,
)
SOURCE_FAILURES = Counter(
    "tally_ingestor_source_failures",
    "Times that the source, or a file or program of it, could not be read on or be opened.",
    _SOURCE,
)
LOST_BYTES = Counter(
    "tally_ingestor_lost_bytes",
    "Bytes that cannot be read again, and are not in the stream or not known to be.",
    _SOURCE,
)
FOLLOWED_LAG = Gauge(
    "tally_ingestor_followed_lag_bytes",
    "Bytes of the followed files that are being read, which are not in the stream yet.",
    _SOURCE,
)
BACKPRESSURE = Counter(
    "tally_ingestor_backpressure_seconds",
    "Seconds for which the source was not read because the stream was full, of all its shards together.",
    _SOURCE,
)
READ_AGAIN = Counter(
    "tally_ingestor_read_again",
    "Times that the source was read again from where Redis has it, which was elsewhere than it had said: it has lost "
    "data, or another ingestor reads the same source.",
    _SOURCE,
)
CONNECTIONS = Gauge("tally_ingestor_connections", "Connections that are open.", _SOURCE)
REFUSED = Counter(
    "tally_ingestor_refused",
    "Connections, requests and unfinished lines that were refused, by the reason; of requests it is the type of the "
    "problem.",
    ("source", "reason"),
)
BUFFERED = Gauge(
    "tally_ingestor_buffered_bytes", "Bytes that were read or received, and are not in the stream yet.", _SOURCE
)
REPLAYS = Counter(
    "tally_ingestor_replays", "Bodies that were in the stream already under their Idempotency-Key.", _SOURCE
)
REQUEST_DURATION = Histogram(
    "tally_ingestor_request_duration_seconds",
    "How long a POST took, from its head to the last byte of its answer, by the class of its status, as 2xx; none: its "
    "sender was gone.",
    ("source", "status"),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0),
)
REQUEST_SIZE = Histogram(
    "tally_ingestor_request_size_bytes",
    "Bytes of the body of a POST as it was sent, compressed or not, as far as it was taken.",
    _SOURCE,
    buckets=(1 << 8, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24),
)


class _Asked:
    """A gauge that is asked for: each source has parts, which come and go. One without any has no value."""

    def __init__(self, gauge: Gauge, together: Callable[[Iterable[float]], float]) -> None:
        self._gauge = gauge
        self._together = together
        self._parts: dict[str, dict[object, Callable[[], float]]] = {}

    def add(self, source: str, value: Callable[[], float]) -> object:
        """Let the source have this part from now on; return what it is removed by."""
        parts = self._parts.get(source)
        if parts is None:
            parts = self._parts[source] = {}
            self._gauge.labels(source).set_function(partial(self._ask, parts))
        this = object()
        parts[this] = value
        return this

    def remove(self, source: str, this: object) -> None:
        """Let it have this part no longer."""
        parts = self._parts[source]
        del parts[this]
        if not parts:
            del self._parts[source]
            self._gauge.remove(source)

    @contextmanager
    def part(self, source: str, value: Callable[[], float]) -> Iterator[None]:
        """Let the source have this part meanwhile."""
        this = self.add(source, value)
        try:
            yield
        finally:
            self.remove(source, this)

    def zero(self) -> list[str]:
        """Return the sources whose value is 0."""
        return [source for source, parts in self._parts.items() if not self._ask(parts)]

    def _ask(self, parts: Mapping[object, Callable[[], float]]) -> float:
        return self._together(each() for each in parts.values())


_up, _lag = _Asked(SOURCE_UP, min), _Asked(FOLLOWED_LAG, sum)
_connections, _buffered = _Asked(CONNECTIONS, sum), _Asked(BUFFERED, sum)


def sources_down() -> list[str]:
    """Return the labels of sources that are not up."""
    return _up.zero()


class SourceMetrics:
    """What is measured of one source."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.lines, self.bytes = LINES.labels(source), BYTES.labels(source)
        self.failures, self.lost_bytes = SOURCE_FAILURES.labels(source), LOST_BYTES.labels(source)
        self.backpressure, self.read_again = BACKPRESSURE.labels(source), READ_AGAIN.labels(source)
        self._blocks = {outcome: BLOCKS.labels(source, outcome) for outcome in ("appended", "duplicate", "full")}
        self._refused: dict[str, Counter] = {}
        self._durations: dict[str, Histogram] = {}

    def appended(self, blocks: Mapping[str, int], *, lines: int, bytes_: int) -> None:
        """Note what became of some blocks, by their outcomes, and what was put into the stream with that."""
        for outcome, count in blocks.items():
            found = self._blocks.get(outcome)
            if found is None:
                found = self._blocks[outcome] = BLOCKS.labels(self.source, outcome)
            found.inc(count)
        if lines:
            self.lines.inc(lines)
            self.bytes.inc(bytes_)

    def refused(self, reason: str, times: int = 1) -> None:
        """Note that a connection, a request or a line was refused. Reasons are a few, and no client's to choose."""
        found = self._refused.get(reason)
        if found is None:
            found = self._refused[reason] = REFUSED.labels(self.source, reason)
        found.inc(times)

    @cached_property
    def replays(self) -> Counter:
        return REPLAYS.labels(self.source)

    @cached_property
    def request_size(self) -> Histogram:
        return REQUEST_SIZE.labels(self.source)

    def request_duration(self, status_class: str) -> Histogram:
        found = self._durations.get(status_class)
        if found is None:
            found = self._durations[status_class] = REQUEST_DURATION.labels(self.source, status_class)
        return found

    # What is so at a moment, while the body of `with` runs.

    def up(self, value: Callable[[], bool]) -> AbstractContextManager[None]:
        """Have a part of the source that is up or not."""
        return _up.part(self.source, value)

    def stays_down(self) -> None:
        """Have a part that has failed for good."""
        _up.add(self.source, lambda: False)

    def followed(self, lag_bytes: Callable[[], int]) -> AbstractContextManager[None]:
        """Have files that are followed, and are so far behind."""
        return _lag.part(self.source, lag_bytes)

    def connected(self, connections: Callable[[], int]) -> AbstractContextManager[None]:
        """Have something that has so many connections."""
        return _connections.part(self.source, connections)

    def buffers(self, bytes_: Callable[[], int]) -> AbstractContextManager[None]:
        """Have something that holds so many bytes."""
        return _buffered.part(self.source, bytes_)


_of: dict[str, SourceMetrics] = {}


def of_source(label: str) -> SourceMetrics:
    """Return what is measured of the source that is called this; of one too many, that of all of those together."""
    source = source_label(label)
    if source not in _of:
        _of[source] = SourceMetrics(source)
    return _of[source]
