"""What must hold after a ceremony, from the ledgers of stopped nodes."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from consensus.era_plans import Plan
from consensus.identifiers import Height
from contracts.state import TOTALS_KEY, Totals
from contracts.state_reading import require
from node.home.era_files import PlanFile, read_record
from tests.ceremonies.run import TRADED_WH, CeremonyRun
from tests.endurance.pack import Replied
from tests.endurance.witness import FILE_NAME, contradictions, read_statements
from tests.faults.books import Books, opened
from tests.support.testnet import STACK_TRACE, Node

NEVER_SAID: Final = ("contradicted itself", "halted", "sent wrong blocks", STACK_TRACE)
HOURS_TRADED: Final = 2


def take_statements(run: CeremonyRun) -> None:
    """Compares what daemons heard each other sign so far, and takes it away: in another era they may sign anew.

    Raises:
        AssertionError: somebody contradicted himself.
    """
    homes = [node.home.directory for node in run.nodes if (node.home.directory / FILE_NAME).exists()]
    homes += [run.burnt.directory] if run.burnt is not None and (run.burnt.directory / FILE_NAME).exists() else []
    statements = read_statements(homes)
    assert not (found := contradictions(statements)), found
    run.row.statements += len(statements)
    for home in homes:
        (home / FILE_NAME).unlink()


def check_end(run: CeremonyRun) -> None:
    """Fills in what became of the chain.

    Raises:
        AssertionError: something does not hold that must whatever was lost.
    """
    participants = run.participants
    run.commands.run(*(("ledger", "verify", "--home", node.home.directory) for node in participants))
    with ExitStack() as stack:
        books = stack.enter_context(opened([node.home for node in participants]))
        run.row.forks = _different_heights(books)
        if run.burnt is not None and run.row.keeps_all:
            run.row.forks += _different_heights([*stack.enter_context(opened([run.burnt])), books[0]])
        run.row.told_lost = len([one for one in run.replied if not all(_is_there(each, one) for each in books)])
        assert (run.row.told_lost > 0) == run.case.loses, f"{run.row.told_lost} lost"
        for each in books:
            _check_sums(each)
            if each.ledger.height == run.row.height_after:  # the others were away at the end
                assert all(each.ledger.find_transaction(name) is not None for name in run.after), "lost after it"
        _check_eras(books[0], read_record(run.plan_file, PlanFile).plans[-1].plan)
    _check_receipts(run, participants[0])
    logs = "".join(node.log() for node in run.nodes if node.home.directory.exists())
    assert not (said := [words for words in NEVER_SAID if words in logs]), said
    take_statements(run)


def _different_heights(books: Sequence[Books]) -> int:
    """Returns at how many heights two ledgers have different blocks."""
    common = min(one.ledger.height for one in books)
    return sum(
        len({one.ledger.block_bytes(height) for one in books}) > 1 for height in map(Height, range(1, common + 1))
    )


def _is_there(books: Books, one: Replied) -> bool:
    location = books.ledger.find_transaction(one.digest)
    if location is None or location.height != one.height:
        return False
    return one.block is None or books.ledger.height_of_block(one.block) == one.height


def _check_sums(books: Books) -> None:
    """Watt-hours are those that were measured and sold, in both eras; tokens follow from transfers and contracts."""
    totals = require(books.ledger, TOTALS_KEY, Totals)
    members = len(books.members)
    assert totals.credited_wh == HOURS_TRADED * 3 * TRADED_WH
    assert totals.deficit_wh == HOURS_TRADED * (members - 1) * 2 * TRADED_WH
    assert totals.claimed_wh == totals.bought_wh == HOURS_TRADED * TRADED_WH
    assert books.wallets_follow_contracts()


def _check_eras(books: Books, plan: Plan) -> None:
    """Above the base is the block that is carried, as it was, then the first of the new era; or that at once."""
    ledger, first = books.ledger, Height(plan.base + 1)
    if plan.carried is not None:
        assert ledger.height_of_block(plan.carried) == first
        assert ledger.decided_block(first).header.era == plan.follows.era
    begun = ledger.decided_block(first if plan.carried is None else Height(first + 1))
    assert begun.header.era == plan.era
    certificate = ledger.certificate(first)
    assert certificate is not None
    assert certificate.era == plan.era, "decided in the new era, whoever made it"
    assert ledger.decided_block(Height(begun.header.height - 2)).header.era == plan.follows.era


def _check_receipts(run: CeremonyRun, node: Node) -> None:
    """Receipts of before and after prove themselves from genesis; that of after tells of the ceremony."""
    for number, name in enumerate((run.replied[0].digest, run.after[-1])):
        path = run.plan_file.with_name(f"{number}.receipt")
        run.commands.run(("receipt", "export", name.hex(), "--config", node.home.configuration, "--output", path))
        (told,) = run.commands.run(("receipt", "verify", path, "--genesis", node.home.genesis))
    assert "era 1 begins there, with the agreement of" in told
