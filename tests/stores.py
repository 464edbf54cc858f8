"""The stores of one shard in one object, for tests that play every part of the pipeline."""

from __future__ import annotations

from tally.store import AggregatorStore, IngestorStore, PipelineStore


class AllStores(IngestorStore, AggregatorStore, PipelineStore):
    """What an ingestor does, what an aggregator does, and what looks at the pipeline."""
