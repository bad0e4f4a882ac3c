"""Proposals: what no single member may do, a quorum of the members may, after a time in which others can act.

A member proposes, others approve; the approvals of who is a member when they are counted count. From the quorum's
approval on a proposal waits for a time that genesis names, then it is carried out by itself. One that no quorum
approves within a day lapses. Who approved may withdraw until the end: one that waits lapses with fewer than a quorum.
Others may still approve while it waits: else F liars could make up a quorum, and withdraw at the last moment. Each
member has one unfinished proposal at most, so all of them together are bounded.

*A member is to be expelled*: it cannot object, or a liar always would. Those who approved have `removal_wait_slots`
to hear it, and withdraw. Then its removal waits as every change of the members does (`removals`).

*A member is to be suspended, or to be so no more*: nothing is taken by it, and a quorum takes it back as easily, so
it waits for nothing: the block with the quorum's approval does it. Who was suspended for proven misconduct comes back
by this alone; its next contradiction suspends it again, and removes it where `removals` says so.

*An office is to have another key*: its owner, if there after all, objects while the proposal waits
(`office_wait_slots`), and ends it. But whoever has a stolen key could object for ever. So an objection is a delay and
no veto: after it nothing may be proposed for the office for one waiting time more, in which people talk to each
other; a proposal made in the week after that cannot be objected to. A quorum that insists wins: it takes Q members
twice, and three waiting times.

*The rules are to change from a height on* (`rules`): an approved proposal waits for that height and not for a time,
and holds if a quorum of who is a member then still approves it.
"""

from typing import Final

from msgspec.structs import replace

from consensus.identifiers import Address, Digest, Slot
from consensus.quorum import quorum
from contracts.agenda import schedule
from contracts.member_changes import is_member
from contracts.member_records import Removal, RemovalCause
from contracts.office_records import Office, OfficeKeyChange
from contracts.offices import install, key_refusal, successor_refusal
from contracts.proposal_records import Expulsion, Proposal, ProposalStatus, ProposalTurn, SuspensionChange
from contracts.receipts import Reason
from contracts.removals import has_to_go, let_go
from contracts.rule_records import RulesChange
from contracts.rules import change_refusal, install_rules, let_change_wait, waiting_change
from contracts.run import BlockRun, Outcome, Refusal, declined
from contracts.state import MEMBER_LIST_KEY, MemberList, office_key, proposal_key
from contracts.transactions import Approve, OfficeSuccessor, Propose, RaiseObjection, Withdraw
from contracts.units import MS_PER_HOUR

OPEN_MS: Final = 24 * MS_PER_HOUR
"""How long members may approve a proposal, in time of slots."""

INSISTING_MS: Final = 7 * OPEN_MS
"""After the waiting time that follows an objection: what members propose in it cannot be objected to. Then the owner
may object again: an objection of years ago says nothing about who has the key now."""

UNFINISHED: Final = frozenset({ProposalStatus.OPEN, ProposalStatus.APPROVED})


def execute_proposal(run: BlockRun, sender: Address, transaction: Digest, action: Propose) -> Outcome:
    """Opens a proposal, or declines: no member, one of the sender's is unfinished, nothing that can be proposed."""
    if not is_member(run.overlay, sender):
        return declined(Reason.PROPOSAL_NOT_MEMBER, f"{sender.hex()} is no member")
    last = run.overlay.get(proposal_key(sender), Proposal)
    if last is not None and last.status in UNFINISHED:
        detail = f"own proposal {last.name.hex()} is {last.status.value} until slot {last.until_slot}"
        return declined(Reason.PROPOSAL_UNFINISHED, detail)
    slot = run.context.slot
    refusal = _subject_refusal(run, action.subject)
    if refusal is not None:
        return Outcome(refusal=refusal)
    proposal = Proposal(
        name=transaction,
        subject=_subject_of(action),
        slot=slot,
        status=ProposalStatus.OPEN,
        approvals=(sender,),
        until_slot=Slot(slot + _slots(run, OPEN_MS)),
    )
    _put_and_schedule(run, sender, proposal)
    if _is_approved(run, proposal) and _waiting_refusal(run, proposal) is None:  # a chain of one member
        _let_wait(run, sender, proposal)
    return Outcome(reference=transaction)


