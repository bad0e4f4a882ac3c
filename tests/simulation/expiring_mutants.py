"""Deliberate breaks of how certificates end: what the chain knows of them, who goes, when, and what waits."""

from typing import Any, Final

from contracts import (
    execution,
    genesis_state,
    member_changes,
    removals,
    validity,
)
from ledger import transactions as envelopes
from tests.simulation import test_running_out
from tests.simulation.directed import directed
from tests.simulation.mutant import Killer, Mutant, edited
from tests.unit.contracts import test_validity
from tests.unit.ledger import test_transaction_verifier

V = test_validity
RULE: Final = "a certificate runs out"

goes = directed(V.test_a_member_whose_certificate_ran_out_goes_a_grace_later_and_not_a_slot_before)
moment = directed(V.test_the_moment_of_the_end_is_still_valid)
several = directed(V.test_one_goes_in_a_waiting_time_and_nobody_below_genesis_floor)
played = directed(V.test_an_older_renewal_that_is_played_again_takes_nothing)
last_block = directed(V.test_a_renewal_counts_before_the_end_and_until_the_removal, slot=V.GOES)
late = directed(V.test_a_renewal_behind_the_removal_is_too_late)
accomplice = directed(V.test_what_is_pending_may_settle_for_a_waiting_time_and_no_longer)
settles = directed(V.test_it_trades_while_it_waits_for_the_floor_and_not_while_its_removal_waits)
floor_later = directed(V.test_a_removal_below_the_floor_waits_though_it_waited_already)
older = directed(V.test_a_chain_of_the_version_before_ends_nobodys_membership)
left = directed(V.test_a_member_that_left_before_its_end_is_not_removed_once_more)


def broken(name: str, owner: Any, function: str, old: str, new: str, *killers: Killer) -> Mutant:
    """A function with one text of it replaced."""
    return Mutant(name=name, rule=RULE, breaks=(edited(owner, function, (old, new)),), killers=killers)


def another_key(kind: str) -> Killer:
    return directed(V.test_another_key_brings_its_own_end_and_never_a_sooner_one, kind=kind)


