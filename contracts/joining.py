"""Homes that join while the chain runs: an application, its verifiers' verdicts, an admission, and the word "ready".

    application --t accept--> candidate --Ready--> in the queue of changes --> member
         | t refuse: refused      | a day without Ready: lapsed
         ` a day, or three panels: lapsed      ` its key is revoked: revoked

Two sides must agree, and neither lets anybody in alone: the authority vouches for the keys, which every member
checks, and verifiers find out who it is. An applicant has no account: a member brings its application, one at a
time, so what strangers can make the chain do is bounded by its members. A candidate has an account and follows the
chain; it counts as a member only once it said that it is ready, or one that never comes would stop a small chain.
"""

from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from consensus.codec import encode
from consensus.cryptography import address_of, verify
from consensus.identifiers import Address, Digest, PublicKey, Slot
from contracts.agenda import schedule
from contracts.applicants import Applicant, ApplicationEnd, Applications, GivenVerdict, Standing, Verdict
from contracts.genesis import ATTENDANCE_VERSION, Genesis
from contracts.genesis_state import MEMBERS_MAX, amount_fault, new_account, new_score
from contracts.member_changes import SEEN_PARTS, is_member, waiting_with, waiting_without, window_slots
from contracts.member_records import Activity, Join, MemberQueue
from contracts.panels import PANEL_MAX, VERDICTS_MIN, draw_panel, verdicts_needed, verifiers
from contracts.randomness import wait_for_draw, wait_no_more
from contracts.randomness_records import Randomness
from contracts.receipts import Reason
from contracts.rewards import reward_verdict
from contracts.run import BlockRun, DecidedBlock, Outcome, Refusal, declined
from contracts.state import (
    APPLICATIONS_KEY,
    MEMBER_LIST_KEY,
    MEMBER_QUEUE_KEY,
    RANDOMNESS_KEY,
    Account,
    Member,
    MemberList,
    Overlay,
    account_key,
    activity_key,
    applicant_key,
    member_key,
    score_key,
)
from contracts.transactions import Application, GiveVerdict, RequestJoin, SayReady
from contracts.units import MS_PER_HOUR
from contracts.used_keys import key_owner, take_key
from contracts.validity import learn_validity, watch_validity
from contracts.vouchers import HomeVoucher
from contracts.vouching import voucher_refusal

UNFINISHED_MAX: Final = 16
"""Open applications and candidates at once, each brought by another member: what verifiers have to do, and how many
links candidates may have."""

LAPSE_MS: Final = 24 * MS_PER_HOUR
"""How long verifiers have, and how long a candidate may keep silent, in time of slots."""

READY_HEIGHTS_MAX: Final = 64
"""How far below it a block may lie that a candidate names: counted in heights, as a chain without work makes none."""

PANELS_MAX: Final = 3
"""Panels drawn for an application, one after the other: each has this part of the time until it lapses."""


def lapse_slots(genesis: Genesis) -> int:
    """Returns how many slots an application, and an admission, waits."""
    return LAPSE_MS // genesis.slot_duration_ms


# --- asking ----------------------------------------------------------------------------------------------------


def execute_join_request(run: BlockRun, sender: Address, transaction: Digest, action: RequestJoin) -> Outcome:
    """Opens an application and names its verifiers; declines it for the first rule that it breaks."""
    application = action.application
    address = address_of(application.node_key)
    refusal = (
        _sponsor_refusal(run, sender)
        or _voucher_refusal(run, action)
        or _possession_refusal(run, action)
        or _history_refusal(run, address, application)
        or _uniqueness_refusal(run, address, action.vouchers.home)
    )
    if refusal is not None:
        return Outcome(refusal=refusal)
    count = len(verifiers(run.overlay, run.genesis))
    if count < VERDICTS_MIN:
        detail = f"{count} verifiers are members and not suspended, at least {VERDICTS_MIN} must agree"
        return declined(Reason.JOIN_TOO_FEW_STAKERS, detail)
    applicant = Applicant(
        number=application.number,
        node_key=application.node_key,
        meter_key=application.meter_key,
        capacity_w=action.vouchers.home.capacity_w,
        identity=application.identity,
        terms=application.terms,
        person=action.vouchers.home.person,
        sponsor=sender,
        standing=Standing.OPEN,
        request=transaction,
        panel=(),
        panels=0,
        may_verify=(),
        verdicts=(),
        until_slot=_lapses_at(run),
        ready_slot=None,
    )
    applications = run.overlay.require(APPLICATIONS_KEY, Applications)
    run.overlay.put(APPLICATIONS_KEY, replace(applications, unfinished=(*applications.unfinished, address)))
    _schedule_end(run, address, _ask_verifiers(run, address, applicant))
    learn_validity(run, address, action.vouchers, transaction=transaction)
    return Outcome()