def _subject_refusal(
    run: BlockRun, subject: OfficeSuccessor | Expulsion | SuspensionChange | RulesChange
) -> Refusal | None:
    match subject:
        case OfficeSuccessor() as successor:
            refusal = successor_refusal(run, successor)
            return refusal or _quiet_refusal(run, successor.office, made_slot=run.context.slot)
        case Expulsion() as expulsion:
            return _expulsion_refusal(run, expulsion)
        case SuspensionChange() as change:
            return _suspension_refusal(run, change)
        case RulesChange() as change:
            return change_refusal(run, change)


def _subject_of(action: Propose) -> OfficeKeyChange | Expulsion | SuspensionChange | RulesChange:
    """Returns what the state keeps: that the next key's owner agreed was checked."""
    match action.subject:
        case OfficeSuccessor(office=office, key=key):
            return OfficeKeyChange(office=office, key=key)
        case subject:
            return subject


def execute_approval(run: BlockRun, sender: Address, action: Approve) -> Outcome:
    """Counts an approval, or declines: no member, no such unfinished proposal, approved before, another one waits.

    With a quorum's the proposal waits for its time. Who approved before may say so again where the quorum has become
    smaller meanwhile.
    """
    if not is_member(run.overlay, sender):
        return declined(Reason.PROPOSAL_NOT_MEMBER, f"{sender.hex()} is no member")
    proposal = _named(run, action)
    if proposal is None:
        return _unknown(action)
    if _is_over(run, proposal):
        return _over(proposal)
    is_new = sender not in proposal.approvals
    proposal = replace(proposal, approvals=(*proposal.approvals, sender)) if is_new else proposal
    if proposal.status is ProposalStatus.OPEN and _is_approved(run, proposal):
        refusal = _waiting_refusal(run, proposal)
        if refusal is not None:
            return Outcome(refusal=refusal)
        _let_wait(run, action.proposer, proposal)
    elif is_new:
        run.overlay.put(proposal_key(action.proposer), proposal)
    else:
        return declined(Reason.PROPOSAL_APPROVED_BEFORE, f"{sender.hex()} approved it before")
    return Outcome(reference=proposal.name)


def execute_withdrawal(run: BlockRun, sender: Address, action: Withdraw) -> Outcome:
    """Takes an approval back, or declines: no such proposal, it is over, the sender did not approve it.

    One that waits lapses with fewer than a quorum's approvals, an open one with the last.
    """
    proposal = _named(run, action)
    if proposal is None:
        return _unknown(action)
    if _is_over(run, proposal):
        return _over(proposal)
    if sender not in proposal.approvals:
        return declined(Reason.PROPOSAL_NOT_APPROVED, f"{sender.hex()} did not approve it")
    left = tuple(one for one in proposal.approvals if one != sender)
    proposal = replace(proposal, approvals=left)
    waits = proposal.status is ProposalStatus.APPROVED
    if not left or (waits and not _is_approved(run, proposal)):
        if waits:
            _wait_no_more(run, proposal)
        proposal = replace(proposal, status=ProposalStatus.LAPSED)
    run.overlay.put(proposal_key(action.proposer), proposal)
    return Outcome(reference=proposal.name)


def _is_over(run: BlockRun, proposal: Proposal) -> bool:
    """Says whether nobody can change any more what comes of a proposal."""
    is_late = run.context.slot >= proposal.until_slot and not proposal.waits_for_height
    return proposal.status not in UNFINISHED or is_late


def _over(proposal: Proposal) -> Outcome:
    return declined(Reason.PROPOSAL_OVER, f"it is {proposal.status.value}, until slot {proposal.until_slot}")


def _named(run: BlockRun, action: Approve | Withdraw) -> Proposal | None:
    proposal = run.overlay.get(proposal_key(action.proposer), Proposal)
    return None if proposal is None or proposal.name != action.proposal else proposal


def _unknown(action: Approve | Withdraw) -> Outcome:
    detail = f"{action.proposer.hex()} did not propose {action.proposal.hex()}, or something else since"
    return declined(Reason.PROPOSAL_UNKNOWN, detail)


