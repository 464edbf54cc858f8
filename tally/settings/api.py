"""Where the api listens, to whom it answers, and how much memory it takes."""

from __future__ import annotations

from pydantic import Field, SecretStr, field_validator

from tally.origins import parse_hosts, parse_origins
from tally.settings.environment import SettingsGroup
from tally.settings.tokens import check_token


class ApiSettings(SettingsGroup):
    """What the api needs besides Redis and bounds on connections."""

    http_host: str = Field("127.0.0.1", description="Address on which the api listens")
    http_port: int = Field(9090, ge=0, le=65_535, description="Port on which the api listens")
    max_snapshot_bytes: int = Field(
        536_870_912,
        ge=33_554_432,
        le=1_099_511_627_776,
        description="Bytes of memory that the api's snapshots and answers take together; what does not fit is "
        "answered by 503. A million words take about 210 MiB of it while they are read, and 30 MiB then",
    )
    instance_name: str = Field(
        "",
        max_length=64,
        description="What this Tally is called, in the title and head of the page, as in staging; empty: "
        "TALLY_NAMESPACE, unless that is tally",
    )
    root_path: str = Field("", description="Path under which a proxy serves the api, as in /tally; empty for none")
    api_token: SecretStr | None = Field(
        None, description="Bearer token that the api asks for, everywhere but for health and the page; unset: none"
    )
    cors_origins: str = Field(
        "", description="Origins whose pages may read the api, with commas between; empty for none, * for all"
    )
    allowed_hosts: str = Field(
        "",
        description="Names by which the api may be asked (the header Host), with commas between, as in "
        "tally.example.com or *.example.com, beside those of loopback; * for any. Empty: none while it listens on "
        "loopback, else any",
    )

    @field_validator("api_token")
    @classmethod
    def _api_token_can_be_used(cls, value: SecretStr | None) -> SecretStr | None:
        return check_token(value)

    @field_validator("instance_name")
    @classmethod
    def _instance_name_is_one_line(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError("a name is one line of text, without control characters")
        return value.strip()

    @field_validator("root_path")
    @classmethod
    def _root_path_is_a_path(cls, value: str) -> str:
        if value and (not value.startswith("/") or value.endswith("/")):
            raise ValueError("a path begins with a slash and does not end with one, as in /tally")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _cors_origins_can_be_compared(cls, value: str) -> str:
        parse_origins(value)
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _allowed_hosts_can_be_compared(cls, value: str) -> str:
        parse_hosts(value)
        return value
