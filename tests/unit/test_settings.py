"""Settings come from the environment, a .env and secret files; what is wrong with one is said in a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from tally.settings import Settings, SettingsError, load, unknown_variables
from tally.windows import WindowLength, parse_window_lengths


def test_defaults_need_no_environment() -> None:
    settings = load()
    assert (settings.source, settings.http_host, settings.http_port) == (None, "127.0.0.1", 9090)
    assert settings.redis_url is None
    assert (settings.metrics_host, settings.metrics_port) == ("127.0.0.1", None)
    assert [(length.seconds, length.kept) for length in settings.window_lengths] == [
        (60, 360),
        (3600, 336),
        (86400, 400),
    ]


@pytest.mark.parametrize(
    ("variable", "value", "right"),
    [
        ("TALLY_REDIS_URL", "localhost:6379", "redis://127.0.0.1:6379/0"),
        ("TALLY_REDIS_URL", "http://localhost", "redis://"),
        ("TALLY_REDIS_URL", "", "redis://"),
        ("TALLY_REDIS_URL", "redis://localhost:abc", "redis://127.0.0.1:6379/0"),
        ("TALLY_REDIS_URL", "redis://127.0.0.1:99999/0", "cannot be read"),
        ("TALLY_REDIS_URL", "redis://[::1", "cannot be read"),
        ("TALLY_REDIS_URL", "redis://localhost/first", "cannot be read"),
        ("TALLY_REDIS_URL", "redis://localhost/99999999999", "cannot be read"),
        ("TALLY_REDIS_URL", "unix:///run/redis.sock?db=first", "cannot be read"),
        ("TALLY_REDIS_URL", "redis://localhost?time_out=1", "an option that there is not; there are db, username,"),
        ("TALLY_REDIS_URL", "redis://localhost?decode_responses=true", "decode_responses cannot be set: Tally needs"),
        ("TALLY_REDIS_URL", "redis://localhost?protocol=3", "protocol cannot be set: Tally needs Redis' replies"),
        ("TALLY_REDIS_URL", "redis://localhost?encoding=latin-1", "the option encoding cannot be set"),
        ("TALLY_REDIS_URL", "redis://localhost?socket_timeout=2", "set TALLY_REDIS_TIMEOUT_SECONDS instead"),
        ("TALLY_REDIS_URL", "redis://localhost?retry_on_timeout=yes", "Tally never sends a command twice"),
        ("TALLY_REDIS_URL", "redis://localhost?max_connections=1", "the option max_connections cannot be set"),
        ("TALLY_REDIS_URL", "redis://localhost?host=other", "the option host cannot be set: write it before the path"),
        ("TALLY_REDIS_URL", "redis://localhost?credential_provider=x", "an option that there is not"),
        (
            "TALLY_REDIS_URL",
            "redis://localhost?ssl_ca_certs=ca.pem",
            "is about TLS: the URL of a Redis with TLS",
        ),
        ("TALLY_REDIS_URL", "rediss://localhost?ssl_cert_reqs=some", "cannot be read"),
        ("TALLY_REDIS_URL", "redis+cluster://", "a host is missing; right is redis+cluster://127.0.0.1:7000,"),
        ("TALLY_REDIS_URL", "redis+cluster://a:7000,,b:7000", "a host is missing; right is redis+cluster://"),
        ("TALLY_REDIS_URL", "redis+cluster://a:7000, b:7000", "hosts have a comma between them and no white space;"),
        ("TALLY_REDIS_URL", "redis+cluster://a:7000,b:port", "cannot be read; right is redis+cluster://"),
        ("TALLY_REDIS_URL", "redis+cluster://a:7000,b:7000/1", "a Redis Cluster has database 0 alone"),
        ("TALLY_REDIS_URL", "redis+cluster://a:7000?db=1", "a Redis Cluster has database 0 alone"),
        ("TALLY_REDIS_URL", "redis+cluster://a:7000?protocol=3", "protocol cannot be set"),
        ("TALLY_REDIS_URL", "redis+cluster://a:7000?ssl_keyfile=k", "is about TLS"),
        ("TALLY_REDIS_URL", "redis+cluster://a:7000?sentinel_username=x", "an option that there is not"),
        ("TALLY_REDIS_URL", "unix+cluster:///run/redis.sock", "that of a cluster with redis+cluster://"),
        ("TALLY_REDIS_URL", "redis+sentinel://a:26379,b", "the name of what the Sentinels watch is missing; right is"),
        ("TALLY_REDIS_URL", "redis+sentinel://a:26379/", "redis+sentinel://127.0.0.1:26379,127.0.0.1:26380/mymaster"),
        ("TALLY_REDIS_URL", "redis+sentinel:///mymaster", "a host is missing"),
        ("TALLY_REDIS_URL", "redis+sentinel://a/mymaster/first", "cannot be read; right is redis+sentinel://"),
        (
            "TALLY_REDIS_URL",
            "redis+sentinel://a/m?sentinel_name=1",
            "ssl_password, sentinel_username, sentinel_password",
        ),
        ("TALLY_REDIS_TLS_CA_PATH", "ca.pem", "of use only where TALLY_REDIS_URL begins with rediss://"),
        ("TALLY_REDIS_TLS_KEY_PATH", "key.pem", "of use only where TALLY_REDIS_URL begins with rediss://"),
        ("TALLY_REDIS_TIMEOUT_SECONDS", "0", "greater than or equal to 1"),
        ("TALLY_REDIS_TIMEOUT_SECONDS", "soon", "a valid number"),
        ("TALLY_NAMESPACE", "", "a namespace is 1 to 32 characters of a-z, 0-9, _ and -"),
        ("TALLY_NAMESPACE", "Tally", "a namespace is 1 to 32 characters of a-z, 0-9, _ and -"),
        ("TALLY_NAMESPACE", "a:{0}", "a namespace is 1 to 32 characters of a-z, 0-9, _ and -"),
        ("TALLY_NAMESPACE", 33 * "a", "a namespace is 1 to 32 characters of a-z, 0-9, _ and -"),
        ("TALLY_SHARDS", "65", "less than or equal to 64"),
        ("TALLY_STRIPE_BYTES", "63", "greater than or equal to 64"),
        ("TALLY_MAX_LINE_BYTES", "63", "greater than or equal to 64"),
        ("TALLY_MAX_BLOCK_BYTES", "1e9", "a valid integer"),
        ("TALLY_MAX_BLOCKS_IN_FLIGHT", "0", "greater than or equal to 1"),
        ("TALLY_MAX_BACKLOG_BLOCKS", "-5", "greater than or equal to 1"),
        ("TALLY_MAX_TYPES", "many", "a valid integer"),
        ("TALLY_MAX_WORDS", "1.5", "a valid integer"),
        ("TALLY_MAX_WINDOW_WORDS", "0", "greater than or equal to 1"),
        ("TALLY_MAX_NAME_BYTES", "0", "greater than or equal to 1"),
        ("TALLY_MAX_REJECTED_SAMPLES", "-1", "greater than or equal to 0"),
        ("TALLY_FOLD_CASE", "perhaps", "a valid boolean"),
        ("TALLY_WORD_PATTERN", "[a-z", "not a regular expression"),
        ("TALLY_WORD_PATTERN", r"\p{L}+", r"of \p{…} there are \p{Mn} and \p{Mc}"),
        ("TALLY_WORD_PATTERN", r"\w*", "+ rather than *"),
        ("TALLY_WINDOWS", "60", "SECONDSxKEPT"),
        ("TALLY_WINDOWS", "60x360,90x100", "multiple of the length before it, 60"),
        ("TALLY_CLAIM_IDLE_SECONDS", "0", "greater than or equal to 0.1"),
        ("TALLY_CLAIM_IDLE_SECONDS", "nan", "less than or equal to 86400"),
        ("TALLY_MAX_DELIVERIES", "0", "greater than or equal to 1"),
        ("TALLY_AGGREGATE_SHARDS", "1", "there is no shard 1: with TALLY_SHARDS=1 they are 0 to 0"),
        ("TALLY_AGGREGATE_SHARDS", "0,2-", "'2-' is neither a shard nor a range of them, as in 0,2-5"),
        ("TALLY_AGGREGATE_SHARDS", "3-2", "'3-2' is neither"),
        ("TALLY_HTTP_PORT", "65536", "less than or equal to 65535"),
        ("TALLY_HTTP_PORT", "http", "a valid integer"),
        ("TALLY_METRICS_PORT", "65536", "less than or equal to 65535"),
        ("TALLY_METRICS_PORT", "prometheus", "a valid integer"),
        ("TALLY_LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("TALLY_LOG_FORMAT", "xml", "'auto', 'json' or 'console'"),
    ],
)
def test_an_error_names_the_variable_its_value_and_what_would_be_right(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, right: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        load()
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{variable}={value}: ")
    assert right in line
    assert "default: " in line


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:pa55/word@localhost:6379/0",
        "redis://user:word/pa55@localhost",
        "redis://:pa55@localhost:port",
        ":pa55@localhost:6379",
        "localhost?password=pa55&db=1",
        "redis://localhost:port?password=pa55",
        "redis://localhost:port?db=1&ssl_password=pa55",
        "redis://localhost:port?Pass%77ord=pa55",
        "redis://localhost:port?password=x@pa55",
        "redis://:a?pa55@localhost:port",
        "redis+cluster://user:pa55@a:7000,b:port",
        "redis+cluster://:pa55@a:7000,,b:7000",
        "redis+cluster://:a@pa55@a:7000,b:port",
        "redis+cluster://:word/pa55@a:7000,b:7000",
        "redis+cluster://:a?pa55@a:7000,b:7000",
        "rediss+cluster://a:7000,b:port?password=pa55",
        "redis+sentinel://:pa55@a:26379,b:port/mymaster",
        "redis+sentinel://a:port/mymaster?sentinel_password=pa55",
    ],
)
def test_an_error_shows_no_password(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("TALLY_REDIS_URL", url)
    with pytest.raises(SettingsError, match="TALLY_REDIS_URL=") as caught:
        load()
    assert "pa55" not in str(caught.value)
    assert "***" in str(caught.value)


def test_what_is_shown_of_the_settings_has_no_secret_in_it() -> None:
    shown = repr(
        Settings(
            redis_url="rediss://user:pa55@localhost/2?password=pa55&ssl_password=pa55&db=2",
            source='["exec:curl -H pa55", "-"]',
            ingest_token=SecretStr("pa55"),
            api_token=SecretStr("pa55"),
        )
    )
    assert "pa55" not in shown
    assert "rediss://user:***@localhost/2?password=***&ssl_password=***&db=2" in shown
    assert "tail:/var/log/a.log" in repr(Settings(source="tail:/var/log/a.log"))


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://user@[::1]:6379/2",
        "redis://:p%40ss@localhost/",
        "rediss://user:x@localhost:1/1?ssl_cert_reqs=none&ssl_check_hostname=no",
        "redis://localhost?username=a&password=b&db=1&health_check_interval=30&socket_keepalive=yes&client_name=t",
        "unix:///run/redis.sock?db=2",
        "redis+cluster://a,b:7000,[::1]:7001,[::2]:7002",
        "rediss+cluster://user:p%40ss@a:7000,b:7000/0?ssl_cert_reqs=none",
        "redis+sentinel://:p%40ss@a,b:26380,[::1]:26379/my%20master/3?sentinel_password=x&client_name=t",
        "rediss+sentinel://a/mymaster",
    ],
)
def test_a_redis_url_may_be_of_any_form_that_the_client_knows(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("TALLY_REDIS_URL", url)
    assert load().redis_url == url


@pytest.mark.parametrize("name", ["TALLY_API_TOKEN", "TALLY_INGEST_TOKEN"])
@pytest.mark.parametrize("token", ["", " ", "two words", "end ", "\ttab", "sésame", "☃", "a\x7f"])
@pytest.mark.parametrize("source", ["environment", "file", "dotenv", "file of dotenv"])
def test_a_token_that_guards_nothing_or_cannot_be_sent_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, token: str, source: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"{token}\n", encoding="utf-8")
    if source == "environment":
        monkeypatch.setenv(name, token)
    elif source == "file":
        monkeypatch.setenv(f"{name}_FILE", str(secret))
    elif source == "dotenv":
        Path(".env").write_text(f"{name}='{token}'\n", encoding="utf-8")
    else:
        Path(".env").write_text(f"{name}_FILE={secret}\n", encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load()
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{name}_FILE={secret}: " if "file" in source else f"{name}=…: ")
    assert "visible ASCII characters" in line


@pytest.mark.parametrize("token", ["x", "!~", "a/b+c==", "0" * 4096])
def test_a_token_may_be_any_visible_ascii(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("TALLY_API_TOKEN", token)
    found = load().api_token
    assert found is not None
    assert found.get_secret_value() == token


def test_every_setting_that_is_wrong_has_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("TALLY_HTTP_PORT", "TALLY_MAX_WORDS", "TALLY_MAX_TYPES"):
        monkeypatch.setenv(variable, "x")
    with pytest.raises(SettingsError) as caught:
        load()
    named = [line.partition("=")[0] for line in str(caught.value).splitlines()]
    assert sorted(named) == ["TALLY_HTTP_PORT", "TALLY_MAX_TYPES", "TALLY_MAX_WORDS"]


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_says_what_it_is_and_every_number_has_bounds(name: str) -> None:
    field = Settings.model_fields[name]
    assert field.description
    if field.annotation in (int, float):
        bounds = {bound for each in field.metadata for bound in ("ge", "gt", "le", "lt") if hasattr(each, bound)}
        assert bounds & {"ge", "gt"}, "a lower bound"
        assert bounds & {"le", "lt"}, "an upper bound"


def test_the_environment_wins_over_a_secret_file_that_over_a_dot_env_and_that_over_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Path(".env").write_text(
        "TALLY_SOURCE=dot\nTALLY_HTTP_HOST=dot\nTALLY_REDIS_URL=redis://dot\nOTHER=1\n", encoding="utf-8"
    )
    (tmp_path / "secret").write_text("redis://:secret@host\n", encoding="utf-8")
    for variable in ("TALLY_REDIS_URL_FILE", "TALLY_SOURCE_FILE"):
        monkeypatch.setenv(variable, str(tmp_path / "secret"))
    monkeypatch.setenv("TALLY_SOURCE", "environment")
    settings = load(http_port=1234, max_words=None)
    assert settings.source == "environment"
    assert settings.redis_url == "redis://:secret@host", "and the line's end is no part of it"
    assert settings.http_host == "dot"
    assert settings.http_port == 1234
    assert settings.max_words == 1_000_000


def test_a_line_of_a_dot_env_may_name_a_secret_file_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("token", "other"):
        (tmp_path / name).write_text(f"{name}\n", encoding="utf-8")
    files = [f"TALLY_{setting}_FILE=token\n" for setting in ("API_TOKEN", "SOURCE", "HTTP_HOST", "ROOT_PATH")]
    Path(".env").write_text("".join([*files, "TALLY_ROOT_PATH=/dot\nTALLY_CORS_ORIGINS_FILE\n"]), encoding="utf-8")
    monkeypatch.setenv("TALLY_SOURCE", "environment")
    monkeypatch.setenv("TALLY_HTTP_HOST_FILE", "other")
    settings = load()
    assert settings.api_token is not None
    assert settings.api_token.get_secret_value() == "token"
    assert (settings.source, settings.http_host, settings.root_path) == ("environment", "other", "/dot")


def test_a_dot_env_that_cannot_be_read_is_named() -> None:
    Path(".env").write_bytes(b"TALLY_SOURCE=\xff\n")
    with pytest.raises(SettingsError, match=r"^\.env in /.*: cannot be read"):
        load()


def test_what_is_given_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLY_HTTP_PORT", "1111")
    assert load(http_port=2222).http_port == 2222
    assert load(http_port=None).http_port == 1111


@pytest.mark.parametrize("content", [None, b"\xff\xfe"], ids=["missing", "not text"])
def test_a_secret_file_that_cannot_be_read_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("TALLY_REDIS_URL_FILE", str(path))
    with pytest.raises(SettingsError, match=r"TALLY_REDIS_URL_FILE=.*cannot be read"):
        load()


def test_a_secret_files_content_is_checked_like_any_value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("not a url", encoding="utf-8")
    monkeypatch.setenv("TALLY_REDIS_URL_FILE", str(tmp_path / "secret"))
    with pytest.raises(SettingsError, match="TALLY_REDIS_URL"):
        load()


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("TALLY_REDIS_ULR", "; did you mean TALLY_REDIS_URL?"),
        ("TALLY_MAX_WORD", "; did you mean TALLY_MAX_WORDS?"),
        ("TALLY_XYZZY_PLUGH_QUUX", ""),
    ],
)
def test_a_variable_that_is_no_setting_gets_a_suggestion(
    monkeypatch: pytest.MonkeyPatch, variable: str, hint: str
) -> None:
    monkeypatch.setenv(variable, "1")
    (sentence,) = (each for each in unknown_variables() if "TALLY_TEST_SERVER" not in each)
    assert sentence == f"{variable} is not a setting{hint}"


@pytest.mark.parametrize("variable", ["TALLY_MAX_WORDS", "TALLY_REDIS_URL_FILE", "TALLY_REDIS_IMAGE", "TALLYHO"])
def test_settings_secret_files_and_composes_variables_are_known(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "1")
    assert [each for each in unknown_variables() if "TALLY_TEST_SERVER" not in each] == []


def test_a_secret_file_beside_the_variable_itself_is_named_because_it_is_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TALLY_REDIS_URL", "redis://127.0.0.1")
    monkeypatch.setenv("TALLY_REDIS_URL_FILE", "nowhere")
    (sentence,) = (each for each in unknown_variables() if "TALLY_TEST_SERVER" not in each)
    assert sentence == "TALLY_REDIS_URL_FILE is not read, because TALLY_REDIS_URL is set"


def test_a_secret_file_beside_the_variable_set_to_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("TALLY_REDIS_URL=redis://of-make-run\n", encoding="utf-8")
    Path("url").write_text("redis://of-the-file\n", encoding="utf-8")
    monkeypatch.setenv("TALLY_REDIS_URL", "")
    monkeypatch.setenv("TALLY_REDIS_URL_FILE", "url")
    assert load().redis_url == "redis://of-the-file"
    assert [each for each in unknown_variables() if "TALLY_TEST_SERVER" not in each] == []
    Path("url").write_text("not a url\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"^TALLY_REDIS_URL_FILE=url"):
        load()


def test_files_may_begin_with_a_byte_order_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("TALLY_MAX_TYPES=17\r\nTALLY_STOP_WORDS=@words\r\n", encoding="utf-8-sig")
    Path("words").write_text("the a\r\n", encoding="utf-8-sig")
    Path("token").write_text("secret\r\n", encoding="utf-8-sig")
    monkeypatch.setenv("TALLY_API_TOKEN_FILE", "token")
    settings = load()
    assert (settings.max_types, sorted(settings.stop_word_set)) == (17, ["a", "the"])
    assert settings.api_token is not None
    assert settings.api_token.get_secret_value() == "secret"


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load().http_port = 1  # type: ignore[misc]


# Windows.


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("60x360", [(60, 360)]),
        ("60x360,3600x336,86400x400", [(60, 360), (3600, 336), (86_400, 400)]),
        (" 60 x 120 , 3600 x 2 ", [(60, 120), (3600, 2)]),
        ("1x4,2x2", [(1, 4), (2, 2)]),
    ],
)
def test_windows_are_read_as_lengths(text: str, lengths: list[tuple[int, int]]) -> None:
    assert parse_window_lengths(text) == tuple(WindowLength(*each) for each in lengths)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is not SECONDSxKEPT"),
        ("60", "'60' is not SECONDSxKEPT, as in 60x360,3600x336"),
        ("60x", "is not SECONDSxKEPT"),
        ("60x360,", "'' is not SECONDSxKEPT"),
        ("-60x360", "is not SECONDSxKEPT"),
        ("1.5x360", "is not SECONDSxKEPT"),
        ("٦٠x٣٦٠", "is not SECONDSxKEPT"),
        ("0x360", "at least 1 second"),
        ("60x1", "at least 2 are kept"),
        ("60x360,90x10", "90 is not a multiple of the length before it, 60"),
        ("60x360,60x10", "60 is not a multiple"),
        ("3600x360,60x10", "60 is not a multiple"),
        ("60x119,3600x10", "keep at least 120"),
        ("60x120,3600x47,86400x3", "keep at least 48"),
    ],
)
def test_windows_that_cannot_be_are_explained(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_window_lengths(text)


@pytest.mark.parametrize(
    ("at", "start"), [(0, 0), (59.999, 0), (60, 60), (-1, -60), (-60, -60), (-0.001, -60), (1e15 + 1, 10**15 - 40)]
)
def test_a_window_starts_at_a_multiple_of_its_length(at: float, start: int) -> None:
    assert WindowLength(60, 2).start_of(at) == start


def test_settings_are_read_from_what_is_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    values: dict[str, tuple[str, Any]] = {
        "TALLY_REDIS_URL": ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        "TALLY_FOLD_CASE": ("true", True),
        "TALLY_DATA_DIR": ("/var/lib/tally", Path("/var/lib/tally")),
        "TALLY_CLAIM_IDLE_SECONDS": ("0.5", 0.5),
        "TALLY_MAX_WORDS": ("7", 7),
        "tally_max_types": ("8", 8),
    }
    for variable, (text, _) in values.items():
        monkeypatch.setenv(variable, text)
    settings = load()
    found = {variable: getattr(settings, variable.lower().removeprefix("tally_")) for variable in values}
    assert found == {variable: value for variable, (_, value) in values.items()}
