"""What people read of a stake that was taken back: how much is locked, and until when."""

from pathlib import Path

from contracts.stakes import lock_slots
from contracts.transactions import SetStake
from node.cli.qscore import stake_text
from node.stories.lists import scores_of
from tests.support.ledger import ChainBuilder
from tests.support.names import names_in


def test_what_is_locked_is_shown_until_it_is_free(tmp_path: Path) -> None:
    chain = ChainBuilder.create(tmp_path / "ledger")
    chain.append([chain.transaction(0, SetStake(staked=700_000))])
    staked = scores_of(chain.ledger, names_in(chain.ledger)).scores[0]
    assert (staked.unlocking_millionths, staked.unlocked_at_slot) == (0, None)
    assert stake_text(staked) == "0.700000"
    block = chain.append([chain.transaction(0, SetStake(staked=200_000))])
    until = block.header.slot + lock_slots(chain.ledger.genesis)
    locked = scores_of(chain.ledger, names_in(chain.ledger)).scores[0]
    assert (locked.staked_millionths, locked.unlocking_millionths, locked.unlocked_at_slot) == (
        200_000,
        500_000,
        until,
    )
    assert stake_text(locked) == f"0.200000, 0.500000 locked until slot {until:,}"
    chain.append(slot=until)
    free = scores_of(chain.ledger, names_in(chain.ledger)).scores[0]
    assert (free.unlocking_millionths, free.unlocked_at_slot) == (0, None)
    assert stake_text(scores_of(chain.ledger, names_in(chain.ledger)).scores[1]) == "-"
    chain.ledger.close()
