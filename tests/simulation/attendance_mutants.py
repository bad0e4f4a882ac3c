"""Deliberate breaks of the rewards by attendance: whom the chain saw and for how long, whose bits are whose; of how
long evidence counts; of what verdicts earn.
"""

from typing import Final

from consensus import tally
from contracts import attendance, execution, joining, misconduct, rewards
from contracts.applicants import Verdict
from node.stories import score_events
from tests.simulation.directed import directed
from tests.simulation.mutant import Killer, Mutant, edited
from tests.unit.consensus import test_tally
from tests.unit.contracts import test_attendance, test_evidence_window, test_verdict_rewards
from tests.unit.ledger import test_rules_of_heights
from tests.unit.node.stories import test_told_attendance

A: Final = test_attendance
T: Final = test_told_attendance

rivals = directed(A.test_a_leader_that_leaves_a_rival_out_takes_nothing_from_it)
friends = directed(A.test_a_leader_gains_its_friends_nothing)
idle = directed(A.test_an_idle_friend_signs_for_real_once_in_sixteen_certificates)
slow = directed(A.test_a_slow_member_that_stands_in_every_sixteenth_certificate_is_paid_each_time)
clusters = directed(A.test_only_members_of_the_blocks_own_cluster_are_paid_with_the_next)
share = directed(A.test_all_that_attend_share_what_a_certificate_earned)
gone = directed(A.test_who_may_not_earn_does_not_by_attending, lost="gone")
first = directed(A.test_the_first_block_that_keeps_attendance_pays_who_signed_the_certificate_that_it_carries)
bounded = directed(A.test_no_more_is_kept_than_sixteen_bitmaps_and_a_cluster)
older = directed(test_rules_of_heights.test_each_height_rewards_by_its_own_rules)
W: Final = test_evidence_window
V: Final = test_verdict_rewards

in_time = directed(W.test_a_proof_of_the_last_three_days_takes_the_stake_and_an_older_one_nothing)
stolen = directed(W.test_who_steals_a_key_that_was_replaced_long_ago_harms_nobody)
window = directed(W.test_no_height_of_the_last_three_days_is_too_old_and_none_much_older_counts, seed=1)
marked = directed(W.test_what_happened_before_marks_were_kept_counts_for_three_days_from_the_first_one_on)
whatever = directed(V.test_a_verdict_earns_the_same_whatever_it_says, verdict=Verdict.CONTRACT_NOT_SIGNED)
twice = directed(V.test_a_second_verdict_that_contradicts_the_first_counts_for_nothing_and_is_no_offence)
in_turn = directed(test_tally.test_nobody_is_left_out_of_the_certificates_of_sixteen_blocks_in_a_row, held=10)
told = directed(T.test_who_attended_is_told_whether_or_not_the_certificate_has_it)


def wandering(seed: int) -> Killer:
    """A killer: members come and go, and every bit is read under its own list."""
    return directed(A.test_bits_are_read_under_the_members_that_they_were_written_under, seed=seed)


def broken(name: str, function: str, old: str, new: str, *killers: Killer) -> Mutant:
    """A function with one text of it replaced, wherever it is called from."""
    owners = (
        module for module in (attendance, rewards, execution, joining, misconduct, A) if hasattr(module, function)
    )
    breaks = tuple(edited(owner, function, (old, new)) for owner in owners)
    return Mutant(name=name, rule="attendance", breaks=breaks, killers=killers)


