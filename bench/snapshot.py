"""What a state costs to copy, tell and take, beside all blocks: `python -m bench.snapshot --transactions 100000`.

Makes a chain of trading hours in memory, copies the state after its tip, and takes every chunk as who joins does:
judged, written to an intake, and a ledger made of it. Then it takes every block, as who executes from genesis does:
the bytes that members send, the certificate checked, the block executed and written. No network; one processor.
"""

import argparse
import time
from pathlib import Path

from consensus.codec import decode
from consensus.identifiers import Digest, Height
from ledger.block import Block
from ledger.eras import BegunEras
from ledger.ledger import Ledger
from ledger.origin import Origin, check_origin
from ledger.state_copy import ORIGIN_SIZE_BYTES_MAX, StateCopy, copying
from ledger.state_intake import StateIntake
from ledger.state_ranges import WHOLE, chunk_fault, region_at
from node.chain.application import read_decided
from node.mesh.messages import (
    BLOCKS_PER_ANSWER_MAX,
    Blocks,
    ChunkAnswer,
    OriginPage,
    decode_peer_message,
    encode_peer_message,
)
from node.snapshots.filling import take_decided
from tests.support.ledger import ChainBuilder
from tests.support.long_chain import scratch

TRANSACTIONS_PER_HOUR = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transactions", type=int, default=10_000)
    wanted = parser.parse_args().transactions
    with scratch() as directory:
        builder, began_s = ChainBuilder.create(directory / "ledger"), time.perf_counter()
        for hour in range(wanted // TRANSACTIONS_PER_HOUR):
            builder.append_trading_hour(hour)
        heights = range(1, builder.ledger.height + 1)
        transactions = sum(len(builder.ledger.receipts(Height(height))) for height in heights)
        blocks_bytes = sum(len(builder.ledger.block_bytes(Height(height)) or b"") for height in heights)
        print(f"{transactions:,} transactions, {builder.ledger.height:,} blocks, {blocks_bytes:,} bytes of blocks")
        print(f"made in {time.perf_counter() - began_s:.0f} s (signing and executing)")
        measure(builder, directory / "copy")
        take_state(builder, directory)
        take_blocks(builder, directory / "full")
        builder.ledger.close()


def measure(builder: ChainBuilder, directory: Path) -> None:
    height, root = builder.ledger.height, builder.ledger.state_root
    steps: list[float] = []
    began_s = step_s = time.perf_counter()
    for _ in copying(builder.ledger, height, directory):
        now_s = time.perf_counter()
        steps.append(now_s - step_s)
        step_s = now_s
    stored = sum(file.stat().st_size for file in directory.iterdir())
    print(
        f"copied in {time.perf_counter() - began_s:.1f} s, "
        f"in {len(steps):,} steps, the longest {max(steps) * 1e3:.0f} ms"
    )
    copy = StateCopy.open(directory)
    answers, told_bytes, entries, tell_s, check_s = 0, 0, 0, [], []
    position: Digest | None = WHOLE.start
    while position is not None:
        began_s = time.perf_counter()
        chunk = copy.chunk_at(position)
        frame = encode_peer_message(ChunkAnswer(height=height, position=position, chunk=chunk))
        tell_s.append(time.perf_counter() - began_s)
        began_s = time.perf_counter()
        assert chunk_fault(chunk, root, position) is None
        check_s.append(time.perf_counter() - began_s)
        answers, told_bytes, entries = answers + 1, told_bytes + len(frame), entries + len(chunk.entries)
        position = region_at(position, len(chunk.siblings)).following
    copy.close()
    print(f"{entries:,} entries in {answers:,} chunks, {told_bytes:,} bytes told, {stored:,} bytes on the disk")
    for name, taken in (("told", tell_s), ("checked", check_s)):
        print(f"{name} in {sum(taken):.1f} s, the longest {max(taken) * 1e3:.0f} ms")


def take_state(builder: ChainBuilder, directory: Path) -> None:
    """Joins with the state: everything that a home does that begins with it."""
    height, root, genesis = builder.ledger.height, builder.ledger.state_root, builder.community.genesis
    copy, told_bytes, began_s = StateCopy.open(directory / "copy"), 0, time.perf_counter()
    pages: list[bytes] = []
    while page := copy.origin_page(len(pages)):
        pages.append(page)
        told_bytes += len(encode_peer_message(OriginPage(height=height, page=len(pages) - 1, content=page)))
    origin = decode(b"".join(pages), Origin, size_bytes_max=ORIGIN_SIZE_BYTES_MAX)
    check_origin(origin, genesis, BegunEras(genesis))
    taken = StateIntake.create(directory / "intake", origin)
    position: Digest | None = WHOLE.start
    while position is not None:
        frame = encode_peer_message(ChunkAnswer(height=height, position=position, chunk=copy.chunk_at(position)))
        told_bytes += len(frame)
        answer = decode_peer_message(frame)
        assert isinstance(answer, ChunkAnswer)
        assert answer.chunk is not None
        assert chunk_fault(answer.chunk, root, position) is None
        taken.put(position, answer.chunk)
        position = region_at(position, len(answer.chunk.siblings)).following
    took_s = time.perf_counter() - began_s
    ledger = Ledger.create_at(directory / "begun", genesis, taken.origin, taken.entries())
    print(
        f"joined with the state: {told_bytes:,} bytes, {time.perf_counter() - began_s:.1f} s, of them {took_s:.1f} s "
        "to tell, judge and write it"
    )
    assert ledger.state_root == root
    for one in (ledger, taken, copy):
        one.close()


def take_blocks(builder: ChainBuilder, directory: Path) -> None:
    """Joins with all blocks: what block sync does with them, without sockets."""
    source, sent_bytes = builder.ledger, 0
    ledger, began_s = Ledger.create(directory, builder.community.genesis), time.perf_counter()
    while ledger.height < source.height:
        last = min(ledger.height + BLOCKS_PER_ANSWER_MAX, source.height)
        heights = [Height(number) for number in range(ledger.height + 1, last + 1)]
        frame = encode_peer_message(
            Blocks(first=heights[0], blocks=tuple(read_decided(source, height) for height in heights))
        )
        sent_bytes += len(frame)
        answer = decode_peer_message(frame)
        assert isinstance(answer, Blocks)
        for decided in answer.blocks:
            assert take_decided(ledger, decode(decided.proposal, Block), decided.certificate) is None
    print(f"joined with all blocks: {sent_bytes:,} bytes, {time.perf_counter() - began_s:.1f} s")
    assert ledger.state_root == source.state_root
    ledger.close()


if __name__ == "__main__":
    main()
