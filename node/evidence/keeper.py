"""Keeps, passes on and reports what proves that a member contradicted itself, until it stands on the chain.

Evidence comes from this node's replica (two statements of consensus), from the chain (two contracts under one offer
id) and from peers. Whatever is proven and new is written to the home's `evidence/` folder, told to all peers and
told again until the chain has it. Members bring it to the chain one after another, in an order that the evidence
itself draws, so that as a rule only the first one needs to; whoever's turn it was does so again if it got lost.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from consensus.codec import DecodeError, decode, encode
from consensus.cryptography import HashKind, digest
from consensus.evidence import Equivocation
from consensus.identifiers import Address, Digest, Height, Slot
from contracts.member_records import Misconduct
from contracts.misconduct import is_too_old, misconduct_name, proven
from contracts.removals import would_remove
from contracts.state import Member, Overlay, Score, member_key, misconduct_key, score_key
from contracts.state_reading import read
from contracts.transactions import ReportMisconduct
from ledger.ledger import Ledger
from ledger.side_files import write_whole
from node.evidence.double_offers import DoubleOffers
from node.home.bounded_file import FileTooLargeError, read_bounded
from node.home.evidence_folder import EVIDENCE_SUFFIX, evidence_files
from node.logs import get_logger
from node.mesh.messages import EvidenceNote
from node.names.names import label_of
from node.proofs.signed_file import FILE_SIZE_BYTES_MAX
from node.stories.misconduct import Evidence

LOOK_S: Final = 1.0
"""Between two looks at the chain."""

TOLD_AGAIN_LOOKS: Final = 10
"""Peers that were away when evidence was told hear of it after so many looks."""

TURN_SLOTS: Final = 8
"""How long each member gives the one before it to bring evidence to the chain."""

REPORTED_AGAIN_SLOTS: Final = 128
"""A report that the chain does not have after so long is handed over again: its transaction may be lost."""

KEPT_PER_OFFENDER_MAX: Final = 4
"""A member that signs contradictions all day is suspended once; more proofs of it are of no use."""

NOTES_PER_PEER_MAX: Final = 4
"""Notes of one peer between two looks: each costs two signature checks."""

BLOCKS_AT_START: Final = 1_024
"""Blocks before a start that are looked through again: more than were decided between the last look and the end of
the process. Older contracts that executed are found through the state all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceLinks:
    """What the keeper needs of the other parts."""

    broadcast: Callable[[EvidenceNote], None]
    present_slot: Callable[[], Slot]
    report: Callable[[ReportMisconduct], None]
    """Brings it to the chain with the node's own transactions, unless it is on its way there."""
    refused: Callable[[str], None]
    """Counts a peer's note that proves nothing, or one too many."""


@dataclass(slots=True, kw_only=True)
class _Kept:
    evidence: Evidence
    due: Slot
    """When this member brings it to the chain."""


