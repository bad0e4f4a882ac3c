"""Who attended is told as the rules rewarded it, whoever stands in the certificate of the one block."""

from pathlib import Path

from contracts.state import Score, ScoreCause, score_key
from contracts.state_reading import require
from ledger.block import block_digest
from node.stories.score_history import score_history
from tests.support.ledger import ChainBuilder, certify
from tests.support.names import names_in
from tests.support.stories import told


def test_who_attended_is_told_whether_or_not_the_certificate_has_it(tmp_path: Path) -> None:
    builder = ChainBuilder.create(tmp_path / "ledger")
    builder.append()
    block = builder.build()
    header = block.header
    signed = certify(builder.community, header.height, header.slot, block_digest(header), signers=(1, 2, 3))
    builder.ledger.append(block, signed)
    builder.append_trading_hour()
    builder.append()
    attended = builder.ledger.height - 1
    assert require(builder.ledger, score_key(builder.community.addresses[3]), Score).cause is ScoreCause.VALIDATOR
    history = score_history(builder.ledger, names_in(builder.ledger), "home4", after=None, versions_max=9)
    assert told(history).versions[-1].words == f"attended block {attended} with 1 rewarded trade"
    builder.ledger.close()
