"""Deliberate breaks of how homes join: what an application must show, who decides, when a candidate counts."""

from typing import Any, Final

from contracts import eras, execution, joining, member_changes, offices, panels, vouching
from contracts.receipts import Reason
from ledger import eras as ledger_eras
from ledger import execution as ledger_execution
from ledger import verify
from tests.simulation import test_joining
from tests.simulation.directed import directed
from tests.simulation.mutant import Killer, Mutant, edited
from tests.unit.contracts import test_candidates
from tests.unit.contracts import test_joining as contracts_test
from tests.unit.ledger import test_joining_ledger as ledger_test

C: Final = contracts_test
K: Final = test_candidates
L: Final = ledger_test
S: Final = test_joining

RULE: Final = "a home joins"
becomes_member = directed(C.test_a_home_becomes_a_member_two_heights_after_it_said_that_it_is_ready)
verdicts = directed(C.test_a_verdict_is_given_once_by_a_verifier_of_an_open_application)
lapses = directed(K.test_a_candidate_that_never_comes_lapses_and_may_apply_again)
panel_silent = directed(C.test_a_panel_that_keeps_silent_lets_an_application_lapse_and_it_may_come_again)
names_a_block = directed(K.test_a_candidate_names_a_block_that_was_decided_lately)
says_again = directed(K.test_a_word_counts_for_the_window_and_then_it_says_it_again)
counts_by_its_word = directed(K.test_a_candidate_counts_by_its_word_alone)
grows = directed(S.test_a_street_grows_to_seven_and_shrinks_again, founders=4)
never_comes = directed(S.test_a_candidate_that_never_comes_stops_nobody)


def refused(name: str) -> Killer:
    return directed(C.test_an_application_is_refused, name=name)


def broken(name: str, owner: Any, function: str, old: str, new: str, *killers: Killer) -> Mutant:
    return Mutant(name=name, rule=RULE, breaks=(edited(owner, function, (old, new)),), killers=killers)


def unasked(name: str, function: str, condition: str, *killers: Killer) -> Mutant:
    """A condition of the rules that is never asked."""
    owner = execution if hasattr(execution, function) else joining
    return broken(name, owner, function, f"if {condition}:", "if False:", *killers)


