"""Deliberate breaks of the ceremony's rules, and what must notice each; see `mutants`."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from msgspec.structs import replace

from consensus import ceremony, era_plans, eras, plans, safety
from consensus.ceremony import CeremonyRefusal, LedgerFacts
from consensus.ceremony_records import MemberStatement
from consensus.era_plans import AppliedEra, Plan
from consensus.eras import Era, EraStart
from consensus.events import EraStanding, SignState
from consensus.identifiers import Digest, Domain, Height
from consensus.member import Member
from consensus.messages import CommitCertificate
from tests.simulation.ceremonies import run_ceremonies
from tests.simulation.mutants import Mutant
from tests.unit.consensus import test_ceremony, test_eras, test_plans

C, E, P = test_ceremony, test_eras, test_plans

true_era_of = eras.era_of
true_apply_refusal = ceremony._apply_refusal
true_going_on = plans._going_on


def many(members: int, count: int, *, liars: int = 0) -> Callable[[], object]:
    """A killer: so many ceremonies by chance."""
    return lambda: run_ceremonies(members, range(count), liars=liars)


def era_without_domain(chain: Digest, start: EraStart) -> Era:
    era = true_era_of(chain, start)
    return type(era)(number=era.number, plan=era.plan, domain=Domain(chain), base=era.base, carried=era.carried)


def era_without_plan(chain: Digest, start: EraStart) -> Era:
    era, same = true_era_of(chain, start), true_era_of(chain, replace(start, plan=Digest(bytes(32))))
    return type(era)(number=era.number, plan=era.plan, domain=same.domain, base=era.base, carried=era.carried)


def decide_though_sealed(member: Member, certificate: CommitCertificate, proposal: bytes) -> None:
    standing = member.state.sign_state.standing
    member.state.sign_state = replace(member.state.sign_state, standing=replace(standing, sealed_below=standing.era))
    true_decide(member, certificate, proposal)
    member.state.sign_state = replace(member.state.sign_state, standing=standing)


true_decide = safety.decide


def release_everything(signed: SignState) -> SignState | CeremonyRefusal:
    standing = signed.standing
    if not standing.is_sealed:
        return CeremonyRefusal.NOT_SEALED
    return replace(signed, standing=replace(standing, sealed_below=standing.era))


def has_passed_only_if_later(plan: Plan, standing: EraStanding) -> bool:
    return plan.era < standing.era


def lowest_decided(
    seen: Sequence[Any], follows: AppliedEra, past: plans.Past, _added: object
) -> tuple[Height, Digest] | None:
    plan = past.plan(follows)
    floor = (Height(0), past.chain) if plan is None else (plan.base, plan.base_block)
    own = [(one.height, one.block) for one in seen if one.statement.applied == follows]
    return max(floor, min(own, default=floor))


def follow_nothing(statements: Sequence[MemberStatement]) -> AppliedEra | None:
    return plans.FIRST


def no_ledger_is_refused(_plan: Plan, _ledger: LedgerFacts) -> CeremonyRefusal | None:
    return None


def gone_members_stay(old: Any, departures: Sequence[Any], authors: Any) -> Any:
    return true_going_on(old, [one for one in departures if one.node_key is not None], authors)


def any_quorum(_who: Iterable[object], _membership: object) -> bool:
    return True


CEREMONY_MUTANTS: Final = (
    Mutant(
        name="who stated signs and appends on",
        rule="ceremony",
        breaks=((EraStanding, "is_sealed", False),),
        killers=(
            E.test_who_gave_up_its_era_signs_nothing_and_appends_nothing_that_it_decides,
            many(4, 200, liars=1),
        ),
    ),
    Mutant(
        name="who stated appends what its era decides",
        rule="ceremony",
        breaks=((safety, "decide", decide_though_sealed),),
        killers=(E.test_who_gave_up_its_era_signs_nothing_and_appends_nothing_that_it_decides,),
    ),
    Mutant(
        name="nothing is carried over",
        rule="ceremony",
        breaks=((plans, "_candidates", lambda *_: ()), (plans, "voted_for", lambda *_: None)),
        killers=(P.test_the_prepared_block_above_the_base_is_carried_the_same_bytes,),
    ),
    Mutant(
        name="the block of the lowest slot is carried over",
        rule="ceremony",
        breaks=((plans, "newness", lambda candidate: (-candidate.era, -candidate.slot)),),
        killers=(P.test_of_two_prepared_blocks_the_one_of_the_higher_slot_is_carried,),
    ),
    Mutant(
        name="the slot of a prepared block counts before its era",
        rule="ceremony",
        breaks=((plans, "newness", lambda candidate: (candidate.slot, candidate.era)),),
        killers=(P.test_what_an_era_prepared_is_older_than_all_that_a_later_one_did,),
    ),
    Mutant(
        name="the era is not signed",
        rule="eras",
        breaks=((eras, "era_of", era_without_domain),),
        killers=(E.test_the_domain_covers_chain_number_and_plan,),
    ),
    Mutant(
        name="the era's number is signed without its plan",
        rule="eras",
        breaks=((eras, "era_of", era_without_plan),),
        killers=(E.test_two_plans_of_one_number_have_two_domains,),
    ),
    Mutant(
        name="agreements of those who go on count",
        rule="ceremony",
        breaks=((era_plans, "deciding_sets", lambda plan: (plan.members,)),),
        killers=(C.test_agreements_of_the_old_members_count_not_of_those_who_go_on,),
    ),
    Mutant(
        name="a home agrees to two plans of one era",
        rule="ceremony",
        breaks=((ceremony, "_joined_another", lambda *_: False),),
        killers=(
            C.test_nobody_agrees_to_two_plans_of_one_era_nor_to_an_older_one,
            C.test_two_plans_of_one_era_are_never_both_complete,
        ),
    ),
    Mutant(
        name="a home agrees to a plan with an older statement of its own",
        rule="ceremony",
        breaks=((ceremony, "_is_newest", lambda *_: True),),
        killers=(
            C.test_only_the_newest_statement_is_agreed_with,
            C.test_a_sign_state_that_was_made_anew_agrees_with_no_older_statement,
        ),
    ),
    Mutant(
        name="a seal is taken back below what was agreed to",
        rule="ceremony",
        breaks=((C, "release", release_everything),),
        killers=(C.test_a_seal_is_taken_back_down_to_what_was_begun_or_agreed_to,),
    ),
    Mutant(
        name="a plan is applied twice",
        rule="ceremony",
        breaks=((ceremony, "_has_passed", has_passed_only_if_later),),
        killers=(C.test_doing_it_again_changes_nothing,),
    ),
    Mutant(
        name="the base is the lowest height",
        rule="ceremony",
        breaks=((plans, "highest_decided", lowest_decided),),
        killers=(P.test_the_base_is_the_highest_height_that_anybody_proves_decided,),
    ),
    Mutant(
        name="who comes late begins with nothing that binds",
        rule="ceremony",
        breaks=((ceremony, "_binds_nothing", lambda *_, **__: True),),
        killers=tuple(
            lambda how=how: C.test_who_may_have_been_there_before_keeps_silent_and_asks(how)  # type: ignore[misc]
            for how in ("late", "forgot", "old backup", "signed in the era")
        ),
    ),
    Mutant(
        name="a plan needs no quorum of statements",
        rule="ceremony",
        breaks=((plans, "holds_quorum", any_quorum),),
        killers=(
            P.test_statements_of_another_era_do_not_count,
            P.test_quorums_of_earlier_eras_are_needed_as_long_as_somebody_lives_there,
        ),
    ),
    Mutant(
        name="a plan follows no era that somebody agreed to begin",
        rule="ceremony",
        breaks=((plans, "followed_era", follow_nothing),),
        killers=(
            P.test_a_plan_follows_the_highest_era_that_somebody_lives_in_or_agreed_to,
            C.test_a_plan_that_does_not_complete_is_followed_by_one_of_the_next_era,
        ),
    ),
    Mutant(
        name="a ledger above the base is taken as it is",
        rule="ceremony",
        breaks=((ceremony, "_ledger_refusal", no_ledger_is_refused),),
        killers=(
            C.test_a_ledger_above_the_base_is_refused_but_for_exactly_the_carried_block,
            C.test_another_block_at_the_base_is_refused,
        ),
    ),
    Mutant(
        name="a gone member's key is still accepted",
        rule="ceremony",
        breaks=((plans, "_going_on", gone_members_stay),),
        killers=(
            P.test_who_is_gone_leaves_the_set_and_who_is_replaced_keeps_address_and_place,
            C.test_who_is_gone_does_not_begin_the_era,
        ),
    ),
)
