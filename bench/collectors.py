"""What drawn collectors cost and save among real daemons: `python -m bench.collectors --members 13 --size 7`.

Two testnets of one kind run in turns, one of whose members some are drawn to collect votes, the other where all do. A
wallet has one transfer in flight at a time. What can be compared is one beside the other.
"""

import argparse
import asyncio
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from bench.load import latency, one_at_a_time
from bench.network import Network, make_testnet, running
from bench.wallets import wallets_on
from node.testnet.folder import Testnet

ROUNDS: Final = 2
FRAMES: Final = "p2pnode_mesh_frames_total"
BYTES: Final = "p2pnode_mesh_bytes_total"
HEIGHT: Final = "p2pnode_height"


@dataclass(slots=True, kw_only=True)
class Figures:
    """Of one kind of testnet, over all rounds."""

    seconds: list[float] = field(default_factory=list)
    """From submitting a transfer to its being committed."""
    frames: float = 0
    """That all daemons sent meanwhile."""
    size_bytes: float = 0
    processor_s: float = 0
    """Of all daemons."""
    blocks: float = 0

    def as_json(self) -> dict[str, Any]:
        told = latency(self.seconds)
        return {
            "transfers": told.count,
            "p50_ms": told.p50_ms,
            "p95_ms": told.p95_ms,
            "frames_per_block": round(self.frames / self.blocks),
            "bytes_per_block": round(self.size_bytes / self.blocks),
            "processor_ms_per_block": round(1_000 * self.processor_s / self.blocks, 1),
        }


async def _measure(testnet: Testnet, transfers: int, figures: Figures) -> None:
    async with running(testnet) as network:
        wallet = (await wallets_on(network))[-1]
        await one_at_a_time(network, wallet, 2)  # connections and caches
        before, started = await _sums(network), network.processor_time()
        figures.seconds += await one_at_a_time(network, wallet, transfers)
        after, ended = await _sums(network), network.processor_time()
        figures.frames += after[FRAMES] - before[FRAMES]
        figures.size_bytes += after[BYTES] - before[BYTES]
        figures.blocks += (after[HEIGHT] - before[HEIGHT]) / len(network.urls)
        figures.processor_s += ended.daemons_s - started.daemons_s


async def _sums(network: Network) -> dict[str, float]:
    """Returns what all daemons sent so far, and their heights, summed."""
    sums = dict.fromkeys((FRAMES, BYTES, HEIGHT), 0.0)
    async with aiohttp.ClientSession() as session:
        for url in network.urls:
            async with session.get(f"{url}/metrics") as reply:
                families = text_string_to_metric_families(await reply.text())
            for sample in (one for family in families for one in family.samples):
                if sample.name in sums and sample.labels.get("direction", "sent") == "sent":
                    sums[sample.name] += sample.value
    return sums


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=13)
    parser.add_argument("--size", type=int, default=7)
    parser.add_argument("--transfers", type=int, default=50, help="of each testnet in each of two rounds")
    options = parser.parse_args()
    figures = {"drawn": Figures(), "all": Figures()}
    with tempfile.TemporaryDirectory(prefix="p2pnode-collectors-") as folder:
        sizes = {"drawn": options.size, "all": None}
        testnets = {name: make_testnet(Path(folder), options.members, size) for name, size in sizes.items()}
        for _ in range(ROUNDS):
            for name, testnet in testnets.items():
                asyncio.run(_measure(testnet, options.transfers, figures[name]))
    told = {name: one.as_json() for name, one in figures.items()}
    print(json.dumps({"members": options.members, "cluster_size": options.size} | told, indent=2))


if __name__ == "__main__":
    main()
