"""Where Redis is, how it is connected to, and where `tally up` keeps its own."""

from __future__ import annotations

import ssl
from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from tally.keys import DEFAULT_NAMESPACE, NAMESPACE_PATTERN
from tally.redis_urls import is_tls, option_of, url_problem
from tally.settings.environment import SettingsGroup
from tally.shards import MOST_SHARDS

MAX_READ_TIMEOUT_SECONDS = 5.0

#: How redis-py calls the settings about TLS to Redis.
TLS_OPTIONS = {
    "redis_tls_ca_path": "ssl_ca_certs",
    "redis_tls_certificate_path": "ssl_certfile",
    "redis_tls_key_path": "ssl_keyfile",
}


class RedisSettings(SettingsGroup):
    """What every service needs to reach Redis."""

    redis_url: str | None = Field(
        None,
        description="Where Redis is: redis://, rediss:// or unix://; redis+cluster://HOST:PORT,HOST:PORT for a Redis "
        "Cluster, by some of its nodes; redis+sentinel://HOST:PORT,HOST:PORT/SERVICE for what Sentinels watch. Unset: "
        "the server that `tally up` runs in the data folder, else redis://127.0.0.1:6379/0",
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
        "system's. For a TALLY_REDIS_URL that begins with rediss:// or rediss+, as are the next two",
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
    namespace: str = Field(
        DEFAULT_NAMESPACE,
        description="The first part of every key in Redis: 1 to 32 of a-z, 0-9, _ and -. Pipelines with other "
        "namespaces may share a Redis, and do not touch each other's counts",
    )
    shards: int = Field(
        1,
        ge=1,
        le=MOST_SHARDS,
        description="Shards that everything is spread over, each a whole pipeline: on one Redis, or over the nodes of "
        "a Redis Cluster. Chosen once: what was counted with another number is refused; see docs/scaling.md",
    )
    stripe_bytes: int = Field(
        983_040,  # a little less than four blocks: the line that goes over its end is to fit, too
        ge=64,
        le=67_108_864,
        description="Bytes of a file whose lines go to one shard before the next one's turn, where there are several; "
        "it stays as it was at first, too",
    )

    @field_validator("redis_url")
    @classmethod
    def _redis_url_can_be_used(cls, value: str | None) -> str | None:
        if value is not None and (problem := url_problem(value)) is not None:
            raise ValueError(problem)
        return value

    @field_validator("namespace")
    @classmethod
    def _namespace_can_begin_a_key(cls, value: str) -> str:
        if not NAMESPACE_PATTERN.fullmatch(value):
            raise ValueError("a namespace is 1 to 32 characters of a-z, 0-9, _ and -, as in tally or web-shop")
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
        if value is not None and not is_tls(url):
            # Or passwords and events would go over the network in plain text, while somebody thinks otherwise.
            raise ValueError("it is of use only where TALLY_REDIS_URL begins with rediss:// or rediss+")
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

    @property
    def redis_tls(self) -> dict[str, str]:
        """Return what of TLS is set besides TALLY_REDIS_URL, as options of the client."""
        paths = {option: getattr(self, name) for name, option in TLS_OPTIONS.items()}
        return {option: str(path) for option, path in paths.items() if path is not None}

    @property
    def read_timeout_seconds(self) -> float:
        """Return how long a read-only client waits for Redis: people wait for its answer."""
        return min(MAX_READ_TIMEOUT_SECONDS, self.redis_timeout_seconds)


def _unusable(error: OSError, name: str, info: ValidationInfo) -> str:
    """Return why a file of TLS cannot be used. OpenSSL does not say which of two, nor more than a code."""
    if not isinstance(error, ssl.SSLError):
        return f"the file cannot be read: {error.strerror}"
    if name == "redis_tls_ca_path":
        return "it is not a PEM file with certificates"
    certificate = info.data["redis_tls_certificate_path"]
    return (
        f"with TALLY_REDIS_TLS_CERTIFICATE_PATH={certificate} it does not make a certificate and its private key, as "
        "PEM, in one file or two; the password of an encrypted key is the option ssl_password of TALLY_REDIS_URL"
    )