def execute_objection(run: BlockRun, sender: Address, action: RaiseObjection) -> Outcome:
    """Ends the proposal that waits to give the sending office another key, or declines: none does, it is too late."""
    office = run.overlay.get(office_key(sender), Office)
    if office is None:
        return declined(Reason.OFFICE_UNKNOWN, f"{sender.hex()} is no office")
    if office.waiting is None:
        return declined(Reason.PROPOSAL_UNKNOWN, f"no approved proposal waits for office {sender.hex()}")
    proposal = run.overlay.require(proposal_key(office.waiting), Proposal)
    if proposal.name != action.proposal:
        return declined(Reason.PROPOSAL_UNKNOWN, f"proposal {proposal.name.hex()} waits, and no other")
    objected = office.objected_slot
    if objected is not None and proposal.slot < _quiet_until(run, objected) + _slots(run, INSISTING_MS):
        detail = f"proposed in slot {proposal.slot}, after the objection of slot {objected}: members insist"
        return declined(Reason.OBJECTION_SPENT, detail)
    run.overlay.put(proposal_key(office.waiting), replace(proposal, status=ProposalStatus.OBJECTED))
    run.overlay.put(office_key(sender), replace(office, waiting=None, objected_slot=run.context.slot))
    return Outcome(reference=proposal.name)


def take_turn(run: BlockRun, turn: ProposalTurn) -> None:
    """Lets a member's open proposal lapse, or carries out the approved one, if its time has come."""
    proposal = run.overlay.require(proposal_key(turn.proposer), Proposal)
    if proposal.until_slot > run.context.slot or proposal.waits_for_height:
        return
    if proposal.status is ProposalStatus.OPEN:
        run.overlay.put(proposal_key(turn.proposer), replace(proposal, status=ProposalStatus.LAPSED))
    elif proposal.status is ProposalStatus.APPROVED:
        _carry_out(run, turn.proposer, proposal)


def _carry_out(run: BlockRun, proposer: Address, proposal: Proposal) -> None:
    match proposal.subject:
        case OfficeKeyChange() as change:
            is_possible = key_refusal(run, change.key) is None
            if is_possible:
                install(run, change)
            _wait_no_more(run, proposal, is_done=is_possible)
        case Expulsion(member=member) as expulsion:
            is_possible = _expulsion_refusal(run, expulsion) is None
            if is_possible:
                cause, name = RemovalCause.EXPELLED, proposal.name
                let_go(run, Removal(address=member, cause=cause, node_key=None, reference=name))
        case SuspensionChange(member=member, suspended=suspended) as change:
            is_possible = _suspension_refusal(run, change) is None
            if is_possible:
                run.scores.set_suspended(member, suspended, reference=proposal.name)
        case RulesChange():
            raise AssertionError("its height carries it out (change_rules)")
    status = ProposalStatus.DONE if is_possible else ProposalStatus.VOID
    run.overlay.put(proposal_key(proposer), replace(proposal, status=status))


def change_rules(run: BlockRun) -> None:
    """Lets the approved change of the rules hold from the next block on if it names that one, and a quorum of who is
    a member now approves it; without the quorum it lapses.
    """
    proposer = waiting_change(run)
    if proposer is None:
        return
    proposal = run.overlay.require(proposal_key(proposer), Proposal)
    assert isinstance(proposal.subject, RulesChange), "nothing else waits for a height"
    if proposal.subject.from_height != run.context.height + 1:
        return
    if _is_approved(run, proposal):
        install_rules(run, proposal.subject)
        status = ProposalStatus.DONE
    else:
        let_change_wait(run, None)
        status = ProposalStatus.LAPSED
    run.overlay.put(proposal_key(proposer), replace(proposal, status=status))


def _expulsion_refusal(run: BlockRun, expulsion: Expulsion) -> Refusal | None:
    member = expulsion.member
    if not is_member(run.overlay, member):
        return Refusal(reason=Reason.EXPULSION_NOT_MEMBER, detail=f"{member.hex()} is no member")
    if has_to_go(run.overlay, member, RemovalCause.EXPELLED):
        detail = f"the removal of {member.hex()} waits already"
        return Refusal(reason=Reason.EXPULSION_WAITS, detail=detail)
    return None


def _suspension_refusal(run: BlockRun, change: SuspensionChange) -> Refusal | None:
    member = change.member
    if not is_member(run.overlay, member):
        return Refusal(reason=Reason.SUSPENSION_NOT_MEMBER, detail=f"{member.hex()} is no member")
    if run.scores.record(member).is_suspended == change.suspended:
        standing = "is suspended" if change.suspended else "is not suspended"
        return Refusal(reason=Reason.SUSPENSION_CHANGES_NOTHING, detail=f"{member.hex()} {standing}")
    return None


