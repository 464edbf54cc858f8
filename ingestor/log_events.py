"""What an ingestor logs and tests look for: an event's text stands in one place."""

from __future__ import annotations

STARTED = "ingestor started"

SOURCE_OPENED = "source opened"
PASSED_OVER = "what lanes of another layout had of it is passed over"
SOURCE_ENDED = "source ended"
SOURCE_STOPPED = "source stopped"
SOURCE_FAILED = "source failed"
ALL_SOURCES_ENDED = "all sources have ended; waiting to be stopped"

READING_AGAIN = "reading again from the stored position"
STREAM_FULL = "stream is full, source is not read for now"
STREAM_HAS_ROOM = "stream has room again"
APPENDS_HELD = "appends are held, source is not read for now"
APPENDS_GO_ON = "appends go on"

LET_IN = "shards do not answer: what is pushed goes to the others meanwhile"

FOLLOWING = "following"
FILES_FORGOTTEN = "files forgotten; see TALLY_FORGET_FILES_AFTER_DAYS"

LINES_LOST = "redis lost lines that cannot be sent again"
LINES_NOT_TAKEN = "stopped before Redis had taken everything: lines that cannot be read again may be lost"
OTHER_BYTES = "what was read under this name is not what stands here"

CUT_DOWN = (
    "the file was cut down or written anew in place, as copytruncate does: what was written to it just before may "
    "be lost; going on from its start"
)
TOO_MANY_FILES = (
    "more files are to be followed than may be open: those that are still are closed to make room; raise `ulimit -n`"
)

TOO_MANY_BODIES = "too many bodies at once, answered with 429; see TALLY_MAX_BUFFERED_BYTES"
LONGEST_LINES_CUT = (
    "unfinished lines are too much together, the longest are cut and rejected; see TALLY_MAX_BUFFERED_BYTES"
)
UNFINISHED_DROPPED = "unfinished lines dropped on stop"
HTTP_TO_LINES = "an HTTP request came to a source of lines, and was refused"
