"""How the ledger from genesis takes the place of the one that began with a snapshot, between two runs of the node.

It is given what it still lacks of the other one, and consensus' own records of the undecided height. Two renames
follow: whenever the process ends, one of both ledgers is there, whole, and the next start does the rest.
"""

from contextlib import closing
from typing import Final

from consensus.identifiers import GENESIS_HEIGHT, Height
from ledger.block import block_digest
from ledger.errors import LedgerDamaged, LedgerError, LedgerForeign
from ledger.ledger import Ledger
from ledger.side_files import read_tip_mark, sync_directory
from node.home.folder import Home
from node.home.genesis_file import load_genesis
from node.home.storage import eras_of
from node.logs import get_logger
from node.snapshots.beginning import replaced_ledger, settle
from node.snapshots.filling import NEAR_BLOCKS, HistoriesDifferError, decided_in, take_own
from node.snapshots.filling_folder import FillingFolder

MISSING_MAX: Final = 8 * NEAR_BLOCKS
"""Blocks executed here at most; more are executed while the node runs."""


def take_filled(home: Home) -> bool:
    """Puts the ledger from genesis in the place of the other one if it has come as far; does nothing otherwise.

    Returns:
        False if it was to, and could not: then filling in would end there again and again.

    Raises:
        NodeError: the home's files are not usable.
    """
    settle(home)
    filling = FillingFolder(home.filling)
    if not _is_near(home, filling):
        return True
    log = get_logger("snapshots")
    try:
        filled = Ledger.open(filling.ledger, load_genesis(home), begun=eras_of(home))
    except (LedgerDamaged, LedgerForeign) as error:
        log.warning("the earlier blocks that were filled in are fetched anew", reason=str(error))
        filling.remove()
        return True
    try:
        with closing(filled):
            if not _come_as_far(home, filled):
                return True
        home.ledger.rename(replaced_ledger(home))
        filling.ledger.rename(home.ledger)
        sync_directory(home.directory)
    except HistoriesDifferError as differ:
        log.critical("the earlier blocks that were filled in are not taken", reason=str(differ))
        filling.write_difference(str(differ))
        return False
    except (LedgerError, OSError) as error:
        log.warning("the earlier blocks that were filled in are not taken", reason=str(error))
        return False
    finally:
        settle(home)
    filling.remove()
    log.info("all blocks are here: the ledger begins at genesis")
    return True


def _is_near(home: Home, filling: FillingFolder) -> bool:
    """Says whether the ledger from genesis may have come far enough, without opening any."""
    if filling.difference is not None or not (Ledger.exists(home.ledger) and Ledger.exists(filling.ledger)):
        return False
    try:
        return read_tip_mark(home.ledger).height - read_tip_mark(filling.ledger).height <= MISSING_MAX
    except (LedgerDamaged, OSError):
        return False  # who opens it deals with it


def _come_as_far(home: Home, filled: Ledger) -> bool:
    """Gives the ledger from genesis all that the other one has; False if it has not come far enough for that.

    Raises:
        HistoriesDifferError: the blocks do not follow.
        LedgerError: the other one does not open, or the disk does not take it.
    """
    with closing(Ledger.open(home.ledger, filled.genesis, begun=eras_of(home))) as present:
        if not present.lacks(GENESIS_HEIGHT) or filled.height < present.first_height:
            return False
        for number in range(filled.height + 1, present.height + 1):
            take_own(filled, *decided_in(present, Height(number)))
        if block_digest(filled.decided_block(present.height).header) != present.tip:
            raise HistoriesDifferError(
                f"block {present.height} is another one than {present.tip.hex()}, which is here"
            )
        if filled.height == present.height:
            filled.drop_undecided()
            filled.persist_undecided(present.undecided())
    return True