ASKING: Final = (
    unasked(
        "the voucher may be of other keys",
        "voucher_refusal",
        "(home.node_key, home.meter_key) != (node_key, meter_key)",
        refused("another meter than vouched for"),
    ),
    unasked(
        "nobody stands behind a voucher",
        "voucher_refusal",
        "not vouchers_hold(vouchers, root_key)",
        refused("a home that vouches for itself"),
    ),
    broken(
        "the authority's first key vouches for ever",
        joining,
        "voucher_refusal",
        "acting_key(run.overlay, address_of(run.genesis.authority_key))",
        "run.genesis.authority_key",
        directed(C.test_the_key_that_acts_for_the_authority_vouches_and_no_earlier_one),
    ),
    broken(
        "the root is not asked",
        vouching,
        "vouchers_hold",
        "verify(root_key, encode(issuing), vouchers.issuing_signature) and",
        "",
        refused("an issuing key that vouches for itself"),
    ),
    broken(
        "the issuing authority is not asked",
        vouching,
        "vouchers_hold",
        "and verify(\n        issuing.issuing_key, encode(vouchers.home), vouchers.home_signature\n    )",
        "",
        refused("a home that vouches for itself"),
    ),
    unasked(
        "vouchers are valid for ever",
        "voucher_refusal",
        "not are_valid_at(vouchers, now_ms)",
        refused("valid no more"),
    ),
    broken(
        "an issuing authority is valid for ever",
        vouching,
        "are_valid_at",
        "(vouchers.issuing, vouchers.home)",
        "(vouchers.home,)",
        refused("an issuing authority's time is over"),
    ),
    broken(
        "a voucher is over at its last moment",
        vouching,
        "are_valid_at",
        "time_ms <= one.valid_until_ms",
        "time_ms < one.valid_until_ms",
        directed(C.test_vouchers_are_valid_at_both_ends_of_their_time, edge="valid_until_ms"),
    ),
    broken(
        "a connection may be as large as it likes",
        joining,
        "_voucher_refusal",
        "None if fault is None else",
        "None if True else",
        refused("a connection beyond all sums"),
    ),
    unasked(
        "an application is good for any chain",
        "_possession_refusal",
        "application.chain != run.context.chain",
        refused("another chain's"),
    ),
    broken(
        "the meter need not sign",
        joining,
        "_possession_refusal",
        ", (application.meter_key, action.meter_signature))",
        ",)",
        refused("signed by another meter"),
    ),
    broken(
        "the node need not sign",
        joining,
        "_possession_refusal",
        "(application.node_key, action.node_signature)",
        "(application.meter_key, action.meter_signature)",
        refused("signed by another node key"),
    ),
    unasked(
        "anybody brings applications",
        "_sponsor_refusal",
        "not is_member(run.overlay, sender)",
        directed(C.test_members_bring_applications_and_nobody_else, key=C.HOMES.issuer_key),
    ),
    unasked(
        "a member brings as many as it likes",
        "_sponsor_refusal",
        "any(applicant.sponsor == sender for _, applicant in unfinished)",
        directed(C.test_a_member_brings_one_application_at_a_time),
    ),
    broken(
        "so many may be open as members like",
        joining,
        "_sponsor_refusal",
        "len(unfinished) >= UNFINISHED_MAX or",
        "",
        directed(C.test_so_many_applications_are_open_at_once_and_no_more),
    ),
    broken(
        "there may be more members than there can be",
        joining,
        "_sponsor_refusal",
        "or members + len(unfinished) >= MEMBERS_MAX",
        "",
        directed(C.test_there_are_no_more_members_than_the_chain_can_have),
    ),
    unasked(
        "an application counts as often as it is brought",
        "_history_refusal",
        "application.number <= last.number",
        panel_silent,
    ),
    unasked(
        "who was refused may ask at once",
        "_history_refusal",
        "last.standing is Standing.REFUSED and run.context.slot < last.until_slot",
        directed(C.test_who_was_refused_waits_until_the_day_is_over),
    ),
    Mutant(
        name="a key that was somebody's comes in again",
        rule=RULE,
        breaks=((joining, "_is_free", lambda *_: True),),
        killers=(
            directed(
                C.test_no_key_that_is_somebodys_comes_in_again,
                whose="a member's meter",
                field="node_key",
                reason=Reason.JOIN_SAME_KEY,
            ),
            directed(C.test_who_left_may_come_back_with_new_keys),
        ),
    ),
    broken(
        "whose admission lapsed may not come again",
        joining,
        "_is_free",
        "or (has_lapsed and",
        "or (False and",
        lapses,
    ),
    unasked(
        "two homes apply with one node key",
        "_uniqueness_refusal",
        "home.node_key in keys",
        directed(
            C.test_no_key_that_is_somebodys_comes_in_again,
            whose="an applicant's meter",
            field="node_key",
            reason=Reason.JOIN_SAME_KEY,
        ),
    ),
    unasked(
        "two homes apply with one meter",
        "_uniqueness_refusal",
        "home.meter_key in keys",
        directed(
            C.test_no_key_that_is_somebodys_comes_in_again,
            whose="an applicant's node",
            field="meter_key",
            reason=Reason.JOIN_SAME_METER,
        ),
    ),
    broken(
        "one key is node and meter",
        joining,
        "_uniqueness_refusal",
        "home.node_key == home.meter_key or",
        "",
        directed(C.test_node_and_meter_have_keys_of_their_own),
    ),
    broken(
        "a member may have a second home",
        joining,
        "_uniqueness_refusal",
        "(*joined, *unfinished)",
        "unfinished",
        directed(C.test_one_person_has_one_home, until="membership"),
    ),
    broken(
        "an applicant may have a second home",
        joining,
        "_uniqueness_refusal",
        "(*joined, *unfinished)",
        "joined",
        directed(C.test_one_person_has_one_home, until="request"),
    ),
)

