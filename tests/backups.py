"""Backups of a server that runs, as docs/operations.md says: what is made lies where a server looks for its data."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tests.waiting import wait_until


def snapshot(client: Any, folder: Path, copy: Path) -> None:
    """Have the server write a snapshot, and make of it an append-only file that begins with it."""
    before = client.info("persistence")["rdb_saves"]
    client.bgsave()  # or as soon as the server has no other child process
    wait_until(lambda: client.info("persistence")["rdb_saves"] > before, what="the snapshot is written")
    wait_until(lambda: not client.info("persistence")["rdb_bgsave_in_progress"], what="all is over")
    assert client.info("persistence")["rdb_last_bgsave_status"] == "ok"
    (copy / "appendonlydir").mkdir(parents=True)
    shutil.copy(folder / "dump.rdb", copy / "appendonlydir" / "appendonly.aof.1.base.rdb")
    (copy / "appendonlydir" / "appendonly.aof.manifest").write_text("file appendonly.aof.1.base.rdb seq 1 type b\n")


def files(client: Any, folder: Path, copy: Path) -> None:
    """Copy the append-only files, while they are not rewritten."""
    client.config_set("auto-aof-rewrite-percentage", 0)
    under_way = ("aof_rewrite_in_progress", "aof_rewrite_scheduled")
    wait_until(lambda: not any(client.info("persistence")[each] for each in under_way), what="no rewrite is under way")
    shutil.copytree(folder / "appendonlydir", copy / "appendonlydir")
    client.config_set("auto-aof-rewrite-percentage", 100)
