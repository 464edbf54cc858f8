"""The profile `observability` of docker-compose.yml: its Prometheus scrapes all services, with few rights.

Where no image registry is to be had, its image is made of the `prometheus` of this machine; Grafana's cannot be.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.compose.test_compose import NAME, ROOT, Pipeline, docker, engine, inspect, wait_until
from tests.prometheus import Prometheus, executable
from tests.server import free_port

__all__ = ["engine"]

pytestmark = [pytest.mark.compose, pytest.mark.slow, pytest.mark.timeout(900)]

TOKEN = "a-token-of-the-api"
IMAGE = f"{NAME}-prometheus"

DOCKERFILE = """
FROM python:3.13-slim
COPY prometheus /bin/prometheus
RUN mkdir /prometheus && chown 65534:65534 /prometheus
USER 65534:65534
"""


@pytest.fixture
def image(engine: None, tmp_path: Path) -> Iterator[str]:
    """One that can be run here in place of that of the file."""
    default = docker("compose", "--file", str(ROOT / "docker-compose.yml"), "config", "--images", "prometheus").split()
    named = next(each for each in default if "prometheus" in each)
    try:
        subprocess.run(["docker", "pull", "--quiet", named], check=True, capture_output=True, timeout=120)
    except subprocess.SubprocessError:
        folder = tmp_path / "image"
        folder.mkdir()
        shutil.copy(executable(), folder / "prometheus")
        (folder / "Dockerfile").write_text(DOCKERFILE)
        docker("build", "--quiet", "--tag", IMAGE, str(folder))
        yield IMAGE
        docker("image", "rm", IMAGE)
    else:
        yield named


def test_prometheus_scrapes_all_services(image: str, tmp_path: Path) -> None:
    url = f"127.0.0.1:{free_port()}"
    pipeline = Pipeline(tmp_path)
    with (tmp_path / ".env").open("a") as env:
        env.write(f"TALLY_PROMETHEUS_IMAGE={image}\nTALLY_PROMETHEUS_PUBLISH={url}\nTALLY_API_TOKEN={TOKEN}\n")
    pipeline.source.write_bytes(b'{"event_type": "a", "data": "of a file"}\n' * 100)
    pipeline.build()
    prometheus = Prometheus(f"http://{url}")
    compose = partial(pipeline.compose, "--profile", "observability")
    try:
        services = ("ingestor", "aggregator", "api", "prometheus")
        compose("up", "--detach", "--no-build", "--scale", "aggregator=2", *services)
        wait_until(prometheus.answers, what="Prometheus is ready")
        all_up = {
            "tally-ingestor": ["up"],
            "tally-aggregator": ["up", "up"],
            "tally-api": ["up"],
            "prometheus": ["up"],
        }
        wait_until(lambda: prometheus.health() == all_up, what="all services are scraped")
        wait_until(lambda: prometheus.value('tally_events_total{type="a"}') == 100, what="what was counted is told")

        (container,) = pipeline.containers("prometheus")
        found = inspect(container)
        assert found["HostConfig"]["ReadonlyRootfs"]
        assert found["HostConfig"]["CapDrop"] == ["ALL"]
        assert "no-new-privileges:true" in found["HostConfig"]["SecurityOpt"]
        assert [each["HostIp"] for each in found["HostConfig"]["PortBindings"]["9090/tcp"]] == ["127.0.0.1"]
        assert set(found["NetworkSettings"]["Networks"]) == {f"{NAME}_metrics", f"{NAME}_watching"}, (
            "and not that of Redis"
        )
        assert TOKEN not in docker("exec", container, "cat", "/proc/1/cmdline")

        pipeline.compose("up", "--detach", "--no-build", "--no-recreate", "--scale", "aggregator=0", "aggregator")
        pending = 'ALERTS{alertname="TallyNoAggregator"}'
        wait_until(lambda: bool(prometheus.query(pending)), what="an alert begins")
    finally:
        # pytest shows it after a failure.
        sys.stdout.write(compose("ps", "--all") + compose("logs", "--tail", "50"))
        prometheus.close()
        compose("down", "--volumes", "--timeout", "5")
        pipeline.down()
