"""Clusters that are drawn, while everything goes wrong that goes wrong elsewhere: a slot's two leaders, and what each
of them may propose.

Blocks are opaque, and a block's name stands for the randomness after it. Who may lead is judged here in the checker's
own words: of what honest members voted for, and of what was decided.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from consensus.codec import encode
from consensus.identifiers import SIGNATURE_SIZE_BYTES, Address, Digest, Signature
from consensus.membership import Membership
from consensus.messages import (
    CertificateRequest,
    Commit,
    EndorsedStatement,
    Endorsement,
    Gathered,
    Prepare,
    PrePrepare,
    commit_bytes,
    vote_bytes,
)
from consensus.quorum import fault_bound
from tests.simulation.application import Application, voted_in
from tests.simulation.checker import is_quorum
from tests.simulation.faults import COLLECTING, Faults, Role
from tests.simulation.host import TAU_MS, Host
from tests.simulation.network import TICK_MS, Network, Observer, Payload
from tests.simulation.occurrences import BY_ORDER, CAPTURED, DRAWN, HANDED, MISNAMED, PLAIN, REQUESTED
from tests.simulation.opaque import OpaqueApplication, name_of, read_block
from tests.simulation.seeds import Kind, Outcome, Setup, run_setup, setup_of
from tests.simulation.signing import is_signed, keyed_hash_keys, keyed_hashes

MEMBERS: Final = range(7, 14)
SIZES: Final = range(4, 8)
HANDED_MAX: Final = 6
"""Of a slot: handed out, and four answers, or five where clocks differ."""
ENCODED_EVERY: Final = 5
"""One seed of so many has its messages travel as bytes."""
CAPTURED_SHARE: Final = 0.15
"""Of runs in which only liars are drawn, and all F are."""


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
        eligible: Collection[int] | None = None,
        tick_ms: int = TICK_MS,
        is_encoded: bool = False,
        observer: Observer | None = None,
    ) -> None:
        """Starts all members; see `Network`.

        Args:
            members: N.
            size: of a cluster; 0: all members.
            seed: of all randomness.
            faults: what goes wrong.
            roles: by member's number, in the place of a draw.
            eligible: who is drawn, by number; all by default.
            tick_ms: how often hosts hear that time passed.
            is_encoded: whether messages travel as bytes.
            observer: to draw or count the run.
        """
        self.size = size
        self.eligible = eligible
        self.handed: Counter[object] = Counter()
        """How often each member's process told another of one certificate, by slot of time."""
        super().__init__(
            members,
            seed,
            faults,
            keys=keyed_hash_keys(members),
            application=self._application,
            roles=roles,
            tick_ms=tick_ms,
            is_encoded=is_encoded,
            observer=observer,
        )

    def _application(self, membership: Membership, number: int) -> Application:
        application = Drawing(membership, membership.addresses[number])
        application.cluster_size = self.size
        if self.eligible is not None:
            application.eligible = frozenset(membership.addresses[one] for one in self.eligible)
        return application

    def look_at(self, host: Host, payload: Payload) -> None:
        """An honest member votes for what one of the slot's two leaders proposed, each in its own way."""
        super().look_at(host, payload)
        is_own = getattr(payload, "signer", None) == host.key.address
        if is_own and isinstance(payload, PrePrepare | Prepare):
            self._check_leader(host, payload)
        if isinstance(payload, Gathered):
            self._check_gathered(host, payload)
        if isinstance(payload, Gathered | CertificateRequest):
            self.occurred[HANDED if isinstance(payload, Gathered) else REQUESTED] += 1
        if isinstance(payload, Commit):
            self.occurred[PLAIN] += host.replica._member.state.is_plain

    def send(self, host: Host, recipient: Address, payload: Payload) -> None:
        """An honest member asks nobody but the slot's cluster, and is made to answer a few times in a slot only."""
        if host.liar is None and isinstance(payload, CertificateRequest):
            leaders = host.application.memberships().leaders
            is_of_next = payload.height == host.application.height + 1
            assert not is_of_next or recipient in leaders.cluster(payload.slot), "asked who does not collect"
        if host.liar is None and isinstance(payload, Gathered):
            window = self.now_ms // TAU_MS
            told = (host.index, host.lives, recipient, payload.kind, payload.height, payload.slot, window)
            self.handed[told] += 1
            assert self.handed[told] <= HANDED_MAX, "one certificate for one member again and again"
        super().send(host, recipient, payload)

    def _check_gathered(self, host: Host, gathered: Gathered) -> None:
        """What an honest member hands out holds: enough members signed it, and nothing else is decided."""
        addresses, bits = self.membership.addresses, int.from_bytes(gathered.signers, "little")
        signers = [address for number, address in enumerate(addresses) if bits >> number & 1]
        size = SIGNATURE_SIZE_BYTES
        signatures = [gathered.signatures[at : at + size] for at in range(0, len(gathered.signatures), size)]
        domain = host.application.eras.at(gathered.height).domain
        is_of_votes = gathered.kind is EndorsedStatement.VOTE
        signed = (vote_bytes if is_of_votes else commit_bytes)(domain, gathered.height, gathered.slot, gathered.block)
        endorsed = [
            Endorsement(signer=signer, signature=Signature(signature))
            for signer, signature in zip(signers, signatures, strict=True)
        ]
        assert bits >> len(addresses) == 0, "a certificate names nobody"
        assert is_quorum(endorsed, self.membership), "a certificate of too few is handed out"
        for one in endorsed:
            key = self.membership.key_of(one.signer)
            assert key is not None, "a certificate of a stranger"
            assert is_signed(key, signed, one.signature), "a certificate of who did not sign"
        decided = self.checker.decided.get(gathered.height)
        assert is_of_votes or decided in (None, gathered.block), "a certificate decides another block"

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


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSetup:
    """What a seed chose: beside the faults, the size of clusters, and who lies."""

    setup: Setup
    size: int
    roles: dict[int, Role]
    """By member's number."""
    is_captured: bool
    """Whether only liars are drawn: the clusters of all slots have no honest member."""


