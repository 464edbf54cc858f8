"""What alert rules and the dashboard ask for is there: a real Prometheus scrapes real services at work."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from tests.processes import Process, running
from tests.prometheus import ROOT, RULES, Prometheus, prometheus
from tests.server import Server, free_port
from tests.waiting import wait_until

DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "tally.json"

TOKEN = "a-token-of-the-api"
LINE = b'{"event_type": "error", "data": "of a file"}\n'

#: What is there only in trouble, or since such: the metric has to exist, but not with these matchers.
ONLY_IN_TROUBLE = ('outcome!="ok"', 'status="5xx"')

#: Labels that are not the services' own: Kubernetes' and Prometheus'.
FROM_OUTSIDE = {"namespace", "job", "instance"}


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has scraped an ingestor with several sources, an aggregator and an api."""
    folder = tmp_path_factory.mktemp("prometheus")
    server = Server(folder, options=("--maxmemory", "256mb"))
    ingestor_port, aggregator_port, api_port, http_port, tcp_port = (free_port() for _ in range(5))
    (folder / "events.ndjson").write_bytes(LINE * 100 + b"garbage\n")
    ingestor = Process(
        *("ingestor", f"tail:{folder}/*.ndjson", f"http://127.0.0.1:{http_port}", f"tcp://127.0.0.1:{tcp_port}"),
        log=folder / "ingestor.log",
        TALLY_REDIS_URL=server.url,
        TALLY_METRICS_PORT=str(ingestor_port),
        TALLY_INGEST_TOKEN=TOKEN,
    )
    aggregator = Process(
        "aggregator", log=folder / "aggregator.log", TALLY_REDIS_URL=server.url, TALLY_METRICS_PORT=str(aggregator_port)
    )
    api = Process(
        "api", log=folder / "api.log", TALLY_REDIS_URL=server.url, TALLY_HTTP_PORT=str(api_port), TALLY_API_TOKEN=TOKEN
    )
    targets = {
        "tally-ingestor": f"127.0.0.1:{ingestor_port}",
        "tally-aggregator": f"127.0.0.1:{aggregator_port}",
        "tally-api": f"127.0.0.1:{api_port}",
    }
    server.start()
    try:
        with running(ingestor, aggregator, api), prometheus(folder, targets, api_token=TOKEN) as found:
            jobs = {job: ["up"] for job in (*targets, "prometheus")}
            jobs["prometheus"] = []  # nobody asks it about itself here
            wait_until(lambda: {**jobs, **found.health()} == jobs, what="all services are scraped")
            wait_until(lambda: (found.value("tally_lines_total") or 0) >= 101, what="a file is counted")
            with httpx.Client(base_url=f"http://127.0.0.1:{http_port}", timeout=30, trust_env=False) as client:
                assert client.post("/events", content=LINE).status_code == 401
                for _ in range(2):  # the second is a replay
                    headers = {"Authorization": f"Bearer {TOKEN}", "Idempotency-Key": "once"}
                    assert client.post("/events", content=LINE, headers=headers).status_code == 202
            httpx.get(f"http://127.0.0.1:{api_port}/v1/words", timeout=30, trust_env=False)
            httpx.get(
                f"http://127.0.0.1:{api_port}/v1/types",
                headers={"Authorization": f"Bearer {TOKEN}"},
                timeout=30,
                trust_env=False,
            )
            with (folder / "events.ndjson").open("ab") as file:
                file.write(LINE * 10)
            wait_until(lambda: found.value("tally_ingestor_replays_total") == 1, what="a replay is told")
            wait_until(lambda: (found.value("tally_lines_total") or 0) >= 112, what="all is counted")
            wait_until(lambda: bool(found.query("rate(tally_lines_total[1m]) > 0")), what="rates are there")
            yield found
    finally:
        server.kill()


def _of_rules() -> Iterator[tuple[str, str]]:
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def _of_dashboard() -> Iterator[tuple[str, str]]:
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"].replace("$namespace", ".*").replace("$__rate_interval", "1m")
            yield f"{panel['title']} ({target['refId']})", expression


def test_each_expression_can_be_asked_and_names_what_there_is(watched: Prometheus) -> None:
    problems = []
    for name, expression in (*_of_rules(), *_of_dashboard()):
        watched.query(expression)
        problems += [f"{name}: {problem}" for problem in _not_there(watched, expression)]
    assert not problems, "\n".join(problems)


def _not_there(watched: Prometheus, expression: str) -> Iterator[str]:
    """Name the series and labels of an expression that no service tells."""
    labels = set(FROM_OUTSIDE)
    for metric, matchers in re.findall(r"\b((?:tally|process)_\w+|up)\b(\{[^}]*\})?", expression):
        selector = metric if any(each in matchers for each in ONLY_IN_TROUBLE) else metric + matchers
        found = watched.query(f"last_over_time({selector}[10m])")
        labels.update(label for series in found for label in series["metric"])
        if not found:
            yield f"there is no {selector}"
    for grouped in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression):
        yield from (f"nothing has a label {each}" for each in grouped.split(", ") if each not in labels)


def test_each_panel_of_the_dashboard_shows_something(watched: Prometheus) -> None:
    empty = [
        name
        for name, expression in _of_dashboard()
        if not any(matchers in expression for matchers in ONLY_IN_TROUBLE) and not watched.query(expression)
    ]
    assert not empty


def test_no_alert_is_there_while_all_is_well(watched: Prometheus) -> None:
    groups = watched.ask("rules")["groups"]
    rules = {rule["name"]: rule for group in groups for rule in group["rules"]}
    assert set(rules) == {name for name, _ in _of_rules()}
    wait_until(
        lambda: all(rule["health"] == "ok" for group in watched.ask("rules")["groups"] for rule in group["rules"]),
        what="all rules were evaluated",
    )
    # Of 112 lines one is none, which is no share to speak of.
    assert [rule["name"] for rule in rules.values() if rule["state"] != "inactive"] == []


def test_the_dashboard_is_what_its_script_says() -> None:
    """What fails here was changed in the script: `make reference` writes the file anew."""
    script = ROOT / "scripts" / "dashboard.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, encoding="utf-8", check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("service", ["prometheus", "grafana"])
def test_what_watches_has_few_rights_and_is_there_only_if_asked_for(service: str) -> None:
    found = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"][service]
    assert found["profiles"] == ["observability"]
    assert re.search(r":v?\d+\.\d+\.\d+}$", found["image"]), "a version, which a variable may replace"
    assert found["read_only"]
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert found["mem_limit"]
    assert [re.sub(r"^\$\{\w+:-(.*)}(.*)", r"\1\2", each).split(":")[0] for each in found["ports"]] == ["127.0.0.1"]


def test_the_provisioned_data_source_and_folder_are_those_of_compose() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    provisioning = ROOT / "deploy" / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in compose
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "tally.yml").read_text())["providers"]
    folder = provider["options"]["path"]
    assert f"./deploy/grafana/dashboards:{folder}:ro" in compose["grafana"]["volumes"]
    home = compose["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert Path(home) == Path(folder) / DASHBOARD.name
