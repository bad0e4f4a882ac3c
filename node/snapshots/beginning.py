"""How a home without blocks begins with a state that its members tell, and how it falls back to genesis.

The node runs on an empty ledger meanwhile, and asks for no blocks. Once the state is whole on the disk, it ends as
for a restart; whoever starts next makes the ledger of it, before anything is opened: also after a crash. Where no
state can be had, or what came is no beginning, it executes from genesis, as it can without any state. The other way
round, a home that executes from genesis takes a state where no member gives the first block any more.
"""

import shutil
from contextlib import closing
from pathlib import Path

from consensus.identifiers import GENESIS_HEIGHT
from ledger.errors import CopyDamaged, LedgerDamaged, LedgerMissing, OriginRefused
from ledger.ledger import Ledger
from ledger.side_files import sync_directory
from ledger.state_intake import StateIntake
from node.home.configuration import Configuration
from node.home.folder import Home
from node.home.genesis_file import load_genesis
from node.home.storage import eras_of
from node.logs import get_logger


def may_take_state(configuration: Configuration, ledger: Ledger) -> bool:
    """Says whether a state is taken: the configuration wants one, others can be asked, and there are no blocks, or it
    was begun before.
    """
    is_wanted = configuration.node.begins_with == "snapshot" and bool(configuration.p2p.peers)
    is_due = ledger.height == GENESIS_HEIGHT or configuration.home.intake.exists()
    return is_wanted and is_due and not ledger.lacks(GENESIS_HEIGHT)


def begin_with_taken(home: Home) -> bool:
    """Makes the ledger of a state that was taken in whole; does nothing where there is none. A process that ends on
    the way does the rest the next time.

    Returns:
        False if what was taken is no beginning: another one would be none either.

    Raises:
        LedgerError: the disk does not take it, or the ledger is in use.
        NodeError: the home's files are not usable.
    """
    settle(home)
    if not home.intake.exists():
        return True
    try:
        taken = StateIntake.open(home.intake)
    except CopyDamaged:
        return True  # it is taken anew
    with closing(taken):
        if not taken.covered.is_whole:
            return True
        is_right = _height_of(home) >= taken.height or _make_ledger(home, taken)
    shutil.rmtree(home.intake, ignore_errors=True)
    return is_right


def _height_of(home: Home) -> int:
    """Returns the height of the ledger that is there, -1 if none opens: a damaged one is of no use either."""
    try:
        with closing(Ledger.open(home.ledger, load_genesis(home), begun=eras_of(home))) as ledger:
            return ledger.height
    except (LedgerMissing, LedgerDamaged):
        return GENESIS_HEIGHT - 1


def _make_ledger(home: Home, taken: StateIntake) -> bool:
    log = get_logger("snapshots")
    if home.ledger.exists():
        home.ledger.rename(replaced_ledger(home))
    try:
        Ledger.create_at(home.ledger, load_genesis(home), taken.origin, taken.entries(), begun=eras_of(home)).close()
    except (OriginRefused, CopyDamaged) as error:
        log.critical("the state that was taken is no beginning: this node executes from genesis", reason=str(error))
        return False
    finally:
        settle(home)
    log.info("the ledger begins with the state that the members told", height=taken.height)
    return True


def replaced_ledger(home: Home) -> Path:
    """Returns where the ledger is while another one takes its place."""
    return home.ledger.with_name(f"{home.ledger.name}.replaced")


def settle(home: Home) -> None:
    """Lets the ledger that was there before go once the new one is whole, and puts it back where there is none."""
    replaced = replaced_ledger(home)
    if not replaced.exists():
        return
    if Ledger.exists(home.ledger):
        sync_directory(home.directory)
        shutil.rmtree(replaced, ignore_errors=True)  # the new one has all its blocks, or begins above them
        return
    shutil.rmtree(home.ledger, ignore_errors=True)  # what was left of an unfinished one
    replaced.rename(home.ledger)
