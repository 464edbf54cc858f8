"""What an ingestor logs and tests look for: an event's text stands in one place."""

from __future__ import annotations

SOURCE_OPENED = "source opened"
SOURCE_ENDED = "source ended"
SOURCE_STOPPED = "source stopped"
SOURCE_FAILED = "source failed"
ALL_SOURCES_ENDED = "all sources have ended; waiting to be stopped"

READING_AGAIN = "reading again from the stored position"
STREAM_FULL = "stream is full, source is not read for now"
STREAM_HAS_ROOM = "stream has room again"

FOLLOWING = "following"
FILES_FORGOTTEN = "files forgotten; see TALLY_FORGET_FILES_AFTER_DAYS"

LISTENING = "listening"
TOO_MANY_CONNECTIONS = "too many connections, refused"
HTTP_TO_LINES = "an HTTP request came to a source of lines, and was refused"
