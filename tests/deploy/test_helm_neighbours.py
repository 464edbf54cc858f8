"""The Helm chart and what stands around Tally: network policies, Prometheus' operator, Grafana, KEDA."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tally.keys import Keys
from tally.shards import tags
from tests.deploy import helm
from tests.deploy.helm import Object, found, selects
from tests.deploy.helm_values import ALL

ROOT = Path(__file__).parents[2]


# Who may connect


def test_policies_let_in_what_is_needed_and_no_more() -> None:
    objects = helm.render(ALL | {"networkPolicy": {"egress": []}})
    monitoring = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    namespace: list[Object] = [{"podSelector": {}}]

    def let_in(name: str) -> Iterator[tuple[Any, list[int]]]:
        spec = found(objects, "NetworkPolicy")[name]["spec"]
        assert spec["policyTypes"] == ["Ingress"]
        for rule in spec["ingress"]:
            yield rule["from"], [port["port"] for port in rule["ports"]]

    assert list(let_in("tally-aggregator")) == [(monitoring, [9101])]
    assert list(let_in("tally-ingestor-logs")) == [(monitoring, [9101])]
    assert list(let_in("tally-ingestor-lines")) == [(namespace, [7000]), (monitoring, [9101])]
    assert list(let_in("tally-ingestor-web")) == [
        ([{"ipBlock": {"cidr": "198.51.100.0/24"}}], [8080, 8443]),
        (monitoring, [9101]),
    ]
    assert list(let_in("tally-api")) == [(namespace, [9090]), (monitoring, [9090])]


def test_what_pods_may_reach_can_be_bounded() -> None:
    for policy in found(helm.render(ALL), "NetworkPolicy").values():
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
        dns, redis = policy["spec"]["egress"]
        assert [(port["protocol"], port["port"]) for port in dns["ports"]] == [("UDP", 53), ("TCP", 53)]
        assert redis == ALL["networkPolicy"]["egress"][0]
    assert not found(helm.render({"networkPolicy": {"enabled": False}}), "NetworkPolicy")


# Metrics, and how many aggregators


def test_monitors_find_all_pods_and_those_that_are_not_ready() -> None:
    objects = helm.render(ALL)
    services = found(objects, "Service")
    scraped: list[str] = []
    for monitor in found(objects, "ServiceMonitor").values():
        (endpoint,) = monitor["spec"]["endpoints"]
        assert endpoint["honorLabels"]  # `service` of ours says which of the three it is
        token = {"credentials": {"name": "tally", "key": "api-token"}} if "api" in monitor["metadata"]["name"] else None
        assert endpoint.get("authorization") == token
        for name, service in services.items():
            if selects(monitor["spec"]["selector"]["matchLabels"], service["metadata"]["labels"]):
                assert [port["name"] for port in service["spec"]["ports"]] == [endpoint["port"]]
                assert service["spec"]["publishNotReadyAddresses"]
                assert "tally" in service["metadata"]["labels"][monitor["spec"]["jobLabel"]]
                scraped.append(name.removesuffix("-metrics"))
    assert sorted(scraped) == sorted(found(objects, "Deployment"))
    job = found(helm.render({"fullnameOverride": "counts"}), "Service")["counts-api-metrics"]["metadata"]["labels"][
        "job"
    ]
    assert job == "tally-counts-api"  # alerts look for a job with tally in its name


def test_the_dashboard_is_that_of_grafana() -> None:
    (dashboard,) = found(helm.render(ALL), "ConfigMap").values()
    whole = (ROOT / "deploy/grafana/dashboards/tally.json").read_text(encoding="utf-8")
    assert json.loads(dashboard["data"]["tally.json"]) == json.loads(whole)
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"


def test_alerts_are_those_of_prometheus() -> None:
    (rule,) = found(helm.render(ALL), "PrometheusRule").values()
    assert rule["spec"] == yaml.safe_load((ROOT / "deploy/prometheus/tally.rules.yml").read_text(encoding="utf-8"))
    assert rule["metadata"]["labels"]["release"] == "prometheus"


def scaling(shards: int, *, namespace: str = "tally", **redis: Any) -> Object:
    given = {"enabled": True, "blocksPerReplica": 50, "redis": {"addresses": ["a:7000", "b:7000"]} | redis}
    objects = helm.render(
        {
            "shards": shards,
            "redis": helm.LEAST["redis"] | {"namespace": namespace},
            "aggregator": {"autoscaling": given},
        }
    )
    assert "replicas" not in found(objects, "Deployment")["tally-aggregator"]["spec"]
    spec: Object = found(objects, "ScaledObject")["tally-aggregator"]["spec"]
    return spec


@pytest.mark.parametrize("shards", [1, 3, 16, 64])
def test_keda_sums_what_waits_in_the_streams_of_all_shards(shards: int) -> None:
    spec = scaling(shards, kind="cluster")
    assert spec["minReplicaCount"] == 1
    triggers = spec["triggers"]
    assert [each["metadata"]["stream"] for each in triggers] == [Keys(tag).stream for tag in tags(shards)]
    for each in triggers:
        assert each["type"] == "redis-cluster-streams"
        assert each["metadata"] == {
            "addresses": "a:7000,b:7000",
            "stream": each["metadata"]["stream"],
            "streamLength": "50",
        }
    modifiers = spec["advanced"]["scalingModifiers"]
    assert (modifiers["target"], modifiers["metricType"]) == ("50", "AverageValue")
    # Of its language this is what Python's has as well: names, and what is done with them.
    formula = ast.parse(modifiers["formula"], mode="eval")
    waiting = {each["name"]: 10**index for index, each in enumerate(triggers)}
    assert eval(compile(formula, "formula", "eval"), {}, waiting) == sum(waiting.values())


def test_keda_asks_a_server_or_sentinels() -> None:
    (server,) = scaling(1, addresses=["redis:6379"], database=2, tls=True)["triggers"]
    assert server["type"] == "redis-streams"
    assert server["metadata"] == {
        "address": "redis:6379",
        "databaseIndex": "2",
        "enableTLS": "true",
        "stream": Keys().stream,
        "streamLength": "50",
    }
    (sentinel,) = scaling(1, namespace="web-shop", kind="sentinel", sentinelMaster="mymaster")["triggers"]
    assert sentinel["metadata"]["stream"] == Keys(namespace="web-shop").stream
    assert sentinel["type"] == "redis-sentinel-streams"
    assert sentinel["metadata"].items() >= {"addresses": "a:7000,b:7000", "sentinelMaster": "mymaster"}.items()
