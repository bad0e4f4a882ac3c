"""The real daemon with one behaviour replaced: `python -m tests.faults.daemon --behaviour NAME --config FILE`."""

import argparse
import sys
from pathlib import Path

from node.configuration import load_configuration
from node.daemon import AgentParts, run_daemon
from node.meter_agent import DesksFactory, MeterAgent
from tests.faults.liars import BEHAVIOURS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--behaviour", choices=sorted(BEHAVIOURS), required=True)
    parser.add_argument("--config", type=Path, required=True)
    options = parser.parse_args()

    def agent_factory(parts: AgentParts) -> MeterAgent:
        return make_lying_agent(parts, BEHAVIOURS[options.behaviour])

    return run_daemon(load_configuration(options.config), agent_factory=agent_factory)


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
