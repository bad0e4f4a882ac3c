"""Deliberate breaks of what holds where clusters are drawn: of a slot's two leaders, of certificates in few bytes.

Not told apart: that a short form has exactly Q bits, signatures and era; the certificate that it makes is asked the
same.
"""

from typing import Final
from unittest.mock import patch

from consensus import explain, gathering, liveness, safety, verification
from consensus.events import Instant
from consensus.member import Member
from consensus.membership import Leaders
from ledger import validation
from tests.simulation import breaks
from tests.simulation.directed import directed
from tests.simulation.mutant import Mutant, edited
from tests.unit.consensus import test_gathering, test_two_leaders
from tests.unit.ledger import test_drawn_clusters

G = test_gathering
L = test_two_leaders
D = test_drawn_clusters

RULE: Final = "a slot has two leaders"


true_at = Leaders.at


def propose_as_drawn(member: Member, now: Instant) -> bool:
    with patch.object(Leaders, "at", lambda leaders, slot, is_justified: true_at(leaders, slot)):
        return liveness.rule_propose_justified(member, now)


def breaking(name: str, break_: object, *killers: object) -> Mutant:
    return Mutant(name=name, rule=RULE, breaks=(break_,), killers=killers)  # type: ignore[arg-type]


CLUSTER_MUTANTS: Final = (
    breaking(
        "a short form's bitmap may have another length",
        edited(gathering, "_signers", ("len(gathered.signers) == membership.bitmap_size_bytes", "True")),
        directed(G.test_what_is_changed_is_no_certificate, change="a longer bitmap"),
    ),
    breaking(
        "a short form is believed unchecked",
        edited(
            G,
            "certificate_in",
            ("certificate if prepared_certificate_holds(certificate, membership, era) else None", "certificate"),
        ),
        *(
            directed(G.test_what_is_changed_is_no_certificate, change=row)
            for row in ("one signature twice for two", "signatures in another order", "bits of others")
        ),
        G.test_one_bad_signature_among_them_is_enough,
    ),
    breaking(
        "a short form has the signatures in the order of addresses",
        edited(G, "gathered_of", ("for address in signed)", "for address in sorted(signatures))")),
        directed(G.test_every_certificate_comes_back_whole_over_the_wire, count=7),
    ),
    breaking(
        "a short form of votes is read as one of COMMITs",
        edited(
            verification,
            "certificate_of",
            ("PreparedCertificate if gathered.kind is EndorsedStatement.VOTE else ", ""),
        ),
        directed(G.test_every_certificate_comes_back_whole_over_the_wire, count=7),
    ),
    breaking(
        "who may propose is asked without looking at the justification",
        edited(verification, "_check_pre_prepare", ("message.justification is not None", "False")),
        L.test_each_proposes_in_its_own_way_only,
    ),
    breaking(
        "attempts are led in the order of admission though something is drawn",
        edited(Leaders, "order", ("members if self._sampling is None else self._sampling.order(members)", "members")),
        L.test_one_is_drawn_for_the_slot_the_other_stands_in_an_order_of_the_height,
    ),
    breaking(
        "attempts are led by who is drawn for the slot",
        edited(Leaders, "whose", ("self.order if is_justified else ", "")),
        L.test_attempts_at_every_distance_pass_through_all_members,
    ),
    breaking(
        "attempts ask for slots that the drawn leader leads",
        edited(Leaders, "next_slot", ("is_justified=is_justified", "is_justified=False")),
        L.test_a_suspended_member_leads_in_neither_way_and_attempts_pass_over_its_slots,
        L.test_the_next_attempt_asks_for_a_slot_of_the_order,
    ),
    breaking(
        "clusters of all slots asked for are kept",
        edited(Leaders, "cluster", ("self._clusters.clear()", "pass")),
        L.test_clusters_of_few_slots_are_kept_whatever_is_asked_for,
    ),
    breaking(
        "a block counts whose header has the slot's other leader",
        edited(safety, "_may_vote", ("origin == (proposal.slot, proposal.signer)", "origin.slot == proposal.slot")),
        directed(L.test_an_unclaimed_block_whose_header_has_the_slots_other_leader_gets_no_vote, is_justified=False),
        directed(L.test_an_unclaimed_block_whose_header_has_the_slots_other_leader_gets_no_vote, is_justified=True),
    ),
    breaking(
        "a claimed block must have its new proposer in its header",
        edited(safety, "_may_vote", ("or is_claimed or", "or")),
        L.test_a_claimed_block_keeps_the_leader_that_proposed_it_first,
    ),
    breaking(
        "the drawn leader proposes with a justification",
        breaks.instead(liveness.rule_propose_justified, propose_as_drawn),
        L.test_with_a_justification_the_leader_in_the_order_proposes_and_the_drawn_one_does_not,
    ),
    breaking(
        "the drawn leader takes a justification that comes while it builds",
        edited(liveness, "take_proposed", ("is_free and is_led and", "is_free and")),
        L.test_the_drawn_leader_does_not_use_a_justification_that_comes_while_its_block_is_built,
    ),
    breaking(
        "a block is valid that the drawn leader alone leads",
        edited(
            validation,
            "_header_refusal",
            ("leaders.expected(header.slot, header.leader)", "leaders.at(header.slot)"),
        ),
        directed(D.test_both_leaders_of_a_slot_may_stand_in_its_header_and_nobody_else),
    ),
    breaking(
        "a block is valid whoever leads it",
        edited(Leaders, "expected", ("justified if leader == justified else self.at(slot)", "leader")),
        directed(D.test_both_leaders_of_a_slot_may_stand_in_its_header_and_nobody_else),
    ),
    breaking(
        "Eq. 1 is told of a block that a drawn leader led",
        edited(D, "leaders_at", ("len(membership) < ledger.genesis.clusters.members_min", "True")),
        directed(D.test_of_a_decided_block_either_leader_of_its_slot_is_expected_and_nobody_else),
    ),
    breaking(
        "whoever led a block is told to be expected",
        edited(D, "expected_leader", ("leaders is None or", "True or")),
        directed(D.test_of_a_decided_block_either_leader_of_its_slot_is_expected_and_nobody_else),
    ),
    breaking(
        "who collected is told by today's state",
        edited(D, "leaders_at", ("Overlay(_Past(ledger, below))", "Overlay(ledger)")),
        directed(D.test_who_collected_is_told_as_it_was_then_whoever_is_eligible_by_now),
    ),
    breaking(
        "the drawn leader is waited for after a view change",
        edited(explain, "_waits_for", ("is_justified=is_justified", "is_justified=False")),
        L.test_what_is_waited_for_is_the_leader_that_may_propose_now,
    ),
)