EXPIRING_MUTANTS: Final = (
    broken(
        "a new home ends with the one that was lost",
        execution,
        "begin_era",
        "learn_end(run, address, until_ms, reference=beginning.starts[-1].plan)",
        "pass",
        directed(V.test_a_ceremony_says_until_when_a_new_home_is_certified),
    ),
    broken("nobody goes", execution, "expire_member", "let_go(run, ", "(lambda *_: None)(run, ", goes),
    broken(
        "who waits already waits twice",
        V,
        "expire_member",
        " or has_to_go(run.overlay, end.member, RemovalCause.EXPIRED)",
        "",
        directed(V.test_who_waits_already_does_not_wait_twice),
    ),
    broken(
        "there is no grace",
        genesis_state,
        "removal_slot",
        "GRACE_WAITS * genesis.membership.removal_wait_slots",
        "0",
        goes,
    ),
    broken("the moment of the end is over", V, "removal_slot", "slot_duration_ms + 1", "slot_duration_ms", moment),
    broken("a time before the chain began is a slot", V, "removal_slot", "max(0, ", "max(-(2**60), ", moment),
    broken(
        "all go at once",
        execution,
        "expire_member",
        "run.overlay.put(LAST_EXPIRY_KEY, LastExpiry(slot=slot))",
        "pass",
        several,
    ),
    broken(
        "they go without a pause",
        removals,
        "next_expiry_slot",
        "slot if last is None else last.slot + wait_slots",
        "slot",
        several,
    ),
    broken(
        "who waits for the floor waits among the changes",
        removals,
        "next_expiry_slot",
        "<= genesis.membership.members_min",
        "<= 0",
        several,
        directed(V.test_it_trades_while_it_waits_for_the_floor_and_not_while_its_removal_waits),
    ),
    broken(
        "who once waited for the floor waits for ever",
        execution,
        "expire_member",
        "schedule(run, from_slot, end)",
        "pass",
        directed(V.test_who_waits_for_the_floor_goes_once_another_home_joined),
    ),
    broken(
        "the floor is that of a removal for cause",
        member_changes,
        "prospect",
        "is_removal and not is_expiry(change)",
        "is_removal",
        floor_later,
    ),
    broken(
        "whose certificate ran out goes though a quorum needs it",
        member_changes,
        "prospect",
        "(not is_rotation and seen",
        "(not is_rotation and not is_expiry(change) and seen",
        directed(V.test_those_who_stay_must_be_there),
        directed(test_running_out.test_who_is_there_stays_while_a_quorum_needs_it),
    ),
    broken(
        "what is pending does not settle",
        member_changes,
        "prospect",
        "is_leave or _has_time_to_settle(overlay, change, slot=slot, genesis=genesis)",
        "is_leave",
        settles,
    ),
    broken(
        "a contract that never ends keeps its parties",
        member_changes,
        "_has_time_to_settle",
        "slot < going_slot + genesis.membership.removal_wait_slots",
        "True",
        accomplice,
    ),
    broken(
        "a renewed member goes at its old end",
        execution,
        "expire_member",
        "known.until_ms != end.until_ms",
        "False",
        directed(V.test_a_renewal_counts_before_the_end_and_until_the_removal, slot=2),
    ),
    broken(
        "who left is removed once more",
        execution,
        "expire_member",
        "not is_member(run.overlay, end.member)",
        "False",
        left,
    ),
    broken(
        "a renewal leaves the removal that waits",
        validity,
        "learn_end",
        "replace(queue, waiting=waiting)",
        "queue",
        last_block,
    ),
    broken(
        "a renewal ends all that waits of anybody",
        validity,
        "learn_end",
        "(address, RemovalCause.EXPIRED))",
        "(address, change.cause))",
        directed(V.test_a_renewal_ends_no_other_removal),
    ),
    broken(
        "a renewal of one member keeps another",
        validity,
        "learn_end",
        "(change.address, change.cause) == (address, RemovalCause.EXPIRED)",
        "change.cause is RemovalCause.EXPIRED",
        directed(V.test_a_renewal_keeps_nobody_else),
    ),
    broken(
        "the new end is not looked at again",
        validity,
        "learn_end",
        "watch_validity(run, address)",
        "pass",
        directed(V.test_the_first_renewal_of_such_a_member_says_when_it_ends),
    ),
    broken(
        "an older voucher takes from a later one",
        validity,
        "learn_end",
        "known is not None and until_ms <= known.until_ms",
        "False",
        another_key("rotation"),
        another_key("meter"),
    ),
    broken(
        "a renewal is taken as often as it is played",
        execution,
        "execute_renew",
        "_not_later(run, sender, action) or ",
        "",
        played,
    ),
    broken(
        "the same end is later",
        validity,
        "_not_later",
        "until_ms > known.until_ms",
        "until_ms >= known.until_ms",
        played,
    ),
    broken(
        "who is gone is renewed",
        execution,
        "execute_renew",
        "not is_member(run.overlay, sender)",
        "False",
        late,
    ),
    broken(
        "nobody vouches",
        execution,
        "execute_renew",
        " or _not_vouched(run, sender, action)",
        "",
        *(
            directed(
                V.test_what_is_not_the_authoritys_word_on_these_keys_now_renews_nobody, action=action, reason=reason
            )
            for action, reason in V.NO_RENEWALS
        ),
    ),
    Mutant(
        name="the later end of both vouchers counts",
        rule=RULE,
        breaks=(edited(validity, "valid_until_ms", ("min(", "max(")),),
        killers=(directed(V.test_the_sooner_end_of_both_vouchers_counts),),
    ),
    broken(
        "a rotation says nothing of its end",
        execution,
        "execute_rotate_key",
        "learn_validity(run, sender, action.vouchers, transaction=transaction)",
        "pass",
        another_key("rotation"),
        directed(V.test_a_rotation_in_the_last_moment_keeps_the_member),
    ),
    broken(
        "another meter says nothing of its end",
        execution,
        "execute_replace_meter",
        "learn_validity(run, sender, action.vouchers, transaction=transaction)",
        "pass",
        another_key("meter"),
    ),
    broken(
        "an application says nothing of its end",
        execution,
        "execute_join_request",
        "learn_validity(run, address, action.vouchers, transaction=transaction)",
        "pass",
        directed(V.test_a_joined_home_ends_as_its_application_said),
    ),
    broken(
        "who joined is not watched",
        execution,
        "become_member",
        "watch_validity(run, join.address)",
        "pass",
        directed(V.test_a_joined_home_ends_as_its_application_said),
    ),
    broken(
        "chains of the version before learn ends, too",
        validity,
        "learn_end",
        "run.rules.version < EXPIRY_VERSION or ",
        "",
        older,
    ),
    broken(
        "genesis of the version before knows ends",
        V,
        "genesis_state",
        "genesis.protocol_version >= EXPIRY_VERSION",
        "True",
        directed(V.test_genesis_of_the_version_before_names_no_end_to_the_chain),
    ),
    broken(
        "a block of the version before has a renewal",
        envelopes,
        "first_version",
        "_FIRST_VERSIONS.get(type(said), 0)",
        "0",
        directed(
            test_transaction_verifier.test_a_version_of_the_rules_has_only_the_actions_that_its_programs_could_read
        ),
    ),
)
