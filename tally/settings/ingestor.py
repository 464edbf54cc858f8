"""Where lines come from, and how much an ingestor takes at once."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from pydantic import Field, SecretStr, field_validator

from tally.origins import parse_hosts, parse_origins
from tally.peers import Network, parse_networks
from tally.settings.environment import SettingsGroup
from tally.settings.tokens import check_token


class BacklogLimits(NamedTuple):
    """At how many blocks, or how many bytes of lines in them, the stream is full."""

    blocks: int
    bytes: int


class IngestorSettings(SettingsGroup):
    """What an ingestor needs besides Redis. The bounds on connections are the api's, too."""

    source: str | None = Field(
        None,
        description="Where the ingestor takes lines from; see docs/sources.md. Unset: `tally ingest` asks for one, and "
        "`tally up` makes events up, in a data folder of their own",
    )
    max_line_bytes: int = Field(
        1_048_576,
        ge=64,
        le=67_108_864,
        description="Bytes in a line; a longer one is skipped to its end and rejected",
    )
    max_block_bytes: int = Field(
        262_144, ge=1024, le=16_777_216, description="Bytes in a block; a longer line travels alone"
    )
    max_blocks_in_flight: int = Field(8, ge=1, le=256, description="Blocks sent to Redis before its answer is awaited")
    max_backlog_blocks: int = Field(
        500_000,
        ge=1,
        le=10_000_000,
        description="Blocks in the stream, not yet counted, at which sources are no longer read",
    )
    max_backlog_bytes: int = Field(
        268_435_456,
        ge=1024,
        le=1_099_511_627_776,
        description="Bytes of lines in them at which sources are no longer read, whichever is reached first",
    )
    # What an aggregator counts of text in a second; files are counted no faster with more (python -m bench.bulk).
    bulk_backlog_bytes: int = Field(
        8_388_608,
        ge=1024,
        le=1_099_511_627_776,
        description="Bytes of lines in them at which files are no longer read, if that is less, so that what comes by "
        "pipe, socket or HTTP is soon counted behind them; nor are they with half of `TALLY_MAX_BACKLOG_BLOCKS`",
    )

    forget_files_after_days: float | None = Field(
        None,
        gt=0,
        le=36_500,
        description="Days without being opened after which a file that was read is forgotten, and counted again if it "
        "comes again; so are the lines of files by source of which nothing came for so long; unset: never",
    )

    max_connections: int = Field(
        1024,
        ge=1,
        le=100_000,
        description="Connections that a source (tcp, tls, unix, http, https) or the api has at once; one more is "
        "closed, or for HTTP one of the client that has the most",
    )
    connection_idle_seconds: float = Field(
        600.0,
        ge=0.1,
        le=86_400,
        description="How long such a connection may stay idle before it is closed",
    )
    max_buffered_bytes: int = Field(
        67_108_864,
        ge=65_536,
        le=17_179_869_184,
        description="Bytes of unfinished lines, or of HTTP bodies, that all connections of a source may hold together",
    )
    max_body_bytes: int = Field(
        16_777_216,
        ge=1024,
        le=536_870_912,
        description="Bytes in the body of a POST to the http source, as sent and after decompression",
    )
    max_body_lines: int = Field(
        1_000_000,
        ge=1,
        le=1_000_000_000,
        description="Lines in such a body that are not blank, or elements of an array in it",
    )
    max_body_seconds: float = Field(
        300.0,
        ge=0.1,
        le=86_400,
        description="How long such a body may take from its head to its end; and it must come with 500 bytes a second",
    )
    trusted_proxies: str = Field(
        "",
        description="Addresses or networks, with commas between, of proxies in front of an http source or the api: "
        "what many clients share does not give way when connections or room for bodies run out",
    )
    max_idempotency_keys: int = Field(
        1_000_000,
        ge=100,
        le=1_000_000_000,
        description="Idempotency-Keys that are remembered, 55 to 90 bytes of Redis each: those of the last day or two, "
        "but not more, and of the last ones half as many at the least",
    )
    ingest_token: SecretStr | None = Field(None, description="Bearer token that the http source asks for; unset: none")
    ingest_cors_origins: str = Field(
        "", description="Origins whose pages may post events to the http source; as TALLY_CORS_ORIGINS"
    )
    ingest_allowed_hosts: str = Field(
        "", description="Names by which the http source may be asked; as TALLY_ALLOWED_HOSTS"
    )
    ingest_wait_for_disk: bool = Field(
        False,
        description="Answer a POST only when Redis has it on disk (WAITAOF; needs Redis 7.2 and appendonly yes)",
    )
    ingest_wait_for_replicas: int = Field(
        0,
        ge=0,
        le=16,
        description="Answer a POST, and end after a file, only when so many replicas have it too (WAIT)",
    )
    tls_certificate_path: Path | None = Field(
        None, description="PEM file with the certificate chain, for the sources tls: and https:"
    )
    tls_key_path: Path | None = Field(
        None, description="PEM file with its private key; unset: it is in the file of the certificate"
    )

    def backlog_limits(self, *, bulk: bool) -> BacklogLimits:
        """Return when the stream is full for a source that is read in bulk, or for a live one.

        The difference is what there always is room for: a live event waits behind no more than the bulk's bytes.
        """
        if not bulk:
            return BacklogLimits(self.max_backlog_blocks, self.max_backlog_bytes)
        return BacklogLimits((self.max_backlog_blocks + 1) // 2, min(self.bulk_backlog_bytes, self.max_backlog_bytes))

    @field_validator("ingest_token")
    @classmethod
    def _ingest_token_can_be_used(cls, value: SecretStr | None) -> SecretStr | None:
        return check_token(value)

    @field_validator("trusted_proxies")
    @classmethod
    def _trusted_proxies_are_networks(cls, value: str) -> str:
        parse_networks(value)
        return value

    @field_validator("ingest_cors_origins")
    @classmethod
    def _origins_can_be_compared(cls, value: str) -> str:
        parse_origins(value)
        return value

    @field_validator("ingest_allowed_hosts")
    @classmethod
    def _hosts_can_be_compared(cls, value: str) -> str:
        parse_hosts(value)
        return value

    @cached_property
    def trusted_networks(self) -> tuple[Network, ...]:
        return parse_networks(self.trusted_proxies)
