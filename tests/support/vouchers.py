"""What an authority says of keys, and the actions by which members exchange theirs with it; from fixed seeds."""

from typing import Any, Final

from consensus.codec import encode
from consensus.cryptography import SigningKey
from consensus.identifiers import Digest
from contracts.transactions import ReplaceMeter, RotateKey, replacement, rotation
from contracts.vouchers import HomeVoucher, IssuingVoucher, Vouchers
from tests.support.contracts import Community, seeded_key

ALWAYS_MS: Final = 2**53
ISSUING_KEY: Final = seeded_key("issuing", 0)


def home_voucher(**fields: Any) -> HomeVoucher:
    """Returns what the authority says of two keys, which `fields` names at least."""
    usual: dict[str, Any] = {
        "capacity_w": 1_000,
        "person": Digest(bytes(32)),
        "valid_from_ms": 0,
        "valid_until_ms": ALWAYS_MS,
    }
    return HomeVoucher(**{**usual, **fields})


def signed_vouchers(
    community: Community, home: HomeVoucher, *, root_key: SigningKey | None = None, **fields: Any
) -> Vouchers:
    """Returns what the community's authority signs, by its first key if no other is given; `fields` are those of the
    issuing voucher.
    """
    usual: dict[str, Any] = {
        "issuing_key": ISSUING_KEY.public_key,
        "valid_from_ms": 0,
        "valid_until_ms": ALWAYS_MS,
    }
    issuing = IssuingVoucher(**{**usual, **fields})
    return Vouchers(
        issuing=issuing,
        issuing_signature=(root_key or community.authority_key).sign(encode(issuing)),
        home=home,
        home_signature=ISSUING_KEY.sign(encode(home)),
    )


def vouchers_for(community: Community, *, root_key: SigningKey | None = None, **voucher: Any) -> Vouchers:
    """Returns what the community's authority signs of two keys; `voucher` are fields of the home's, both keys at
    least.
    """
    return signed_vouchers(community, home_voucher(**voucher), root_key=root_key)


def rotate_to(community: Community, member: int, key: SigningKey, **vouchers: Any) -> RotateKey:
    """Returns how a founder exchanges its node key, with the meter that the community has for it."""
    keys = {"node_key": key.public_key, "meter_key": community.meter_keys[member].public_key}
    vouched = vouchers_for(community, **{**keys, **vouchers})
    return rotation(community.chain, community.addresses[member], key, vouched)


def replace_by(community: Community, member: int, key: SigningKey, **vouchers: Any) -> ReplaceMeter:
    """Returns how a founder gets another meter, beside the node key that the community has for it."""
    keys = {"node_key": community.node_keys[member].public_key, "meter_key": key.public_key}
    vouched = vouchers_for(community, **{**keys, **vouchers})
    return replacement(community.chain, community.addresses[member], key, vouched)
