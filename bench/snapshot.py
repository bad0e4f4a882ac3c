"""What a state costs to copy, to tell and to take: `python -m bench.snapshot --transactions 100000`.

Makes a chain of trading hours in memory, copies the state after its tip, and takes every chunk as who joins does.
"""

import argparse
import time
from pathlib import Path

from consensus.identifiers import Digest, Height
from ledger.state_copy import StateCopy, copying
from ledger.state_ranges import WHOLE, chunk_fault, region_at
from node.mesh.messages import ChunkAnswer, encode_peer_message
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


if __name__ == "__main__":
    main()
