"""Clusters that are drawn, while everything goes wrong that goes wrong elsewhere: a slot's two leaders, and what each
of them may propose.

Blocks are opaque, and a block's name stands for the randomness after it. Who may lead is judged here in the checker's
own words: of what honest members voted for, and of what was decided.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from consensus.codec import encode
from consensus.identifiers import Address, Digest
from consensus.membership import Membership
from consensus.messages import CertificateRequest, Commit, Gathered, Prepare, PrePrepare
from tests.simulation.application import Application, voted_in
from tests.simulation.faults import Faults, Role
from tests.simulation.host import Host
from tests.simulation.network import TICK_MS, Network, Payload
from tests.simulation.occurrences import BY_ORDER, DRAWN, HANDED, MISNAMED, PLAIN, REQUESTED
from tests.simulation.opaque import OpaqueApplication, name_of, read_block
from tests.simulation.seeds import Kind, Outcome, Setup, run_setup, setup_of
from tests.simulation.signing import keyed_hash_keys, keyed_hashes

MEMBERS: Final = range(7, 14)
SIZES: Final = range(4, 8)


class Drawing(OpaqueApplication):
    """Blocks of a chain that draws. Who equivocates has the slot's other leader stand in its header."""

    def variant(self, proposal: bytes) -> tuple[Digest, bytes]:
        parent, slot, led_by, requests = read_block(proposal)
        leaders = self.memberships().leaders
        both = {leaders.at(slot), leaders.at(slot, is_justified=True)} - {None, led_by}
        if not both:
            return super().variant(proposal)
        self.occurred[MISNAMED] += 1
        other = encode((parent, slot, both.pop(), requests))
        return name_of(other), other


class Drawn(Network):
    """A network whose members draw clusters of a size."""

    def __init__(
        self,
        members: int,
        size: int,
        seed: int,
        faults: Faults,
        *,
        roles: Mapping[int, Role] | None = None,
        tick_ms: int = TICK_MS,
    ) -> None:
        self.size = size
        super().__init__(
            members,
            seed,
            faults,
            keys=keyed_hash_keys(members),
            application=self._application,
            roles=roles,
            tick_ms=tick_ms,
        )

    def _application(self, membership: Membership, number: int) -> Application:
        application = Drawing(membership, membership.addresses[number])
        application.cluster_size = self.size
        return application

    def send(self, host: Host, recipient: Address, payload: Payload) -> None:
        """An honest member votes for what one of the slot's two leaders proposed, each in its own way."""
        is_own = getattr(payload, "signer", None) == host.key.address
        if host.liar is None and is_own and isinstance(payload, PrePrepare | Prepare):
            self._check_leader(host, payload)
        if isinstance(payload, Gathered | CertificateRequest):
            self.occurred[HANDED if isinstance(payload, Gathered) else REQUESTED] += 1
        if isinstance(payload, Commit):
            self.occurred[PLAIN] += host.replica._member.state.is_plain
        super().send(host, recipient, payload)

    def _check_leader(self, host: Host, vote: PrePrepare | Prepare) -> None:
        proposal = voted_in(host.application.records())
        assert proposal is not None, "a vote was sent before its proposal was durable"
        if (proposal.slot, proposal.height) != (vote.slot, vote.height):
            return
        leaders, justification = host.application.memberships().leaders, proposal.justification
        expected = leaders.order if justification is not None else leaders.cluster(proposal.slot)
        assert proposal.signer == expected[proposal.slot % len(expected)], "a vote for who may not propose"
        if justification is None or justification.certificate is None:
            _, slot, led_by, _ = read_block(proposal.proposal)
            assert (slot, led_by) == (proposal.slot, proposal.signer), "a vote for a block under another's name"
        self.occurred[DRAWN if justification is None else BY_ORDER] += 1


def setup_of_clusters(seed: int) -> tuple[Setup, int]:
    """Returns what a seed chooses: 7 to 13 members, and clusters of four to seven of them."""
    members = MEMBERS[seed % len(MEMBERS)]
    sizes = [size for size in SIZES if size < members]
    setup = replace(setup_of(seed, members), kind=Kind.OPAQUE)
    return setup, sizes[seed // len(MEMBERS) % len(sizes)]


def run_clusters(seed: int) -> Outcome:
    """Runs the faults of a seed where clusters are drawn."""
    setup, size = setup_of_clusters(seed)
    with keyed_hashes():
        network = Drawn(setup.members, size, seed, setup.faults, tick_ms=setup.tick_ms)
        return run_setup(network, setup, kind="clusters")
