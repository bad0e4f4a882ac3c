"""What block sync hands to the driver, step by step, without an event loop: decided blocks and nothing else."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from consensus.eras import FIRST_ERA
from consensus.identifiers import Address, Height, Slot
from consensus.messages import Decided, Status
from ledger.ledger import Ledger
from node.chain.block_sync import FetchedBlock
from node.chain.sync_planner import SyncFault
from node.mesh.messages import Blocks
from tests.support.driving import application_on
from tests.support.ledger import ChainBuilder
from tests.unit.node.chain.test_block_sync import (
    FAR,
    LIAR,
    LIES,
    PEERS,
    Behind,
)

TIP = 12
"""More than a DECIDED run."""


class Checked(Behind):
    """A node that is fed only what was decided."""

    def append(self, decided: Decided) -> None:
        right = application_on(self.source, PEERS[0]).decided(Height(self.ledger.height + 1))
        assert decided == right, "fed what nobody decided"
        super().append(decided)

    def hear(self, peer: Address, undecided: int, origin: Address) -> None:
        status = Status(
            era=FIRST_ERA,
            undecided=Height(undecided),
            tip=self.source.tip,
            clock_slot=Slot(0),
            origin=origin,
            hears=b"",
        )
        self.sync.on_status(peer, status)

    def look(self) -> None:
        """Asks for what is missing, has it answered, feeds it."""
        self.sync.plan()
        for server in self.servers.values():
            while server.answer_next():
                pass
        while (fetched := self.sync.next_block()) is not None:
            assert self.sync.feed(fetched)


@pytest.fixture
def behind(tmp_path: Path) -> Checked:
    builder = ChainBuilder.create(tmp_path / "source")
    for _ in range(TIP):
        builder.append([builder.transfer(0, 1, 1)])
    return Checked(Ledger.create(tmp_path / "ledger", builder.community.genesis), builder.ledger)


@pytest.mark.parametrize(("lie", "fault"), LIES)
def test_a_lie_is_not_fed_and_its_author_not_asked_again(
    behind: Checked, lie: Callable[[Blocks], Blocks], fault: SyncFault
) -> None:
    behind.lie = lie
    for peer in PEERS:
        behind.hear(peer, TIP + 1, peer)
    behind.sync.plan()
    (first,) = behind.asked
    assert first[0] == LIAR, "the first that is asked"
    for _ in range(3):
        behind.look()
    assert behind.refused == [fault.value]
    assert behind.ledger.height == TIP
    assert [peer for peer, _ in behind.asked].count(LIAR) == 1


def test_what_is_said_of_others_is_not_asked_for(behind: Checked) -> None:
    for peer in PEERS:
        behind.hear(peer, FAR, Address(bytes(32)))
    behind.look()
    assert (behind.asked, behind.sync.progress()) == ([], None)


def test_what_was_decided_meanwhile_is_not_fed(behind: Checked) -> None:
    posted: list[object] = []
    decided = application_on(behind.source, PEERS[0]).decided(Height(1))
    fetched = FetchedBlock(sender=PEERS[1], decided=decided)
    behind.append(decided)
    behind.sync._links = replace(behind.sync._links, post=posted.append)
    assert behind.sync.feed(fetched)
    assert posted == []
