"""The Helm chart: what it makes of its values is what Kubernetes, its operators and Tally itself take.

There is no cluster here. Helm's own library renders it, kubernetes-validate and the models of KEDA and Prometheus'
operator check what it makes, and tests/deploy/test_helm_services.py runs its commands.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from api.app import create_app
from tally import __version__
from tally.settings import PREFIX, Settings
from tests.deploy import helm
from tests.deploy.helm import Object, Values, container_of, found, pod_of, selects, variables_of
from tests.deploy.helm_values import ALL, INGESTORS

ROOT = Path(__file__).parents[2]

LEAST_AND_ALL = pytest.mark.parametrize("values", [{}, ALL], ids=["least", "all"])

#: The kinds that are not Kubernetes' own, each with the module that has its model.
MODELS = {
    "ScaledObject": "@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject",
    "TriggerAuthentication": "@kubernetes-models/keda/keda.sh/v1alpha1/TriggerAuthentication",
    "ServiceMonitor": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor",
    "PrometheusRule": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule",
}

#: Reads objects, and writes what is wrong with each.
CHECKER = """
const objects = JSON.parse(process.argv[1]);
for (const [module, object] of objects) {
  const Model = (await import(module))[object.kind];
  try { new Model(object).validate(); } catch (error) { console.log(object.kind, error.message); }
}
"""


def settings_of(deployment: Object, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What the service makes of its environment, with files that are as the volumes would have them."""
    files = {"redis-url": "rediss://:hunter2@redis.data.svc:6379/1", "token": "a-token"}
    with monkeypatch.context() as patch:
        for name, text in variables_of(deployment).items():
            if name.endswith("_FILE"):
                path = folder / Path(text).name
                path.write_text(files[path.name], encoding="utf-8")
                patch.setenv(name, str(path))
            elif not name.endswith("_PATH") or name == "TALLY_ROOT_PATH":
                patch.setenv(name, text)
        return Settings()


# Helm and Kubernetes


@LEAST_AND_ALL
def test_helm_finds_nothing_wrong(values: Values) -> None:
    assert helm.lint(helm.LEAST | values) == []


def test_helm_finds_nothing_wrong_with_nothing_given() -> None:
    """As somebody lints it before there are values."""
    assert helm.lint({}) == []


def oldest_kubernetes() -> str:
    chart = yaml.safe_load((helm.CHART / "Chart.yaml").read_text(encoding="utf-8"))
    match = re.fullmatch(r">=(\d+\.\d+)\.0-0", chart["kubeVersion"])
    assert match
    return match[1]


@pytest.mark.parametrize("version", [oldest_kubernetes(), kubernetes_validate.latest_version()])
def test_kubernetes_takes_all_objects(version: str) -> None:
    checked = 0
    for each in helm.render(ALL):
        if each["kind"] in MODELS:
            continue
        kubernetes_validate.validate(each, version, strict=True)
        checked += 1
    assert checked > 15


