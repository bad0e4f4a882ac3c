"""A member exchanges its keys while the chain runs: its node key, or its meter.

Both take the member's own word, the new key's, and the authority's, which certifies a node key and a meter together:
the new one with the other one that the chain has.

A rotation is a change of the list of members, which the end of its own block carries out unless another one is
pending; it needs nothing else, and goes before whoever leaves. From the next block on only the new key acts for the
member: no transaction and no contract under the old one counts. From the height after that on only the new one votes.
While it waits, who stole the old key cannot ask for another one instead.

The list's history grows with every rotation and is written anew with every change of it. So the pauses between the
rotations of one member grow, up to a bound: a key that was stolen is exchanged at once, a member that exchanges keys
for no reason is slowed down.
"""

from typing import Final

from msgspec.structs import replace

from consensus.cryptography import verify
from consensus.identifiers import Address, Digest, PublicKey, Signature, Slot
from contracts.genesis import Genesis
from contracts.member_changes import is_member, waiting_with
from contracts.member_records import MemberQueue, Rotate
from contracts.receipts import Reason
from contracts.run import BlockRun, Outcome, Refusal
from contracts.state import (
    MEMBER_LIST_KEY,
    MEMBER_QUEUE_KEY,
    Member,
    MemberList,
    Overlay,
    member_key,
)
from contracts.transactions import (
    KeyUse,
    ReplaceMeter,
    RotateKey,
    possession_bytes,
)
from contracts.units import MS_PER_HOUR, Milliseconds
from contracts.used_keys import key_owner, take_key
from contracts.validity import learn_validity
from contracts.vouchers import Vouchers
from contracts.vouching import voucher_refusal

FIRST_PAUSE_MS: Final = Milliseconds(24 * MS_PER_HOUR)
"""Between the first and the second rotation of a member; then twice as long each time."""

PAUSE_DOUBLINGS_MAX: Final = 6
"""Up to 64 days."""


def execute_rotate_key(run: BlockRun, sender: Address, transaction: Digest, action: RotateKey) -> Outcome:
    """Puts the change to another node key behind other rotations, and before whoever leaves.

    Declines: no member, not long after its last rotation, a key that was somebody's or that nobody holds, or that the
    authority did not certify with this member's meter.
    """
    refusal = (
        _member_refusal(run, sender)
        or _pause_refusal(run, sender)
        or _key_refusal(run, sender, KeyUse.NODE, action.key, action.possession)
    )
    if refusal is not None:
        return Outcome(refusal=refusal)
    member = run.overlay.require(member_key(sender), Member)
    refusal = _voucher_refusal(run, action.vouchers, node_key=action.key, meter_key=member.meter_key)
    if refusal is not None:
        return Outcome(refusal=refusal)
    take_key(run.overlay, action.key, sender)
    rotations, slot = member.rotations + 1, run.context.slot
    run.overlay.put(member_key(sender), replace(member, rotations=rotations, rotated_slot=slot))
    queue = run.overlay.require(MEMBER_QUEUE_KEY, MemberQueue)
    run.overlay.put(MEMBER_QUEUE_KEY, waiting_with(queue, Rotate(address=sender, node_key=action.key)))
    learn_validity(run, sender, action.vouchers, transaction=transaction)
    return Outcome()


def execute_replace_meter(run: BlockRun, sender: Address, transaction: Digest, action: ReplaceMeter) -> Outcome:
    """Takes the sender's readings from another meter from here on.

    Declines: no member, a key that was somebody's or that nobody holds, or that the authority did not certify with
    this member's node key.
    """
    refusal = _member_refusal(run, sender) or _key_refusal(run, sender, KeyUse.METER, action.key, action.possession)
    if refusal is not None:
        return Outcome(refusal=refusal)
    member = run.overlay.require(member_key(sender), Member)
    refusal = _voucher_refusal(run, action.vouchers, node_key=member.node_key, meter_key=action.key)
    if refusal is not None:
        return Outcome(refusal=refusal)
    take_key(run.overlay, action.key, sender)
    run.overlay.put(member_key(sender), replace(member, meter_key=action.key))
    learn_validity(run, sender, action.vouchers, transaction=transaction)
    return Outcome()


def act_by_new_key(run: BlockRun, rotation: Rotate) -> None:
    """Writes what else follows where the list takes a key in: from the next block on it acts for its member."""
    member = run.overlay.require(member_key(rotation.address), Member)
    run.overlay.put(member_key(rotation.address), replace(member, node_key=rotation.node_key))


def held_keys(overlay: Overlay, address: Address) -> tuple[PublicKey, ...]:
    """Returns the node keys that act or acted for a member, the present one first; none of who never was one."""
    member = overlay.get(member_key(address), Member)
    if member is None:
        return ()
    known = overlay.require(MEMBER_LIST_KEY, MemberList).keys_of(address)
    return (member.node_key, *(key for key in known if key != member.node_key))


def next_rotation_slot(member: Member, genesis: Genesis) -> Slot:
    """Returns from which slot on a member may exchange its node key again."""
    if member.rotations == 0:
        return Slot(0)
    pause_ms = FIRST_PAUSE_MS << min(member.rotations - 1, PAUSE_DOUBLINGS_MAX)
    return Slot(member.rotated_slot + pause_ms // genesis.slot_duration_ms)


def _member_refusal(run: BlockRun, sender: Address) -> Refusal | None:
    if is_member(run.overlay, sender):
        return None
    return Refusal(reason=Reason.KEY_NOT_MEMBER, detail=f"{sender.hex()} is no member")


def _pause_refusal(run: BlockRun, sender: Address) -> Refusal | None:
    first = next_rotation_slot(run.overlay.require(member_key(sender), Member), run.genesis)
    if run.context.slot >= first:
        return None
    detail = f"the next rotation may be in slot {first}, this is {run.context.slot}"
    return Refusal(reason=Reason.KEY_TOO_SOON, detail=detail)


def _key_refusal(run: BlockRun, owner: Address, use: KeyUse, key: PublicKey, possession: Signature) -> Refusal | None:
    known_owner = key_owner(run.overlay, key)
    if known_owner is not None:
        detail = f"key {key.hex()} is or was that of {known_owner.hex()}"
        return Refusal(reason=Reason.KEY_USED_BEFORE, detail=detail)
    if not verify(key, possession_bytes(run.context.chain, owner, use, key), possession):
        detail = f"key {key.hex()} did not sign that it is the {use.value} key of {owner.hex()}"
        return Refusal(reason=Reason.KEY_NO_POSSESSION, detail=detail)
    return None


def _voucher_refusal(
    run: BlockRun, vouchers: Vouchers, *, node_key: PublicKey, meter_key: PublicKey
) -> Refusal | None:
    """So who stole a node key brings none of its own, and nobody measures by a meter of its choice."""
    return voucher_refusal(
        run,
        vouchers,
        node_key=node_key,
        meter_key=meter_key,
        not_vouched=Reason.KEY_NOT_VOUCHED,
        expired=Reason.KEY_EXPIRED,
    )
