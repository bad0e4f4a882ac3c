"""The real daemon with one behaviour replaced: `python -m tests.faults.daemon --behaviour NAME --config FILE`.

With `--block-server NAME` it is what it serves to members far behind that is replaced.
"""

import argparse
import sys
from pathlib import Path
from unittest.mock import patch

from node.configuration import load_configuration
from node.daemon import AgentParts, run_daemon
from node.meter_agent import DesksFactory, MeterAgent
from tests.faults.block_liars import BLOCK_SERVERS
from tests.faults.liars import BEHAVIOURS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--behaviour", choices=sorted(BEHAVIOURS))
    what.add_argument("--block-server", choices=sorted(BLOCK_SERVERS))
    parser.add_argument("--config", type=Path, required=True)
    options = parser.parse_args()
    configuration = load_configuration(options.config)
    if options.block_server is not None:
        with patch("node.daemon.BlockServer", BLOCK_SERVERS[options.block_server]):
            return run_daemon(configuration)

    def agent_factory(parts: AgentParts) -> MeterAgent:
        return make_lying_agent(parts, BEHAVIOURS[options.behaviour])

    return run_daemon(configuration, agent_factory=agent_factory)


def make_lying_agent(parts: AgentParts, desks_factory: DesksFactory) -> MeterAgent:
    return MeterAgent(
        configuration=parts.configuration,
        identity=parts.identity,
        chain=parts.chain,
        mesh=parts.mesh,
        desks_factory=desks_factory,
    )


if __name__ == "__main__":
    sys.exit(main())
