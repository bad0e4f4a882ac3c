"""What a ledger may begin at, taken from a whole one."""

from pathlib import Path

from consensus.identifiers import Height
from contracts.genesis import Genesis
from contracts.state import StateKey, Table
from ledger.block import BlockHeader
from ledger.ledger import Ledger
from ledger.origin import NAMED_BELOW_MAX, Origin
from ledger.reading import TransactionLocation
from ledger.verification_report import VerificationReport
from ledger.verify import verify_ledger

Entries = list[tuple[StateKey, bytes]]


def origin_of(ledger: Ledger, height: int) -> Origin:
    """Returns the origin that a height of a whole ledger is."""
    certificate = ledger.certificate(Height(height))
    assert certificate is not None, "it is decided"
    return Origin(
        block=ledger.decided_block(Height(height)),
        certificate=certificate,
        receipts=ledger.receipts(Height(height)),
        steps=ledger.set_steps(),
        headers=headers_below(ledger, height),
    )


def headers_below(ledger: Ledger, height: int) -> tuple[BlockHeader, ...]:
    lowest = max(1, height - NAMED_BELOW_MAX)
    return tuple(ledger.decided_block(Height(one)).header for one in range(height - 1, lowest - 1, -1))


def state_at(ledger: Ledger, height: int) -> Entries:
    """Returns every key that the state had after a height, with its value."""
    keys = [key for table in Table for key, _ in ledger.scan(table)]
    values = [(key, ledger.get_at(key, Height(height))) for key in keys]
    return [(key, value) for key, value in values if value is not None]


def begun_at(whole: Ledger, height: int, directory: Path) -> Ledger:
    """Returns a ledger that begins at a height of a whole one."""
    return Ledger.create_at(directory, whole.genesis, origin_of(whole, height), state_at(whole, height))


def follow(ledger: Ledger, whole: Ledger) -> None:
    """Appends what a whole ledger has above the tip."""
    for number in range(ledger.height + 1, whole.height + 1):
        certificate = whole.certificate(Height(number))
        assert certificate is not None, "it is decided"
        ledger.append(whole.decided_block(Height(number)), certificate)


def answers(ledger: Ledger, first: int) -> dict[str, object]:
    """Returns what a ledger says of the state, of its members and of every height from one on."""
    heights = [Height(number) for number in range(first, ledger.height + 1)]
    keys = [key for table in Table for key, _ in ledger.scan(table)]
    names = [receipt.transaction for height in heights for receipt in ledger.receipts(height)]
    places: dict[object, TransactionLocation | None] = {name: ledger.find_transaction(name) for name in names}
    return {
        "tip": (ledger.height, ledger.tip, ledger.tip_slot, ledger.state_root, ledger.rules),
        "state": {table: dict(ledger.scan(table)) for table in Table},
        "past values": {(key, height): ledger.get_at(key, height) for key in keys for height in heights},
        "written above": {key: list(ledger.history(key, above=Height(first))) for key in keys},
        "proofs of state": {key: ledger.prove_state(key) for key in keys},
        "members": [ledger.membership_at(Height(number)).members for number in range(1, ledger.height + 3)],
        "both sets": (ledger.memberships().undecided.members, ledger.memberships().following.members),
        "followers": ledger.memberships().followers,
        "steps": ledger.set_steps(),
        "blocks": [(ledger.decided_block(height), ledger.certificate(height)) for height in heights],
        "receipts": [ledger.receipts(height) for height in heights],
        "places": places,
        "proofs of receipts": [ledger.prove_receipt(name) for name in names],
        "nonces": [ledger.last_nonce(address) for address in ledger.membership().addresses],
    }


def verified(directory: Path, genesis: Genesis) -> VerificationReport:
    return verify_ledger(directory, genesis, lambda _height, _tip: None)
