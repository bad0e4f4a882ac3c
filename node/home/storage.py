"""Opens what a node must not lose, its sign state and its ledger, and deals with what is missing or damaged.

| what is found | with peers configured | without |
|---|---|---|
| ledger damaged | set aside as `ledger.damaged-N`, fetched from the members | no start: nobody has a copy |
| ledger missing | fetched from the members | no start |
| sign state damaged | set aside as `sign-state.damaged-N`, a new one forbids every signature | no start |
| sign state missing | a new one forbids every signature | no start |

What this process may not open (a wrong owner, a read-only disk) is not damaged: no start, and nothing is set aside.
While blocks are fetched, the sign state says what must not be signed. Where there is a new one, nothing is signed
before Q others have answered (`consensus.recovery`) or the operator has confirmed (`p2pnode recover alone`).
Nothing is ever repaired in place: LevelDB's `repair_db` was seen to bring back wrong values.
"""

import shutil
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from consensus.codec import DecodeError, decode, encode
from consensus.era_plans import AppliedEra
from consensus.events import SignState, forgetful_sign_state, fresh_sign_state
from consensus.identifiers import FIRST_HEIGHT
from consensus.past import FIRST
from contracts.genesis import Genesis
from ledger.eras import BegunEra
from ledger.errors import LedgerDamaged, LedgerError
from ledger.ledger import Ledger
from ledger.side_files import sync_directory
from node.errors import NodeError, SignStateError, SignStateFault
from node.home.configuration import Configuration
from node.home.era_files import begun_eras
from node.home.folder import Home
from node.home.genesis_file import load_genesis
from node.home.sign_state import SignStateFile, newest_payload
from node.logs import get_logger

