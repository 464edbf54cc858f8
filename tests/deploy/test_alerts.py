"""The alert rules: each fires and clears, and has its paragraph in the docs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.promtool import promtool

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
RULES = FOLDER / "tally.rules.yml"
TESTS = FOLDER / "tally.rules.test.yml"


def _rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_each_alert_fires_and_clears() -> None:
    promtool("test", "rules", TESTS)
    named = {name.split()[0].rstrip(",") for name in _names_of_tests()}
    assert {rule["alert"] for rule in _rules()} <= named, "each alert has a test of its name"


def _names_of_tests() -> list[str]:
    return [test["name"] for test in yaml.safe_load(TESTS.read_text(encoding="utf-8"))["tests"]]


def test_each_test_of_an_alert_sees_it_fire_and_clear() -> None:
    """Else a test of that name would prove nothing."""
    for test in yaml.safe_load(TESTS.read_text(encoding="utf-8"))["tests"]:
        name = test["name"].split()[0].rstrip(",")
        if len(test["promql_expr_test"]) == 1:
            continue  # one in which nothing fires
        moments = sorted(test["promql_expr_test"], key=lambda each: int(each["eval_time"].rstrip("m")))
        before, *during, after = ([each["labels"] for each in moment.get("exp_samples", ())] for moment in moments)
        assert (before, after) == ([], []), name
        assert [f'{{alertname="{name}"}}'] in during, name


def test_the_configuration_of_prometheus_is_right(tmp_path: Path) -> None:
    text = (FOLDER / "prometheus.yml").read_text(encoding="utf-8")
    (tmp_path / RULES.name).write_text(RULES.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "api-token").write_text("a")
    (tmp_path / "prometheus.yml").write_text(text.replace("/tmp/api-token", "api-token"), encoding="utf-8")
    assert f"{len(_rules())} rules found" in promtool("check", "config", tmp_path / "prometheus.yml")


@pytest.mark.parametrize("rule", _rules(), ids=lambda rule: rule["alert"])
def test_each_alert_says_what_a_person_needs(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    paragraph = re.search(rf"^### {rule['alert']}\n(.*?)(?=^##)", text, flags=re.MULTILINE | re.DOTALL)
    assert paragraph, "docs/operations.md has no paragraph of it"
    assert "- Look" in paragraph[1]
    assert "do:" in paragraph[1].lower()


def test_docs_tell_of_no_alert_that_there_is_not() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^### (Tally\w+)", text, flags=re.MULTILINE)) == {rule["alert"] for rule in _rules()}