def _sponsor_refusal(run: BlockRun, sender: Address) -> Refusal | None:
    """One application of each member at a time, and no more in all than there may be members. Costs no signature."""
    if not is_member(run.overlay, sender):
        return Refusal(reason=Reason.JOIN_SPONSOR_NOT_MEMBER, detail=f"{sender.hex()} is no member")
    unfinished = read_unfinished(run.overlay)
    if any(applicant.sponsor == sender for _, applicant in unfinished):
        return Refusal(
            reason=Reason.JOIN_SPONSOR_BUSY, detail="the last application that this member brought is not over"
        )
    members = len(run.overlay.require(MEMBER_LIST_KEY, MemberList).addresses)
    if len(unfinished) >= UNFINISHED_MAX or members + len(unfinished) >= MEMBERS_MAX:
        detail = f"{len(unfinished)} of {UNFINISHED_MAX} applications beside {members} of {MEMBERS_MAX} members"
        return Refusal(reason=Reason.JOIN_TOO_MANY, detail=detail)
    return None


def _voucher_refusal(run: BlockRun, action: RequestJoin) -> Refusal | None:
    """The authority vouches for these keys, at the time of the block; the connection is not too large for sums."""
    application, vouchers = action.application, action.vouchers
    refusal = voucher_refusal(
        run,
        vouchers,
        node_key=application.node_key,
        meter_key=application.meter_key,
        not_vouched=Reason.JOIN_NOT_VOUCHED,
        expired=Reason.JOIN_EXPIRED,
    )
    if refusal is not None:
        return refusal
    fault = amount_fault(run.genesis, vouchers.home.capacity_w)
    return None if fault is None else Refusal(reason=Reason.JOIN_ABOVE_CAPACITY, detail=fault)


def _possession_refusal(run: BlockRun, action: RequestJoin) -> Refusal | None:
    """Whoever applies has both keys, and applies to this chain."""
    application = action.application
    if application.chain != run.context.chain:
        return Refusal(reason=Reason.JOIN_WRONG_CHAIN, detail=f"for chain {application.chain.hex()}")
    signed = encode(application)
    pairs = ((application.node_key, action.node_signature), (application.meter_key, action.meter_signature))
    if not all(verify(key, signed, signature) for key, signature in pairs):
        return Refusal(reason=Reason.JOIN_NO_POSSESSION, detail="node key and meter key did not both sign it")
    return None


def _history_refusal(run: BlockRun, address: Address, application: Application) -> Refusal | None:
    """An application counts once; after a refusal the next one waits until the day of that one is over."""
    last = run.overlay.get(applicant_key(address), Applicant)
    if last is None:
        return None
    if application.number <= last.number:
        return Refusal(reason=Reason.JOIN_REPLAYED, detail=f"number {application.number}, the last was {last.number}")
    if last.standing is Standing.REFUSED and run.context.slot < last.until_slot:
        return Refusal(reason=Reason.JOIN_REFUSED_BEFORE, detail=f"refused; again from slot {last.until_slot} on")
    return None


