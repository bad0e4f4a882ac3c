"""Deliberate breaks of the ceremony's rules, and what must notice each; see `mutants`."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from msgspec.structs import replace

from consensus import ceremony, eras, plans, relaying, safety
from consensus.ceremony import Applied, CeremonyRefusal, LedgerFacts
from consensus.ceremony_records import MemberStatement
from consensus.codec import encode
from consensus.era_plans import AppliedEra, Plan
from consensus.eras import FIRST_ERA, Era, EraStart
from consensus.events import EraStanding, SignState
from consensus.identifiers import Address, Digest, Domain, EraNumber, Height, Slot
from consensus.member import Member, Signer
from consensus.messages import CommitCertificate, Decided, Status
from consensus.past import FIRST, Past
from node.chain.block_sync import BlockSync, SyncLinks
from node.chain.question_relay import QuestionRelay
from node.chain.sync_planner import SyncFault
from node.home import ceremony_steps
from node.home.ceremony_steps import Save, Step
from node.mesh.messages import Blocks, BlocksRequest
from tests.simulation import test_questions
from tests.simulation.ceremonies import run_ceremonies
from tests.simulation.ceremony_home import CHAIN, block_of
from tests.simulation.directed import directed
from tests.simulation.interrupted_ceremonies import go_on, hold_interrupted, street
from tests.simulation.mutant import Mutant, edited
from tests.unit.consensus import test_ceremony, test_eras, test_plans
from tests.unit.node.home import test_ceremony_steps

C, E, P = test_ceremony, test_eras, test_plans

true_state = ceremony.state
true_era_of = eras.era_of
true_apply_refusal = ceremony._apply_refusal
true_going_on = plans._going_on


def state_without_seal(
    home: ceremony.Home, era: EraNumber, signer: Signer
) -> tuple[SignState, MemberStatement] | CeremonyRefusal:
    """All is said and remembered but that nothing older is signed any more."""
    stated = true_state(home, era, signer)
    if isinstance(stated, CeremonyRefusal):
        return stated
    before = home.start.sign_state.standing.sealed_below
    return replace(stated[0], standing=replace(stated[0].standing, sealed_below=before)), stated[1]


def write_statement_first(sign_state: SignState, *, save: Save, write_statement: Step) -> None:
    write_statement()
    save(sign_state)


def eras_before_ledger(
    begun: Applied, *, keep_plans: Step, set_ledger_aside: Step, keep_eras: Step, save: Save
) -> None:
    keep_plans()
    keep_eras()
    if begun.drops_carried:
        set_ledger_aside()
    save(begun.sign_state)


def ban_whoever(sync: BlockSync, sender: Address, fault: SyncFault, height: Height) -> None:
    sync._planner.ban(sender, sync._now_ms())


def at(point: str, *, tears: bool = False) -> Callable[[], object]:
    """A killer: a ceremony that is interrupted there."""
    return lambda: hold_interrupted(point, tears=tears, runs_between=False)


def dead_link_of_who_forgot() -> None:
    test_questions.forgetful_behind(test_questions.both_ways((0, 1)), 4)


def forgetful_hub() -> None:
    """The others hear each other over the one that keeps silent only."""
    test_questions.forgetful_behind(test_questions.both_ways((1, 2), (1, 3), (2, 3)), 4)


def a_statement_that_is_not_sealed_by() -> None:
    """A home dies before its seal is durable: no statement has left, or it signs on against its word."""
    with street() as world:
        home = world.homes[0]
        home.crash_point, home.tears = "export: sign state", False
        home.state(1)
        assert home.interrupted is not None, "never died there"
        for _ in range(20):
            go_on(world)
        assert home.height > 1, "it did not go on"


def who_lives_in_another_era_is_asked_again() -> None:
    """A home of the first era fetches blocks that another one decided in the second: no lie, and no ban."""
    with street() as world:
        home, other = world.homes[0], world.homes[1].key.address
        sent: list[tuple[Address, object]] = []
        links = SyncLinks(
            send=lambda peer, message: sent.append((peer, message)),
            connected=lambda: frozenset((other,)),
            post=lambda _: None,
            refused=lambda _reason, _peer: None,
            names={},
        )
        sync = BlockSync(application=home, links=links, clock_s=lambda: 100.0)
        status = Status(era=FIRST_ERA, undecided=Height(50), tip=CHAIN, clock_slot=Slot(0), origin=other, hears=b"")
        sync.on_status(other, status)
        sync.plan()
        asked = [message for _, message in sent if isinstance(message, BlocksRequest)]
        assert asked, "nothing was asked"
        proposal = encode((CHAIN, 1, other, 0))
        block = block_of(proposal)
        blocks = tuple(
            Decided(
                certificate=CommitCertificate(
                    era=EraNumber(1), height=Height(height), slot=Slot(1), block=block, endorsements=()
                ),
                proposal=proposal,
            )
            for height in range(asked[0].first, asked[0].first + asked[0].count)
        )
        sync.on_blocks(other, Blocks(first=asked[0].first, blocks=blocks))
        assert sync.next_block() is None
        assert sync._planner.banned(sync._now_ms()) == frozenset(), "banned for living in another era"


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


def lowest_decided(
    seen: Sequence[Any], follows: AppliedEra, past: Past, _added: object
) -> tuple[Height, Digest] | None:
    plan = past.plan(follows)
    floor = (Height(0), past.chain) if plan is None else (plan.base, plan.base_block)
    own = [(one.height, one.block) for one in seen if one.statement.applied == follows]
    return max(floor, min(own, default=floor))


def follow_nothing(statements: Sequence[MemberStatement]) -> AppliedEra | None:
    return FIRST


def no_ledger_is_refused(_plan: Plan, _ledger: LedgerFacts) -> CeremonyRefusal | None:
    return None


def gone_members_stay(old: Any, departures: Sequence[Any], authors: Any) -> Any:
    return true_going_on(old, [one for one in departures if one.node_key is not None], authors)


def any_quorum(_who: Iterable[object], _membership: object) -> bool:
    return True


CEREMONY_MUTANTS: Final = (
    Mutant(
        name="a question goes no further than the own links",
        rule="recovery",
        breaks=((QuestionRelay, "passes_question", lambda *_: False),),
        killers=(dead_link_of_who_forgot,),
    ),
    Mutant(
        name="an answer to a question that was passed on goes to nobody",
        rule="recovery",
        breaks=((QuestionRelay, "spreads_answer", lambda *_: False),),
        killers=(dead_link_of_who_forgot,),
    ),
    Mutant(
        name="an answer to somebody else is not passed on",
        rule="recovery",
        breaks=((QuestionRelay, "passes_answer", lambda *_: False),),
        killers=(dead_link_of_who_forgot,),
    ),
    Mutant(
        name="who keeps silent executes no proposal to pass it on",
        rule="P9",
        breaks=((relaying, "_executed_proposals", lambda _: iter(())),),
        killers=(forgetful_hub,),
    ),
    Mutant(
        name="a statement leaves without a seal",
        rule="ceremony",
        breaks=((ceremony, "state", state_without_seal),),
        killers=(many(4, 60, liars=1),),
    ),
    Mutant(
        name="a statement leaves before the seal is durable",
        rule="ceremony",
        breaks=((ceremony_steps, "export", write_statement_first),),
        killers=(
            test_ceremony_steps.test_a_statement_leaves_once_the_home_is_sealed,
            a_statement_that_is_not_sealed_by,
        ),
    ),
    Mutant(
        name="the era's file is written before the ledger with the carried block goes",
        rule="ceremony",
        breaks=((ceremony_steps, "apply", eras_before_ledger),),
        killers=(directed(test_ceremony_steps.test_an_era_begins_with_the_sign_state, drops_carried=True),),
    ),
    Mutant(
        name="a peer of another era is banned",
        rule="eras",
        breaks=((BlockSync, "_ban", ban_whoever),),
        killers=(who_lives_in_another_era_is_asked_again,),
    ),
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
        breaks=(edited(C, "is_complete", ("in plan.quorums", "in (plan.members,)")),),
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
        breaks=(edited(ceremony, "join", ("own.digest != standing.stated", "False")),),
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
        breaks=(edited(ceremony, "_apply_refusal", ("plan.era <= standing.era", "plan.era < standing.era")),),
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
        name="the authority's key at the base has the word where a block is carried",
        rule="ceremony",
        breaks=(edited(plans, "make_plan", ("base_block if carried is None else carried", "base_block")),),
        killers=(P.test_a_liar_at_an_old_height_brings_no_replaced_key_back, many(4, 60, liars=1)),
    ),
    Mutant(
        name="anybody has the word on who is absent",
        rule="ceremony",
        breaks=((plans, "is_vouched_for", lambda *_: True),),
        killers=(
            P.test_the_authority_speaks_for_who_is_absent_and_only_for_them,
            P.test_a_liar_at_an_old_height_brings_no_replaced_key_back,
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
