"""All settings, read once: environment variables with the prefix `TALLY_`, the same from a `.env` file,
and, for secrets, a file named by the variable with `_FILE` behind it. The environment wins over `.env`.

A module a group: redis, ingestor, counting, api, metrics. Where their values come from is in environment.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from dotenv import dotenv_values
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tally.settings.api import ApiSettings
from tally.settings.counting import CountingSettings
from tally.settings.environment import (
    ENV_FILE,
    PREFIX,
    SecretFiles,
    SettingsError,
    SettingsGroup,
    file_of,
    files_for_emptied,
    without_effect,
)
from tally.settings.ingestor import IngestorSettings
from tally.settings.metrics import MetricsSettings
from tally.settings.redaction import without_password
from tally.settings.redis import TLS_OPTIONS, RedisSettings
from tally.shards import parse_some_shards

LogLevel = Literal["debug", "info", "warning", "error"]


class LogSettings(SettingsGroup):
    """What is logged, and how."""

    log_level: LogLevel = Field("info", description="The least that is logged")
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="How: console on a terminal and json elsewhere, or always one of them"
    )


# The last one first, because pydantic has fields in the order of the bases from right to left.
class Settings(LogSettings, MetricsSettings, ApiSettings, CountingSettings, IngestorSettings, RedisSettings):
    """One attribute a variable: `redis_url` is `TALLY_REDIS_URL`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=ENV_FILE, extra="ignore", frozen=True, defer_build=False
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (
            init_settings,
            SecretFiles(settings_cls, files_for_emptied()),
            env_settings,
            SecretFiles(settings_cls, os.environ),
            dotenv_settings,
            SecretFiles(settings_cls, dotenv_values(ENV_FILE)),
        )

    @cached_property
    def served_shards(self) -> tuple[int, ...]:
        """The shards that an aggregator serves."""
        return parse_some_shards(self.aggregate_shards, shards=self.shards)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Return what `repr` shows: no password, and no program's arguments, in which one may stand."""
        for name, value in super().__repr_args__():
            if name == "redis_url" and isinstance(value, str):
                value = without_password(value)
            elif name == "source" and "exec:" in str(value):
                value = "***"
            yield name, value


def load(**overrides: Any) -> Settings:
    """Read the settings; `overrides` (of those not None) win over the environment.

    Raises SettingsError, a line for each setting that is wrong.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(problem) for problem in error.errors())) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{ENV_FILE} in {Path.cwd()}: cannot be read as UTF-8 text: {error}") from error


def _explain(problem: Any) -> str:
    name = str(problem["loc"][0]) if problem["loc"] else ""
    field = Settings.model_fields.get(name)
    message = problem["msg"].removeprefix("Value error, ")
    variable = PREFIX + name.upper()
    given = str(problem["input"])
    if name.endswith("_token"):
        given = "…"
    elif name == "redis_url":
        given = without_password(given)
    if (path := file_of(variable)) is not None:
        variable, given = f"{variable}_FILE", path  # what stands in the file is a secret, and the file is what to mend
    line = f"{variable}={given}: {message}"
    if field is None:
        return line
    default = "unset" if field.default is None else field.default
    return f"{line} ({field.description}; default: {default})"


def unknown_variables() -> list[str]:
    """Return a sentence for each variable with our prefix that is no setting, most likely by a slip, or is not read."""
    return without_effect(Settings.model_fields)


__all__ = [
    "PREFIX",
    "TLS_OPTIONS",
    "LogLevel",
    "Settings",
    "SettingsError",
    "load",
    "unknown_variables",
    "without_password",
]
