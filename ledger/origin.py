"""Where a ledger begins that does not begin at genesis: a decided block, the state after it, and what proves both.

Whoever trusts genesis alone finds out whose signatures decide the block (`trusted_sets`); its header commits to the
state, so that the state may come from anybody. Two things follow from earlier blocks and stand in no state: the steps
that lead from genesis to the block's members, for receipts show them, and which blocks the last heights decided, for
a candidate says that it is ready by naming one of them.

What lies below is not here. The hash of the block says what it was, no more: whether the state follows from it finds
out only who executes the chain from genesis.
"""

from collections.abc import Sequence
from typing import Annotated, Final

from msgspec import Meta

from consensus.codec import Record, encode
from consensus.era_plans import EraProof
from consensus.identifiers import FIXED_AHEAD, GENESIS_HEIGHT, Digest, Height
from consensus.messages import CommitCertificate, DigestField, HeightField
from contracts.genesis import Genesis
from contracts.joining import READY_HEIGHTS_MAX
from contracts.receipts import Receipt
from ledger.block import Block, BlockHeader, block_digest, block_is_whole
from ledger.checkpoint import Checkpoint
from ledger.eras import BegunEras
from ledger.errors import OriginRefused
from ledger.merkle_tree import tree_root
from ledger.trusted_sets import CHANGES_MAX, SetStep, TrustedSets
from ledger.validation import certificate_fault, version_fault

NAMED_BELOW_MAX: Final = READY_HEIGHTS_MAX - 1
"""Heights below an origin whose blocks the next block may name."""


class Origin(Record, frozen=True, kw_only=True, tag="origin"):
    """A decided block that a ledger may begin at, with what the state after it does not say."""

    block: Block
    """Of any height from 1 on."""
    certificate: CommitCertificate
    """That decides it."""
    receipts: tuple[Receipt, ...]
    """Of its transactions."""
    steps: Annotated[tuple[SetStep, ...], Meta(max_length=CHANGES_MAX)]
    """What leads from genesis to the block's members, and maybe further."""
    headers: Annotated[tuple[BlockHeader, ...], Meta(max_length=NAMED_BELOW_MAX)]
    """Of the blocks below it, the highest first: `NAMED_BELOW_MAX` of them, fewer only where there are no more."""


class StoredOrigin(Record, frozen=True, kw_only=True, tag="stored-origin"):
    """Where a stored ledger begins."""

    height: HeightField
    """Of the lowest block that is here."""
    block: DigestField
    steps: Annotated[tuple[SetStep, ...], Meta(max_length=CHANGES_MAX)]
    """What leads from genesis to the members of the height above, in the order of heights."""
    headers: Annotated[tuple[BlockHeader, ...], Meta(max_length=NAMED_BELOW_MAX)]
    """Of the blocks below it that may still be named, the highest first."""

    @property
    def named(self) -> tuple[tuple[Digest, Height], ...]:
        """The blocks below it that may still be named, the lowest first."""
        return tuple((block_digest(header), header.height) for header in reversed(self.headers))


def check_origin(
    origin: Origin, genesis: Genesis, begun: BegunEras, *, checkpoint: Checkpoint | None = None
) -> StoredOrigin:
    """Checks that a block is decided, by who trusts genesis alone, and is what it should be with its receipts; its
    state is looked at elsewhere. Returns what a ledger that begins there keeps of it.

    Args:
        origin: from anybody.
        genesis: of the chain.
        begun: eras that ceremonies began at this home.
        checkpoint: that the home joined with: an origin above it must agree with it.

    Raises:
        OriginRefused: something does not hold.
    """
    header, digest = origin.block.header, block_digest(origin.block.header)
    if header.height == GENESIS_HEIGHT or header.chain != begun.chain:
        raise OriginRefused(f"it is no block of this chain: height {header.height} of chain {header.chain.hex()}")
    steps = _steps_below(origin.steps, header.height)
    sets = TrustedSets(genesis)
    _require(sets.take_all(steps))
    known = tuple(start for start in begun.eras.starts if start.base < header.height)
    if known != sets.eras.starts:
        raise OriginRefused("ceremonies led to it that this home has not begun, or the other way round")
    height = header.height
    _require(version_fault(header))
    fault = certificate_fault(origin.certificate, height, digest, sets.at(height), sets.eras.at(height))
    _require(None if fault is None else f"the certificate does not decide it: {fault}")
    if not block_is_whole(origin.block):
        raise OriginRefused("its body is not the one that its header names")
    _require(receipts_fault(origin.block, origin.receipts))
    _require(headers_fault(origin.block.header, origin.headers, begun.chain))
    _require(None if checkpoint is None else checkpoint_fault(origin, sets, checkpoint))
    return StoredOrigin(height=height, block=digest, steps=steps, headers=origin.headers[:NAMED_BELOW_MAX])


def _steps_below(steps: Sequence[SetStep], height: Height) -> tuple[SetStep, ...]:
    """Returns the steps that lie below a block: whatever lies above, a ledger that begins there finds out itself."""
    return tuple(
        step
        for step in steps
        if (step.plan.base < height if isinstance(step, EraProof) else step.header.height < height)
    )


def receipts_fault(block: Block, receipts: Sequence[Receipt]) -> str | None:
    """Says why receipts are not those of a block; None if they are."""
    if len(receipts) != len(block.transactions):
        return f"it has {len(block.transactions)} transactions and {len(receipts)} receipts"
    is_right = tree_root([encode(receipt) for receipt in receipts]) == block.header.receipts_root
    return None if is_right else "its receipts are not those that its header names"


def headers_fault(header: BlockHeader, below: Sequence[BlockHeader], chain: Digest) -> str | None:
    """Says why headers are not those of the blocks below one, the highest first; None if they are, and enough."""
    if len(below) < min(header.height - 1, NAMED_BELOW_MAX):
        return f"the headers of {len(below)} blocks below it are there, and more are needed"
    above = header
    for one in below[:NAMED_BELOW_MAX]:
        if one.height != above.height - 1 or one.chain != chain or block_digest(one) != above.parent:
            return f"what is there as block {above.height - 1} is not the parent of block {above.height}"
        above = one
    return None


def checkpoint_fault(origin: Origin, sets: TrustedSets, checkpoint: Checkpoint) -> str | None:
    """Says why a decided block and a checkpoint cannot be of one chain; None if they can.

    Where the checkpoint's block is not among the last headers, the members that decide above it must be its own: then
    whatever changed since is certified by keys of its time, not by keys of a past set that were stolen later. A
    ceremony that replaced these members leaves nothing to compare.

    Args:
        origin: proven.
        sets: that its steps lead to.
        checkpoint: of the chain.
    """
    header, height = origin.block.header, checkpoint.height
    named = {one.height: block_digest(one) for one in (header, *origin.headers)}
    if named.get(height, checkpoint.block) != checkpoint.block:
        return f"block {height} is {named[height].hex()} there, and {checkpoint.block.hex()} in the street file"
    if header.height <= height + 1 or any(height - 1 <= start.base <= height + 1 for start in sets.eras.starts):
        return None
    both = (sets.at(Height(height + 1)).members, sets.at(Height(height + FIXED_AHEAD)).members)
    if both != (checkpoint.undecided, checkpoint.following):
        return f"other members decide above block {height} than the street file names"
    if header.slot < checkpoint.slot:
        return f"its slot lies before that of block {height} in the street file"
    return None


def _require(fault: str | None) -> None:
    if fault is not None:
        raise OriginRefused(fault)