def _is_approved(run: BlockRun, proposal: Proposal) -> bool:
    members = run.overlay.require(MEMBER_LIST_KEY, MemberList).addresses
    return len(set(members).intersection(proposal.approvals)) >= quorum(len(members))


def _waiting_refusal(run: BlockRun, proposal: Proposal) -> Refusal | None:
    """Says why an approved proposal may not wait: of an office one at a time, and none from before an objection; who
    is to be expelled is expelled already, or suspended as it is to be; of the rules one at a time, and none that now
    comes too soon.
    """
    match proposal.subject:
        case Expulsion() as expulsion:
            return _expulsion_refusal(run, expulsion)
        case SuspensionChange() as change:
            return _suspension_refusal(run, change)
        case RulesChange() as change:
            return _other_change_refusal(run) or change_refusal(run, change)
        case OfficeKeyChange(office=office, key=key):
            refusal = _other_key_refusal(run, office) or _quiet_refusal(run, office, made_slot=proposal.slot)
            return refusal or key_refusal(run, key)


def _other_change_refusal(run: BlockRun) -> Refusal | None:
    waiting = waiting_change(run)
    if waiting is None:
        return None
    other = run.overlay.require(proposal_key(waiting), Proposal)
    return Refusal(reason=Reason.RULES_PROPOSAL_WAITS, detail=f"proposal {other.name.hex()} waits for its height")


def _other_key_refusal(run: BlockRun, office: Address) -> Refusal | None:
    waiting = run.overlay.require(office_key(office), Office).waiting
    if waiting is None:
        return None
    other = run.overlay.require(proposal_key(waiting), Proposal)
    detail = f"proposal {other.name.hex()} waits until slot {other.until_slot}"
    return Refusal(reason=Reason.OFFICE_PROPOSAL_WAITS, detail=detail)


def _quiet_refusal(run: BlockRun, office: Address, *, made_slot: Slot) -> Refusal | None:
    objected = run.overlay.require(office_key(office), Office).objected_slot
    if objected is None or made_slot >= (first := _quiet_until(run, objected)):
        return None
    detail = f"the owner objected in slot {objected}: only what is proposed from slot {first} on counts"
    return Refusal(reason=Reason.OFFICE_OBJECTED, detail=detail)


def _quiet_until(run: BlockRun, objected: Slot) -> int:
    return objected + run.genesis.office_wait_slots


def _slots(run: BlockRun, duration_ms: int) -> int:
    return duration_ms // run.genesis.slot_duration_ms


def _let_wait(run: BlockRun, proposer: Address, proposal: Proposal) -> None:
    proposal = replace(proposal, status=ProposalStatus.APPROVED)
    match proposal.subject:
        case Expulsion():
            _wait_slots(run, proposer, proposal, run.genesis.membership.removal_wait_slots)
        case SuspensionChange():
            _wait_slots(run, proposer, proposal, 0)  # this block carries it out: nobody can withdraw any more
        case OfficeKeyChange(office=address):
            _wait_slots(run, proposer, proposal, run.genesis.office_wait_slots)
            office = run.overlay.require(office_key(address), Office)
            run.overlay.put(office_key(address), replace(office, waiting=proposer))
        case RulesChange():
            run.overlay.put(proposal_key(proposer), proposal)
            let_change_wait(run, proposer)


def _wait_slots(run: BlockRun, proposer: Address, proposal: Proposal, slots: int) -> None:
    _put_and_schedule(run, proposer, replace(proposal, until_slot=Slot(run.context.slot + slots)))


def _wait_no_more(run: BlockRun, proposal: Proposal, *, is_done: bool = False) -> None:
    """Notes with an office, or with the rules, that no proposal waits to change them; a key that was given ends what
    an earlier objection of the office says.
    """
    match proposal.subject:
        case OfficeKeyChange(office=address):
            office = run.overlay.require(office_key(address), Office)
            objected_slot = None if is_done else office.objected_slot
            run.overlay.put(office_key(address), replace(office, waiting=None, objected_slot=objected_slot))
        case RulesChange():
            let_change_wait(run, None)
        case Expulsion() | SuspensionChange():
            pass


def _put_and_schedule(run: BlockRun, proposer: Address, proposal: Proposal) -> None:
    run.overlay.put(proposal_key(proposer), proposal)
    schedule(run, proposal.until_slot, ProposalTurn(proposer=proposer))
