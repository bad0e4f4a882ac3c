"""Deliberate breaks of how members are removed: who says so, what brakes it, what ends it."""

from typing import Any, Final

from contracts import eras, execution, forwards, member_changes, misconduct, offices, proposals, removals
from contracts.receipts import Reason
from tests.simulation.directed import directed
from tests.simulation.mutant import Killer, Mutant, edited
from tests.unit.contracts import test_member_changes, test_removals

R = test_removals
RULE: Final = "a member is removed"

restored = directed(R.test_a_home_that_was_restored_from_an_old_copy_stays_a_member)
two_processes = directed(R.test_two_processes_with_one_key_have_a_waiting_time_to_be_ended)
another_key = directed(R.test_with_another_key_the_first_contradiction_is_the_first_again)
key_over = directed(R.test_what_waits_about_a_key_ends_with_that_key)
thief = directed(R.test_the_authority_removes_one_member_in_a_waiting_time)
thief_ended = directed(R.test_what_waits_of_the_authoritys_word_ends_with_its_key)
few = directed(R.test_for_cause_three_may_be_left_where_genesis_lets_nobody_leave_four)
quorum_expels = directed(R.test_a_quorum_and_a_waiting_time_expel_a_member)
last_moment = directed(R.test_the_accused_cannot_make_up_the_quorum_and_withdraw_at_the_last_moment)
heard = directed(R.test_who_heard_the_accused_withdraws)


def broken(name: str, owner: Any, function: str, old: str, new: str, *killers: Killer) -> Mutant:
    """A function with one text of it replaced."""
    return Mutant(name=name, rule=RULE, breaks=(edited(owner, function, (old, new)),), killers=killers)


def believed(action: R.Action, reason: Reason) -> Killer:
    return directed(
        R.test_what_is_not_the_authoritys_word_on_a_home_of_this_chain_is_declined, action=action, reason=reason
    )