def _uniqueness_refusal(run: BlockRun, address: Address, home: HomeVoucher) -> Refusal | None:
    """A key that was anybody's is nobody's else, and one person has one home at a time."""
    for key, reason in ((home.node_key, Reason.JOIN_SAME_KEY), (home.meter_key, Reason.JOIN_SAME_METER)):
        if home.node_key == home.meter_key or not _is_free(run.overlay, key, address):
            return Refusal(reason=reason, detail=f"key {key.hex()} is or was somebody's")
    unfinished = read_unfinished(run.overlay)
    for other, applicant in unfinished:
        keys = (applicant.node_key, applicant.meter_key)
        if home.node_key in keys:
            return Refusal(reason=Reason.JOIN_SAME_KEY, detail=f"{other.hex()} applies with it")
        if home.meter_key in keys:
            return Refusal(reason=Reason.JOIN_SAME_METER, detail=f"{other.hex()} applies with it")
    members = run.overlay.require(MEMBER_LIST_KEY, MemberList).addresses
    joined = ((one, run.overlay.get(applicant_key(one), Applicant)) for one in members)
    for other, known in (*joined, *unfinished):
        if known is not None and known.person == home.person:
            return Refusal(reason=Reason.JOIN_SAME_PERSON, detail=f"the same person is {other.hex()}")
    return None


def _is_free(overlay: Overlay, key: PublicKey, address: Address) -> bool:
    """Says whether a key was nobody's, or that of an admission of the same home that lapsed."""
    owner, last = key_owner(overlay, key), overlay.get(applicant_key(address), Applicant)
    has_lapsed = last is not None and last.standing is Standing.LAPSED
    return owner is None or (has_lapsed and owner == address)


def read_unfinished(overlay: Overlay) -> tuple[tuple[Address, Applicant], ...]:
    """Returns open applications and candidates, in the order in which they came."""
    applications = overlay.require(APPLICATIONS_KEY, Applications)
    unfinished = applications.unfinished
    return tuple((address, overlay.require(applicant_key(address), Applicant)) for address in unfinished)


# --- verifiers -------------------------------------------------------------------------------------------------


def _ask_verifiers(run: BlockRun, address: Address, applicant: Applicant) -> Applicant:
    """Writes who verifies: all who may, if they are no more than a panel has; else the draw is waited for."""
    may_verify = verifiers(run.overlay, run.genesis)
    if len(may_verify) <= PANEL_MAX:
        asked = replace(applicant, panel=may_verify, panels=PANELS_MAX, until_slot=_lapses_at(run))
    else:
        wait_for_draw(run, address)
        asked = replace(applicant, panel=(), may_verify=may_verify, until_slot=_lapses_at(run))
    run.overlay.put(applicant_key(address), asked)
    return asked


