"""Counts signed statements of one height, bounded: the two highest slots per signer and kind."""

from collections import Counter
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

from consensus.identifiers import Address, Digest, Slot
from consensus.messages import Commit, Endorsement, Prepare, PrePrepare, ViewChange

SLOTS_PER_SIGNER_MAX: Final = 2
"""What a certificate or justification can still need of one member; a liar's further slots push out its own."""

S = TypeVar("S", bound=PrePrepare | Prepare | Commit | ViewChange)


class Tally(Generic[S]):
    """The statements of one kind at one height: per signer the two of the highest slots, the first of each slot."""

    __slots__ = ("_by_signer",)

    def __init__(self) -> None:
        self._by_signer: dict[Address, dict[Slot, S]] = {}

    def add(self, statement: S) -> S | None:
        """Takes a verified statement.

        Returns:
            The signer's earlier statement of the same slot if there is one (the earlier one stays), else None.
        """
        slots = self._by_signer.setdefault(statement.signer, {})
        earlier = slots.get(statement.slot)
        if earlier is not None:
            return earlier
        slots[statement.slot] = statement
        if len(slots) > SLOTS_PER_SIGNER_MAX:
            del slots[min(slots)]
        return None

    def replace(self, statement: S) -> None:
        """Puts a verified statement in the place of the signer's kept one of the same slot."""
        slots = self._by_signer.get(statement.signer, {})
        assert statement.slot in slots, "nothing to replace"
        slots[statement.slot] = statement

    def of(self, signer: Address) -> tuple[S, ...]:
        """Returns what is kept of one signer."""
        return tuple(self._by_signer.get(signer, {}).values())

    def at(self, slot: Slot) -> list[S]:
        """Returns the statements of one slot, sorted by signer."""
        return [
            self._by_signer[signer][slot] for signer in sorted(self._by_signer) if slot in self._by_signer[signer]
        ]

    @property
    def signers(self) -> int:
        """How many members something is kept of."""
        return len(self._by_signer)

    def highest_slots(self) -> dict[Address, Slot]:
        """Returns each signer's highest slot."""
        return {signer: max(slots) for signer, slots in self._by_signer.items() if slots}

    def slots(self) -> set[Slot]:
        """Returns all slots that some statement is kept of."""
        return {slot for slots in self._by_signer.values() for slot in slots}

    def __iter__(self) -> Iterator[S]:
        for slots in self._by_signer.values():
            yield from slots.values()


BlockStatement = TypeVar("BlockStatement", bound=PrePrepare | Prepare | Commit)


def quorum_for_block(
    tally: Tally[BlockStatement], quorum: int
) -> tuple[Slot, Digest, tuple[Endorsement, ...]] | None:
    """Returns the highest (slot, block) that `quorum` distinct members endorse, with exactly that many
    endorsements sorted by signer; None if there is none. Statements of different slots never add up.

    Of more endorsements than a quorum other ones are left out at each block: who is left out of the certificates of
    16 blocks in a row is rewarded for none.
    """
    if tally.signers < quorum:
        return None
    counted = Counter((statement.slot, statement.block) for statement in tally)
    endorsed = [named for named, members in counted.items() if members >= quorum]
    if not endorsed:
        return None
    slot, block = max(endorsed)
    endorsements = [
        Endorsement(signer=statement.signer, signature=statement.signature)
        for statement in tally.at(slot)
        if statement.block == block
    ]
    return slot, block, _without_spare(endorsements, quorum, block)


def _without_spare(endorsements: list[Endorsement], quorum: int, block: Digest) -> tuple[Endorsement, ...]:
    """Returns a quorum of endorsements, going round from one that the block's name decides."""
    first = int.from_bytes(block) % len(endorsements)
    behind = max(0, first + quorum - len(endorsements))
    return (*endorsements[:behind], *endorsements[first : first + quorum])