DECIDING: Final = (
    Mutant(
        name="two verifiers may be enough",
        rule=RULE,
        breaks=((panels, "VERDICTS_MIN", 1),),
        killers=(directed(C.test_so_many_of_a_panel_must_say_the_same),),
    ),
    broken(
        "half of a panel decides",
        C,
        "verdicts_needed",
        "2 * panel_size // 3 + 1",
        "panel_size // 2 + 1",
        directed(C.test_so_many_of_a_panel_must_say_the_same),
    ),
    unasked(
        "a panel of two is asked",
        "execute_join_request",
        "count < VERDICTS_MIN",
        directed(C.test_two_verifiers_are_too_few, members=2),
    ),
    broken(
        "whoever is a member verifies",
        joining,
        "verifiers",
        "if address in staked or address in founding",
        "",
        directed(C.test_genesis_names_the_verifiers),
    ),
    broken(
        "who is suspended is named",
        C,
        "verifiers",
        " if not scores[address].is_suspended",
        "",
        directed(C.test_who_left_or_is_suspended_verifies_nothing),
    ),
    unasked(
        "who is suspended decides",
        "execute_verdict",
        "run.scores.record(sender).is_suspended",
        directed(C.test_who_left_or_is_suspended_verifies_nothing),
    ),
    broken(
        "who left decides",
        execution,
        "execute_verdict",
        "or not is_member(run.overlay, sender)",
        "",
        directed(C.test_who_left_or_is_suspended_verifies_nothing),
    ),
    broken(
        "who does not verify it decides",
        execution,
        "execute_verdict",
        "sender not in applicant.panel or",
        "",
        verdicts,
    ),
    unasked(
        "a verdict counts as often as it is given",
        "execute_verdict",
        "any(given.verifier == sender for given in applicant.verdicts)",
        verdicts,
    ),
    broken(
        "a verdict counts for a later application",
        execution,
        "execute_verdict",
        "or applicant.number != action.number",
        "",
        verdicts,
    ),
    broken(
        "refusals for other reasons do not add up",
        execution,
        "execute_verdict",
        "len(applicant.verdicts) - accepted >= needed",
        "sum(one.verdict is action.verdict for one in applicant.verdicts) >= needed",
        directed(C.test_refusals_for_different_reasons_add_up),
    ),
    unasked(
        "a key that became another's is admitted",
        "_admit",
        "not _has_its_keys(run.overlay, address, applicant)",
        directed(C.test_a_key_that_became_anothers_meanwhile_lets_nobody_in, key=C.NEW.meter_key),
    ),
    broken(
        "a candidate's keys are still free",
        joining,
        "_admit",
        "take_key(run.overlay, key, address)",
        "pass",
        directed(C.test_who_left_may_come_back_with_new_keys),
    ),
    broken(
        "the wallets of candidates are not counted",
        C,
        "sum_tokens",
        "members.update(require(source, APPLICATIONS_KEY, Applications).admitted)",
        "pass",
        directed(C.test_the_tokens_of_a_candidate_are_counted),
    ),
)

