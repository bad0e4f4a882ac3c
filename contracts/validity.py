"""Until when the authority vouches for members, as the chain knows it: what brings it, and what follows from its end.

Each voucher that the chain sees of a member says until when: in genesis, in an application, a renewal, an exchange of
a key; and so does a ceremony's plan of a new home in a member's place. The latest time counts, whichever came first:
an older voucher that is played again takes nothing from anybody. Who is to be out before that, the authority revokes.

The end is held against block time, which is a slot's; so no clock of one home ends anybody's membership. A member
whose certificate ran out stays one for a grace of `GRACE_WAITS` waiting times; then its removal waits (`removals`).
"""

from typing import Final

from msgspec.structs import replace

from consensus.identifiers import Address, Digest, Slot
from contracts.agenda import schedule
from contracts.genesis import EXPIRY_VERSION, Genesis
from contracts.member_changes import is_member
from contracts.member_records import MemberQueue, Removal, RemovalCause
from contracts.receipts import Reason
from contracts.run import BlockRun, Outcome, Refusal, declined
from contracts.state import MEMBER_QUEUE_KEY, Member, Overlay, member_key, validity_key
from contracts.transactions import Renew
from contracts.units import Milliseconds
from contracts.validity_records import CertificateEnd, Validity
from contracts.vouchers import Vouchers, valid_until_ms
from contracts.vouching import voucher_refusal

GRACE_WAITS: Final = 14
"""Waiting times (genesis' `removal_wait_slots`, a day) from a certificate's end to the removal: a holiday of two
weeks, and time to give the authority's office another key where its owner closed down, which takes a quorum two days.
No leader moves block time by that much."""


def removal_slot(until_ms: Milliseconds, genesis: Genesis) -> Slot:
    """Returns the first slot in which a member's removal may wait whose certificate ends at a time."""
    first_after = (until_ms - genesis.start_ms) // genesis.slot_duration_ms + 1
    return Slot(max(0, first_after + GRACE_WAITS * genesis.membership.removal_wait_slots))


def validity_of(overlay: Overlay, address: Address) -> Validity | None:
    """Returns until when the authority vouches for somebody; None if no voucher of it was ever seen."""
    return overlay.get(validity_key(address), Validity)


def learn_validity(run: BlockRun, address: Address, vouchers: Vouchers, *, transaction: Digest) -> None:
    """Notes until when vouchers hold that were checked."""
    learn_end(run, address, valid_until_ms(vouchers), reference=transaction)


def learn_end(run: BlockRun, address: Address, until_ms: Milliseconds, *, reference: Digest) -> None:
    """Notes until when the authority vouches for somebody, if that is later than what is known; nobody goes then."""
    known = validity_of(run.overlay, address)
    if run.rules.version < EXPIRY_VERSION or (known is not None and until_ms <= known.until_ms):
        return
    validity = Validity(until_ms=until_ms, reference=reference, going_slot=None)
    run.overlay.put(validity_key(address), validity)
    queue = run.overlay.require(MEMBER_QUEUE_KEY, MemberQueue)
    waiting = tuple(
        change
        for change in queue.waiting
        if not (isinstance(change, Removal) and (change.address, change.cause) == (address, RemovalCause.EXPIRED))
    )
    run.overlay.put(MEMBER_QUEUE_KEY, replace(queue, waiting=waiting))
    if is_member(run.overlay, address):
        watch_validity(run, address)


def watch_validity(run: BlockRun, address: Address) -> None:
    """Puts the end of a member's certificate on the agenda, if it is known."""
    known = validity_of(run.overlay, address)
    if known is not None:
        end = CertificateEnd(member=address, until_ms=known.until_ms)
        schedule(run, removal_slot(known.until_ms, run.genesis), end)


def execute_renew(run: BlockRun, sender: Address, transaction: Digest, action: Renew) -> Outcome:
    """Has the sender stay for longer; declines: no member, no later than known, or not vouched for with its keys."""
    if not is_member(run.overlay, sender):
        return declined(Reason.RENEW_NOT_MEMBER, f"{sender.hex()} is no member")
    refusal = _not_later(run, sender, action) or _not_vouched(run, sender, action)
    if refusal is not None:
        return Outcome(refusal=refusal)
    learn_validity(run, sender, action.vouchers, transaction=transaction)
    return Outcome()


def _not_later(run: BlockRun, sender: Address, action: Renew) -> Refusal | None:
    """Costs no signature."""
    until_ms, known = valid_until_ms(action.vouchers), validity_of(run.overlay, sender)
    if known is None or until_ms > known.until_ms:
        return None
    detail = f"vouched for until {until_ms} ms, known is {known.until_ms} ms"
    return Refusal(reason=Reason.RENEW_NOT_LATER, detail=detail)


def _not_vouched(run: BlockRun, sender: Address, action: Renew) -> Refusal | None:
    member = run.overlay.require(member_key(sender), Member)
    return voucher_refusal(
        run,
        action.vouchers,
        node_key=member.node_key,
        meter_key=member.meter_key,
        not_vouched=Reason.RENEW_NOT_VOUCHED,
        expired=Reason.RENEW_EXPIRED,
    )