SET_ASIDE_MAX: Final = 2
"""Damaged ledgers (and sign states) kept as evidence; each may be as large as the chain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """What a node opened at its start."""

    ledger: Ledger
    sign_state: SignStateFile
    begun: Sequence[BegunEra]
    """Eras that the home began."""
    set_aside: Path | None
    """The damaged ledger that this start put aside, None if it was whole."""


def open_storage(configuration: Configuration, storage: ExitStack) -> Storage:
    """Opens sign state and ledger, which `storage` closes.

    Raises:
        NodeError: one of them is not usable and cannot be had again; says what the operator can do.
    """
    home, genesis = configuration.home, load_genesis(configuration.home)
    has_peers = bool(configuration.p2p.peers)
    sign_state = _open_sign_state(home, has_peers=has_peers)
    storage.callback(sign_state.close)
    signed = read_sign_state(sign_state)
    begun = eras_of(home, signed)
    ledger, set_aside = _open_ledger(home, genesis, signed, begun, has_peers=has_peers)
    storage.callback(ledger.close)
    return Storage(ledger=ledger, sign_state=sign_state, begun=begun, set_aside=set_aside)


# --- the sign state ----------------------------------------------------------------------------------------


def read_sign_state(file: SignStateFile) -> SignState:
    """Returns the newest durable record.

    Raises:
        SignStateError: it is of another version of this program.
    """
    try:
        return decode(file.load(), SignState)
    except DecodeError as error:
        raise SignStateError(SignStateFault.DAMAGED, f"the sign state is not one of this version: {error}") from None


def _open_sign_state(home: Home, *, has_peers: bool) -> SignStateFile:
    if has_peers:
        return open_sign_state(home)
    try:
        return _checked_sign_state(home.sign_state)
    except SignStateError as error:
        if not error.is_lost:
            raise
        remedy = f"`p2pnode recover alone --config {home.configuration}` says more"
        raise SignStateError(error.fault, f"{error}. No other member can be asked: {remedy}") from None


def open_sign_state(home: Home) -> SignStateFile:
    """Opens the sign state; a new one that forbids every signature takes the place of one that is lost.

    Raises:
        SignStateError: it is not usable for another reason.
    """
    try:
        return _checked_sign_state(home.sign_state)
    except SignStateError as error:
        if not error.is_lost:
            raise
        kept = set_aside(home.sign_state) if home.sign_state.exists() else None
        get_logger("node").critical(
            "what this node signed is lost: it signs nothing until the other members have said how far the chain is",
            reason=str(error),
            kept_as=None if kept is None else kept.name,
        )
    SignStateFile.create(home.sign_state, encode(forgetful_sign_state(FIRST_HEIGHT)))
    return _checked_sign_state(home.sign_state)


def find_sign_state(home: Home) -> SignStateFile | None:
    """Opens the sign state, None if it is lost: missing or damaged. Changes nothing.

    Raises:
        SignStateError: it is not usable for another reason.
    """
    try:
        return _checked_sign_state(home.sign_state)
    except SignStateError as error:
        if not error.is_lost:
            raise
        return None


def _checked_sign_state(path: Path) -> SignStateFile:
    file = SignStateFile(path)
    try:
        read_sign_state(file)
    except BaseException:
        file.close()
        raise
    return file


# --- the eras ----------------------------------------------------------------------------------------------


def eras_of(home: Home, signed: SignState | None = None) -> list[BegunEra]:
    """Returns the eras that a home began: without them its ledger looks damaged.

    Args:
        home: the home.
        signed: its open sign state; without, a look at the file, which may be in use or lost.

    Raises:
        NodeError: the era in which the home signs is missing, as the sign state, written last, says; or an earlier
            one.
    """
    begun = begun_eras(home)
    if signed is None and (payload := newest_payload(home.sign_state)) is not None:
        with suppress(DecodeError):
            signed = decode(payload, SignState)
    if signed is not None:
        known, standing = {one.proof.plan.applied for one in begun} | {FIRST}, signed.standing
        if AppliedEra(era=standing.era, plan=standing.plan) not in known:
            raise NodeError(
                f"{home.eras}: the plan of era {standing.era}, in which this node signs, is missing: put the folder "
                f"back, or take that of another home, or apply the plan again (`p2pnode recover apply`)"
            )
    return begun


# --- the ledger --------------------------------------------------------------------------------------------


def _open_ledger(
    home: Home, genesis: Genesis, signed: SignState, begun: Sequence[BegunEra], *, has_peers: bool
) -> tuple[Ledger, Path | None]:
    kept: Path | None = None
    try:
        if Ledger.exists(home.ledger):
            return Ledger.open(home.ledger, genesis, begun=begun), None
        if signed != fresh_sign_state(FIRST_HEIGHT):
            _note_lost(home, signed, has_peers=has_peers)
    except LedgerDamaged as damaged:
        if not has_peers:
            detail = "no peers are configured to fetch it from. It is kept as it is"
            raise NodeError(f"{home.ledger}: {damaged}; {detail}") from damaged
        kept = set_aside(home.ledger)
        get_logger("node").critical(
            "the ledger is damaged: set aside, and fetched again from the other members",
            reason=damaged.what,
            height=damaged.height,
            kept_as=kept.name,
        )
    except LedgerError as error:
        raise NodeError(f"{home.ledger}: {error}") from error
    try:
        return Ledger.create(home.ledger, genesis, begun=begun), kept
    except LedgerError as error:
        raise NodeError(f"{home.ledger}: {error}") from error


def _note_lost(home: Home, signed: SignState, *, has_peers: bool) -> None:
    if not has_peers:
        raise NodeError(
            f"{home.ledger}: the ledger is missing, but this node has signed for it, and no peers are configured to "
            "fetch it from: put it back where it was"
        )
    get_logger("node").critical(
        "the ledger is missing: fetched again from the other members", signed_up_to_height=signed.height
    )


# --- evidence ----------------------------------------------------------------------------------------------


def set_aside(path: Path) -> Path:
    """Renames a damaged file or folder to `NAME.damaged-N`, durably, and removes all but the last few of these.

    Returns:
        Its new path.
    """
    numbered, new = _numbered_aside(path), next_aside(path)
    path.rename(new)
    sync_directory(path.parent)
    for _, old in numbered[: max(0, len(numbered) + 1 - SET_ASIDE_MAX)]:
        if old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink()
    return new


def next_aside(path: Path) -> Path:
    """Returns where a path is set aside next."""
    numbered = _numbered_aside(path)
    return path.with_name(f"{path.name}.damaged-{numbered[-1][0] + 1 if numbered else 1}")


def _numbered_aside(path: Path) -> list[tuple[int, Path]]:
    return sorted((int(number), found) for found in kept_aside(path) if (number := found.suffix[9:]).isdigit())


def kept_aside(path: Path) -> list[Path]:
    """Returns what was set aside of a path."""
    return list(path.parent.glob(f"{path.name}.damaged-*"))
