"""A backup of the server of docker-compose.yml is taken and put back as docs/operations.md says."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.compose.test_compose import NAME, ROOT, docker, engine, wait_until

__all__ = ["engine"]  # a fixture

pytestmark = [pytest.mark.compose, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def compose(engine: None, tmp_path: Path) -> Iterator[partial[str]]:
    """`docker compose` with a project of the test's own."""
    project = ("--project-name", f"{NAME}-backup", "--project-directory", str(tmp_path))
    compose = partial(docker, "compose", *project, "--file", str(ROOT / "docker-compose.yml"))
    yield compose
    compose("down", "--volumes", "--timeout", "5")


def test_a_backup_is_put_back_into_a_new_volume(compose: partial[str], tmp_path: Path) -> None:
    redis_cli = partial(compose, "exec", "-T", "redis", "redis-cli")
    compose("up", "--detach", "--wait", "redis")
    redis_cli("HSET", "tally:{0}:types", "login", "7")
    redis_cli("BGSAVE")
    wait_until(lambda: "rdb_bgsave_in_progress:0" in redis_cli("INFO", "persistence"), what="the snapshot is written")
    assert "rdb_last_bgsave_status:ok" in redis_cli("INFO", "persistence")
    compose("cp", "redis:/data/dump.rdb", str(tmp_path / "tally.rdb"))
    compose("down", "--volumes")

    folder = tmp_path / "appendonlydir"
    folder.mkdir()
    shutil.copy(tmp_path / "tally.rdb", folder / "appendonly.aof.1.base.rdb")
    (folder / "appendonly.aof.manifest").write_text("file appendonly.aof.1.base.rdb seq 1 type b\n")
    compose("create", "redis")
    compose("cp", str(folder), "redis:/data/")
    compose("up", "--detach", "--wait", "redis")
    assert redis_cli("HGET", "tally:{0}:types", "login").strip() == "7"
    redis_cli("HSET", "tally:{0}:types", "login", "8")
    compose("restart", "redis")
    compose("up", "--detach", "--wait", "redis")
    assert redis_cli("HGET", "tally:{0}:types", "login").strip() == "8", "it writes on to the files that were put there"
