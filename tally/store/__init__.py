"""The only code that speaks Redis: a typed method for each operation, over the scripts in tally/store/scripts."""

from tally.store.aggregator import AggregatorStore
from tally.store.blocks import Append, Block, Entry
from tally.store.client import GroupMissing, LayoutChanged, StoreUnavailable, connect
from tally.store.ingestor import IngestorStore
from tally.store.known import Known
from tally.store.pipeline import PipelineStore
from tally.store.rewrite import connect_for_writing
from tally.store.windows import WindowStore

__all__ = [
    "AggregatorStore",
    "Append",
    "Block",
    "Entry",
    "GroupMissing",
    "IngestorStore",
    "Known",
    "LayoutChanged",
    "PipelineStore",
    "StoreUnavailable",
    "WindowStore",
    "connect",
    "connect_for_writing",
]
