"""Whose keys count for links at a home that has just joined: those of the checkpoint, until its chain is past it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from consensus.identifiers import Digest, Height
from ledger.block import block_digest
from ledger.checkpoint import Checkpoint, checkpoint_of
from ledger.errors import CheckpointContradicted
from ledger.ledger import Ledger
from node.errors import JoinError
from node.home.checkpoint_file import FILE_SIZE_BYTES_MAX, load_checkpoint, write_checkpoint
from node.mesh.known_keys import KnownKeys
from tests.support.changing_members import ChangingChain, changing_chain, member_changes
from tests.support.checkpoints import proof_of_tip
from tests.support.origins import begun_at

LAST = 12


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[ChangingChain]:
    """Home 2 has another key since block 5, a fifth joined and home 1 left."""
    with changing_chain(tmp_path / "members") as made:
        while made.ledger.height < LAST:
            made.grow()
        yield made


@pytest.fixture
def checkpoint(chain: ChangingChain) -> Checkpoint:
    return checkpoint_of(proof_of_tip(chain.ledger), chain.community.genesis)


@pytest.fixture
def ledger(chain: ChangingChain, tmp_path: Path) -> Iterator[Ledger]:
    """A joiner's, at genesis."""
    made = Ledger.create(tmp_path / "joiner", chain.community.genesis)
    yield made
    made.close()


def fetch(ledger: Ledger, chain: ChangingChain) -> None:
    """Appends the next block, as a home does that fetches the chain."""
    height = ledger.height + 1
    certificate = chain.ledger.certificate(height)
    assert certificate is not None
    ledger.append(chain.ledger.decided_block(height), certificate)


def test_without_a_checkpoint_the_chain_says_it(ledger: Ledger, chain: ChangingChain, tmp_path: Path) -> None:
    known, (first, *_) = KnownKeys(ledger, tmp_path / "checkpoint"), chain.community.node_keys
    assert known.member_of(first.public_key) == first.address
    assert known.member_of(chain.rotated.public_key) is None
    assert known.addresses() == set(chain.community.addresses)


def test_below_the_checkpoint_that_says_it_and_then_the_chain(
    ledger: Ledger, chain: ChangingChain, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    file, (first, second, *_) = tmp_path / "checkpoint", chain.community.node_keys
    write_checkpoint(file, checkpoint)
    known = KnownKeys(ledger, file)
    with member_changes(chain.changes):
        while ledger.height < checkpoint.height:
            assert known.member_of(chain.rotated.public_key) == chain.rotated.address
            assert known.member_of(chain.fifth.public_key) == chain.fifth.address
            assert known.member_of(second.public_key) is None, "it was replaced: anybody may have it"
            assert known.member_of(first.public_key) is None, "it left"
            assert known.addresses() == set(chain.set_of(LAST).addresses)
            assert file.exists()
            fetch(ledger, chain)
            known.look()
    assert not file.exists()
    assert known.member_of(chain.rotated.public_key) == chain.rotated.address
    assert known.addresses() == {*ledger.memberships().addresses, first.address}, "who left lately hears of the end"


def test_another_block_at_its_height_stops_the_node_and_every_start_after(
    ledger: Ledger, chain: ChangingChain, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    file = tmp_path / "checkpoint"
    write_checkpoint(file, replace(checkpoint, block=Digest(bytes(32))))
    known = KnownKeys(ledger, file)
    with member_changes(chain.changes):
        while ledger.height < checkpoint.height:
            known.look()
            fetch(ledger, chain)
    for look in (known.look, lambda: KnownKeys(ledger, file)):
        with pytest.raises(CheckpointContradicted, match=f"block {LAST} is .* join request --again"):
            look()
    assert file.exists()
    write_checkpoint(file, checkpoint)
    KnownKeys(ledger, file)
    assert not file.exists()


def test_a_chain_that_began_above_the_checkpoint_compares_it_once_earlier_blocks_are_filled_in(
    chain: ChangingChain, tmp_path: Path
) -> None:
    """What it began at was held against it by who took it."""
    early = tmp_path / "early"
    while chain.ledger.height < LAST + 3:
        chain.grow()
    newest = checkpoint_of(proof_of_tip(chain.ledger), chain.community.genesis)
    write_checkpoint(early, replace(newest, height=LAST - 1))
    begun = begun_at(chain.ledger, LAST, tmp_path / "begun")
    known = KnownKeys(begun, early)
    assert known.member_of(chain.rotated.public_key) == chain.rotated.address
    assert known.addresses() == {*begun.memberships().addresses, *(one for one, _ in begun.memberships().followers)}
    assert early.exists()
    begun.close()
    with pytest.raises(CheckpointContradicted):
        KnownKeys(chain.ledger, early)
    right = block_digest(chain.ledger.decided_block(Height(LAST - 1)).header)
    write_checkpoint(early, replace(newest, height=LAST - 1, block=right))
    KnownKeys(chain.ledger, early)
    assert not early.exists()


@pytest.mark.parametrize("content", [b"", b"none", b"\x00" * (FILE_SIZE_BYTES_MAX + 1)])
def test_a_damaged_file_is_refused_with_a_way_out(ledger: Ledger, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "checkpoint"
    file.write_bytes(content)
    with pytest.raises(JoinError, match=r"is damaged: .* join request --again"):
        KnownKeys(ledger, file)


def test_another_chains_checkpoint_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    file = tmp_path / "checkpoint"
    write_checkpoint(file, checkpoint)
    with pytest.raises(JoinError, match="is of another chain"):
        load_checkpoint(file, Digest(bytes(32)))