class EvidenceKeeper:
    """All evidence that this node knows and that the chain does not have yet."""

    def __init__(self, *, own: Address, ledger: Ledger, directory: Path, links: EvidenceLinks) -> None:
        """Takes up what the folder holds; what is damaged or proves nothing is passed over with a warning.

        Raises:
            OSError: the folder or a file in it cannot be read.
        """
        self._own = own
        self._ledger = ledger
        self._directory = directory
        self._links = links
        self._kept: dict[Digest, _Kept] = {}
        self._notes: dict[Address, list[EvidenceNote]] = {}
        self._double_offers = DoubleOffers(ledger)
        self._looked_through = Height(max(ledger.first_height - 1, ledger.height - BLOCKS_AT_START))
        self._looks = 0
        self._log = get_logger("evidence")
        for evidence in self._stored():
            self._take(evidence, is_stored=True)

    def found(self, evidence: Evidence) -> None:
        """Takes what this node found itself.

        Raises:
            OSError: it cannot be written down.
        """
        self._take(evidence)

    def on_note(self, sender: Address, note: EvidenceNote) -> None:
        """Keeps a peer's note for the next look; beyond the bound it is dropped, and told again."""
        notes = self._notes.setdefault(sender, [])
        if len(notes) >= NOTES_PER_PEER_MAX:
            self._links.refused("evidence_too_often")
        else:
            notes.append(note)

    async def run(self) -> None:
        """Looks at notes and chain until cancelled.

        Raises:
            OSError: evidence cannot be written down.
        """
        while True:
            is_behind = self.look_through_next_block()
            if is_behind:  # after a start, or beside block sync
                await asyncio.sleep(0)
            else:
                self.look()
                await asyncio.sleep(LOOK_S)

    def look_through_next_block(self) -> bool:
        """Takes what the next block's contracts prove; returns whether there was one.

        Raises:
            OSError: it cannot be written down.
        """
        if self._looked_through >= self._ledger.height:
            return False
        self._looked_through = Height(self._looked_through + 1)
        for evidence in self._double_offers.in_block(self._looked_through):
            self._take(evidence)
        return True

    def look(self) -> None:
        """Takes what came in, and brings to the chain what is this member's turn."""
        for notes in self._notes.values():
            for note in notes:
                if not self._take(note.evidence):
                    self._links.refused("evidence_proves_nothing")
            notes.clear()
        self._looks += 1
        for name, kept in tuple(self._kept.items()):
            if self._is_settled(name, kept.evidence):
                del self._kept[name]
                continue
            if self._looks % TOLD_AGAIN_LOOKS == 0:
                self._links.broadcast(EvidenceNote(evidence=kept.evidence))
            present = self._links.present_slot()
            if present >= kept.due:
                kept.due = Slot(present + REPORTED_AGAIN_SLOTS)
                self._links.report(ReportMisconduct(evidence=kept.evidence))

    # --- taking ------------------------------------------------------------------------------------------------

    def _take(self, evidence: Evidence, *, is_stored: bool = False) -> bool:
        """Keeps, tells and logs what is new; returns whether it proves anything."""
        offender = evidence.offender
        member = read(self._ledger, member_key(offender), Member)
        offence = proven(evidence, Overlay(self._ledger), self._ledger.chain)
        if offence is None or member is None:
            return False
        name = misconduct_name(evidence, offence)
        of_offender = Counter(kept.evidence.offender for kept in self._kept.values())[offender]
        if name in self._kept or of_offender >= KEPT_PER_OFFENDER_MAX or self._is_settled(name, evidence):
            return True
        if not is_stored:
            self._store(name, evidence)
            self._log.warning(
                "a member contradicted itself", offence=offence, offender=label_of(offender), evidence=name.hex()
            )
            self._links.broadcast(EvidenceNote(evidence=evidence))
        due = Slot(self._links.present_slot() + self._place(name) * TURN_SLOTS)
        self._kept[name] = _Kept(evidence=evidence, due=due)
        return True

    def _is_settled(self, name: Digest, evidence: Evidence) -> bool:
        """Says whether the chain has it, takes it no more, or has suspended the member for something else and would
        not remove it.
        """
        if read(self._ledger, misconduct_key(name), Misconduct) is not None:
            return True
        if is_too_old(evidence, Overlay(self._ledger), self._ledger.chain):
            return True
        score = read(self._ledger, score_key(evidence.offender), Score)
        if score is None or not score.is_suspended:
            return False
        overlay = Overlay(self._ledger)
        return not (isinstance(evidence, Equivocation) and would_remove(overlay, evidence, self._ledger.genesis))

    def _place(self, name: Digest) -> int:
        """Returns how many members come before this one in bringing it to the chain."""
        order = sorted(
            self._ledger.membership().addresses, key=lambda address: digest(HashKind.ORDER, name + address)
        )
        return order.index(self._own)

    # --- the folder --------------------------------------------------------------------------------------------

    def _stored(self) -> Iterator[Evidence]:
        for path in evidence_files(self._directory):
            try:
                yield decode(read_bounded(path, size_bytes_max=FILE_SIZE_BYTES_MAX), Evidence)
            except (DecodeError, FileTooLargeError) as error:
                self._log.warning("passed over a damaged file", file=path.name, reason=str(error))

    def _store(self, name: Digest, evidence: Evidence) -> None:
        """Writes it down durably, under its name; a half-written file never has that name."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        write_whole(self._directory / f"{name.hex()}{EVIDENCE_SUFFIX}", encode(evidence))
