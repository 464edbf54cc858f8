"""What an HTTP server logs and tests look for: an event's text stands in one place."""

from __future__ import annotations

#: LogRefusals adds the status.
REQUEST_REFUSED = "request refused"

#: By no fault of the client's: a bug.
REQUEST_FAILED = "request failed"

HEAD_TOO_LATE = "request's head did not come in time"
NOT_TAKEN = "a client does not take its answers"

TOO_MANY_CONNECTIONS = "too many connections, refused"
CONNECTION_GIVES_WAY = "too many connections, one that waits is closed"
