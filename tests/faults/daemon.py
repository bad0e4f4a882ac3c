"""The real daemon with one behaviour replaced: `python -m tests.faults.daemon --behaviour NAME --config FILE`.

With `--block-server NAME` it is what it serves to members far behind that is replaced.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

from consensus.identifiers import Address
from node.daemon import AgentParts, make_agent, run_daemon
from node.home.configuration import Configuration, load_configuration
from node.household.agent import MemberAgent
from node.household.bilateral import BilateralMarket, MarketParts
from tests.faults.behaviours import ABOUT_MEMBERS, BEHAVIOURS, COLLECTORS, LIARS, TRICKS
from tests.faults.bending import BendingMesh
from tests.faults.block_liars import BLOCK_SERVERS
from tests.faults.tricks import Trick, diary_in, market_with


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--behaviour", choices=(*BEHAVIOURS, *COLLECTORS, *ABOUT_MEMBERS))
    what.add_argument("--block-server", choices=sorted(BLOCK_SERVERS))
    parser.add_argument("--friends", nargs="*", default=(), help="addresses of other liars, in hex")
    parser.add_argument("--config", type=Path, required=True)
    options = parser.parse_args(arguments)
    configuration = load_configuration(options.config)
    if options.block_server is not None:
        with patch("node.chain.participant.BlockServer", BLOCK_SERVERS[options.block_server]):
            return run_daemon(configuration)
    return run_liar(configuration, options.behaviour, [Address(bytes.fromhex(text)) for text in options.friends])


def run_liar(configuration: Configuration, behaviour: str, friends: list[Address]) -> int:
    def agent_factory(parts: AgentParts) -> MemberAgent:
        if behaviour in TRICKS:
            return tricky_agent(parts, TRICKS[behaviour])
        {**LIARS, **COLLECTORS, **ABOUT_MEMBERS}[behaviour](parts, diary_in(configuration.home.directory), friends)
        return make_agent(parts)

    with patch("node.daemon.Mesh", BendingMesh):
        return run_daemon(configuration, agent_factory=agent_factory)


def tricky_agent(parts: AgentParts, trick_class: type[Trick]) -> MemberAgent:
    def market(desk: MarketParts) -> BilateralMarket:
        trick = trick_class(desk, diary_in(parts.configuration.home.directory), parts)
        assert isinstance(parts.mesh, BendingMesh)
        parts.mesh.heard = trick.heard
        return market_with(trick)

    return MemberAgent(
        configuration=parts.configuration,
        identity=parts.identity,
        chain=parts.chain,
        replica=parts.replica,
        mesh=parts.mesh,
        is_behind=parts.is_behind,
        market_factory=market,
    )


if __name__ == "__main__":
    sys.exit(main())
