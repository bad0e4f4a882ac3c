"""What the files under deploy/ and the locks say must agree with the code and with each other."""

import importlib.util
import json
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from node.testnet.init import CONTAINER_API_PORT, CONTAINER_P2P_PORT

ROOT = Path(__file__).parents[3]
DASHBOARD = ROOT / "deploy/grafana/dashboard.json"
NODES = [f"node{number}" for number in range(1, 6)]


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def pins_of(lock: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Version and hashes by package."""
    blocks = re.split(r"^(?=[a-z0-9])", text_of(lock), flags=re.MULTILINE)
    found = [(re.match(r"([\w.-]+)==(\S+)", block), block) for block in blocks]
    return {
        match[1]: (match[2], frozenset(re.findall(r"--hash=(\S+)", block)))
        for match, block in found
        if match is not None
    }


def check_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("container_check", ROOT / "deploy/containers/check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_images_get_the_versions_that_were_tested() -> None:
    tested, shipped = pins_of("requirements.lock"), pins_of("requirements-runtime.lock")
    assert len(shipped) > 20
    assert all(hashes for _, hashes in shipped.values())
    assert {name: pin for name, pin in shipped.items() if tested.get(name) != pin} == {}


def test_images_get_every_runtime_dependency_and_no_test_tool() -> None:
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    shipped = pins_of("requirements-runtime.lock").keys()
    names = [re.split(r"[><=]", line)[0] for line in project["dependencies"]]
    assert [name for name in names if name not in shipped] == []
    assert shipped & {"pytest", "hypothesis", "mypy", "ruff"} == set()


def test_prometheus_scrapes_the_api_port_of_every_node() -> None:
    targets = re.findall(r"- (node\d+:\d+)", text_of("deploy/prometheus/prometheus.yml"))
    assert targets == [f"{node}:{CONTAINER_API_PORT}" for node in NODES]


@pytest.mark.parametrize("node", NODES)
def test_compose_publishes_the_api_of_every_node_on_loopback_only(node: str) -> None:
    section = re.search(rf"^  {node}:\n((?:    .*\n)+)", text_of("deploy/docker-compose.yml"), re.MULTILINE)
    assert section is not None
    ports = re.findall(r"ports: \[(.*)\]", section[1])
    assert [re.sub(r"\$\{.*?\}", "PORT", port) for port in ports] == [f'"127.0.0.1:PORT:{CONTAINER_API_PORT}"']
    assert f"/{node}:/home/p2pnode/home" in section[1]


def test_the_image_exposes_and_watches_the_ports_of_the_layout() -> None:
    dockerfile = text_of("deploy/Dockerfile")
    assert f"EXPOSE {CONTAINER_P2P_PORT} {CONTAINER_API_PORT}\n" in dockerfile
    assert f"http://127.0.0.1:{CONTAINER_API_PORT}/healthz" in dockerfile


def test_every_query_of_the_dashboard_is_checked_with_its_variables_filled_in() -> None:
    panels = check_module().panels_of(DASHBOARD)
    assert len(panels) == text_of("deploy/grafana/dashboard.json").count('"expr"')
    assert [panel.query for panel in panels if "$" in panel.query] == []


def test_queries_of_panels_inside_rows_are_checked_too(tmp_path: Path) -> None:
    inner = {"title": "inner", "targets": [{"expr": 'up{instance=~"$instance"}'}]}
    dashboard = tmp_path / "dashboard.json"
    dashboard.write_text(json.dumps({"panels": [{"title": "row", "panels": [inner]}]}), encoding="utf-8")
    assert [(panel.title, panel.query) for panel in check_module().panels_of(dashboard)] == [
        ("inner", 'up{instance=~".*"}')
    ]
