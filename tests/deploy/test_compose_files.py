"""Every container of the compose files is bounded, and has no more rights, networks and passwords than it needs."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


def services(file: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / file).read_text())["services"]
    return found


BASE = services("docker-compose.yml")
CLUSTER = {name: each for name, each in services("deploy/compose.cluster.yml").items() if name not in BASE}


def test_every_container_is_bounded_and_has_few_rights() -> None:
    assert {"users", "redis", "ingestor", "aggregator", "api", "admin", "prometheus", "grafana"} == set(BASE)
    assert {"redis-2", "redis-6", "cluster"} <= set(CLUSTER)
    for name, service in (BASE | CLUSTER).items():
        assert service["mem_limit"], name
        assert service["pids_limit"] <= 256, name
        assert service["cpu_quota"] <= 2 * service["cpu_period"], name
        assert "cpus" not in service, f"{name}: a machine with fewer cores would refuse it"
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_who_does_not_ask_redis_is_not_on_its_network() -> None:
    reach_redis = {name for name, service in (BASE | CLUSTER).items() if "redis" in service["networks"]}
    assert reach_redis == set(BASE | CLUSTER) - {"prometheus", "grafana"}
    published = {name for name, service in (BASE | CLUSTER).items() if "ports" in service}
    assert published == {"api", "prometheus", "grafana"}


def test_a_service_has_the_password_of_its_own_user_alone() -> None:
    for name, service in BASE.items():
        users = {volume.split(":")[0] for volume in service.get("volumes", []) if "-user:/run/tally/" in volume}
        expected = {f"{name}-user"} if name in ("ingestor", "aggregator", "api", "admin") else set()
        expected = {"redis": {"replica-user", "admin-user"}}.get(name, expected)
        if name == "users":
            expected = {f"{each}-user" for each in ("ingestor", "aggregator", "api", "admin", "replica")}
        assert users == expected, name


def test_the_client_in_front_finds_that_of_the_image_by_either_name(tmp_path: Path) -> None:
    """Where there is no password to be read it adds nothing: tests of the containers show the rest."""
    client = ROOT / "deploy" / "redis" / "redis-cli"
    assert client.stat().st_mode & 0o111 == 0o111
    (tmp_path / "valkey-cli").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "valkey-cli").chmod(0o755)
    for path, expected in ((f"{client.parent}:{tmp_path}", (0, "ping -n 1\n")), (str(client.parent), (127, ""))):
        done = subprocess.run(
            [client, "ping", "-n", "1"], env={"PATH": path, "REDISCLI_AUTH": "given"}, capture_output=True, text=True
        )
        assert (done.returncode, done.stdout) == expected
