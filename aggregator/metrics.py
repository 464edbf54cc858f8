"""What an aggregator measures: of the batches that it settles, and of its round trips."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

BATCH_BYTES = Histogram(
    "tally_aggregator_batch_bytes",
    "Bytes of lines of a batch that was settled.",
    buckets=(1 << 10, 1 << 13, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 23, 1 << 24, 1 << 25, 1 << 26),
)
BATCH_NAMES = Histogram(
    "tally_aggregator_batch_names",
    "Different types and words of a batch that was settled.",
    buckets=(10, 100, 1_000, 3_000, 10_000, 20_000, 40_000, 80_000, 160_000),
)
DECODE_DURATION = Histogram(
    "tally_aggregator_decode_duration_seconds",
    "How long decoding and adding up the blocks of a batch took, waits for more of them aside.",
    buckets=(0.001, 0.0025, 0.01, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)
SETTLE_DURATION = Histogram(
    "tally_aggregator_settle_duration_seconds",
    "How long a decoded batch took until it was settled, and waits for room where many counts wait to be applied.",
    buckets=(0.001, 0.0025, 0.01, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)
APPLY_DURATION = Histogram(
    "tally_aggregator_apply_duration_seconds",
    "How long Redis took to add a few chunks of counts to the hashes, a round trip.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.5, 2.5),
)
CLAIMED_BLOCKS = Counter("tally_aggregator_claimed_blocks", "Blocks that were claimed from idle aggregators.")
FOLDED_NAMES = Counter(
    "tally_aggregator_folded_names", "Names that were moved from windows no longer kept to longer ones."
)
EVENT_LAG = Histogram(
    "tally_aggregator_event_lag_seconds",
    "From the time of the newest event of a batch to its being settled. Events of the future have none.",
    buckets=(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3600.0, 86_400.0),
)
LAST_BATCH = Gauge(
    "tally_aggregator_last_batch_timestamp_seconds", "When the last batch was settled, in Unix seconds; 0: none yet."
)
