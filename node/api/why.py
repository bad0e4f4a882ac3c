"""The handler of `GET /v1/why`, and how an explanation becomes its reply."""

from collections.abc import Callable, Iterable

from aiohttp import web

from consensus.explanation import Explanation, MemberFacts, SlotFacts, Support
from consensus.identifiers import Address, Digest, Slot
from consensus.messages import Claim
from consensus.verdict import collecting_text, sentence_of, step_text, verdict_of
from node.api.context import ApiContext, answer
from node.replies.parameters import NoParameters
from node.replies.why import (
    ClaimModel,
    WhyAttempt,
    WhyBody,
    WhyCollecting,
    WhyMember,
    WhyReply,
    WhySigned,
    WhySlot,
    WhyStep,
    WhySupport,
)
from node.stories.member_changes import departure_of
from node.stories.members import own_notice


async def show_why(context: ApiContext, _: NoParameters, __: web.Request) -> web.Response:
    """Answers with why nothing is decided."""
    name_of = context.node.names().of
    explanation = context.node.replica.explain()
    ledger = context.chain.ledger
    departure = departure_of(ledger, context.node.names(), explanation.own)
    links = context.node.link_notices(name_of)
    rules = context.node.rules_notice(context.node.names())
    certificate = own_notice(ledger, ledger.genesis, explanation.own, Slot(explanation.present_slot))
    first = (None if departure is None else departure.sentence, rules, certificate)
    notices = [*(one for one in first if one is not None), *links]
    return answer(why_view(context.node.name, explanation, name_of, notices))


def why_view(
    name: str, explanation: Explanation, name_of: Callable[[Address], str], notices: Iterable[str] = ()
) -> WhyReply:
    """Returns an explanation as the API shows it.

    Args:
        name: the node's own.
        explanation: what it knows of its undecided height.
        name_of: gives the members' names.
        notices: what is wrong with its links; that it is no member any more, and why; what its program lacks; that
            its certificate ends.
    """
    attempt = explanation.next_attempt
    return WhyReply(
        name=name,
        address=explanation.own.hex(),
        verdict=verdict_of(explanation),
        sentence=sentence_of(explanation, name_of),
        height=explanation.height,
        era=explanation.era,
        phase=explanation.phase,
        undecided_ms=explanation.undecided_ms,
        waiting_ms=explanation.waiting_ms,
        oldest_request_ms=explanation.oldest_request_ms,
        members_total=len(explanation.members),
        fault_bound=explanation.fault_bound,
        quorum=explanation.quorum,
        members_reachable=len(explanation.reachable),
        slot_duration_ms=explanation.slot_duration_ms,
        present_slot=explanation.present_slot,
        clock_slot=explanation.clock_slot,
        leader=explanation.leader.hex(),
        attempt_leader=explanation.attempt_leader.hex(),
        collecting=_collecting_view(explanation, name_of),
        silence=explanation.silence,
        waits_for=_step_view(explanation, name_of),
        next_attempt=None if attempt is None else WhyAttempt(slot=attempt.slot, due_in_ms=attempt.due_in_ms),
        signed=_signed_view(explanation),
        slots=[_slot_view(slot) for slot in explanation.slots],
        bodies_missing=[
            WhyBody(block=body.block.hex(), holders=_hex(body.holders), asked_age_ms=body.asked_age_ms)
            for body in explanation.bodies_missing
        ],
        members=[_member_view(member, name_of) for member in explanation.members],
        notices=list(notices),
    )


def _step_view(explanation: Explanation, name_of: Callable[[Address], str]) -> WhyStep | None:
    wait = explanation.waits_for
    if wait is None:
        return None
    return WhyStep(
        step=wait.step,
        sentence=step_text(wait, explanation.quorum, name_of),
        slot=wait.slot,
        block=_block(wait.block),
        members=_hex(wait.members),
        missing=_hex(wait.missing),
        needed=wait.needed,
    )


def _collecting_view(explanation: Explanation, name_of: Callable[[Address], str]) -> WhyCollecting | None:
    collecting = explanation.collecting
    if collecting is None:
        return None
    return WhyCollecting(
        slot=collecting.slot,
        sentence=collecting_text(collecting, explanation.own, name_of),
        cluster=_hex(collecting.cluster),
        handed_by=_hex(collecting.handed_by),
        stage=collecting.stage,
    )


def _signed_view(explanation: Explanation) -> WhySigned:
    signed = explanation.signed
    return WhySigned(
        voted=_claim(signed.voted),
        promise=signed.promise,
        attempts=signed.attempts,
        prepared=_claim(signed.prepared),
    )


def _slot_view(facts: SlotFacts) -> WhySlot:
    return WhySlot(
        slot=facts.slot,
        leader=facts.leader.hex(),
        proposed=_block(facts.proposed),
        votes=[_support_view(support) for support in facts.votes],
        commits=[_support_view(support) for support in facts.commits],
        view_changes=_support_view(facts.view_changes),
    )


def _support_view(support: Support) -> WhySupport:
    return WhySupport(
        block=_block(support.block),
        members=_hex(support.members),
        missing=_hex(support.missing),
        needed=support.needed,
    )


def _member_view(member: MemberFacts, name_of: Callable[[Address], str]) -> WhyMember:
    return WhyMember(
        address=member.address.hex(),
        name=name_of(member.address),
        is_own=member.is_own,
        is_connected=member.is_connected,
        is_reachable=member.is_reachable,
        heard_age_ms=member.heard_age_ms,
        undecided_height=member.undecided,
        clock_slot=member.clock_slot,
        is_silent=member.is_silent,
        other_era=member.other_era,
        may_lead=member.may_lead,
        vote=_claim(member.vote),
        commit=_claim(member.commit),
        view_change=member.view_change,
    )


def _claim(claim: Claim | None) -> ClaimModel | None:
    return None if claim is None else ClaimModel(slot=claim.slot, block=claim.block.hex())


def _block(block: Digest | None) -> str | None:
    return None if block is None else block.hex()


def _hex(addresses: Iterable[Address]) -> list[str]:
    return [address.hex() for address in addresses]
