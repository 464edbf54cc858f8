#!/usr/bin/env python3
"""Write Grafana's dashboard, deploy/grafana/dashboards/tally.json, by Grafana's own library for that.

    python scripts/dashboard.py             write it anew, as `make reference` does
    python scripts/dashboard.py --check     write nothing; exit with 1 if it is not what this says

It has more than 300 lines because the dashboard has as many panels, and most of them are nothing else.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import common as build
from grafana_foundation_sdk.builders import stat, table, timeseries
from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DatasourceVariable,
    QueryVariable,
    Row,
    ThresholdsConfig,
)
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataTransformerConfig,
    Panel,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

FILE = Path(__file__).resolve().parents[1] / "deploy" / "grafana" / "dashboards" / "tally.json"

#: Which Prometheus is asked: a variable, so that the file may be imported anywhere.
SOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")

#: Put into each selector. Its "All" also has what is without a namespace, as outside of Kubernetes.
NAMESPACE = 'namespace=~"$namespace"'

#: Of what the process itself tells, and not Tally: the jobs that are Tally's.
JOBS = 'job=~".*tally.*"'

SECONDS, BYTES, PER_SECOND, SHARE, COUNT = "s", "bytes", "ops", "percentunit", "short"


def rows() -> list[tuple[str, list[Builder[Panel]]]]:
    """Return what the dashboard shows: titles of rows, with their panels."""
    return [
        ("Is all well?", is_all_well()),
        ("What is counted", what_is_counted()),
        ("Ingestors", ingestors()),
        ("Aggregators", aggregators()),
        ("Redis", redis()),
        ("Api", api()),
        ("Processes", processes()),
    ]


def is_all_well() -> list[Builder[Panel]]:
    return [
        figure(
            "Alerts",
            "Alerts that fire. What to do is in docs/operations.md, under the name of each.",
            'count(ALERTS{alertname=~"Tally.*", alertstate="firing"}) or vector(0)',
            red=1,
        ),
        figure(
            "Lines a second",
            "As they are counted, the rejected too.",
            once("rate(tally_lines_total[$rate])"),
            unit=PER_SECOND,
        ),
        figure(
            "Age of the backlog",
            "How long the oldest block has waited to be counted.",
            "max(tally_backlog_oldest_seconds)",
            unit=SECONDS,
            orange=10,
            red=60,
        ),
        figure(
            "Aggregators",
            "Those that are alive.",
            once('tally_aggregators{state="alive"}'),
            red_below=1,
        ),
        figure(
            "Rejected",
            "The share of lines that are no events.",
            f"sum({once('rate(tally_rejected_lines_total[$rate])', by='reason')})"
            f" / {once('rate(tally_lines_total[$rate])')}",
            unit=SHARE,
            orange=0.01,
            red=0.05,
        ),
        figure(
            "Memory of Redis",
            "Of its maxmemory, of the node that is fullest.",
            "max(tally_redis_used_memory_bytes / tally_redis_max_memory_bytes)",
            unit=SHARE,
            orange=0.7,
            red=0.85,
        ),
    ]


def what_is_counted() -> list[Builder[Panel]]:
    return [
        graph(
            "Events by type",
            "The most frequent types, and those of TALLY_METRICS_TYPES.",
            (once("rate(tally_events_total[$rate])", by="type"), "{{type}}"),
            unit=PER_SECOND,
        ),
        graph(
            "Rejected lines by reason",
            "Samples, with the whole reason, are on Tally's page.",
            (once("rate(tally_rejected_lines_total[$rate])", by="reason"), "{{reason}}"),
            unit=PER_SECOND,
        ),
        graph(
            "Lines and words",
            "All lines that were counted, the rejected too, and the words of their texts.",
            (once("rate(tally_lines_total[$rate])"), "lines"),
            (once("rate(tally_words_total[$rate])"), "words"),
            unit=PER_SECOND,
        ),
        graph(
            "Backlog",
            "Bytes that wait to be counted.",
            (once("tally_backlog_bytes"), "bytes"),
            unit=BYTES,
        ),
        graph(
            "Age of the backlog",
            "How long the oldest block has waited.",
            ("max(tally_backlog_oldest_seconds)", "oldest block"),
            unit=SECONDS,
        ),
        graph(
            "Distinct names",
            "Of so many as are counted by their name. Above, they are counted under __other__.",
            ("max by (kind) (tally_distinct_names / tally_distinct_names_limit)", "{{kind}}"),
            unit=SHARE,
        ),
        graph(
            "What should not be",
            "Blocks that others deleted, dead letters, and counts without a name.",
            (once("increase(tally_lost_blocks_total[$rate])"), "lost blocks"),
            (once("tally_dead_letters"), "dead letters"),
            (once("increase(tally_other_total[$rate])", by="kind"), "__other__ ({{kind}})"),
        ),
        graph(
            "Aggregators as Redis knows them",
            "Idle ones have not asked for a while, and lose what they hold to others.",
            (once("tally_aggregators", by="state"), "{{state}}"),
            (once("tally_unserved_shards"), "shards without one"),
        ),
        listing(
            "Sources",
            "When the stored sources were last appended to, or seen to be open.",
            ("max by (source) (time() - tally_source_last_seen_timestamp_seconds)", SECONDS),
        ),
    ]


def ingestors() -> list[Builder[Panel]]:
    return [
        graph(
            "Lines by source",
            "As they are put into the stream.",
            ("sum by (source) (rate(tally_ingestor_lines_total[$rate]))", "{{source}}"),
            unit=PER_SECOND,
        ),
        graph(
            "Bytes by source",
            "As they are put into the stream.",
            ("sum by (source) (rate(tally_ingestor_bytes_total[$rate]))", "{{source}}"),
            unit="Bps",
        ),
        graph(
            "Blocks by outcome",
            "What Redis said of them.",
            ("sum by (outcome) (rate(tally_ingestor_blocks_total[$rate]))", "{{outcome}}"),
            unit=PER_SECOND,
        ),
        graph(
            "Append",
            "How long Redis takes to answer when blocks are appended.",
            *percentiles("tally_ingestor_append_duration_seconds"),
            unit=SECONDS,
        ),
        graph(
            "Waiting for room",
            "The share of the time in which a source is not read for the stream is full, of all its shards together.",
            ("sum by (source) (rate(tally_ingestor_backpressure_seconds_total[$rate]))", "{{source}}"),
            unit=SHARE,
        ),
        graph(
            "Are sources up?",
            "0 is down; those that have ended are not here.",
            ("min by (source) (tally_ingestor_source_up)", "{{source}}"),
        ),
        graph(
            "Failures, and bytes lost",
            "Of sources that could not be read on, and of what cannot be read again.",
            ("sum by (source) (increase(tally_ingestor_source_failures_total[$rate]))", "failures of {{source}}"),
            ("sum by (source) (increase(tally_ingestor_lost_bytes_total[$rate]))", "lost of {{source}}"),
        ),
        graph(
            "Not appended yet",
            "Of followed files, and of what is held in memory.",
            ("sum by (source) (tally_ingestor_followed_lag_bytes)", "{{source}}: files"),
            ("sum by (source) (tally_ingestor_buffered_bytes)", "{{source}}: memory"),
            unit=BYTES,
        ),
        graph(
            "Connections and refusals",
            "Of sources that listen.",
            ("sum by (source) (tally_ingestor_connections)", "{{source}}: open"),
            ("sum by (source, reason) (rate(tally_ingestor_refused_total[$rate]))", "{{source}}: {{reason}} a second"),
        ),
        graph(
            "Requests",
            "POSTs by the class of their status, and those that were in the stream already.",
            (
                "sum by (status) (rate(tally_ingestor_request_duration_seconds_count[$rate]))",
                "{{status}}",
            ),
            ("sum(rate(tally_ingestor_replays_total[$rate]))", "replays"),
            unit=PER_SECOND,
        ),
        graph(
            "How long a request takes",
            "From its head to the last byte of the answer.",
            *percentiles("tally_ingestor_request_duration_seconds"),
            unit=SECONDS,
        ),
        graph(
            "How large a body is",
            "As it was sent.",
            *percentiles("tally_ingestor_request_size_bytes"),
            unit=BYTES,
        ),
    ]


def aggregators() -> list[Builder[Panel]]:
    return [
        graph(
            "From event to count",
            "From the time of the newest event of a batch to its being settled.",
            *percentiles("tally_aggregator_event_lag_seconds"),
            unit=SECONDS,
        ),
        graph(
            "Where a batch spends its time",
            "99 of 100 take less.",
            (percentile(0.99, "tally_aggregator_decode_duration_seconds"), "decode"),
            (percentile(0.99, "tally_aggregator_settle_duration_seconds"), "settle"),
            (percentile(0.99, "tally_aggregator_apply_duration_seconds"), "apply"),
            unit=SECONDS,
        ),
        graph(
            "Batches",
            "Batches that are settled, a second.",
            ("sum by (instance) (rate(tally_aggregator_batch_bytes_count[$rate]))", "{{instance}}"),
            unit=PER_SECOND,
        ),
        graph(
            "Size of a batch",
            "On average. Batches grow by themselves where there is much to count.",
            (
                "sum(rate(tally_aggregator_batch_bytes_sum[$rate]))"
                " / sum(rate(tally_aggregator_batch_bytes_count[$rate]))",
                "bytes",
            ),
            unit=BYTES,
        ),
        graph(
            "Names of a batch",
            "Different types and words, on average: what Redis has to add.",
            (
                "sum(rate(tally_aggregator_batch_names_sum[$rate]))"
                " / sum(rate(tally_aggregator_batch_names_count[$rate]))",
                "names",
            ),
        ),
        graph(
            "Claims, and names that are folded",
            "Blocks that others held and did not count; names that move from windows no longer kept to longer ones.",
            ("sum(rate(tally_aggregator_claimed_blocks_total[$rate]))", "claimed blocks"),
            ("sum(rate(tally_aggregator_folded_names_total[$rate]))", "folded names"),
            unit=PER_SECOND,
        ),
    ]


def redis() -> list[Builder[Panel]]:
    operations = "tally_redis_operation_duration_seconds"
    return [
        graph(
            "Operations",
            "Scripts and commands, by all services.",
            (f"sum by (operation) (rate({operations}_count[$rate]))", "{{operation}}"),
            unit=PER_SECOND,
        ),
        graph(
            "How long they take",
            "99 of 100 take less. xreadgroup waits until there is a block.",
            (percentile(0.99, f'{operations}{{operation!="xreadgroup"}}', by="operation"), "{{operation}}"),
            unit=SECONDS,
        ),
        graph(
            "Failures",
            "By operation and outcome: unavailable passes by itself, refused does not.",
            (
                f'sum by (operation, outcome) (rate({operations}_count{{outcome!="ok"}}[$rate]))',
                "{{operation}}: {{outcome}}",
            ),
            unit=PER_SECOND,
        ),
        graph(
            "Memory",
            "Of each node.",
            ("max by (node) (tally_redis_used_memory_bytes)", "{{node}}"),
            ("max by (node) (tally_redis_max_memory_bytes)", "{{node}}: maxmemory"),
            unit=BYTES,
        ),
        graph(
            "Does it answer?",
            "0: it did not, when the service last asked.",
            ("min by (job, instance) (tally_redis_up)", "{{job}} {{instance}}"),
        ),
        graph(
            "Reconnects",
            "Times that it answered again after it had not.",
            ("sum by (job) (increase(tally_redis_reconnects_total[$rate]))", "{{job}}"),
        ),
    ]


def api() -> list[Builder[Panel]]:
    return [
        graph(
            "Requests by route",
            "Of all apis.",
            ("sum by (route) (rate(tally_api_request_duration_seconds_count[$rate]))", "{{route}}"),
            unit=PER_SECOND,
        ),
        graph(
            "Requests by status",
            "By its class.",
            ("sum by (status) (rate(tally_api_request_duration_seconds_count[$rate]))", "{{status}}"),
            unit=PER_SECOND,
        ),
        graph(
            "How long they take",
            "99 of 100 take less.",
            (percentile(0.99, "tally_api_request_duration_seconds", by="route"), "{{route}}"),
            unit=SECONDS,
        ),
        graph(
            "Age of what is answered",
            "How long before an answer Redis had been asked for it.",
            *percentiles("tally_api_snapshot_age_seconds"),
            unit=SECONDS,
        ),
        graph(
            "Memory of snapshots",
            "Bounded by TALLY_MAX_SNAPSHOT_BYTES.",
            ("max by (instance) (tally_api_snapshot_bytes)", "{{instance}}"),
            unit=BYTES,
        ),
        graph(
            "Watchers, and refused tokens",
            "Pages that are open, and requests with a wrong token or none.",
            ("sum(tally_api_watchers)", "watchers"),
            ("sum(increase(tally_api_refused_tokens_total[$rate]))", "refused tokens"),
        ),
    ]


def processes() -> list[Builder[Panel]]:
    return [
        graph(
            "Processor time",
            "Of a core.",
            (f"rate(process_cpu_seconds_total{{{JOBS}}}[$rate])", "{{job}} {{instance}}"),
            unit=SHARE,
        ),
        graph(
            "Memory",
            "Resident.",
            (f"process_resident_memory_bytes{{{JOBS}}}", "{{job}} {{instance}}"),
            unit=BYTES,
        ),
        graph(
            "Lag of the event loop",
            "99 of 100 turns came less late.",
            (percentile(0.99, "tally_event_loop_lag_seconds", by="job, instance"), "{{job}} {{instance}}"),
            unit=SECONDS,
        ),
        graph(
            "Log",
            "Lines by level. docs/operations.md explains each.",
            ("sum by (job, level) (increase(tally_log_messages_total[$rate]))", "{{job}} {{level}}"),
        ),
        graph(
            "Open files",
            "And sockets.",
            (f"process_open_fds{{{JOBS}}}", "{{job}} {{instance}}"),
        ),
        listing(
            "Versions",
            "How many processes there are of each service and version.",
            ("count by (service, version) (tally_build_info)", COUNT),
        ),
    ]


def once(expression: str, *, by: str = "") -> str:
    """Return an expression: what was counted, of which all apis of a Tally tell the same, by some labels."""
    of_each = f"namespace, job, {by}" if by else "namespace, job"
    return f"sum{f' by ({by})' if by else ''} (max by ({of_each}) ({expression}))"


def percentile(share: float, histogram: str, *, by: str = "") -> str:
    """Return an expression: under what so much of a histogram lies, for each value of some labels."""
    name, brace, matchers = histogram.partition("{")
    grouped = f"{by}, le" if by else "le"
    return f"histogram_quantile({share}, sum by ({grouped}) (rate({name}_bucket{brace}{matchers}[$rate])))"


def percentiles(histogram: str) -> list[tuple[str, str]]:
    """Return half, and all but one in a hundred."""
    return [(percentile(0.5, histogram), "half"), (percentile(0.99, histogram), "99 of 100")]


def query(expression: str, legend: str = "") -> Dataquery:
    """Return what is asked, of the namespaces that are chosen and over the time that suits the picture."""

    def choose(found: re.Match[str]) -> str:
        name, matchers = found[1], found[2]
        return f"{name}{{{NAMESPACE}{', ' + matchers if matchers else ''}}}"

    chosen = re.sub(r"\b((?:tally|process)_\w+|ALERTS)(?:\{([^}]*)\})?", choose, expression)
    return Dataquery().expr(chosen.replace("$rate", "$__rate_interval")).legend_format(legend).datasource(SOURCE)


def figure(
    title: str,
    description: str,
    expression: str,
    *,
    unit: str = COUNT,
    orange: float | None = None,
    red: float | None = None,
    red_below: float | None = None,
) -> Builder[Panel]:
    """Return one figure, which is green but from, or below, these values."""
    steps = [(None, "green"), (orange, "orange"), (red, "red")]
    if red_below is not None:
        steps = [(None, "red"), (red_below, "green")]
    colors = [
        Threshold(value=value, color=color) for n, (value, color) in enumerate(steps) if not n or value is not None
    ]
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .thresholds(ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(colors))
        .graph_mode(common.BigValueGraphMode.AREA)
        .reduce_options(build.ReduceDataOptions().calcs(["lastNotNull"]))
        .height(4)
        .span(4)
        .with_target(query(expression).ref_id("A"))
    )


def graph(title: str, description: str, *series: tuple[str, str], unit: str = COUNT) -> Builder[Panel]:
    """Return lines over time: expressions with their legends."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .fill_opacity(10)
        .legend(
            build.VizLegendOptions()
            .show_legend(True)
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
        )
        .tooltip(build.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING))
        .height(8)
        .span(8)
    )
    for letter, (expression, legend) in zip("ABCD", series, strict=False):
        panel.with_target(query(expression, legend).ref_id(letter))
    return panel