ATTENDANCE_MUTANTS: Final = (
    broken(
        "evidence of any height counts",
        "is_too_old",
        "return evidence.height < oldest_height(state)",
        "return False",
        in_time,
        stolen,
    ),
    broken(
        "double offers count under every key that ever was",
        "is_too_old",
        "counting_keys(state, evidence.offender)",
        "held_keys(state, evidence.offender)",
        stolen,
    ),
    broken(
        "double offers count under the present key alone",
        "is_too_old",
        "counting_keys(state, evidence.offender)",
        "counting_keys(state, evidence.offender)[:1]",
        stolen,
    ),
    broken(
        "the first mark that is old enough is forgotten, too",
        "note_slot",
        "marks[max(0, passed - 1) :]",
        "marks[passed:]",
        window,
    ),
    broken(
        "no mark is forgotten",
        "note_slot",
        "marks[max(0, passed - 1) :]",
        "marks",
        window,
        in_time,
    ),
    broken(
        "every block leaves a mark",
        "note_slot",
        "if slot - known.marks[-1].slot <= window // MARKS:",
        "if False:",
        window,
    ),
    broken(
        "what lies below the first mark does not count",
        "note_slot",
        "SlotMark(height=GENESIS_HEIGHT, slot=slot)",
        "SlotMark(height=run.context.height, slot=slot)",
        marked,
    ),
    broken(
        "verdicts with the quorum alone are rewarded",
        "execute_verdict",
        "if run.rules.version >= ATTENDANCE_VERSION:",
        "if action.verdict is Verdict.ACCEPT:",
        whatever,
    ),
    broken(
        "a verdict is rewarded as often as it is given",
        "execute_verdict",
        "if any(given.verifier == sender for given in applicant.verdicts):",
        "if False:",
        twice,
    ),
    Mutant(
        name="of more COMMITs than a quorum the same are left out every time",
        rule="attendance",
        breaks=(edited(tally, "_without_spare", ("int.from_bytes(block) % len(endorsements)", "0")),),
        killers=(in_turn,),
    ),
    broken(
        "who stands in the carried certificate alone is rewarded",
        "attending",
        "{*voters, *_signers(known, older, Height(below - 1))}",
        "{*voters}",
        rivals,
        friends,
        slow,
        wandering(1),
    ),
    broken(
        "the certificate that the block carries does not count",
        "attending",
        "{*voters, *_signers(known, older, Height(below - 1))}",
        "{*_signers(known, older, Height(below - 1))}",
        rivals,
        wandering(2),
    ),
    broken(
        "seventeen certificates count",
        "attending",
        "kept.certificates[1 - CERTIFICATES_KEPT :]",
        "kept.certificates",
        rivals,
        idle,
    ),
    broken(
        "fifteen certificates count",
        "attending",
        "kept.certificates[1 - CERTIFICATES_KEPT :]",
        "kept.certificates[2 - CERTIFICATES_KEPT :]",
        rivals,
        slow,
    ),
    broken(
        "every certificate is kept",
        "note_attendance",
        "(*certificates, newest)[-CERTIFICATES_KEPT:]",
        "(*certificates, newest)",
        bounded,
    ),
    broken(
        "everybody that attends is rewarded, whoever was in the cluster",
        "attending",
        "_named(_members_at(known, below), kept.cluster)",
        "_members_at(known, below)",
        clusters,
    ),
    broken(
        "the cluster of this block is rewarded, not that of the one below",
        "_reward_those_who_served",
        "attending(run.overlay, context.height, context.parent_voters)",
        "tuple(m for m in context.cluster if m in attending(run.overlay, context.height, context.parent_voters))",
        clusters,
    ),
    broken(
        "bits of all heights are read under the newest members",
        "_signers",
        "if height in ends:",
        "if height == last:",
        wandering(0),
        wandering(2),
    ),
    broken(
        "a cluster is read under the members that an era begins with",
        "attending",
        "overlay.before(MEMBER_LIST_KEY, MemberList)",
        "overlay.get(MEMBER_LIST_KEY, MemberList)",
        wandering(0),
    ),
    broken(
        "signers are written under the members of the block that carries them",
        "note_attendance",
        "_members_at(known, Height(context.height - 1)), context.parent_voters",
        "_members_at(known, context.height), context.parent_voters",
        wandering(4),
        wandering(2),
    ),
    broken(
        "all that attend have the whole rate",
        "_reward_those_who_served",
        "validators_share(len(list_now.at(Height(context.height - 1))))",
        "WHOLE",
        share,
    ),
    broken(
        "who left is rewarded",
        "_reward_those_who_served",
        "if validator in members:",
        "if True:",
        gone,
    ),
    broken(
        "in the first block nobody is known to be in a cluster",
        "attending",
        "return tuple(member for member in _members_at(known, below) if member in voters)",
        "return ()",
        first,
    ),
    broken(
        "attendance counts under rules from before it",
        "_reward_those_who_served",
        "if run.rules.version >= ATTENDANCE_VERSION:",
        "if True:",
        older,
    ),
    broken(
        "attendance is kept under rules from before it",
        "reward_service",
        "if run.rules.version >= ATTENDANCE_VERSION:",
        "if True:",
        older,
        first,
    ),
    Mutant(
        name="only signers of the carried certificate are told that they attended",
        rule="attendance",
        breaks=(
            edited(
                score_events._BlockEvents,
                "_service",
                (
                    "attending(Overlay(StateAt(self._ledger, self._before)), self._height, voters)",
                    "voters",
                ),
            ),
        ),
        killers=(told,),
    ),
)
