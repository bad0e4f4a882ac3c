"""Flips single bytes in the files of a ledger, opens it as a start of the node does, and sees who notices.

A flip may be found at the start, or by `p2pnode ledger verify`, or do no harm: then everything that the ledger serves
is what it was. Whatever is served before a flip is noticed must be right, too. What the node does about a ledger that
was found damaged (it fetches a new one) is shown with real daemons, not here.
"""

import asyncio
import os
import random
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from enum import Enum
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from consensus.codec import decode, encode
from consensus.eras import FIRST_ERA
from consensus.events import PreparedBlock, SignState
from consensus.identifiers import GENESIS_HEIGHT, Height, Slot
from consensus.messages import Claim, Endorsement, PreparedCertificate, PrePrepare, vote_bytes
from contracts.genesis import Genesis
from contracts.state import Table, account_key
from contracts.transactions import transaction_digest
from ledger.block import Block, block_digest
from ledger.errors import LedgerDamaged
from ledger.ledger import Ledger
from ledger.verify import verify_ledger
from node.chain.records import PREPARED_KEY, VOTED_KEY
from node.home.sign_state import SignStateFile
from tests.support.contracts import Community, make_genesis
from tests.support.driving import application_on, drive
from tests.support.ledger import ChainBuilder
from tests.support.long_chain import scratch

BLOCKS_PER_TABLE: Final = 12
TABLES: Final = 6
"""Times that the ledger is opened while it is made: each time LevelDB turns its log into a table."""

OWN: Final = 0
"""Member number of the node whose ledger it is."""


class Outcome(Enum):
    """Who notices a flip first."""

    AT_START = "found at start"
    BY_VERIFY = "found by verify"
    HARMLESS = "harmless"


