import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.metrics_core import Metric

from node.metrics.chain_collector import chain_metric_families
from node.metrics.counters import NodeMetrics

ROOT = Path(__file__).parents[4]
DEPLOY = ROOT / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
METRIC = re.compile(r"\bp2pnode_\w+")
LABELS = re.compile(r"(?:by|without) \(([\w, ]+)\)|{{(\w+)}}|[{,](\w+)=~?\"")
SERIES_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
LABELS_OF_PROMETHEUS = {"instance", "job", "le"}

EXPECTED_SUBJECTS = (
    "p2pnode_height",
    "p2pnode_blocks_applied_total",
    "p2pnode_view_changes_total",
    "p2pnode_phase_duration_seconds_bucket",
    "p2pnode_mempool_transactions",
    "p2pnode_mempool_bytes",
    "p2pnode_peers_connected",
    "p2pnode_trades_completed_total",
    "p2pnode_trades_declined_total",
    "p2pnode_energy_wh",
    "p2pnode_tokens",
    "p2pnode_q_score",
    "p2pnode_commit_latency_seconds_bucket",
)


def families() -> list[Metric]:
    return [*NodeMetrics().registry.collect(), *chain_metric_families()]


def series_names() -> set[str]:
    return {family.name + suffix for family in families() for suffix in SERIES_SUFFIXES[family.type]}


def queries() -> list[tuple[str, str, str]]:
    return [
        (panel["title"], target["expr"], target["legendFormat"])
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
    ]


def test_every_panel_has_a_query_and_the_provisioned_source() -> None:
    provisioned = (DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml").read_text()
    identifiers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(identifiers)) == len(identifiers)
    for panel in DASHBOARD["panels"]:
        assert panel["targets"], panel["title"]
        assert f"uid: {panel['datasource']['uid']} " in provisioned


@pytest.mark.parametrize(("title", "query", "legend"), queries(), ids=lambda text: text[:40])
def test_every_metric_of_a_query_exists(title: str, query: str, legend: str) -> None:
    used = METRIC.findall(query)
    assert used or query == 'sum(up{job="p2pnode"})', f"{title} asks nothing of the nodes"
    unknown = set(used) - series_names()
    assert not unknown, f"{title} asks for {unknown}"


@pytest.mark.parametrize(("title", "query", "legend"), queries(), ids=lambda text: text[:40])
def test_every_label_of_a_query_exists(title: str, query: str, legend: str) -> None:
    known = set(LABELS_OF_PROMETHEUS)
    metrics = NodeMetrics()
    known |= {"peer", "direction", "route", "status", "method"}  # children that appear with the first peer or request
    for family in (*metrics.registry.collect(), *chain_metric_families()):
        known |= set(getattr(family, "_labelnames", ()))
        known |= {label for sample in family.samples for label in sample.labels}
    used = {name.strip() for match in LABELS.findall(query + legend) for part in match for name in part.split(",")}
    assert used - {""} <= known, f"{title} uses labels {used - known}"


@pytest.mark.parametrize("name", EXPECTED_SUBJECTS)
def test_every_subject_has_a_panel(name: str) -> None:
    assert any(name in METRIC.findall(query) for _, query, _ in queries())


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place: dict[str, Any] = panel["gridPos"]
        cells = {
            (column, row)
            for column in range(place["x"], place["x"] + place["w"])
            for row in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_prometheus_scrapes_the_api_port_of_each_node_of_the_compose_network() -> None:
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    compose = (DEPLOY / "docker-compose.yml").read_text()
    targets = re.findall(r"- (node\d):(\d+)", text)
    ports = re.findall(r"P2PNODE_PORT_(\d)-\d+}:(\d+)\"", compose)
    assert targets == [(f"node{number}", port) for number, port in ports]
    assert len(targets) == 5
    assert "job_name: p2pnode " in text


def test_the_page_of_metrics_says_what_the_node_says() -> None:
    rows = re.findall(r"\| `(p2pnode_\w+)` \| (\w+) \| [^|]* \| (.*) \|", (ROOT / "docs" / "metrics.md").read_text())
    shown = {(family.name + ("_total" if family.type == "counter" else ""), family.type) for family in families()}
    said = {family.documentation for family in families()}
    assert {(name, kind) for name, kind, _ in rows} == shown
    assert {text for _, _, text in rows} == said
