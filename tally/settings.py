"""All settings, read once: environment variables with the prefix `TALLY_`, the same from a `.env` file,
and, for secrets, a file named by the variable with `_FILE` behind it. The environment wins over `.env`.
"""

from __future__ import annotations

import difflib
import os
import re
import ssl
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote_plus

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tally import fields
from tally.origins import parse_hosts, parse_origins
from tally.peers import Network, parse_networks
from tally.redis_urls import option_of, url_problem
from tally.windows import WindowLength, parse_window_lengths
from tally.words import DEFAULT_WORD_PATTERN, compile_word_pattern

PREFIX = "TALLY_"

ENV_FILE = ".env"

MAX_READ_TIMEOUT_SECONDS = 5.0

#: Of files that people write: some programs put a byte order mark in front.
_TEXT = "utf-8-sig"

#: How redis-py calls the settings about TLS to Redis.
TLS_OPTIONS = {
    "redis_tls_ca_path": "ssl_ca_certs",
    "redis_tls_certificate_path": "ssl_certfile",
    "redis_tls_key_path": "ssl_keyfile",
}

#: What the name of a URL's option has in it whose value is a secret, as password and ssl_password.
_SECRET_OPTION = re.compile("pass|pw|secret|token|auth", re.IGNORECASE)

#: Variables with our prefix that are docker-compose.yml's, not the services'.
COMPOSE_VARIABLES = frozenset({"TALLY_REDIS_IMAGE", "TALLY_PUBLISH", "TALLY_IMAGE"})


class SettingsError(Exception):
    """A setting that cannot be used; the text has a line for each, and says what would be right."""


class _SecretFiles(PydanticBaseSettingsSource):
    """`TALLY_X_FILE=/run/secrets/x` gives `x` the text of that file, without the line end."""

    def __init__(self, settings_cls: type[BaseSettings], variables: Mapping[str, str | None]) -> None:
        super().__init__(settings_cls)
        self._variables = {name.upper(): value for name, value in variables.items()}  # as all that is a setting

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        variable = f"{PREFIX}{field_name.upper()}_FILE"
        path = self._variables.get(variable)
        if path is None:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding=_TEXT).rstrip("\r\n"), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{variable}={path}: cannot be read: {error}") from error

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


