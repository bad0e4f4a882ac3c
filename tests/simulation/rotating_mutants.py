"""Deliberate breaks of how members exchange keys: what waits, which key counts where, and what is no key."""

from typing import Final

from consensus.member import KeyRing
from consensus.membership import Membership
from contracts import eras, execution, key_changes, member_changes, misconduct, trades, vouching
from contracts.member_records import Join, Leave, Removal, Rotate
from ledger import eras as ledger_eras
from node.chain import mempool
from node.chain.sign_recovery import SignRecovery
from tests.simulation.directed import directed
from tests.simulation.mutant import Edit, Mutant, edited
from tests.unit.consensus import test_membership
from tests.unit.contracts import test_key_changes, test_used_keys
from tests.unit.node.chain import test_sign_recovery, test_transaction_pool
from tests.unit.node.proofs import test_rotated_keys

K = test_key_changes
M = test_membership
P = test_rotated_keys
U = test_used_keys

RULE: Final = "a member exchanges a key"

acts = directed(P.test_the_old_key_acts_up_to_the_block_of_the_rotation_and_the_new_one_from_the_next_on)
votes = directed(K.test_a_new_key_acts_from_the_next_block_on_and_votes_two_heights_later)
signs = directed(
    M.test_a_home_that_exchanges_its_key_signs_each_height_under_the_key_of_that_height, is_restarted=False
)
counts = M.test_an_old_key_counts_below_the_height_of_the_new_one_and_the_new_key_from_there_on
at_a_base = directed(K.test_a_rotation_that_was_not_in_force_at_a_base_waits_again, carried=False)
in_turn = K.test_two_members_rotate_one_after_the_other_and_before_who_leaves


def first_key(ring: KeyRing, _: Membership) -> object:
    """The home signs on with its old key."""
    return next(iter(ring._signers.values()))


def newest_key(ring: KeyRing, _: Membership) -> object:
    """The home signs with its new key as soon as it has it."""
    return list(ring._signers.values())[-1]


OLD: Final = {M.NEW_KEY.public_key: M.FOUR.keys[2].public_key}


def old_key(members: Membership, address: object) -> object:
    """The key that a rotated member had before."""
    key = members._keys.get(address)  # type: ignore[call-overload]
    return OLD.get(key, key)


def possession_of(member: int, use: K.KeyUse, signer: int, chain_name: bytes | None) -> object:
    return directed(
        K.test_the_new_key_itself_says_whose_it_is, owner=member, use=use, signer=signer, chain_name=chain_name
    )


def signatures_checked(old: str, new: str) -> tuple[object, str, object]:
    """The table of checks with another one in the place of that of the signatures."""
    other = Edit(trades._check_signatures, ((old, new),)).compiled(lambda: None)
    return trades, "CHECKS", tuple(other if check is trades._check_signatures else check for check in trades.CHECKS)


def not_vouched(what: str) -> object:
    return directed(K.test_a_member_chooses_no_key_for_itself, what=what)


def broken(name: str, *breaks: object, killers: tuple[object, ...]) -> Mutant:
    return Mutant(name=name, rule=RULE, breaks=breaks, killers=killers)  # type: ignore[arg-type]


