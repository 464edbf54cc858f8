"""What an aggregator logs and tests look for: an event's text stands in one place."""

from __future__ import annotations

STARTED = "aggregator started"
STOPPED = "aggregator stopped"
LEFT_PENDING = "stopped without leaving the group; what is pending will be claimed"

GROUP_CREATED = "consumer group created"
STREAM_LOST = "redis lost the stream; starting it again"

CLAIMED = "claimed blocks of an idle aggregator"
CLAIMED_BY_OTHERS = "others have claimed blocks that we held"
DEAD_LETTER = "block moved to the dead-letter stream"
BLOCKS_LOST = "somebody deleted blocks from the stream before they were counted"
NUMBERED_MEANWHILE = "types have got numbers while a batch was added up without their words; it is added up again"

CHUNK_DEAD_LETTER = "a chunk of counts that cannot be read was moved to the dead-letter stream"
BATCH_LOST = "somebody deleted counts that were settled; the blocks of their batch are counted as lost"
