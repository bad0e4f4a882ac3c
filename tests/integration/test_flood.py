"""One of four members floods the others; `make endurance` sends a million messages, this a part of it."""

from pathlib import Path

import pytest

from node.mesh.limits import MeshRefusal
from tests.endurance.flood import MEMORY_GROWTH_MIB_MAX, flood_testnet

pytestmark = pytest.mark.alone("forty-five thousand messages as fast as they go, and memory is measured")

MESSAGES = 45_000


def test_a_flood_is_read_and_changes_nothing(tmp_path: Path) -> None:
    found = flood_testnet(tmp_path, messages=MESSAGES)
    assert found.sent >= MESSAGES
    assert found.read == found.sent, "all of it came to be judged"
    assert min(found.sent_by_class.values()) > MESSAGES // 4
    assert found.refused[MeshRefusal.MALFORMED_MESSAGE.value] == found.links
    for reason in ("bad_signature", "wrong_proposal", "malformed", "blocks_request_dropped"):
        assert found.refused[reason] > 0, reason
    assert max(found.memory_growth_mib.values()) < MEMORY_GROWTH_MIB_MAX
    assert found.blocks >= found.latency_during.count > 0
