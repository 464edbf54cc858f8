"""What `tally up` logs and tests look for: an event's text stands in one place."""

from __future__ import annotations

SERVICE_DIED = "service died, starting it again"
STOPPING_SERVICE = "stopping service"
BUS_IS_OPEN = "the nodes speak to each other without a password: other users of this machine can reach their bus"
STOPPING_SERVER = "stopping the server"
WAITING_FOR_REDIS = "waiting for Redis"
CANNOT_WRITE_OUTPUT = "cannot write to standard output"