@dataclass(frozen=True, kw_only=True)
class Flip:
    """One byte of one file, changed."""

    file: str
    """Relative to the ledger's directory."""
    offset: int
    mask: int


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What came of a flip."""

    flip: Flip
    outcome: Outcome
    noticed_when_read: bool
    """The ledger opened, and reading all of it would have stopped the node."""


@dataclass(frozen=True, kw_only=True)
class Specimen:
    """The files of a node that does not run, and what it served when it did."""

    ledger: Path
    sign_state: Path
    community: Community


Served = dict[tuple[str, bytes], bytes]
"""Kind and name of something served, and its bytes."""


# --- what is flipped ---------------------------------------------------------------------------------------


def make_specimen(directory: Path, *, killed: bool) -> Specimen:
    """Makes a ledger in several tables and a log, stopped in the middle of a height.

    Args:
        directory: for it.
        killed: as a crash leaves it; otherwise as a clean stop does, under a seal.
    """
    community = make_genesis()
    ledger = directory / "ledger"
    builder = ChainBuilder.create(ledger, community)
    for table in range(TABLES):
        for number in range(BLOCKS_PER_TABLE):
            builder.append([builder.transfer(sender, (sender + 1) % 4, 1 + number) for sender in range(4)])
        builder.append_trading_hour(table)
        builder.ledger.close()
        builder.ledger = Ledger.open(ledger, community.genesis)
    builder.append_trading_hour(TABLES)
    sign_state = directory / "sign-state"
    SignStateFile.create(sign_state, encode(_in_the_middle(builder)))
    if killed:
        shutil.copytree(ledger, directory / "killed")
    builder.ledger.close()
    if killed:
        shutil.rmtree(ledger)
        (directory / "killed").rename(ledger)
    return Specimen(ledger=ledger, sign_state=sign_state, community=community)


def _in_the_middle(builder: ChainBuilder) -> SignState:
    """Stores the records of a member that voted and committed at the undecided height; returns its sign state."""
    block = builder.build([builder.transfer(1, 2, 3)])
    name, height, slot = block_digest(block.header), block.header.height, block.header.slot
    keys = builder.community.node_keys
    signed = vote_bytes(builder.community.chain, height, slot, name)
    leading = builder.ledger.memberships().leaders.whose(slot)
    leading_key = next(key for key in keys if key.address == leading)
    voted = PrePrepare(
        height=height,
        slot=slot,
        block=name,
        signer=leading,
        signature=leading_key.sign(signed),
        justification=None,
        proposal=encode(block),
    )
    endorsements = tuple(
        Endorsement(signer=key.address, signature=key.sign(signed))
        for key in sorted(keys[:3], key=lambda key: key.address)
    )
    certificate = PreparedCertificate(era=FIRST_ERA, height=height, slot=slot, block=name, endorsements=endorsements)
    builder.ledger.persist_undecided({VOTED_KEY: encode(voted)})
    prepared = PreparedBlock(certificate=certificate, proposal=encode(block))
    builder.ledger.persist_undecided({PREPARED_KEY: encode(prepared)})
    claim = Claim(slot=slot, block=name)
    return SignState(height=height, voted=claim, promise=Slot(slot + 1), attempts=1, prepared=claim)


def choose_flips(directory: Path, *, count: int, seed: int) -> list[Flip]:
    """Spreads flips over all files: half of them evenly by file, the others by size."""
    chooser = random.Random(seed)
    files = sorted(path for path in directory.rglob("*") if path.is_file() and path.stat().st_size)
    chooser.shuffle(files)
    sizes = [path.stat().st_size for path in files]
    chosen = [files[number % len(files)] for number in range(count // 2)]
    chosen += chooser.choices(files, weights=sizes, k=count - len(chosen))
    return [
        Flip(
            file=str(path.relative_to(directory)),
            offset=chooser.randrange(path.stat().st_size),
            mask=chooser.randrange(1, 256),
        )
        for path in chosen
    ]


def apply_flip(directory: Path, flip: Flip) -> None:
    """Changes the byte in place."""
    with (directory / flip.file).open("r+b") as file:
        file.seek(flip.offset)
        byte = file.read(1)[0]
        file.seek(flip.offset)
        file.write(bytes([byte ^ flip.mask]))


# --- what a ledger serves ----------------------------------------------------------------------------------


def read_all(ledger: Ledger) -> Iterator[tuple[tuple[str, bytes], bytes]]:
    """Yields everything that peers and users can get from a ledger.

    Raises:
        LedgerDamaged: it finds itself damaged; the daemon stops on it and serves nothing.
    """
    for number in range(GENESIS_HEIGHT + 1, ledger.height + 1):
        yield from _read_height(ledger, Height(number))
    for table in Table:
        for key, value in ledger.scan(table):
            yield ("state", key), value
            yield ("history", key), encode(tuple(ledger.history(key)))
            yield ("lookup", key), ledger.get(key) or b""
    for address in ledger.membership().addresses:
        yield ("proof", address), encode(ledger.prove_state(account_key(address)))


def _read_height(ledger: Ledger, height: Height) -> Iterator[tuple[tuple[str, bytes], bytes]]:
    name = height.to_bytes(8, "big")
    decided = application_on(ledger, make_genesis().addresses[OWN]).decided(height)
    yield ("block", name), encode(decided)
    yield ("receipts", name), encode(ledger.receipts(height))
    block = decode(decided.proposal, Block)
    found = ledger.height_of_block(block_digest(block.header))
    yield ("block digest", name), encode(found)
    for raw in block.transactions:
        digest = transaction_digest(raw)
        yield ("transaction", digest), repr(ledger.find_transaction(digest)).encode()


class WrongAnswerError(AssertionError):
    """A ledger with a flipped byte served something that it never held."""


def check_served(ledger: Ledger, right: Served) -> bool:
    """Reads everything; says whether the ledger found itself damaged on the way.

    Raises:
        WrongAnswerError: something is other than it was, or missing.
    """
    seen = set()
    try:
        for name, value in read_all(ledger):
            if right.get(name) != value:
                raise WrongAnswerError(f"{name[0]} {name[1].hex()}")
            seen.add(name)
    except LedgerDamaged:
        return True
    if seen != right.keys():
        missing = next(iter(right.keys() - seen))
        raise WrongAnswerError(f"{missing[0]} {missing[1].hex()} is missing")
    return False


# --- one flip after the other ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Judges flips of one specimen."""

    specimen: Specimen
    right: Served
    undecided: dict[bytes, bytes]

    @classmethod
    def of(cls, specimen: Specimen) -> "Judge":
        with scratch() as directory:
            copy = shutil.copytree(specimen.ledger, directory / "ledger")
            ledger = Ledger.open(copy, specimen.community.genesis)
            judge = cls(specimen=specimen, right=dict(read_all(ledger)), undecided=ledger.undecided())
            ledger.close()
        return judge

    def judge(self, flip: Flip) -> Judged:
        """Flips one byte in a copy and sees what comes of it.

        Raises:
            WrongAnswerError: something wrong was served.
            Exception: whatever else a start does not expect.
        """
        genesis = self.specimen.community.genesis
        with scratch() as directory:
            flipped = shutil.copytree(self.specimen.ledger, directory / "ledger")
            apply_flip(flipped, flip)
            opened = shutil.copytree(flipped, directory / "opened")
            noticed_when_read = self._open(opened)
            if noticed_when_read is None:
                return Judged(flip=flip, outcome=Outcome.AT_START, noticed_when_read=False)
            is_whole = verify_quietly(flipped, genesis)
        if noticed_when_read and is_whole:
            raise WrongAnswerError("verify overlooks what stops a node")
        outcome = Outcome.HARMLESS if is_whole else Outcome.BY_VERIFY
        return Judged(flip=flip, outcome=outcome, noticed_when_read=noticed_when_read)

    def _open(self, directory: Path) -> bool | None:
        """Opens and reads a ledger; None if it does not open, else whether it found itself damaged when read."""
        try:
            ledger = Ledger.open(directory, self.specimen.community.genesis)
        except LedgerDamaged:
            return None
        try:
            if ledger.undecided() != self.undecided:
                asyncio.run(self._require_silence(ledger))
            return check_served(ledger, self.right)
        finally:
            ledger.close()

    async def _require_silence(self, ledger: Ledger) -> None:
        """A member whose own records are lost must sign nothing at this height, or it might contradict itself."""
        key = self.specimen.community.node_keys[OWN]
        sign_state = SignStateFile(self.specimen.sign_state)
        try:
            driver, _ = drive(ledger, sign_state, key)
            if not driver.is_silent:
                raise WrongAnswerError("a member that lost its records signs")
        finally:
            sign_state.close()