class Settings(BaseSettings):
    """One attribute a variable: `redis_url` is `TALLY_REDIS_URL`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=ENV_FILE, extra="ignore", frozen=True)

    redis_url: str | None = Field(
        None,
        description="Where Redis is: redis://, rediss:// or unix://. Unset: the server that `tally up` runs in the "
        "data folder, else redis://127.0.0.1:6379/0",
    )
    redis_timeout_seconds: float = Field(
        30.0,
        ge=1,
        le=600,
        description="How long an answer of Redis may take before the connection is given up; the api, `status` and "
        "`top` wait 5 s at the most",
    )
    redis_tls_ca_path: Path | None = Field(
        None,
        description="PEM file with the certificates of the authority that Redis' own is checked against; unset: the "
        "system's. For a TALLY_REDIS_URL that begins with rediss://, as are the next two",
    )
    redis_tls_certificate_path: Path | None = Field(
        None, description="PEM file with the certificate chain that is shown to a Redis that asks clients for one"
    )
    redis_tls_key_path: Path | None = Field(
        None,
        validate_default=True,  # it may be missing
        description="PEM file with its private key; unset: it is in the file of the certificate",
    )
    data_dir: Path = Field(
        Path(".tally"), description="The folder in which `tally up` keeps its embedded server's data"
    )
    shards: int = Field(1, ge=1, le=1, description="Streams to spread over; more than one is not supported yet")

    source: str | None = Field(
        None,
        description="Where the ingestor takes lines from; see Sources. Unset: `tally ingest` asks for one, and "
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

    forget_files_after_days: float | None = Field(
        None,
        gt=0,
        le=36_500,
        description="Days without being opened after which a file that was read is forgotten, and counted again if it "
        "comes again; unset: never",
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
        description="How long such a connection may stay silent before it is closed",
    )
    max_held_bytes: int = Field(
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
    tls_certificate_path: Path | None = Field(
        None, description="PEM file with the certificate chain, for the sources tls: and https:"
    )
    tls_key_path: Path | None = Field(
        None, description="PEM file with its private key; unset: it is in the file of the certificate"
    )

    windows: str = Field(
        "60x360,3600x336,86400x400",
        description="Windows: seconds x how many are kept, shortest first, each a multiple of the one before",
    )
    max_types: int = Field(
        10_000, ge=1, le=10_000_000, description="Distinct event types; the rest counts as `__other__`"
    )
    max_words: int = Field(1_000_000, ge=1, le=100_000_000, description="Distinct words of all time; likewise")
    max_window_words: int = Field(50_000, ge=1, le=10_000_000, description="Distinct words in one window; likewise")
    max_name_bytes: int = Field(
        256,
        ge=1,
        le=65_536,
        description="UTF-8 bytes in an event type or a word; a longer one counts as `__other__`",
    )
    max_rejected_samples: int = Field(
        1000,
        ge=0,
        le=1_000_000,
        description="Rejected lines kept as samples; of those counted together the newest 20 at the most",
    )
    fold_case: bool = Field(False, description="Count words without regard to case")
    word_pattern: str = Field(
        DEFAULT_WORD_PATTERN,
        description="What a word is: a Python regular expression, applied between white space, in which `\\p{Mn}` and "
        "`\\p{Mc}` are combining marks",
    )
    normalize_words: bool = Field(
        True,
        description="Count a word in one form (Unicode's NFC), whether a letter and its mark are one character or two",
    )

    type_field: str = Field(
        "event_type",
        description="The field with an event's type: a name, or a path such as repo.name; see docs/fields.md",
    )
    text_field: str = Field(
        "data",
        validate_default=True,  # it may contradict the others
        description="The field with an event's text; several with commas between; empty: no words are counted",
    )
    time_field: str = Field(
        "timestamp",
        validate_default=True,
        description="The field with an event's time; empty: its arrival is its time",
    )
    time_unit: Literal["seconds", "milliseconds", "microseconds", "nanoseconds"] | None = Field(
        None,
        description="What a time that is a number counts: seconds, milliseconds, microseconds or nanoseconds. If set, "
        "the number may also stand in a string. Unset: seconds, and numbers only. RFC 3339 is always understood",
    )
    stop_words: str = Field(
        "", description="Words that are not counted, with commas between; or @FILE with white space between"
    )
    min_word_length: int = Field(1, ge=1, le=1000, description="Characters in a word; a shorter one is not counted")

    claim_idle_seconds: float = Field(
        15.0,
        ge=0.1,
        le=86_400,
        description="How long a block may be pending to an idle aggregator before another claims it; after the n-th "
        "try n times as long",
    )
    max_deliveries: int = Field(
        5,
        ge=1,
        le=1000,
        description="Times a block is given to an aggregator before it goes to the dead stream",
    )

    http_host: str = Field("127.0.0.1", description="Address on which the api listens")
    http_port: int = Field(9090, ge=0, le=65_535, description="Port on which the api listens")
    max_snapshot_bytes: int = Field(
        536_870_912,
        ge=33_554_432,
        le=1_099_511_627_776,
        description="Bytes of memory that the api's snapshots and answers take together; what does not fit is "
        "answered by 503. A million words take about 210 MiB of it while they are read, and 30 MiB then",
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

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is logged")
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="How: console on a terminal and json elsewhere, or always one of them"
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
            env_settings,
            _SecretFiles(settings_cls, os.environ),
            dotenv_settings,
            _SecretFiles(settings_cls, dotenv_values(ENV_FILE)),
        )

    @field_validator("redis_url")
    @classmethod
    def _redis_url_can_be_used(cls, value: str | None) -> str | None:
        if value is not None and (problem := url_problem(value)) is not None:
            raise ValueError(problem)
        return value

    @field_validator("redis_tls_ca_path", "redis_tls_certificate_path", "redis_tls_key_path", mode="before")
    @classmethod
    def _tls_paths_may_be_empty(cls, value: object) -> object:
        return None if value == "" else value  # as docker-compose.yml passes on what is unset

    @field_validator("redis_tls_ca_path", "redis_tls_certificate_path", "redis_tls_key_path")
    @classmethod
    def _tls_to_redis_can_be_had(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        name = str(info.field_name)
        if "redis_url" not in info.data:
            return value  # that is wrong itself
        url = info.data["redis_url"] or ""
        if value is not None and not url.startswith("rediss://"):
            # Or passwords and events would go over the network in plain text, while somebody thinks otherwise.
            raise ValueError("it is of use only where TALLY_REDIS_URL begins with rediss://")
        option = TLS_OPTIONS[name]
        if value is not None and option_of(url, option) is not None:
            raise ValueError(f"TALLY_REDIS_URL has the option {option}, too; give one of them")
        if value is None and info.data.get("redis_tls_certificate_path") is None:
            return None
        # No default context: to load the authorities of the system takes longer than all that a start does besides.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            if name == "redis_tls_ca_path" and value is not None:
                context.load_verify_locations(value)
            elif name == "redis_tls_key_path":
                certificate = info.data.get("redis_tls_certificate_path")
                if certificate is not None:
                    # Without a password OpenSSL would ask for one on the terminal.
                    password = option_of(url, "ssl_password") or ""
                    context.load_cert_chain(certificate, value, password=password)
                elif value is not None and "redis_tls_certificate_path" in info.data:
                    raise ValueError("it needs a TALLY_REDIS_TLS_CERTIFICATE_PATH")
        except OSError as error:  # of which SSLError is one
            raise ValueError(_unusable(error, name, info)) from None
        return value

    @field_validator("ingest_token", "api_token")
    @classmethod
    def _tokens_guard_and_can_be_sent(cls, value: SecretStr | None) -> SecretStr | None:
        # An empty one would look like a guard and be none; others do not come through a header, or a person, unharmed.
        if value is not None and not re.fullmatch("[!-~]+", value.get_secret_value()):
            raise ValueError("a token is one or more visible ASCII characters, without white space; for none, unset it")
        return value

    @field_validator("root_path")
    @classmethod
    def _root_path_is_a_path(cls, value: str) -> str:
        if value and (not value.startswith("/") or value.endswith("/")):
            raise ValueError("a path begins with a slash and does not end with one, as in /tally")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _trusted_proxies_are_networks(cls, value: str) -> str:
        parse_networks(value)
        return value

    @field_validator("cors_origins", "ingest_cors_origins")
    @classmethod
    def _origins_can_be_compared(cls, value: str) -> str:
        parse_origins(value)
        return value

    @field_validator("allowed_hosts", "ingest_allowed_hosts")
    @classmethod
    def _hosts_can_be_compared(cls, value: str) -> str:
        parse_hosts(value)
        return value

    @field_validator("windows")
    @classmethod
    def _windows_are_lengths(cls, value: str) -> str:
        parse_window_lengths(value)
        return value

    @field_validator("word_pattern")
    @classmethod
    def _word_pattern_compiles(cls, value: str) -> str:
        try:
            pattern = compile_word_pattern(value)
        except re.error as error:
            hint = r"; of \p{…} there are \p{Mn} and \p{Mc}" if r"\p" in str(error) else ""
            raise ValueError(f"not a regular expression: {error}{hint}") from None
        if pattern.match(""):
            raise ValueError("it matches the empty word; end it with + rather than *")
        return value

    @field_validator("type_field", "text_field", "time_field")
    @classmethod
    def _fields_are_paths(cls, value: str, info: ValidationInfo) -> str:
        fields.check_setting(str(info.field_name), value, before=info.data)
        return value

    @field_validator("time_unit", mode="before")
    @classmethod
    def _time_unit_may_be_empty(cls, value: object) -> object:
        return None if value == "" else value  # as docker-compose.yml passes on what is unset

    @field_validator("stop_words")
    @classmethod
    def _stop_words_are_read(cls, value: str) -> str:
        if not value.startswith("@"):
            return value
        try:
            # As if they had been given with commas: the file is read once, here. The first comma is there lest a word
            # that begins with @ be taken for another file.
            return "," + ",".join(Path(value[1:]).read_text(encoding=_TEXT).replace(",", " ").split())
        except (OSError, ValueError) as error:
            raise ValueError(f"the file cannot be read: {error}") from None

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """What `repr` shows: no password, and no program's arguments, in which one may stand."""
        for name, value in super().__repr_args__():
            if name == "redis_url" and isinstance(value, str):
                value = without_password(value)
            elif name == "source" and "exec:" in str(value):
                value = "***"
            yield name, value

    @property
    def redis_tls(self) -> dict[str, str]:
        """What of TLS is set besides TALLY_REDIS_URL, as options of the client."""
        paths = {option: getattr(self, name) for name, option in TLS_OPTIONS.items()}
        return {option: str(path) for option, path in paths.items() if path is not None}

    @property
    def read_timeout_seconds(self) -> float:
        """How long who only reads waits for Redis: somebody waits for the answer."""
        return min(MAX_READ_TIMEOUT_SECONDS, self.redis_timeout_seconds)

    @cached_property
    def trusted_networks(self) -> tuple[Network, ...]:
        return parse_networks(self.trusted_proxies)

    @cached_property
    def type_path(self) -> fields.Path:
        return fields.parse_one(self.type_field)

    @cached_property
    def text_paths(self) -> tuple[fields.Path, ...]:
        return fields.parse_paths(self.text_field)

    @cached_property
    def time_path(self) -> fields.Path | None:
        return fields.parse_one(self.time_field) if self.time_field.strip() else None

    @cached_property
    def stop_word_set(self) -> frozenset[str]:
        return frozenset(word for word in map(str.strip, self.stop_words.split(",")) if word)

    @cached_property
    def window_lengths(self) -> tuple[WindowLength, ...]:
        return parse_window_lengths(self.windows)


