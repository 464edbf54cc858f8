"""The only code that speaks Redis: a typed method for each operation, over the scripts in tally/store/scripts."""

from tally.store.blocks import Append, Block, BlockStore, Entry
from tally.store.client import GroupMissing, LayoutChanged, StoreUnavailable, connect
from tally.store.known import Known
from tally.store.rewrite import connect_for_writing
from tally.store.windows import WindowStore

__all__ = [
    "Append",
    "Block",
    "BlockStore",
    "Entry",
    "GroupMissing",
    "Known",
    "LayoutChanged",
    "StoreUnavailable",
    "WindowStore",
    "connect",
    "connect_for_writing",
]