ROTATING_MUTANTS: Final = (
    broken(
        "the old key counts from the first height of the new one on",
        (Membership, "key_of", old_key),
        killers=(counts,),
    ),
    broken(
        "the new key counts below its first height",
        edited(execution, "carry_out_change", ("height + FIXED_AHEAD", "height + FIXED_AHEAD - 1")),
        killers=(votes,),
    ),
    broken("a home signs on with its old key", (KeyRing, "of", first_key), killers=(signs,)),
    broken("a home signs with its new key at once", (KeyRing, "of", newest_key), killers=(signs,)),
    broken(
        "a key that was somebody's comes back",
        edited(key_changes, "_key_refusal", ("if known_owner is not None:", "if False:")),
        killers=(K.test_no_key_that_ever_was_anybodys_comes_back,),
    ),
    broken(
        "a new key is not noted",
        edited(key_changes, "take_key", ("overlay.put(used_key(key), KeyOwner(owner=owner))", "pass")),
        killers=(K.test_no_key_that_ever_was_anybodys_comes_back,),
    ),
    broken(
        "the key of a replaced home is not noted",
        edited(execution, "begin_era", ("take_key(run.overlay, key, address)", "pass")),
        killers=(K.test_a_replaced_home_has_the_key_of_the_plan_and_no_other_waits,),
    ),
    broken(
        "evidence counts under the key of today",
        edited(
            misconduct,
            "proven",
            (
                "state.require(MEMBER_LIST_KEY, MemberList).key_at(evidence.offender, evidence.height)",
                "held_keys(state, evidence.offender)[0]",
            ),
        ),
        killers=(
            directed(K.test_evidence_counts_under_the_key_of_its_height, height=2, old=True, new=False),
            directed(P.test_what_the_old_key_signed_at_its_heights_is_still_evidence),
        ),
    ),
    broken(
        "evidence counts under any key that the member ever had",
        edited(
            misconduct,
            "proven",
            (
                "state.require(MEMBER_LIST_KEY, MemberList).key_at(evidence.offender, evidence.height)",
                "next((key for key in held_keys(state, evidence.offender) "
                "if proven_offence(evidence, key, Eras(chain).at(evidence.height))), None)",
            ),
        ),
        killers=(directed(K.test_evidence_counts_under_the_key_of_its_height, height=4, old=False, new=True),),
    ),
    broken(
        "a double offer counts under the key of today alone",
        edited(
            misconduct, "proven", ("held_keys(state, evidence.offender)", "held_keys(state, evidence.offender)[:1]")
        ),
        killers=(directed(K.test_a_double_offer_is_proven_whichever_of_its_keys_signed, first=False, second=True),),
    ),
    broken(
        "the place of a rotated member is lost",
        edited(
            member_changes,
            "list_with",
            (
                "        terms.append(_term_of(change, first))",
                "        terms.insert(0, _term_of(change, first))",
            ),
        ),
        killers=(K.test_it_keeps_its_place_and_its_name,),
    ),
    broken(
        "the old key acts on",
        (execution, "act_by_new_key", lambda *_: None),
        killers=(acts,),
    ),
    broken(
        "the new key acts while its rotation waits",
        edited(
            execution,
            "execute_rotate_key",
            ("replace(member, rotations=rotations", "replace(member, node_key=action.key, rotations=rotations"),
        ),
        killers=(K.test_while_its_turn_has_not_come_nothing_changes,),
    ),
    broken(
        "a rotation waits behind leaves",
        (member_changes, "RANKS", (Removal, Leave, Rotate, Join)),
        killers=(in_turn,),
    ),
    broken(
        "the last rotation goes first",
        edited(key_changes, "waiting_with", ("(*queue.waiting, change)", "(change, *queue.waiting)")),
        killers=(K.test_rotations_take_their_turns,),
    ),
    broken(
        "a rotation waits for promises as a leave does",
        edited(
            member_changes,
            "prospect",
            ("for kind in (Leave, Removal, Rotate)", "for kind in (Leave | Rotate, Removal, ())"),
        ),
        killers=(K.test_a_rotation_waits_neither_for_promises_nor_for_debts_nor_for_who_is_there,),
    ),
    broken(
        "who is no member exchanges a key",
        (key_changes, "_member_refusal", lambda *_: None),
        killers=(K.test_who_is_about_to_leave_exchanges_no_key,),
    ),
    broken(
        "a second rotation needs no pause",
        (key_changes, "next_rotation_slot", lambda *_: 0),
        killers=(
            K.test_a_rotation_too_soon_is_declined_and_changes_nothing,
            K.test_a_thief_cannot_ask_for_another_key_instead,
        ),
    ),
    broken(
        "the pauses do not grow",
        edited(key_changes, "next_rotation_slot", ("<< min(member.rotations - 1, PAUSE_DOUBLINGS_MAX)", "<< 0")),
        killers=(K.test_the_pauses_between_rotations_grow_up_to_a_bound,),
    ),
    broken(
        "the pauses grow for ever",
        edited(
            key_changes,
            "next_rotation_slot",
            ("min(member.rotations - 1, PAUSE_DOUBLINGS_MAX)", "(member.rotations - 1)"),
        ),
        killers=(K.test_the_pauses_between_rotations_grow_up_to_a_bound,),
    ),
    broken(
        "nobody shows that he holds the new key",
        (key_changes, "verify", lambda *_: True),
        killers=(possession_of(2, K.KeyUse.NODE, 8, None),),
    ),
    broken(
        "what a key shows to one member serves another",
        edited(
            key_changes,
            "_key_refusal",
            (
                "possession_bytes(run.context.chain, owner,",
                "possession_bytes(run.context.chain, run.context.cluster[1],",
            ),
        ),
        killers=(possession_of(1, K.KeyUse.NODE, 7, None),),
    ),
    broken(
        "a meter's key becomes a node's",
        edited(key_changes, "_key_refusal", (", use, key)", ", KeyUse.METER, key)")),
        killers=(possession_of(2, K.KeyUse.METER, 7, None),),
    ),
    broken(
        "the authority's word is not asked for",
        (key_changes, "_voucher_refusal", lambda *_, **__: None),
        killers=(not_vouched("by itself"),),
    ),
    broken(
        "a voucher of other keys is taken",
        edited(
            key_changes,
            "voucher_refusal",
            ("if (home.node_key, home.meter_key) != (node_key, meter_key):", "if False:"),
        ),
        killers=(not_vouched("for another home's node"), not_vouched("for another meter")),
    ),
    broken(
        "nobody stands behind a voucher",
        (vouching, "vouchers_hold", lambda *_: True),
        killers=(
            not_vouched("by the new key"),
            directed(K.test_the_issuing_authority_signs_for_homes_and_the_root_for_it),
        ),
    ),
    broken(
        "vouchers hold for ever",
        (vouching, "are_valid_at", lambda *_: True),
        killers=(not_vouched("for earlier"), not_vouched("for later")),
    ),
    broken(
        "readings count under the old meter",
        edited(
            execution,
            "execute_replace_meter",
            ("run.overlay.put(member_key(sender), replace(member, meter_key=action.key))", "pass"),
        ),
        killers=(K.test_readings_count_under_the_new_meter_only,),
    ),
    broken(
        "a contract under an old key executes",
        signatures_checked(
            "if verify(present, signed, signature):",
            "if any(verify(key, signed, signature) for key in [present, *earlier]):",
        ),
        killers=(K.test_a_contract_counts_under_the_new_key_only,),
    ),
    broken(
        "who brings a contract under a key that was replaced is at fault",
        signatures_checked("for key in earlier):", "for key in ()):"),
        killers=(directed(K.test_a_contract_signed_before_a_rotation_is_nobodys_fault, rotating=2, submitter=3),),
    ),
    broken(
        "what the old key signed stays in the mempool",
        edited(mempool, "_droppable", ("elif waiting.transaction.envelope.sender_key != key:", "elif False:")),
        killers=(directed(test_transaction_pool.test_once_a_key_is_exchanged_what_the_old_one_signed_waits_no_more),),
    ),
    broken(
        "a question is answered under the key of the answering member's own height",
        edited(
            SignRecovery,
            "_answer",
            ("asked_members(self._application.memberships())", "self._application.memberships().undecided"),
        ),
        killers=(
            directed(
                test_sign_recovery.test_who_exchanges_its_key_answers_under_that_of_the_next_height,
                tip=5,
                is_new=True,
            ),
        ),
    ),
    broken(
        "who asks goes on asking under its old key",
        edited(SignRecovery, "look", ("or not self._inquiry.is_by(signer)", "")),
        killers=(directed(test_sign_recovery.test_who_asks_while_its_key_is_exchanged_asks_again_under_the_new_one),),
    ),
    broken(
        "who left may ask by a key that it had replaced",
        edited(
            ledger_eras,
            "_departed",
            (
                "for term in newest.values()",
                "for term in known.terms if newest[term.address].last_height is not None",
            ),
        ),
        killers=(directed(P.test_who_rotates_and_leaves_is_known_by_its_last_key_alone),),
    ),
    broken(
        "a rotation that was not in force at a base is lost",
        edited(execution, "begin_era", ("queue.last_height >= beginning.base", "False")),
        killers=(at_a_base,),
    ),
    broken(
        "a replaced home's rotation still waits",
        edited(eras, "_is_overruled", ("change.address in replaced or", "")),
        killers=(K.test_a_replaced_home_has_the_key_of_the_plan_and_no_other_waits,),
    ),
    broken(
        "a rotation still waits for a key that a ceremony gave to another home",
        edited(eras, "_is_overruled", ("or change.node_key in replaced.values()", "")),
        killers=(directed(U.test_a_key_that_a_ceremony_gives_to_a_home_is_nobody_elses, is_waiting=True),),
    ),
    broken(
        "a ceremony's key is whose it was first",
        edited(eras, "take_key", ("overlay.put(", "key_owner(overlay, key) or overlay.put(")),
        killers=(U.test_who_asks_for_a_key_first_does_not_keep_a_ceremony_from_it,),
    ),
    broken(
        "the first key of the authority vouches for ever",
        edited(
            key_changes,
            "voucher_refusal",
            ("acting_key(run.overlay, address_of(run.genesis.authority_key))", "run.genesis.authority_key"),
        ),
        killers=(U.test_the_key_that_acts_for_the_authority_vouches_for_new_keys_and_no_earlier_one,),
    ),
)
