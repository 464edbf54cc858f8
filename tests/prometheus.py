"""A real Prometheus: Debian's package, see tests/promtool.py."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.processes import Child, running
from tests.promtool import missing
from tests.server import free_port
from tests.waiting import wait_until

ROOT = Path(__file__).parents[1]
RULES = ROOT / "deploy" / "prometheus" / "tally.rules.yml"
CONFIGURATION = ROOT / "deploy" / "prometheus" / "prometheus.yml"


def executable() -> str:
    """Return where the program is; fail or skip the test if there is none."""
    return shutil.which("prometheus") or missing("prometheus")


class Prometheus:
    """What it answers at this address."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=30, trust_env=False)

    def ask(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer of its API."""
        answer = self._http.get(f"/api/v1/{path}", params=parameters).json()
        assert answer["status"] == "success", f"{parameters}: {answer.get('error')}"
        assert not answer.get("warnings"), f"{parameters}: {answer['warnings']}"
        return answer["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an expression, as of now."""
        found: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return found

    def value(self, expression: str) -> float | None:
        """Return the value of an expression that is one series; None if it is not there."""
        series = self.query(expression)
        return float(series[0]["value"][1]) if series else None

    def firing(self) -> set[str]:
        """Return which alerts fire."""
        return {series["metric"]["alertname"] for series in self.query('ALERTS{alertstate="firing"}')}

    def health(self) -> dict[str, list[str]]:
        """Return of each job what became of its last scrapes."""
        found: dict[str, list[str]] = {}
        for target in self.ask("targets", state="active")["activeTargets"]:
            found.setdefault(target["labels"]["job"], []).append(target["health"])
        return found

    def answers(self) -> bool:
        """Return whether it is ready."""
        try:
            return self._http.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def close(self) -> None:
        """Ask nothing more."""
        self._http.close()


@contextmanager
def prometheus(
    folder: Path, targets: Mapping[str, str], *, api_token: str = "", at_once: bool = False
) -> Iterator[Prometheus]:
    """Run one with the rules and the jobs of deploy/prometheus, of which these are the targets, each second.

    If `at_once`, an alert fires as soon as its expression holds.
    """
    rules = RULES
    if at_once:
        rules = folder / RULES.name
        rules.write_text(re.sub(r"^ +for: .*\n", "", RULES.read_text(encoding="utf-8"), flags=re.MULTILINE))
    configuration = yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8"))
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["rule_files"] = [str(rules)]
    token = folder / "api-token"
    token.write_text(api_token)
    for job in configuration["scrape_configs"]:
        job.pop("dns_sd_configs", None)
        job["static_configs"] = [{"targets": [targets[job["job_name"]]] if job["job_name"] in targets else []}]
        if "authorization" in job:
            job["authorization"]["credentials_file"] = str(token)
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration), encoding="utf-8")
    port = free_port()
    child = Child(
        [
            executable(),
            f"--config.file={file}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        log=folder / "prometheus.log",
    )
    with running(child), closing(Prometheus(f"http://127.0.0.1:{port}")) as found:
        wait_until(found.answers, what="Prometheus is ready")
        yield found
