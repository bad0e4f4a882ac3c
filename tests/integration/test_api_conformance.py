"""A running node answers as its OpenAPI document says, to requests that are made from it; `make api-long`: more."""

from pathlib import Path

from tests.conformance import SEED, conformance, running_node

CASES = 100


def test_node_answers_as_its_document_says(tmp_path: Path) -> None:
    with running_node(tmp_path / "testnet") as node:
        ended = conformance(node.url, cases=CASES, seed=SEED, directory=tmp_path)
        assert ended.returncode == 0, ended.stdout
        assert node.status() is not None
    assert "Traceback" not in node.log()