def verify_quietly(directory: Path, genesis: Genesis) -> bool:
    """Says whether `p2pnode ledger verify` finds nothing."""
    return not verify_ledger(directory, genesis, lambda *_: None).damage_count


_judges: dict[Path, Judge] = {}
"""Of this worker process, by specimen."""


def _judge(specimen: Specimen, flip: Flip) -> Judged | str:
    try:
        judge = _judges.get(specimen.ledger) or _judges.setdefault(specimen.ledger, Judge.of(specimen))
        return judge.judge(flip)
    except Exception as error:  # noqa: BLE001  (each is a finding, told with its flip)
        return f"{flip}: {type(error).__name__}: {error}"


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What came of all flips of one specimen."""

    outcomes: Counter[Outcome]
    by_file: dict[str, Counter[Outcome]]
    noticed_when_read: int
    wrong: tuple[str, ...]
    """Flips that led to a wrong answer or an unexpected error: must be none."""


def judge_all(specimen: Specimen, flips: Sequence[Flip]) -> Tally:
    """Judges flips on all cores."""
    # fresh processes: a fork of one that has used LevelDB lacks its background thread
    with ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=partial(os.nice, 5)) as pool:
        return _tally(pool.map(partial(_judge, specimen), flips, chunksize=8))


def _tally(results: Iterable[Judged | str]) -> Tally:
    outcomes: Counter[Outcome] = Counter()
    by_file: dict[str, Counter[Outcome]] = {}
    when_read, wrong = 0, []
    for result in results:
        if isinstance(result, str):
            wrong.append(result)
            continue
        outcomes[result.outcome] += 1
        by_file.setdefault(result.flip.file, Counter())[result.outcome] += 1
        when_read += result.noticed_when_read
    return Tally(outcomes=outcomes, by_file=by_file, noticed_when_read=when_read, wrong=tuple(wrong))


# --- the sign state ----------------------------------------------------------------------------------------


def sign_state_flips(path: Path, *, step: int = 1) -> int:
    """Flips every `step`-th byte of a sign state in turn; returns how many.

    Raises:
        WrongAnswerError: a flip brought back another record than the newest: the member could sign twice.
    """
    content = path.read_bytes()
    right = loaded_sign_state(path)
    offsets = range(0, len(content), step)
    for offset in offsets:
        flipped = bytearray(content)
        flipped[offset] ^= 1 << offset % 8
        path.write_bytes(flipped)
        if loaded_sign_state(path) != right:
            raise WrongAnswerError(f"the sign state with byte {offset} flipped is another")
    path.write_bytes(content)
    return len(offsets)


def loaded_sign_state(path: Path) -> bytes:
    file = SignStateFile(path)
    try:
        return file.load()
    finally:
        file.close()