def setup_of_clusters(seed: int) -> ClusterSetup:
    """Returns what a seed chooses: 7 to 13 members, and clusters of four to seven; of liars alone, F - 1 of them."""
    members = MEMBERS[seed % len(MEMBERS)]
    sizes = [size for size in SIZES if size < members]
    setup = replace(setup_of(seed, members), kind=Kind.OPAQUE)
    random = Random(f"clusters of seed {seed}")
    roles = [role if random.random() < 0.5 else random.choice(COLLECTING) for role in setup.faults.roles]
    size = sizes[seed // len(MEMBERS) % len(sizes)]
    is_captured = random.random() < CAPTURED_SHARE
    if is_captured:
        liars = fault_bound(members)
        roles = random.choices((*COLLECTING, Role.SILENT, Role.WITHHOLDING, Role.EQUIVOCATING), k=liars)
        size = liars - 1
    return ClusterSetup(
        setup=replace(setup, faults=replace(setup.faults, roles=())),
        size=size,
        roles=dict(zip(random.sample(range(members), len(roles)), roles, strict=True)),
        is_captured=is_captured,
    )


def run_clusters(seed: int) -> Outcome:
    """Runs the faults of a seed where clusters are drawn."""
    chosen = setup_of_clusters(seed)
    setup = chosen.setup
    with keyed_hashes():
        network = Drawn(
            setup.members,
            chosen.size,
            seed,
            setup.faults,
            roles=chosen.roles,
            eligible=chosen.roles if chosen.is_captured else None,
            tick_ms=setup.tick_ms,
            is_encoded=seed % ENCODED_EVERY == 0,
        )
        network.occurred[CAPTURED] += chosen.is_captured
        return run_setup(network, setup, kind="clusters")
