"""Where an ingestor or an aggregator tells how it is."""

from __future__ import annotations

from functools import cached_property

from pydantic import Field, field_validator

from tally.settings.environment import SettingsGroup


class MetricsSettings(SettingsGroup):
    """What serves metrics and health. The api does that on its own port."""

    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65_535,
        description="Port on which an ingestor or an aggregator serves /metrics for Prometheus, /healthz and /readyz; "
        "unset: none. Of `tally up` the ingestors have this one and those above it, and the aggregators the next ones. "
        "The api serves these paths on its own port",
    )
    metrics_host: str = Field(
        "127.0.0.1",
        description="Address on which it does. No token is asked for: who reaches it sees how much is counted, and the "
        "names of sources",
    )

    metrics_top_types: int = Field(
        20,
        ge=0,
        le=1000,
        description="Of how many event types the api's /metrics tells the counts: the most frequent, each a series",
    )
    metrics_types: str = Field(
        "error,login",
        description="Types whose counts it always tells besides, with commas between: what alerts are about is there "
        "before it occurs",
    )

    @cached_property
    def metrics_type_names(self) -> tuple[str, ...]:
        """The types whose counts are always told."""
        return tuple(dict.fromkeys(filter(None, map(str.strip, self.metrics_types.split(",")))))

    @field_validator("metrics_port", mode="before")
    @classmethod
    def _metrics_port_may_be_empty(cls, value: object) -> object:
        return None if value == "" else value  # as docker-compose.yml passes on what is unset