def listing(title: str, description: str, of: tuple[str, str]) -> Builder[Panel]:
    """Return a table of how it is now: an expression, and the unit of its value."""
    expression, unit = of
    return (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .with_transformation(DataTransformerConfig(id_val="organize", options={"excludeByName": {"Time": True}}))
        .height(8)
        .span(8)
        .with_target(query(expression).instant().format(PromQueryFormat.TABLE).ref_id("A"))
    )


def dashboard() -> str:
    """Return the file."""
    made = (
        Dashboard("Tally")
        .uid("tally")
        .description("Whether all is counted, and how everything is that counts. Made by scripts/dashboard.py.")
        .tags(["tally"])
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .time("now-3h", "now")
        .refresh("30s")
        .readonly()
        .with_variable(DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .with_variable(
            QueryVariable("namespace")
            .label("Namespace")
            .datasource(SOURCE)
            .query("label_values(tally_build_info, namespace)")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .multi(True)
            .include_all(True)
            .all_value(".*")
            .current(VariableOption(text="All", value="$__all", selected=True))
        )
    )
    for title, panels in rows():
        made.with_row(Row(title))
        for panel in panels:
            made.with_panel(panel)
    built: Any = made.build()
    for number, panel in enumerate(built.panels, 1):
        panel.id_val = number
    return JSONEncoder(sort_keys=True, indent=2).encode(built) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if it would be another file")
    text = dashboard()
    if parser.parse_args().check:
        same = FILE.exists() and FILE.read_text(encoding="utf-8") == text
        if not same:
            sys.stderr.write(f"{FILE.name} is not what {Path(__file__).name} says: make reference\n")
        return int(not same)
    FILE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