def _unusable(error: OSError, name: str, info: ValidationInfo) -> str:
    """Why a file of TLS cannot be used. OpenSSL does not say which of two, nor more than a code."""
    if not isinstance(error, ssl.SSLError):
        return f"the file cannot be read: {error.strerror}"
    if name == "redis_tls_ca_path":
        return "it is not a PEM file with certificates"
    certificate = info.data["redis_tls_certificate_path"]
    return (
        f"with TALLY_REDIS_TLS_CERTIFICATE_PATH={certificate} it does not make a certificate and its private key, as "
        "PEM, in one file or two; the password of an encrypted key is the option ssl_password of TALLY_REDIS_URL"
    )


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


def without_password(url: str) -> str:
    """The URL as it may be shown, also when it lacks its scheme."""
    base, mark, query = url.partition("?")
    if "@" in query:  # nobody can tell where a password ends in which these two stand as they are
        return re.sub(r"^(\w+://)?.*", r"\1***", url, count=1, flags=re.DOTALL)
    base = re.sub(r"^(\w+://|(?!\w+://))([^:@/]*):.*@", r"\1\2:***@", base, flags=re.DOTALL)
    return base + mark + "&".join(map(_shown_option, query.split("&")))


def _shown_option(option: str) -> str:
    name, mark, _ = option.partition("=")
    return f"{name}=***" if mark and _SECRET_OPTION.search(unquote_plus(name)) else option


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
    if (path := _file_of(variable)) is not None:
        variable, given = f"{variable}_FILE", path  # what stands in the file is a secret, and the file is what to mend
    line = f"{variable}={given}: {message}"
    if field is None:
        return line
    default = "unset" if field.default is None else field.default
    return f"{line} ({field.description}; default: {default})"


def _file_of(variable: str) -> str | None:
    """The path of the file that gave this variable its value; None if it was given itself."""
    for variables in (os.environ, dotenv_values(ENV_FILE)):
        found = {name.upper(): value for name, value in variables.items()}
        if variable in found:
            return None
        if (path := found.get(f"{variable}_FILE")) is not None:
            return path
    return None


def unknown_variables() -> list[str]:
    """A sentence for each variable with our prefix that is no setting, most likely by a slip, or that is not read."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    known |= {name + "_FILE" for name in known} | COMPOSE_VARIABLES
    sentences = []
    for variable in sorted({*os.environ, *dotenv_values(ENV_FILE)}):
        if variable.startswith(PREFIX) and variable not in known:
            near = difflib.get_close_matches(variable, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            sentences.append(f"{variable} is not a setting{hint}")
        # As in docker-compose.yml, which sets TALLY_REDIS_URL itself. (That it wins over .env is meant.)
        elif variable.endswith("_FILE") and {variable, variable.removesuffix("_FILE")} <= os.environ.keys():
            sentences.append(f"{variable} is not read, because {variable.removesuffix('_FILE')} is set")
    return sentences