def draw_panels(run: BlockRun, applicants: Iterable[Address]) -> None:
    """Draws the panels that have waited for this block's proof. Verdicts of who is drawn again still count."""
    randomness = run.overlay.require(RANDOMNESS_KEY, Randomness).value
    for address in applicants:
        applicant = run.overlay.require(applicant_key(address), Applicant)
        panel = draw_panel(
            applicant.may_verify, randomness=randomness, height=run.context.height, request=applicant.request
        )
        drawn = replace(
            applicant,
            panel=panel,
            panels=applicant.panels + 1,
            may_verify=(),
            verdicts=tuple(given for given in applicant.verdicts if given.verifier in panel),
            until_slot=Slot(run.context.slot + lapse_slots(run.genesis) // PANELS_MAX),
        )
        run.overlay.put(applicant_key(address), drawn)
        _schedule_end(run, address, drawn)


# --- verdicts --------------------------------------------------------------------------------------------------


def execute_verdict(run: BlockRun, sender: Address, transaction: Digest, action: GiveVerdict) -> Outcome:
    """Counts a verdict, and admits or refuses with enough equal ones; declines: over, no verifier, said before.

    A verifier that says two things contradicts itself to nobody's harm: the first one that the chain has counts, for
    all. So that is no evidence; it may have changed its mind.
    """
    applicant = run.overlay.get(applicant_key(action.applicant), Applicant)
    if applicant is None or applicant.number != action.number or applicant.standing is not Standing.OPEN:
        return declined(
            Reason.VERDICT_NOT_OPEN, f"no application {action.number} of {action.applicant.hex()} is open"
        )
    if sender not in applicant.panel or not is_member(run.overlay, sender):
        return declined(Reason.VERDICT_NOT_VERIFIER, f"{sender.hex()} does not verify it")
    if run.scores.record(sender).is_suspended:
        return declined(Reason.VERDICT_NOT_VERIFIER, f"{sender.hex()} is suspended")
    if any(given.verifier == sender for given in applicant.verdicts):
        return declined(Reason.VERDICT_GIVEN_BEFORE, f"{sender.hex()} gave its verdict")
    given = GivenVerdict(verifier=sender, verdict=action.verdict)
    applicant = replace(applicant, verdicts=(*applicant.verdicts, given))
    run.overlay.put(applicant_key(action.applicant), applicant)
    if run.rules.version >= ATTENDANCE_VERSION:
        reward_verdict(run, sender, reference=transaction)
    accepted = sum(one.verdict is Verdict.ACCEPT for one in applicant.verdicts)
    needed = verdicts_needed(len(applicant.panel))
    if accepted >= needed:
        _admit(run, action.applicant, applicant)
    elif len(applicant.verdicts) - accepted >= needed:
        _finish(run, action.applicant, applicant, Standing.REFUSED)
    return Outcome()


def _admit(run: BlockRun, address: Address, applicant: Applicant) -> None:
    """Makes a candidate: known, with a wallet, no member. Keys that became another's meanwhile admit nobody."""
    if not _has_its_keys(run.overlay, address, applicant):
        _end(run, address, applicant, Standing.LAPSED)
        return
    for key in (applicant.node_key, applicant.meter_key):
        take_key(run.overlay, key, address)
    member = Member(
        node_key=applicant.node_key,
        meter_key=applicant.meter_key,
        capacity_w=applicant.capacity_w,
        rotations=0,
        rotated_slot=Slot(0),
    )
    run.overlay.put(member_key(address), member)
    if run.overlay.get(account_key(address), Account) is None:
        run.overlay.put(account_key(address), new_account())
        run.overlay.put(score_key(address), new_score(run.genesis))
        applications = run.overlay.require(APPLICATIONS_KEY, Applications)
        run.overlay.put(APPLICATIONS_KEY, replace(applications, admitted=(*applications.admitted, address)))
    candidate = replace(applicant, standing=Standing.CANDIDATE, until_slot=_lapses_at(run))
    run.overlay.put(applicant_key(address), candidate)


def _finish(run: BlockRun, address: Address, applicant: Applicant, standing: Standing) -> None:
    """Ends an application or an admission."""
    wait_no_more(run, address)
    run.overlay.put(applicant_key(address), replace(applicant, standing=standing))
    applications = run.overlay.require(APPLICATIONS_KEY, Applications)
    unfinished = tuple(one for one in applications.unfinished if one != address)
    run.overlay.put(APPLICATIONS_KEY, replace(applications, unfinished=unfinished))


# --- becoming a member -----------------------------------------------------------------------------------------


def execute_ready(run: BlockRun, sender: Address, action: SayReady) -> Outcome:
    """Lets a candidate wait to become a member; declines: none, a block too old or not decided, said lately."""
    applicant = run.overlay.get(applicant_key(sender), Applicant)
    if applicant is None or applicant.standing is not Standing.CANDIDATE:
        return declined(Reason.READY_NOT_CANDIDATE, f"{sender.hex()} is no candidate")
    if run.context.height - action.height > READY_HEIGHTS_MAX:
        detail = f"block {action.height} lies more than {READY_HEIGHTS_MAX} below {run.context.height}"
        return declined(Reason.READY_OLD_BLOCK, detail)
    if DecidedBlock(height=action.height, digest=action.block) not in run.context.decided:
        detail = f"block {action.block.hex()} is not the one of height {action.height}"
        return declined(Reason.READY_UNKNOWN_BLOCK, detail)
    slot, pause = run.context.slot, window_slots(run.genesis) // SEEN_PARTS
    if applicant.ready_slot is not None and slot - applicant.ready_slot <= pause:
        return declined(Reason.READY_SAID_BEFORE, f"said in slot {applicant.ready_slot}")
    run.overlay.put(applicant_key(sender), replace(applicant, ready_slot=slot, until_slot=_lapses_at(run)))
    queue, join = run.overlay.require(MEMBER_QUEUE_KEY, MemberQueue), _join_of(sender, applicant)
    if join not in queue.waiting:
        run.overlay.put(MEMBER_QUEUE_KEY, waiting_with(queue, join))
    return Outcome()


def should_say_ready(overlay: Overlay, address: Address, *, slot: Slot, genesis: Genesis) -> bool:
    """Says whether somebody is a candidate whose last word is older than half of the window, or that gave none."""
    applicant = overlay.get(applicant_key(address), Applicant)
    if applicant is None or applicant.standing is not Standing.CANDIDATE:
        return False
    said = applicant.ready_slot
    return said is None or slot - said > window_slots(genesis) // 2


def become_member(run: BlockRun, join: Join) -> None:
    """Writes what else follows where the list takes a candidate in."""
    _finish(run, join.address, run.overlay.require(applicant_key(join.address), Applicant), Standing.JOINED)
    if run.overlay.get(activity_key(join.address), Activity) is None:
        run.overlay.put(activity_key(join.address), Activity(seen_slot=run.context.slot, trades_pending=0))
    watch_validity(run, join.address)


def join_again(run: BlockRun, join: Join) -> None:
    """Makes a candidate again of who was to become a member and is none at the base of an era: it waits once more."""
    applicant = run.overlay.require(applicant_key(join.address), Applicant)
    candidate = replace(applicant, standing=Standing.CANDIDATE, until_slot=_lapses_at(run))
    run.overlay.put(applicant_key(join.address), candidate)
    applications = run.overlay.require(APPLICATIONS_KEY, Applications)
    run.overlay.put(APPLICATIONS_KEY, replace(applications, unfinished=(*applications.unfinished, join.address)))
    _schedule_end(run, join.address, candidate)


def _join_of(address: Address, applicant: Applicant) -> Join:
    return Join(address=address, node_key=applicant.node_key)


# --- time ------------------------------------------------------------------------------------------------------


def end_application(run: BlockRun, end: ApplicationEnd) -> None:
    """Lets an application or an admission lapse whose time is over, unless something happened meanwhile; a panel that
    did not decide is followed by another one first.
    """
    address = end.applicant
    applicant = run.overlay.require(applicant_key(address), Applicant)
    if applicant.number != end.number or applicant.standing not in (Standing.OPEN, Standing.CANDIDATE):
        return
    if applicant.until_slot > run.context.slot:
        _schedule_end(run, address, applicant)
        return
    if applicant.panel and applicant.panels < PANELS_MAX and applicant.standing is Standing.OPEN:
        _schedule_end(run, address, _ask_verifiers(run, address, applicant))
        return
    _end(run, address, applicant, Standing.LAPSED)


def end_without_keys(run: BlockRun) -> None:
    """Lets each application and admission lapse that a ceremony took a key from: two members under one key would stop
    the chain.
    """
    for address, applicant in read_unfinished(run.overlay):
        if not _has_its_keys(run.overlay, address, applicant):
            _end(run, address, applicant, Standing.LAPSED)


def end_candidate(run: BlockRun, address: Address) -> None:
    """Ends the admission of a candidate whose key is revoked."""
    _end(run, address, run.overlay.require(applicant_key(address), Applicant), Standing.REVOKED)


def is_candidate(overlay: Overlay, address: Address) -> bool:
    """Says whether somebody is admitted, and no member yet."""
    applicant = overlay.get(applicant_key(address), Applicant)
    return applicant is not None and applicant.standing is Standing.CANDIDATE


def _has_its_keys(overlay: Overlay, address: Address, applicant: Applicant) -> bool:
    keys = (applicant.node_key, applicant.meter_key)
    return all(key_owner(overlay, key) in (None, address) for key in keys)


def _end(run: BlockRun, address: Address, applicant: Applicant, standing: Standing) -> None:
    """Ends what will lead to no membership; nothing of it waits any more."""
    queue = run.overlay.require(MEMBER_QUEUE_KEY, MemberQueue)
    run.overlay.put(MEMBER_QUEUE_KEY, waiting_without(queue, _join_of(address, applicant)))
    _finish(run, address, applicant, standing)


def _lapses_at(run: BlockRun) -> Slot:
    return Slot(run.context.slot + lapse_slots(run.genesis))


def _schedule_end(run: BlockRun, address: Address, applicant: Applicant) -> None:
    schedule(run, applicant.until_slot, ApplicationEnd(applicant=address, number=applicant.number))
