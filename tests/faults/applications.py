"""Applications that must be declined, as whoever has some keys and what others signed makes them."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from msgspec.structs import replace

from consensus.codec import encode
from consensus.cryptography import HashKind, SigningKey, digest
from consensus.identifiers import Digest
from contracts.transactions import Application, RequestJoin
from contracts.units import Milliseconds
from contracts.vouchers import Vouchers
from tests.support.contracts import seeded_key

_NUMBERS: Final = count(1)
LONG_AGO_MS: Final = Milliseconds(1_000)
CAPACITY_W: Final = 1_000


@dataclass(frozen=True, kw_only=True)
class Materials:
    """What applications are made of."""

    chain: Digest
    asked: RequestJoin
    """Of an honest home, as its household made it by the commands."""
    issuing_key: SigningKey
    """The authority's: it vouches for whatever somebody deceives it about."""
    member_key: SigningKey
    meter_key: SigningKey
    """Of a member that wants to be two."""


def keys() -> tuple[SigningKey, SigningKey]:
    """Returns a node's key and a meter's that nobody had before."""
    number = next(_NUMBERS)
    return seeded_key("stranger", number), seeded_key("strangers-meter", number)


def applied(materials: Materials, node: SigningKey, meter: SigningKey, **fields: Any) -> RequestJoin:
    """Returns what a home asks with that the authority vouches for.

    Args:
        materials: what it is made of.
        node: the home's key.
        meter: its meter's.
        **fields: of the application or the home's voucher, in place of the honest ones.
    """
    person = digest(HashKind.COMMITMENT, node.public_key)
    public = {"node_key": node.public_key, "meter_key": meter.public_key}
    vouched = {name: fields.pop(name) for name in ("person", "valid_until_ms") if name in fields}
    home = replace(materials.asked.vouchers.home, **public, **{"capacity_w": CAPACITY_W, "person": person, **vouched})
    application = replace(materials.asked.application, **public, **fields)
    vouchers = replace(materials.asked.vouchers, home=home, home_signature=materials.issuing_key.sign(encode(home)))
    return signed(application, vouchers, node, meter)


def signed(application: Application, vouchers: Vouchers, node: SigningKey, meter: SigningKey) -> RequestJoin:
    """Returns an application that two keys signed."""
    message = encode(application)
    return RequestJoin(
        application=application,
        node_signature=node.sign(message),
        meter_signature=meter.sign(message),
        vouchers=vouchers,
    )


def forged_voucher(materials: Materials) -> RequestJoin:
    """An authority that the applicant made itself vouches."""
    root, issuing_key = keys()
    asked = applied(dataclasses.replace(materials, issuing_key=issuing_key), *keys())
    issuing = replace(asked.vouchers.issuing, issuing_key=issuing_key.public_key)
    vouchers = replace(asked.vouchers, issuing=issuing, issuing_signature=root.sign(encode(issuing)))
    return replace(asked, vouchers=vouchers)


def expired(materials: Materials) -> RequestJoin:
    """What the authority said once, and says no more."""
    return applied(materials, *keys(), valid_until_ms=LONG_AGO_MS, number=1)


def no_possession(materials: Materials) -> RequestJoin:
    """Another home's keys, with its vouchers, which are no secret."""
    asked = materials.asked
    return signed(replace(asked.application, number=asked.application.number + 1), asked.vouchers, *keys())


def foreign_chain(materials: Materials) -> RequestJoin:
    """What the home signed for another street."""
    return applied(materials, *keys(), chain=Digest(bytes(32)))


def same_person(materials: Materials) -> RequestJoin:
    """A second home of somebody who applies already."""
    return applied(materials, *keys(), person=materials.asked.vouchers.home.person)


def same_keys(materials: Materials) -> RequestJoin:
    """A member's own key, with another meter."""
    return applied(materials, materials.member_key, keys()[1])


def same_meter(materials: Materials) -> RequestJoin:
    """A member's own meter, under another key."""
    return applied(materials, keys()[0], materials.meter_key)


def replayed(materials: Materials) -> RequestJoin:
    """The honest home's own application once more."""
    return materials.asked


APPLICATIONS: Final[Mapping[str, Callable[[Materials], RequestJoin]]] = {
    "admission.forged_voucher": forged_voucher,
    "admission.expired": expired,
    "admission.no_possession": no_possession,
    "admission.foreign_chain": foreign_chain,
    "admission.same_person": same_person,
    "admission.same_keys": same_keys,
    "admission.same_meter": same_meter,
    "admission.replayed": replayed,
}