REMOVING_MUTANTS: Final = (
    broken(
        "genesis says how few may be left of those who are removed, too",
        member_changes,
        "prospect",
        "REMOVAL_MEMBERS_MIN if is_for_cause else genesis.membership.members_min",
        "genesis.membership.members_min",
        few,
    ),
    broken(
        "any number may be left",
        member_changes,
        "prospect",
        "(is_leave or is_removal) and len(after) < members_min",
        "is_leave and len(after) < members_min",
        few,
    ),
    broken(
        "the authority removes all at once",
        member_changes,
        "prospect",
        "(slot < from_slot, Hindrance.REVOKED_LATELY)",
        "(False, Hindrance.REVOKED_LATELY)",
        thief,
    ),
    broken(
        "nobody notes when the authority removed somebody",
        execution,
        "carry_out_change",
        "slot if is_revocation(change) else queue.revoked_slot",
        "queue.revoked_slot",
        thief,
    ),
    broken(
        "who wants to go goes first",
        removals,
        "waiting_with",
        "RANKS.index(type(one))",
        "(RANKS.index(type(one)) + 2) % 4",
        directed(R.test_who_has_to_go_goes_before_who_wants_to),
    ),
    broken(
        "a removal outlives the key that it is about",
        member_changes,
        "speaks_of_present",
        "node_key in (None, overlay.require(member_key(address), Member).node_key)",
        "True",
        key_over,
    ),
    broken(
        "the removal of who left waits for ever",
        member_changes,
        "_has_point",
        "return speaks_of_present(overlay, change.address, change.node_key)",
        "return True",
        directed(R.test_who_has_gone_by_itself_is_not_removed_any_more),
    ),
    broken(
        "the leave of who is gone waits for ever",
        member_changes,
        "_has_point",
        "return is_member(overlay, change.address)",
        "return True",
        directed(R.test_who_was_removed_does_not_wait_to_leave),
        directed(test_member_changes.test_of_who_is_gone_nothing_waits),
    ),
    Mutant(
        name="the words of a stolen key of the authority go on",
        rule=RULE,
        breaks=((offices, "forget_revocations", lambda *_: None),),
        killers=(thief_ended,),
    ),
    broken(
        "any office's key ends the authority's words",
        offices,
        "install",
        "if present.name is OfficeName.AUTHORITY:",
        "if True:",
        thief_ended,
    ),
    broken(
        "another chain's word counts",
        removals,
        "_revocation_refusal",
        "revocation.chain != run.context.chain",
        "False",
        believed(R.revoke(R.KEYS[2].public_key, chain=R.Digest(bytes(32))), Reason.REVOCATION_WRONG_CHAIN),
    ),
    broken(
        "anybody's word counts",
        removals,
        "_signature_refusal",
        "if verify(key, encode(action.revocation), action.signature):",
        "if True:",
        believed(R.revoke(R.KEYS[2].public_key, key=R.KEYS[1]), Reason.REVOCATION_NOT_SIGNED),
    ),
    broken(
        "the first key of the authority counts for ever",
        removals,
        "_signature_refusal",
        "acting_key(run.overlay, address_of(run.genesis.authority_key))",
        "run.genesis.authority_key",
        thief_ended,
    ),
    broken(
        "a meter's key revokes its home",
        removals,
        "_revocation_refusal",
        "or key == member.meter_key",
        "",
        believed(R.revoke(R.HOMES.meter_keys[2].public_key), Reason.REVOCATION_UNKNOWN_KEY),
    ),
    broken(
        "a replaced key removes its home",
        removals,
        "_revocation_refusal",
        "if key != member.node_key:",
        "if False:",
        directed(R.test_the_revoked_old_key_of_a_member_removes_nobody),
    ),
    broken(
        "a word is taken again while it waits",
        removals,
        "_revocation_refusal",
        "if has_to_go(overlay, owner, RemovalCause.REVOKED):",
        "if False:",
        directed(R.test_a_word_is_known_once_it_waits_and_over_once_it_is_done),
    ),
    broken(
        "a revoked candidate goes on",
        execution,
        "execute_revocation",
        "end_candidate(run, owner)",
        "pass",
        directed(R.test_a_candidate_whose_key_is_revoked_becomes_no_member),
    ),
    broken(
        "a contradiction at any height removes",
        removals,
        "would_remove",
        "evidence.height > first.height and ",
        "",
        restored,
    ),
    broken(
        "a contradiction at the height of the first proof removes",
        removals,
        "would_remove",
        "evidence.height > first.height",
        "evidence.height >= first.height",
        restored,
    ),
    broken(
        "a contradiction in any slot removes",
        removals,
        "would_remove",
        "min(slots) >= from_slot",
        "True",
        two_processes,
    ),
    broken(
        "a contradiction under a key that was replaced removes",
        removals,
        "_is_of_present_key",
        "key is not None and speaks_of_present(overlay, evidence.offender, key)",
        "key is not None",
        directed(R.test_a_stolen_old_key_removes_nobody),
    ),
    broken(
        "the first proof is held against every later key",
        removals,
        "_first_proof",
        "first is not None and speaks_of_present(overlay, evidence.offender, first.node_key)",
        "first is not None",
        another_key,
    ),
    broken(
        "the last proof counts as the first",
        misconduct,
        "note_equivocation",
        "_first_proof(run.overlay, evidence) is None and ",
        "",
        two_processes,
    ),
    broken(
        "an expulsion does not wait",
        proposals,
        "_let_wait",
        "run.genesis.membership.removal_wait_slots",
        "0",
        quorum_expels,
    ),
    broken(
        "an expulsion is of a key",
        proposals,
        "_carry_out",
        "node_key=None",
        "node_key=run.overlay.require(MEMBER_LIST_KEY, MemberList).key_at(member, run.context.height)",
        quorum_expels,
    ),
    broken(
        "nobody approves what waits",
        proposals,
        "_is_over",
        "proposal.status not in UNFINISHED or",
        "proposal.status is not ProposalStatus.OPEN or",
        last_moment,
    ),
    broken(
        "an approval while it waits puts it off",
        execution,
        "execute_approval",
        "proposal.status is ProposalStatus.OPEN and _is_approved(run, proposal)",
        "_is_approved(run, proposal)",
        last_moment,
    ),
    broken(
        "who withdraws ends nothing",
        execution,
        "execute_withdrawal",
        "(waits and not _is_approved(run, proposal))",
        "False",
        heard,
    ),
    broken(
        "who withdraws ends it though a quorum is left",
        execution,
        "execute_withdrawal",
        "waits and not _is_approved(run, proposal)",
        "waits",
        last_moment,
    ),
    broken(
        "who is gone is expelled",
        proposals,
        "_expulsion_refusal",
        "if not is_member(run.overlay, member):",
        "if False:",
        directed(R.test_two_proposals_to_expel_one_member_expel_it_once),
    ),
    broken(
        "who waits to be expelled is proposed again",
        proposals,
        "_expulsion_refusal",
        "if has_to_go(run.overlay, member, RemovalCause.EXPELLED):",
        "if False:",
        directed(R.test_who_waits_to_be_expelled_is_not_proposed_again),
    ),
    broken(
        "who has to go promises more",
        forwards,
        "is_going",
        "isinstance(change, Leave | Removal)",
        "isinstance(change, Leave)",
        directed(R.test_nobody_promises_anything_with_who_has_to_go, who=2),
    ),
    broken(
        "what a base undid waits for the authority's time",
        eras,
        "_queue_from",
        "None if is_revocation(undone) else queue.revoked_slot",
        "queue.revoked_slot",
        directed(R.test_a_removal_that_was_not_in_force_at_the_base_is_carried_out_by_the_era),
    ),
)