def test_operators_take_their_objects() -> None:
    node = shutil.which("node")
    if node is None or not (ROOT / "node_modules/@kubernetes-models").is_dir():
        pytest.skip("needs node, and @kubernetes-models in node_modules: make assets")
    objects = [(MODELS[each["kind"]], each) for each in helm.render(ALL) if each["kind"] in MODELS]
    assert {each["kind"] for _, each in objects} == MODELS.keys()
    command = [node, "--input-type=module", "--eval", CHECKER, json.dumps(objects)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr

    wrong = [
        ("@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject", {"kind": "ScaledObject", "spec": {"triggers": 1}})
    ]
    done = subprocess.run([*command[:-1], json.dumps(wrong)], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "must be" in done.stdout


def test_a_packaged_chart_is_the_same(tmp_path: Path) -> None:
    """Also where a file of it is a link to one that is outside of it."""
    assert helm.render(ALL, chart=helm.package(tmp_path)) == helm.render(ALL)


def test_names_are_short_enough_and_of_the_release() -> None:
    for each in helm.render(ALL, release="r" * 53):
        assert len(each["metadata"]["name"]) <= 63
        assert each["metadata"]["name"].startswith("r" * 28)
        assert all(len(str(label)) <= 63 for label in each["metadata"]["labels"].values())
    assert {name.removeprefix("prod-tally") for name in found(helm.render({}, release="prod"), "Deployment")} == {
        "-api",
        "-aggregator",
        "-ingestor-http",
    }


def test_what_selects_pods_stays_the_same() -> None:
    """The selector of a Deployment cannot be changed: an upgrade with other values has to be taken."""
    ingestor = {"name": "http", "sources": ["demo:"]}
    before, after = (found(helm.render(values), "Deployment") for values in ({}, ALL | {"ingestors": [ingestor]}))
    assert before.keys() == after.keys()
    for name, deployment in before.items():
        assert deployment["spec"]["selector"] == after[name]["spec"]["selector"]


@LEAST_AND_ALL
def test_each_selector_finds_the_pods_of_one_deployment(values: Values) -> None:
    objects = helm.render(values)
    pods = {name: each["spec"]["template"] for name, each in found(objects, "Deployment").items()}

    def chosen(selector: dict[str, str]) -> list[str]:
        return [name for name, pod in pods.items() if selects(selector, pod["metadata"]["labels"])]

    for name, each in found(objects, "Service").items():
        assert chosen(each["spec"]["selector"]) == [name.removesuffix("-metrics")]
        (container,) = pods[name.removesuffix("-metrics")]["spec"]["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        for port in each["spec"]["ports"]:
            assert port["targetPort"] in {*ports, *ports.values()}
    for kind, path in (
        ("NetworkPolicy", "podSelector"),
        ("PodDisruptionBudget", "selector"),
        ("Deployment", "selector"),
    ):
        budgets = found(objects, kind)
        assert budgets.keys() == pods.keys()
        for name, each in budgets.items():
            assert chosen(each["spec"][path]["matchLabels"]) == [name]


@LEAST_AND_ALL
def test_pods_have_no_more_rights_than_they_need(values: Values) -> None:
    """What Kubernetes calls restricted, and a file system that is read-only."""
    objects = helm.render(values)
    pods = [
        *map(pod_of, found(objects, "Deployment").values()),
        *(each["spec"] for each in found(objects, "Pod").values()),
    ]
    user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert user
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsGroup"]) == tuple(
            map(int, user.groups())
        )
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        for volume in pod.get("volumes", []):
            assert volume.keys() <= {"name", "projected", "secret", "emptyDir", "persistentVolumeClaim"}


def test_services_are_no_settings() -> None:
    """Of a Service tally-http a kubelet makes TALLY_HTTP_PORT=tcp://10.0.0.1:80, unless it is told not to."""
    objects = helm.render({})
    for pod in [
        *map(pod_of, found(objects, "Deployment").values()),
        *(each["spec"] for each in found(objects, "Pod").values()),
    ]:
        assert pod["enableServiceLinks"] is False


# Tally


@LEAST_AND_ALL
def test_every_variable_is_a_setting_that_can_be_used(
    values: Values, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for deployment in found(helm.render(values), "Deployment").values():
        variables = variables_of(deployment)
        ours = {name for name in variables if name.startswith(PREFIX)}
        assert len(ours) == len([each for each in container_of(deployment)["env"] if each["name"] in ours]), "once each"
        assert {name.removesuffix("_FILE") for name in ours} <= known
        settings_of(deployment, tmp_path, monkeypatch)  # which checks all values


def test_settings_arrive_as_they_were_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deployments = found(helm.render(ALL), "Deployment")
    settings = {name: settings_of(each, tmp_path, monkeypatch) for name, each in deployments.items()}
    for each in settings.values():
        assert each.word_pattern == r"\w+(?:$|$$|\b)"
        assert each.max_words == 100_000_000
        assert each.fold_case
        assert (each.shards, each.namespace) == (3, "web-shop")
        assert each.redis_url == "rediss://:hunter2@redis.data.svc:6379/1"
    assert settings["tally-aggregator"].claim_idle_seconds == 2.5
    assert settings["tally-api"].claim_idle_seconds == Settings().claim_idle_seconds
    assert settings["tally-ingestor-web"].max_connections == 5000
    assert settings["tally-api"].root_path == "/tally"  # that of its Ingress
    assert json.loads(settings["tally-ingestor-logs"].source or "") == INGESTORS[2]["sources"]
    for name, given in (("tally-api", "api_token"), ("tally-ingestor-web", "ingest_token")):
        assert getattr(settings[name], given).get_secret_value() == "a-token"


def test_names_by_which_services_may_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deployments = found(helm.render(ALL), "Deployment")
    api, web = (settings_of(deployments[f"tally-{each}"], tmp_path, monkeypatch) for each in ("api", "ingestor-web"))
    # Prometheus asks by the address of a pod.
    assert {"10.0.0.7", "tally-api.counting.svc", "tally.example.com"} <= set(api.allowed_hosts.split(","))
    assert {"10.0.0.7", "tally-ingestor-web", "in.example.com", "events.example.com"} <= set(
        web.ingest_allowed_hosts.split(",")
    )


@LEAST_AND_ALL
def test_ports_are_those_on_which_services_listen(
    values: Values, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = set(create_app(Settings(redis_url="redis://127.0.0.1:1/0")).openapi()["paths"])
    for deployment in found(helm.render(values), "Deployment").values():
        settings = settings_of(deployment, tmp_path, monkeypatch)
        container = container_of(deployment)
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[kind]["httpGet"]["path"] in paths
        probed = ports[container["readinessProbe"]["httpGet"]["port"]]
        if container["name"] == "api":
            assert ports == {"http": settings.http_port}
            assert settings.http_host == "0.0.0.0"
        else:
            assert settings.metrics_port == ports.pop("metrics") == probed
            assert settings.metrics_host == "0.0.0.0"
        if container["name"] == "ingestor":
            sources = json.loads(settings.source or "")
            listening = [each for each in sources if re.match("(tcp|tls|https?):", each)]
            assert sorted(ports.values()) == sorted(int(each.rpartition(":")[2]) for each in listening)


def test_what_compose_has_measured_holds_here() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    for deployment in found(helm.render({}), "Deployment").values():
        container = container_of(deployment)
        service = compose[container["name"]]
        assert container["command"] == service["command"]
        assert container["resources"]["limits"]["memory"].removesuffix("i").lower() == service["mem_limit"]
        pause = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["sleep", "0"])
        seconds = pod_of(deployment)["terminationGracePeriodSeconds"] - int(pause[1])
        assert f"{seconds}s" == service["stop_grace_period"]
        assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]


def test_the_image_is_that_of_this_version() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    default = re.fullmatch(r"\$\{TALLY_IMAGE:-(.+)\}", compose["api"]["image"])
    assert default
    for deployment in found(helm.render({}), "Deployment").values():
        assert container_of(deployment)["image"] == f"{default[1]}:{__version__}"
    other = {"image": {"repository": "registry.example.com/tally", "tag": "2"}}
    assert {container_of(each)["image"] for each in found(helm.render(other), "Deployment").values()} == {
        "registry.example.com/tally:2"
    }


def test_secrets_are_in_secrets_alone() -> None:
    objects = helm.render(ALL)
    (secret,) = found(objects, "Secret").values()
    assert secret["stringData"] == {
        "redis-url": "rediss://:hunter2@redis.data.svc:6379/1",
        "api-token": "read-me",
        "ingest-token-web": "ingest-me",
    }
    others = json.dumps([each for each in objects if each["kind"] != "Secret"]) + helm.templates(ALL)["NOTES.txt"]
    for text in ("hunter2", "read-me", "ingest-me"):
        assert text not in others
    assert not found(helm.render({}), "Secret")


@LEAST_AND_ALL
def test_what_is_read_from_files_is_mounted(values: Values) -> None:
    objects = helm.render(values)
    own = {name: each["stringData"] for name, each in found(objects, "Secret").items()}
    for deployment in found(objects, "Deployment").values():
        volumes = {each["name"]: each for each in pod_of(deployment)["volumes"]}
        there: set[str] = set()
        for mount in container_of(deployment)["volumeMounts"]:
            volume = volumes[mount["name"]]
            for source in volume.get("projected", {}).get("sources", []):
                for item in source["secret"]["items"]:
                    there.add(f"{mount['mountPath']}/{item['path']}")
                    name, key = source["secret"]["name"], item["key"]
                    assert key in own[name] if name in own else (name, key) == ("redis", "redis-url")
            if volume.get("secret"):
                there.update(f"{mount['mountPath']}/{name}" for name in ("tls.crt", "tls.key", "ca.crt"))
        for name, text in variables_of(deployment).items():
            if name.endswith(("_FILE", "_PATH")) and name != "TALLY_ROOT_PATH":
                assert text in there, name


def test_another_secret_of_the_release_starts_anew_what_uses_it() -> None:
    def checksums(api_token: str) -> dict[str, str]:
        deployments = found(helm.render(ALL | {"api": {"token": api_token}}), "Deployment")
        return {
            name: each["spec"]["template"]["metadata"]["annotations"]["checksum/secrets"]
            for name, each in deployments.items()
        }

    before, after = checksums("one"), checksums("two")
    assert {name for name in before if before[name] != after[name]} == {"tally-api"}


# Ingestors


def test_one_that_reads_files_ends_before_its_successor_begins() -> None:
    deployments = found(helm.render(ALL), "Deployment")
    strategies = {name: each["spec"]["strategy"] for name, each in deployments.items()}
    assert strategies.pop("tally-ingestor-logs") == {"type": "Recreate"}
    for strategy in strategies.values():
        assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    replicas = {name: each["spec"].get("replicas") for name, each in deployments.items()}
    assert replicas == {
        "tally-ingestor-web": 3,
        "tally-ingestor-lines": 1,
        "tally-ingestor-logs": 1,
        "tally-aggregator": None,  # KEDA's
        "tally-api": 1,
    }


def test_only_what_listens_has_a_service() -> None:
    objects = helm.render(ALL)
    services = {name for name in found(objects, "Service") if not name.endswith("-metrics")}
    assert services == {"tally-ingestor-web", "tally-ingestor-lines", "tally-api"}
    assert found(objects, "Ingress").keys() == {"tally-ingestor-web", "tally-api"}
    for name, ingress in found(objects, "Ingress").items():
        (rule,) = ingress["spec"]["rules"]
        (path,) = rule["http"]["paths"]
        backend = path["backend"]["service"]
        assert backend["name"] == name
        assert backend["port"]["name"] in [port["name"] for port in found(objects, "Service")[name]["spec"]["ports"]]


def test_an_ingestor_may_be_stopped_by_having_no_replicas() -> None:
    ingestors = [{"name": "logs", "sources": ["tail:/logs/*.log"], "replicas": 0}]
    deployment = found(helm.render({"ingestors": ingestors}), "Deployment")["tally-ingestor-logs"]
    assert deployment["spec"]["replicas"] == 0


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"redis": {}}, "where is Redis"),
        ({"ingestors": [{"name": "a", "sources": ["tail:/a.log"], "replicas": 2}]}, "it has to be one"),
        ({"ingestors": [{"name": "a", "sources": ["http://127.0.0.1:8080"]}]}, "right is http://0.0.0.0:8080"),
        ({"ingestors": [{"name": "a", "sources": ["tcp://0.0.0.0"]}]}, "names no port"),
        ({"ingestors": [{"name": "a", "sources": ["http://0.0.0.0:9100"]}]}, "port 9100 is that of its metrics"),
        ({"ingestors": [{"name": "a", "sources": ["tls://0.0.0.0:7000"]}]}, "needs a certificate"),
        ({"ingestors": [{"name": "a", "sources": ["-"]}]}, "minLength"),
        ({"ingestors": [{"name": "a", "sources": ["demo:"]}, {"name": "a", "sources": ["demo:"]}]}, "two are named a"),
        (
            {"ingestors": [{"name": "a", "sources": ["tcp://0.0.0.0:7000"], "ingress": {"enabled": True}}]},
            "an Ingress needs an http source",
        ),
        ({"aggregator": {"autoscaling": {"enabled": True}}}, "KEDA reads no URL"),
        ({"aggregator": {"autoscaling": {"enabled": True, "minReplicas": 0}}}, "minimum: got 0, want 1"),
        ({"aggregator": {"replica": 2}}, "'replica' not allowed"),
        ({"settings": {"TALLY_MAX_WORD": 5}}, "'TALLY_MAX_WORD' not allowed"),
        ({"settings": {"TALLY_MAX_WORDS": 0}}, "minimum: got 0, want 1"),
        ({"settings": {"TALLY_REDIS_URL": "redis://elsewhere"}}, "'TALLY_REDIS_URL' not allowed"),
        ({"shards": 65}, "maximum: got 65, want 64"),
        ({"redis": {"namespace": "Web:Shop"}}, "does not match pattern"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_meant_is_refused(values: Values, told: str) -> None:
    with pytest.raises(helm.Refused, match=re.escape(told)):
        helm.render(values)


# What is written about it


def test_the_readme_shows_values_that_can_be_used() -> None:
    text = (helm.CHART / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) > 5
    for block in blocks:
        assert len(helm.render(yaml.safe_load(block))) > 10, block


def test_notes_say_where_events_go_and_what_is_open() -> None:
    notes = helm.templates({})["NOTES.txt"]
    assert "http://tally-ingestor-http.counting.svc:8080/events" in notes
    assert "WITHOUT A TOKEN" in notes
    assert "THERE IS NO INGESTOR" in helm.templates({"ingestors": []})["NOTES.txt"]
    ingestors = [{"name": "a", "sources": ["http://0.0.0.0:8080"], "existingTokenSecret": {"name": "t"}}]
    assert "WITHOUT A TOKEN" not in helm.templates({"ingestors": ingestors})["NOTES.txt"]


def test_versions_are_those_of_tally() -> None:
    chart = yaml.safe_load((helm.CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == chart["version"] == __version__
