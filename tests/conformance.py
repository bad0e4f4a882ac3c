"""`python -m tests.conformance`: does a running node answer as its OpenAPI document says?

Schemathesis makes requests from the document, right and wrong ones, and sends them to a daemon over a chain on which
everything happened. It must find no server error and no answer that the document does not have. The seed is printed;
one seed makes the same requests again.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from contracts.transactions import ReportMisconduct
from node.cli.terminal import error_console
from tests.support.ledger import ChainBuilder
from tests.support.long_chain import decide_beforehand, make_street
from tests.support.stories import two_votes
from tests.support.testnet import Node, cleaned_up, daemon, wait_until

SCHEMATHESIS: Final = Path(sys.executable).with_name("st")
SEED: Final = 20_160_601
NODES: Final = 4
HOURS: Final = 24

LEFT_OUT: Final = ("positive_data_acceptance",)
"""What cannot hold: the document cannot say which signatures are right, or which heights there are."""

PHASES: Final = ("examples", "coverage", "fuzzing")


def live(builder: ChainBuilder) -> None:
    """A day of trading, transfers, and a proven misconduct."""
    for hour in range(HOURS):
        builder.append_trading_hour(hour)
    builder.append([builder.transfer(0, 1, 5)])
    builder.append([builder.transaction(1, ReportMisconduct(evidence=two_votes(builder.community, 3)))])
    builder.append()


@contextmanager
def running_node(directory: Path) -> Iterator[Node]:
    """Runs a testnet whose chain was made beforehand, and gives its first node once it reaches a quorum."""
    with cleaned_up(directory), ExitStack() as running:
        street = make_street(directory, nodes=NODES)
        decide_beforehand(street, live, for_nodes=NODES)
        for node in street.nodes:
            running.enter_context(daemon(node))
        first = street.node(1)
        wait_until(first.is_ready, "a quorum is connected")
        yield first


def conformance(url: str, *, cases: int, seed: int, directory: Path) -> subprocess.CompletedProcess[str]:
    """Returns what Schemathesis says of the node at `url` after `cases` requests to each operation."""
    options = {
        "--url": url,
        "--max-examples": str(cases),
        "--seed": str(seed),
        "--phases": ",".join(PHASES),
        "--exclude-checks": ",".join(LEFT_OUT),
        "--generation-database": "none",
        "--request-timeout": "30",
    }
    arguments = [word for option in options.items() for word in option]
    return subprocess.run(
        [SCHEMATHESIS, "--no-color", "run", f"{url}/v1/openapi.json", "--continue-on-failure", *arguments],
        cwd=directory,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def main() -> int:
    """Returns the exit code of Schemathesis."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--cases", type=int, default=100, help="requests to each operation (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="of the requests (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="p2pnode-") as folder, running_node(Path(folder) / "testnet") as node:
        error_console().print(f"conformance: {arguments.cases} cases per operation, seed {arguments.seed}")
        ended = conformance(node.url, cases=arguments.cases, seed=arguments.seed, directory=Path(folder))
        sys.stdout.write(ended.stdout)
    return ended.returncode


if __name__ == "__main__":
    sys.exit(main())
