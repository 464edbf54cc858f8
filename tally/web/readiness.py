"""What a service whose readiness is asked for gives to find out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

#: Returns if the service does all of its work; raises StoreUnavailable, Refused or ProblemError with what is missing.
Readiness = Callable[[], Awaitable[None]]
