"""Runs in which a member that was away is served wrong blocks: who takes one unchecked decides what nobody did."""

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from consensus.identifiers import Address, Slot
from consensus.messages import Decided
from node.mesh.messages import Blocks
from tests.simulation.faults import Faults, Role
from tests.simulation.host import TAU_MS, Host
from tests.simulation.network import RECOVERY_SLOTS_MAX, Network, Payload, run_requests
from tests.simulation.signing import keyed_hash_keys, keyed_hashes

AWAY_MS: Final = 8_000
REQUESTS: Final = 100
"""Enough for more blocks than a DECIDED run has."""

REFUSED: Final = "refused: a range of blocks"

Lie = Callable[[Host, Blocks], Blocks]


def other_block(liar: Host, answer: Blocks) -> Blocks:
    """Another block in the place of the first, with the COMMITs of one member less."""
    first = answer.blocks[0]
    block, proposal = liar.application.variant(first.proposal)
    certificate = replace(first.certificate, block=block, endorsements=first.certificate.endorsements[1:])
    return replace(answer, blocks=(Decided(certificate=certificate, proposal=proposal), *answer.blocks[1:]))


def other_body(_: Host, answer: Blocks) -> Blocks:
    """The body of the second block under the name of the first."""
    first, second = answer.blocks[:2]
    return replace(answer, blocks=(replace(first, proposal=second.proposal), *answer.blocks[1:]))


def other_slot(_: Host, answer: Blocks) -> Blocks:
    """COMMITs of one slot shown for another."""
    first = answer.blocks[0]
    certificate = replace(first.certificate, slot=Slot(first.certificate.slot + 1))
    return replace(answer, blocks=(replace(first, certificate=certificate), *answer.blocks[1:]))


def served_by_a_liar(lie: Lie) -> Callable[[], None]:
    """Returns a run of four: the last member is away, then fetches ranges, and the liar's answer is the first."""

    def run() -> None:
        with keyed_hashes():
            network = Network(4, 1, Faults(), keys=keyed_hash_keys(4), roles={0: Role.FORGING})
            liar, behind = network.hosts[0], network.hosts[3]
            told: list[Blocks] = []

            def outgoing(recipient: Address, payload: Payload) -> list[tuple[int, Payload]]:
                if isinstance(payload, Blocks) and recipient == behind.key.address and len(payload.blocks) > 1:
                    payload = lie(liar, payload)
                    told.append(payload)
                return [(0, payload)]

            def is_lost(sender: Host, recipient: Host, payload: Payload) -> bool:
                if recipient is not behind:
                    return False
                if isinstance(payload, Blocks):
                    return sender is not liar and not told
                return isinstance(payload, Decided) and not network.occurred[REFUSED]

            assert liar.liar is not None
            liar.liar.outgoing = outgoing  # type: ignore[method-assign, assignment]
            network.is_lost = is_lost
            behind.crash(absent_ms=AWAY_MS)
            limit_ms = AWAY_MS + RECOVERY_SLOTS_MAX * TAU_MS
            assert run_requests(network, requests=REQUESTS, spread_ms=AWAY_MS // 2, limit_ms=limit_ms), "stuck"
            assert told, "the liar was not asked"
            assert network.occurred[REFUSED] == 1, "the lie was not refused"

    return run