COUNTING: Final = (
    Mutant(
        name="a candidate counts at its admission",
        rule=RULE,
        breaks=(
            edited(
                joining,
                "_admit",
                (
                    "run.overlay.put(applicant_key(address), candidate)",
                    "run.overlay.put(applicant_key(address), replace(candidate, ready_slot=run.context.slot)); "
                    "run.overlay.put(MEMBER_QUEUE_KEY, waiting_with(run.overlay.require(MEMBER_QUEUE_KEY, "
                    "MemberQueue), _join_of(address, candidate)))",
                ),
            ),
        ),
        killers=(becomes_member, never_comes),
    ),
    unasked(
        "anybody is ready",
        "execute_ready",
        "applicant is None or applicant.standing is not Standing.CANDIDATE",
        lapses,
    ),
    unasked(
        "any block will do",
        "execute_ready",
        "DecidedBlock(height=action.height, digest=action.block) not in run.context.decided",
        names_a_block,
        directed(L.test_it_joins_and_the_larger_set_decides_and_the_check_agrees),
    ),
    unasked(
        "a block may be as old as it likes",
        "execute_ready",
        "run.context.height - action.height > READY_HEIGHTS_MAX",
        names_a_block,
    ),
    broken(
        "the height of a block is not looked at",
        ledger_execution,
        "_named_blocks",
        "if height_of_block(one.digest) == one.height",
        "if height_of_block(one.digest) is not None",
        directed(L.test_a_block_is_named_with_its_height),
    ),
    Mutant(
        name="the check forgets a block too early",
        rule=RULE,
        breaks=((verify, "READY_HEIGHTS_MAX", 63),),
        killers=(directed(L.test_the_oldest_block_that_may_be_named),),
    ),
    unasked(
        "a word is said again and again",
        "execute_ready",
        "applicant.ready_slot is not None and slot - applicant.ready_slot <= pause",
        says_again,
    ),
    broken(
        "a word counts for ever",
        member_changes,
        "prospect",
        "(joiner is not None and not is_ready, Hindrance.",
        "(False, Hindrance.",
        says_again,
    ),
    broken(
        "a candidate counts whatever it said",
        member_changes,
        "_is_ready",
        "said is not None and slot - said <= window_slots(genesis)",
        "True",
        says_again,
    ),
    broken(
        "those who are members then need not be there",
        member_changes,
        "prospect",
        "seen < quorum.quorum(max(1, len(after)))",
        "False",
        counts_by_its_word,
    ),
    broken(
        "the joiner does not count as there",
        member_changes,
        "prospect",
        "seen = is_ready + sum",
        "seen = sum",
        counts_by_its_word,
    ),
    Mutant(
        name="who comes is tried before who goes",
        rule=RULE,
        breaks=((member_changes, "RANKS", tuple(reversed(member_changes.RANKS))),),
        killers=(directed(K.test_who_goes_is_not_kept_by_who_comes),),
    ),
    broken(
        "a joiner goes to the front",
        member_changes,
        "list_with",
        "(*known.terms, _term_of(change, first))",
        "(_term_of(change, first), *known.terms)",
        becomes_member,
    ),
    broken(
        "nothing lapses",
        execution,
        "end_application",
        "if applicant.until_slot > run.context.slot:",
        "if True:",
        lapses,
    ),
    broken(
        "a word waits as often as it is said",
        execution,
        "execute_ready",
        "if join not in queue.waiting:",
        "if True:",
        directed(K.test_a_word_that_is_said_again_waits_once),
    ),
    broken(
        "who joined lapses",
        execution,
        "end_application",
        "or applicant.standing not in (Standing.OPEN, Standing.CANDIDATE)",
        "",
        directed(K.test_what_is_over_does_not_lapse),
    ),
    broken(
        "who waits again since a base never lapses",
        eras,
        "join_again",
        "_schedule_end(run, join.address, candidate)",
        "pass",
        directed(K.test_it_lapses_also_where_the_block_above_the_base_came_after_its_day),
    ),
    broken(
        "who lapsed still waits",
        joining,
        "_end",
        "waiting_without(queue, _join_of(address, applicant))",
        "queue",
        directed(K.test_one_that_waits_and_says_nothing_more_lapses_and_waits_no_more),
    ),
    broken(
        "a word gives no time",
        execution,
        "execute_ready",
        ", until_slot=_lapses_at(run))",
        ")",
        directed(K.test_one_that_waits_and_says_nothing_more_lapses_and_waits_no_more),
    ),
    Mutant(
        name="who joined is still a candidate",
        rule=RULE,
        breaks=((execution, "become_member", lambda *_: None),),
        killers=(becomes_member,),
    ),
    broken(
        "a candidate is told nothing",
        ledger_eras,
        "_followers",
        "(*candidates, *_departed(height, state))",
        "_departed(height, state)",
        directed(L.test_a_candidate_follows_and_is_told_what_is_decided),
        grows,
    ),
    broken(
        "who only asked is told what is decided",
        ledger_eras,
        "_followers",
        "if applicant.standing is Standing.CANDIDATE",
        "",
        directed(L.test_who_only_asked_follows_nothing),
    ),
    Mutant(
        name="who was to join at a base is no candidate again",
        rule="eras",
        breaks=((eras, "join_again", lambda *_: None),),
        killers=(directed(K.test_who_was_to_join_at_a_base_and_is_not_heard_again_lapses),),
    ),
    broken(
        "a candidate that waits is forgotten at a base",
        member_changes,
        "_has_point",
        "return True",
        "return is_member(overlay, change.address)",
        directed(K.test_candidates_go_on_waiting_when_an_era_begins),
    ),
    broken(
        "a key that a ceremony brings is free",
        execution,
        "begin_era",
        "take_key(run.overlay, key, address)",
        "pass",
        directed(K.test_a_key_that_a_ceremony_brings_is_used),
    ),
    Mutant(
        name="a candidate whose key a ceremony gave away goes on",
        rule="eras",
        breaks=((eras, "end_without_keys", lambda *_: None),),
        killers=tuple(
            directed(
                K.test_a_ceremony_that_gives_a_members_new_home_the_key_of_a_candidate_ends_that_one,
                until=until,
                key=C.NEW.node_key,
            )
            for until in ("admission", "ready", "membership")
        ),
    ),
    broken(
        "a candidate may lose its meter's key",
        eras,
        "end_without_keys",
        "if not _has_its_keys(run.overlay, address, applicant):",
        "if key_owner(run.overlay, applicant.node_key) != address:",
        directed(
            K.test_a_ceremony_that_gives_a_members_new_home_the_key_of_a_candidate_ends_that_one,
            until="admission",
            key=C.NEW.meter_key,
        ),
    ),
    Mutant(
        name="an office gets a candidate's key",
        rule=RULE,
        breaks=((offices, "key_refusal", lambda *_: None),),
        killers=(
            directed(
                C.test_no_office_gets_a_key_of_a_candidate_and_of_who_only_asked_it_ends_that_one,
                key=C.NEW.node_key,
            ),
        ),
    ),
)

JOINING_MUTANTS: Final = (*ASKING, *DECIDING, *COUNTING)
