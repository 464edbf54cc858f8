"""The chart as Helm renders it. Helm is a library here, with no cluster and no command.

It is a Go runtime, with threads of its own, so it is loaded into a process apart: tests fork.
"""

from __future__ import annotations

import json
import re
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "tally"

RELEASE, NAMESPACE = "tally", "counting"

#: What a release needs at the least.
LEAST: dict[str, Any] = {"redis": {"existingSecret": "redis"}}

#: The one in C, if it is there: ten times as fast.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Values = dict[str, Any]
Object = dict[str, Any]


class Refused(Exception):
    """Helm takes no such values; the text is what it says."""


def render(values: Values | None = None, *, release: str = RELEASE, chart: Path = CHART) -> list[Object]:
    """Return the objects that `helm template` would print, with these values over the LEAST. Raises Refused."""
    texts = templates(values, release=release, chart=chart)
    found = [each for name, text in texts.items() if name.endswith(".yaml") for each in yaml.load_all(text, _Loader)]
    return [each for each in found if each]


def templates(values: Values | None = None, *, release: str = RELEASE, chart: Path = CHART) -> dict[str, str]:
    """Return what each template gives, by its path in the chart; NOTES.txt is one of them. Raises Refused."""
    return _templates(json.dumps(LEAST | (values or {})), release, chart)


def package(folder: Path) -> Path:
    """Return the archive that `helm package` makes, in this folder."""
    return Path(_helm().submit(_package, folder).result())


def lint(values: Values) -> list[str]:
    """Return what `helm lint --strict` finds wrong."""
    found: list[str] = _helm().submit(_lint, values).result()
    return found


def found(objects: list[Object], kind: str) -> dict[str, Object]:
    """Return the objects of a kind, by their names."""
    return {each["metadata"]["name"]: each for each in objects if each["kind"] == kind}


def pod_of(deployment: Object) -> Object:
    """Return the specification of its pods."""
    pod: Object = deployment["spec"]["template"]["spec"]
    return pod


def container_of(deployment: Object) -> Object:
    """Return the only container of its pods."""
    (container,) = pod_of(deployment)["containers"]
    return dict(container)


def variables_of(deployment: Object, *, pod_ip: str = "10.0.0.7") -> dict[str, str]:
    """Return the environment as a kubelet makes it of a container's `env`."""
    variables: dict[str, str] = {}

    def value(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else variables.get(match[1], match[0])

    for each in container_of(deployment)["env"]:
        text = each.get("value", pod_ip)
        assert isinstance(text, str)  # Kubernetes takes no other
        variables[each["name"]] = re.sub(r"\$\$|\$\(([\w.-]+)\)", value, text)
    return variables


@cache
def _templates(values: str, release: str, chart: Path) -> dict[str, str]:
    texts, refusal = _helm().submit(_render, json.loads(values), release, chart).result()
    if refusal:
        raise Refused(refusal)
    return {name.removeprefix("tally/templates/"): text for name, text in texts.items()}


@cache
def _helm() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn"))


# In that process


def _render(values: Values, release: str, path: Path) -> tuple[dict[str, str], str]:
    from helm_python.chart import Chart
    from helm_python.errors import HelmError

    try:
        with Chart.load(path) as chart:
            chart.validate_schema(values)
            return chart.render(values, name=release, namespace=NAMESPACE), ""
    except HelmError as error:
        return {}, str(error)


def _lint(values: Values) -> list[str]:
    from helm_python.chart import lint

    information = 1
    report = lint(CHART, values, strict=True)
    wrong = [f"{each['path']}: {each['error']}" for each in report["messages"] if each["severity"] > information]
    return wrong + list(report["errors"])


def _package(folder: Path) -> str:
    from helm_python.chart import package

    return package(CHART, destination=folder)


def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    """Return whether a selector of labels finds an object with these."""
    return selector.items() <= labels.items()
