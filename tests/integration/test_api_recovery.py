"""The API of a node that catches up, keeps silent, or finds its ledger damaged while it is asked."""

from pathlib import Path

from consensus.identifiers import Height
from ledger.store import block_key
from node.api.context import RecoveryStatus
from node.chain.block_sync import SyncProgress
from node.replies.node import StatusReply
from tests.support.api import running_api


async def test_status_tells_of_a_sync_and_of_a_ledger_that_was_set_aside(tmp_path: Path) -> None:
    async with running_api(tmp_path / "ledger") as harness:
        status = await harness.get("/v1/status")
        assert (status["syncing"], status["ledger_set_aside"], status["silent"]) == (None, None, None)
        progress = SyncProgress(first=Height(3), target=Height(1_200), blocks_per_s=512.5)
        harness.surroundings.recovery = RecoveryStatus(syncing=progress, ledger_set_aside="ledger.damaged-1")
        status = await harness.get("/v1/status")
        assert status["syncing"] == {"from": 3, "to": 1_200, "blocks_per_s": 512.5}
        assert status["ledger_set_aside"] == "ledger.damaged-1"
        assert StatusReply.model_validate(status).syncing is not None


async def test_what_is_damaged_is_not_shown_and_stops_the_node(tmp_path: Path) -> None:
    async with running_api(tmp_path / "ledger") as harness:
        for _ in range(3):
            harness.decide([])
        harness.ledger._store.write({block_key(Height(2)): b"altered"})
        problem = await harness.get("/v1/blocks/2", expect=503)
        assert problem["reason"] == "halted"
        assert [damage.height for damage in harness.surroundings.damage] == [2]
