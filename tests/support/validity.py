"""Communities whose members' certificates end, and renewals of these."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from consensus.cryptography import SigningKey
from contracts.genesis import Genesis, chain_id
from contracts.transactions import Renew
from contracts.units import Milliseconds
from contracts.validity import GRACE_WAITS
from tests.support.contracts import Community
from tests.support.vouchers import vouchers_for


def time_of(genesis: Genesis, slot: int) -> Milliseconds:
    """Returns the time of a slot: a certificate that ends then is valid in it, and not in the next one."""
    return Milliseconds(genesis.start_ms + slot * genesis.slot_duration_ms)


def removal_slot_of(genesis: Genesis, end_slot: int) -> int:
    """Returns the first slot in which a removal may wait whose certificate ends with a slot; counted here anew."""
    return end_slot + 1 + GRACE_WAITS * genesis.membership.removal_wait_slots


def with_ends(community: Community, end_slots: Mapping[int, int], **fields: Any) -> Community:
    """Returns the community with genesis saying that certificates of some members end with these slots; `fields` are
    others of genesis.
    """
    genesis = replace(community.genesis, **fields)
    members = tuple(
        replace(member, valid_until_ms=time_of(genesis, end_slots[number])) if number in end_slots else member
        for number, member in enumerate(genesis.members)
    )
    genesis = replace(genesis, members=members)
    return Community(
        genesis=genesis,
        node_keys=community.node_keys,
        meter_keys=community.meter_keys,
        chain=chain_id(genesis),
        authority_key=community.authority_key,
        issuer_key=community.issuer_key,
        grid_key=community.grid_key,
    )


def renewal(
    community: Community, member: int, end_slot: int, *, root_key: SigningKey | None = None, **voucher: Any
) -> Renew:
    """Returns how a founder is renewed until a slot; fields of the home's voucher may be others."""
    fields = {
        "node_key": community.node_keys[member].public_key,
        "meter_key": community.meter_keys[member].public_key,
        "valid_until_ms": time_of(community.genesis, end_slot),
        **voucher,
    }
    return Renew(vouchers=vouchers_for(community, root_key=root_key, **fields))
