"""One load of transfers on four daemons, for `bench.pairs`: the daemons and the load are those of PYTHONPATH.

Prints one line of JSON: the processor time per transfer, and how long `/healthz` takes while the load runs.
"""

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import aiohttp

from bench.load import latency, measure
from bench.network import Network, make_testnet, running
from bench.wallets import wallets_on

NODES: Final = 4
HEALTH_INTERVAL_S: Final = 0.05


async def _load(directory: Path) -> dict[str, float]:
    testnet = make_testnet(directory, NODES)
    async with running(testnet) as network:
        wallets = await wallets_on(network)
        seconds: list[float] = []
        health = asyncio.create_task(_ask_health(network, seconds))
        try:
            load = await measure(network, wallets)
        finally:
            health.cancel()
    return {"cpu_us": load.cpu_us_per_transaction, "health_p95_ms": latency(seconds).p95_ms}


async def _ask_health(network: Network, seconds: list[float]) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            start_s = time.monotonic()
            async with session.get(f"{network.urls[0]}/healthz") as response:
                await response.read()
            seconds.append(time.monotonic() - start_s)
            await asyncio.sleep(HEALTH_INTERVAL_S)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1]) as folder:
        print(json.dumps(asyncio.run(_load(Path(folder)))))
