"""`python -m bench`: measures the machine, the parts of a node, and testnets of 4 and 5 daemons; about two minutes.

Prints tables and writes build/bench.json. docs/benchmarks.md says how to read the figures.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from rich.table import Table

from bench.flood import FloodResult, flood_sentence, measure_flood
from bench.load import LoadFailed, LoadResult, measure
from bench.machine import Ed25519Cost, cores, ed25519_cost
from bench.network import make_testnet, running
from bench.parts import BlockCost, CodecCost, block_costs, codec_cost
from bench.wallets import wallets_on
from node.cli.terminal import error_console, output_console
from node.errors import NodeError
from node.testnet.folder import Testnet

BUILD: Final = Path("build")
NETWORK_SIZES: Final = (4, 5)


def main() -> int:
    """Runs all benchmarks; returns the process's exit code."""
    progress, output = error_console(), output_console()
    BUILD.mkdir(exist_ok=True)
    # Beside the project, not in /tmp: that may be memory, on which a synced write costs nothing.
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="bench-") as folder:
        directory = Path(folder).resolve()
        testnets = [make_testnet(directory, nodes) for nodes in NETWORK_SIZES]
        progress.print("bench: Ed25519, codec, blocks ...")
        signature = ed25519_cost()
        codec = codec_cost(testnets[-1])
        blocks = block_costs(testnets[-1], directory)
        loads = []
        try:
            for testnet in testnets:
                progress.print(f"bench: {len(testnet.nodes)} daemons ...")
                loads.append(asyncio.run(_measure(testnet)))
            progress.print("bench: one of four floods the others ...")
            flood = asyncio.run(_measure_flood(testnets[0]))
        except (LoadFailed, NodeError) as error:
            progress.print(f"bench: {error}", markup=False)
            return 1
    output.print(_load_table(loads), _block_table(blocks), markup=False)
    output.print(_sentence(signature, codec), flood_sentence(flood), highlight=False)
    report = {
        "cores": cores(),
        "ed25519": asdict(signature),
        "codec": asdict(codec),
        "blocks": [asdict(block) for block in blocks],
        "testnets": [asdict(load) for load in loads],
        "flood": asdict(flood),
    }
    (BUILD / "bench.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    progress.print(f"bench: written to {BUILD / 'bench.json'}")
    return 0


async def _measure(testnet: Testnet) -> LoadResult:
    async with running(testnet) as network:
        return await measure(network, await wallets_on(network))


async def _measure_flood(testnet: Testnet) -> FloodResult:
    async with running(testnet) as network:
        return await measure_flood(testnet, network)


def _load_table(loads: Sequence[LoadResult]) -> Table:
    table = Table(title="Transfers through a testnet of daemons on this machine")
    table.add_column("")
    for load in loads:
        table.add_column(f"{load.nodes} nodes", justify="right")
    for name, cells in _load_rows(loads):
        table.add_row(name, *cells)
    return table


def _load_rows(loads: Sequence[LoadResult]) -> list[tuple[str, list[str]]]:
    return [
        (
            "processor time per committed transaction, in Ed25519 verifications",
            [f"{load.verifications_per_transaction:.2f}" for load in loads],
        ),
        ("... of which the protocol needs: one per node", [f"{load.nodes}" for load in loads]),
        (
            "throughput by that of verifying alone (cores / (nodes x verification))",
            [f"{load.share_of_bound:.1%}" for load in loads],
        ),
        (
            "who had the processor: daemons / wallets / others",
            [f"{load.shares.daemons:.0%} / {load.shares.wallets:.0%} / {load.shares.others:.0%}" for load in loads],
        ),
        ("transactions per second", [f"{load.transactions_per_s:,.0f}" for load in loads]),
        (
            "processor time per transaction, all daemons, us",
            [f"{load.cpu_us_per_transaction:,.0f}" for load in loads],
        ),
        ("one Ed25519 verification, same run, us", [f"{load.verify_us:.0f}" for load in loads]),
        (
            "commit latency, one in flight, p50 / p95 ms",
            [f"{load.latency_single.p50_ms:.1f} / {load.latency_single.p95_ms:.1f}" for load in loads],
        ),
        (
            "commit latency, under load, p50 / p95 ms",
            [f"{load.latency_load.p50_ms:.0f} / {load.latency_load.p95_ms:.0f}" for load in loads],
        ),
        (
            "transactions in all / per block",
            [f"{load.transactions:,} / {load.transactions_per_block:.0f}" for load in loads],
        ),
        ("view changes under load", [f"{load.view_changes}" for load in loads]),
    ]


def _block_table(blocks: Sequence[BlockCost]) -> Table:
    table = Table(title="One node's work per block of transfers, us")
    for heading in ("transfers", "verify", "build", "append", "append per transfer"):
        table.add_column(heading, justify="right")
    for block in blocks:
        each = f"{block.append_us / block.transactions:,.1f}"
        columns = (block.transactions, block.verify_us, block.build_us, block.append_us)
        table.add_row(*(f"{value:,.0f}" for value in columns), each)
    return table


def _sentence(signature: Ed25519Cost, codec: CodecCost) -> str:
    return (
        f"Ed25519 on one core: verify {signature.verify_us:.0f} us, sign {signature.sign_us:.0f} us. "
        f"A signed transfer has {codec.size_bytes} bytes: encode {codec.encode_us:.1f} us, "
        f"strict decode {codec.decode_us:.1f} us."
    )


if __name__ == "__main__":
    sys.exit(main())
