"""Every message takes one to three slots, for ever: no slot ends as it should, and everything still happens."""

from pathlib import Path

from consensus.codec import decode
from consensus.identifiers import Address, Height
from contracts.receipts import Receipt, Status
from contracts.state import TOTALS_KEY, Interval, Totals, interval_key
from contracts.transactions import (
    Action,
    PublishReading,
    SubmitTrade,
    Transfer,
    decode_transaction,
    transaction_digest,
)
from tests.simulation.faults import Faults
from tests.simulation.host import TAU_MS
from tests.simulation.ledger_application import LedgerApplication
from tests.simulation.network import RECOVERY_SLOTS_MAX, Network
from tests.simulation.opaque import BLOCK_REQUESTS_MAX
from tests.support.contracts import (
    FIRST_INTERVAL_MS,
    Community,
    make_genesis,
    signed_reading,
    signed_trade,
    transfer,
)

MEMBERS = 4
GATE_CLOSURE_SLOTS = 400
"""Longer than the trades of the interval need here."""


class Clients(LedgerApplication):
    """Asks for what the test says."""

    def __init__(self, directory: Path, community: Community, number: int) -> None:
        self.wanted: Action = transfer(community, (number + 1) % MEMBERS, 1)
        super().__init__(directory, community, number)

    def new_request(self, number: int) -> bytes:
        return self._signed(self.wanted)  # type: ignore[arg-type]


class Street:
    """Four households on the production ledger."""

    def __init__(self, directory: Path) -> None:
        community = make_genesis(
            MEMBERS,
            slot_duration_ms=TAU_MS,
            block_transactions_max=BLOCK_REQUESTS_MAX,
            gate_closure_slots=GATE_CLOSURE_SLOTS,
        )
        self.clients = [Clients(directory / str(number), community, number) for number in range(MEMBERS)]
        self.community = community
        self.network = Network(
            MEMBERS,
            1,
            Faults(),
            keys=community.node_keys,
            application=lambda _, number: self.clients[number],
            is_encoded=True,
        )
        self.network.draw_delay_ms = self.draw_delay_ms  # type: ignore[method-assign]
        self._asked = 0

    def draw_delay_ms(self) -> int:
        return self.network.random.randint(TAU_MS, 3 * TAU_MS)

    def execute(self, *wanted: tuple[int, Action]) -> None:
        """Clients of these members ask; all of it is executed by all members."""
        for member, action in wanted:
            self.clients[member].wanted = action
            self.network.hosts[member].submit(self._asked)
            self._asked += 1
        assert self.network.run(self.network.is_everything_executed, RECOVERY_SLOTS_MAX * TAU_MS), "stuck"

    def leaders(self) -> set[Address]:
        ledger = self.clients[0].ledger
        blocks = [ledger.block(Height(height)) for height in range(1, ledger.height + 1)]
        return {block.header.leader for block in blocks if block is not None}

    def receipts(self) -> list[tuple[Action, Receipt]]:
        ledger = self.clients[0].ledger
        found = []
        for height in range(1, ledger.height + 1):
            block = ledger.block(Height(height))
            assert block is not None
            by_name = {receipt.transaction: receipt for receipt in ledger.receipts(Height(height))}
            found += [
                (decode_transaction(raw).envelope.action, by_name[transaction_digest(raw)])
                for raw in block.transactions
            ]
        return found

    def is_closed(self) -> bool:
        stored = self.clients[0].ledger.get(interval_key(FIRST_INTERVAL_MS))
        return stored is not None and decode(stored, Interval).closed


def test_messages_of_one_to_three_slots_stop_no_kind_of_transaction_and_no_leader(tmp_path: Path) -> None:
    street = Street(tmp_path)
    community = street.community
    street.execute((0, signed_reading(community, 0, 2_000)), (1, signed_reading(community, 1, -1_500)))
    street.execute(
        (0, signed_trade(community, 0, 1, 1_000, offer_counter=0)),
        (1, signed_trade(community, 0, 1, 400, offer_counter=1)),
        (2, transfer(community, 3, 7)),
        (3, signed_trade(community, 3, 2, 100, offer_counter=0)),  # declined: it has no such packet
    )
    turns = 0
    while not street.is_closed() or len(street.leaders()) < MEMBERS:
        turns += 1
        assert turns < GATE_CLOSURE_SLOTS, "a gate that never closes, or a member that never leads"
        member = turns % MEMBERS
        street.execute((member, transfer(community, (member + 1) % MEMBERS, turns)))
    done = {(type(action), receipt.status) for action, receipt in street.receipts()}
    assert done == {
        (PublishReading, Status.EXECUTED),
        (SubmitTrade, Status.EXECUTED),
        (SubmitTrade, Status.DECLINED),
        (Transfer, Status.EXECUTED),
    }
    stored = street.clients[0].ledger.get(TOTALS_KEY)
    assert stored is not None
    totals = decode(stored, Totals)
    assert (totals.trades_completed, totals.bought_wh, totals.exported_wh, totals.imported_wh) == (2, 1_400, 600, 100)
    assert street.leaders() == set(community.addresses)
    assert sum(host.view_changes for host in street.network.hosts) > 0, "this was to be a network of failing slots"
    street.network.close()
