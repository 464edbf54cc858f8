"""A backup of the server of docker-compose.yml is taken and put back as docs/operations.md says."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.test_compose import Pipeline, engine, wait_until

__all__ = ["engine"]  # a fixture

pytestmark = [pytest.mark.compose, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def pipeline(engine: None, tmp_path: Path) -> Iterator[Pipeline]:
    pipeline = Pipeline(tmp_path)
    pipeline.build()
    yield pipeline
    pipeline.down()


def test_a_backup_is_put_back_into_a_new_volume(pipeline: Pipeline, tmp_path: Path) -> None:
    compose, redis_cli = pipeline.compose, pipeline.redis_cli
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
