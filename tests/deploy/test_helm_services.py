"""The containers of the Helm chart, run as processes: their commands, variables, files and probes are the services'."""

from __future__ import annotations

import http.client
import json
import signal
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from tests.deploy import helm
from tests.deploy.helm import Object, Values, container_of, found, variables_of
from tests.processes import Process, running
from tests.senders import post
from tests.server import Server, free_port
from tests.waiting import wait_until

TOKEN, POD_IP = "ingest-me", "10.1.2.3"


class Container:
    """A container of the chart on this machine, with files in a folder in place of its volumes."""

    def __init__(self, deployment: Object, folder: Path) -> None:
        self._spec = container_of(deployment)
        self.ports: dict[str, int] = {port["name"]: port["containerPort"] for port in self._spec["ports"]}
        variables = variables_of(deployment, pod_ip=POD_IP)
        for name, path in variables.items():
            if name.endswith("_FILE"):
                variables[name] = str(folder / Path(path).name)
        python, dash, *arguments = self._spec["command"]
        assert (python, dash) == ("python", "-m")
        self.process = Process(*arguments, log=folder / f"{self._spec['name']}.log", **variables)

    def answers(self, probe: str) -> bool:
        """Whether a kubelet would find it so."""
        get = self._spec[probe]["httpGet"]
        try:
            return 200 <= self.get(get["path"], port=get["port"])[0] < 400
        except OSError:
            return False

    def get(self, path: str, *, port: str, host: str = POD_IP) -> tuple[int, bytes]:
        """The status and the content of an answer to somebody who asks by the address of the pod."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.ports[port], timeout=10)) as client:
            client.request("GET", path, headers={"Host": f"{host}:{self.ports[port]}"})
            response = client.getresponse()
            return response.status, response.read()


def containers(values: Values, folder: Path) -> dict[str, Container]:
    """What the chart would run, each with ports that are free here."""
    made: dict[str, Container] = {}
    for component in ("ingestor", "aggregator", "api"):
        ports = {
            "ingestors": [{"name": "http", "sources": [f"http://0.0.0.0:{free_port()}"], "token": TOKEN}],
            "metrics": {"port": free_port()},
            "api": {"port": free_port()},
        }
        for deployment in found(helm.render(values | ports), "Deployment").values():
            if container_of(deployment)["name"] == component:
                made[component] = Container(deployment, folder)
    return made


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """One that is not started yet."""
    server = Server(tmp_path)
    yield server
    server.kill()


def test_containers_are_alive_become_ready_count_and_end(server: Server, tmp_path: Path) -> None:
    (tmp_path / "redis-url").write_text(server.url, encoding="utf-8")
    (tmp_path / "token").write_text(TOKEN, encoding="utf-8")
    made = containers({"shards": 3}, tmp_path)

    def wait_for(probe: str) -> None:
        for name, each in made.items():
            wait_until(partial(each.answers, probe), what=f"the {probe} of the {name} is answered")

    with running(*(each.process for each in made.values())):
        # Without Redis: no pod is to be started anew because that one is away.
        wait_for("startupProbe")
        wait_for("livenessProbe")
        assert not any(each.answers("readinessProbe") for each in made.values())
        server.start()
        wait_for("readinessProbe")

        port = made["ingestor"].ports
        (source,) = (port[name] for name in port if name != "metrics")
        assert post(source, b'{"event_type": "login", "data": "hello"}').status == 401
        answer = post(source, b'{"event_type": "login", "data": "hello"}', Authorization=f"Bearer {TOKEN}")
        assert answer.status == 202

        api = made["api"]

        def counted() -> bool:
            status, content = api.get("/events/CountByEventType", port="http", host="tally-api")
            return status == 200 and json.loads(content) == {"login": 1}

        wait_until(counted, what="the event is counted")
        assert api.get("/events/CountByEventType", port="http", host="elsewhere.example.com")[0] == 421
        for name, each in made.items():
            status, content = each.get("/metrics", port="http" if name == "api" else "metrics")
            assert status == 200
            assert f'tally_build_info{{service="{name}"'.encode() in content
        for each in made.values():
            each.process.send(signal.SIGTERM)
        for each in made.values():
            assert each.process.wait() == 0, each.process.log()
