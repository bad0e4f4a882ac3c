"""The founding of a chain: homes that each made their own keys agree on one genesis, as with CometBFT's gentx.

Whoever coordinates it begins with the rules and the authority's certificate, adds the certificate of each home, and
gives the file to all. Each home checks that it stands there as it asked for, signs, and starts. A coordinator can
leave a home out or found nothing; it cannot found another chain than the one that a home signed, as a chain's name is
the hash of its genesis.

Pure: from one `Founding` to the next, or a `FoundingError`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import Meta
from msgspec.structs import replace

from consensus.codec import Record, encode
from consensus.cryptography import HashKind, SigningKey, address_of, digest, verify
from consensus.identifiers import Address, Digest, PublicKey
from consensus.messages import AddressField, DigestField, SignatureField
from contracts.errors import GenesisRefused
from contracts.genesis import Genesis, GenesisMember
from contracts.genesis_state import check_genesis
from contracts.units import MicroTokens, Milliseconds
from node.admission.chain import read_chain, require_root
from node.admission.endpoint import Endpoint, certified_home
from node.admission.identity import certificate_key
from node.admission.meter_claim import MeterClaim
from node.admission.voucher import time_ms
from node.errors import FoundingError, IdentityError
from node.names.card import Called, Card
from node.names.names import label_of

CERTIFICATE_TEXT_MAX = 8 * 1024
"""A home's with the issuing authority's has about 2 kB."""

Certificate = Annotated[str, Meta(max_length=CERTIFICATE_TEXT_MAX)]
"""In PEM form: the root, or a home's and behind it the issuing authority's."""


class FoundingStatement(Record, frozen=True, kw_only=True, tag="p2pnode-2-founding"):
    """What a home signs: never a bare digest, which could be taken for what its key proves (`consensus.vrf`)."""

    founding: DigestField
    """`founding_digest`."""


class FoundingSignature(Record, frozen=True, kw_only=True, tag="p2pnode-founding-signature"):
    """A home's word that it founds this chain, with exactly these members and rules."""

    founding: DigestField
    """`founding_digest` of what is signed, as a `FoundingStatement`."""
    member: AddressField
    signature: SignatureField


class Founding(Record, frozen=True, kw_only=True, tag="p2pnode-founding"):
    """A chain that is being founded."""

    genesis: Genesis
    """Its rules, and the members added so far."""
    authority: Certificate
    """The certificate of the authority that genesis names."""
    certificates: tuple[Certificate, ...]
    """Of the members' homes, in their order: who has which keys, and where it is reached."""
    cards: tuple[Card, ...]
    """Of the homes that told the others who lives there. The chain does not depend on them, and gets none."""
    signatures: tuple[FoundingSignature, ...]
    """Of those who agree, by address."""


class Founder(NamedTuple):
    """One of the homes, for people."""

    member: GenesisMember
    address: Address
    called: Called | None
    """None where it gave no card."""
    endpoint: Endpoint
    certificate: Certificate
    has_signed: bool

    @property
    def name(self) -> str:
        """Returns how to call it: by its card, else by its address."""
        return label_of(self.address) if self.called is None else self.called.name


def begin_founding(rules: Genesis, authority: x509.Certificate) -> Founding:
    """Returns a founding without members.

    Args:
        rules: a genesis that names no members yet.
        authority: the certificate of the key that it names.
    """
    assert not rules.members
    assert rules.authority_key == certificate_key(authority)
    text = authority.public_bytes(Encoding.PEM).decode("ascii")
    return Founding(genesis=rules, authority=text, certificates=(), cards=(), signatures=())


def founding_digest(founding: Founding) -> Digest:
    """Returns what every home signs: the hash of all but the signatures, and the cards, each signed by itself."""
    return digest(HashKind.FOUNDING, encode(replace(founding, cards=(), signatures=())))


def with_member(
    founding: Founding, certificate: Certificate, tokens_micro: MicroTokens, *, now: datetime
) -> Founding:
    """Returns the founding with one home more. Signatures go, as they were given to fewer members.

    Args:
        founding: as it was.
        certificate: the home's, issued by the authority, in PEM form.
        tokens_micro: what its wallet starts with.
        now: certificates must be valid at this moment.

    Raises:
        FoundingError: the certificate is not the authority's, not valid now, names no endpoint or no meter; or a
            member has that key or meter already.
    """
    home = _read(certificate, authority_of(founding), now)
    member = GenesisMember(
        node_key=home.node_key,
        meter_key=home.meter.meter_key,
        capacity_w=home.meter.capacity_w,
        tokens_micro=tokens_micro,
        valid_until_ms=home.valid_until_ms,
    )
    grown = replace(
        founding,
        genesis=replace(founding.genesis, members=(*founding.genesis.members, member)),
        certificates=(*founding.certificates, certificate),
        signatures=(),
    )
    _check_genesis(grown, label_of(address_of(home.node_key)))
    return grown


def signed_bytes(name: Digest) -> bytes:
    """Returns what a home signs under a founding of this name."""
    return encode(FoundingStatement(founding=name))


def sign_founding(founding: Founding, key: SigningKey) -> FoundingSignature:
    """Returns a home's signature under a founding that names its key as a member's.

    Raises:
        FoundingError: it names no such key.
    """
    if key.public_key not in [member.node_key for member in founding.genesis.members]:
        raise FoundingError(f"this home ({key.address.hex()}) is not among the members")
    name = founding_digest(founding)
    return FoundingSignature(founding=name, member=key.address, signature=key.sign(signed_bytes(name)))


def with_card(founding: Founding, card: Card) -> Founding:
    """Returns the founding with a home's card, in the place of its earlier one. Signatures stay as they are.

    Raises:
        FoundingError: it is of nobody here, not the home's, or another home has the name.
    """
    others = tuple(one for one in founding.cards if one.node_key != card.node_key)
    grown = replace(founding, cards=(*others, card))
    _check_cards(grown)
    return grown


def with_signature(founding: Founding, signature: FoundingSignature) -> Founding:
    """Returns the founding with one signature more; the same one a second time changes nothing.

    Raises:
        FoundingError: it is of nobody here, of another founding, or not the member's.
    """
    _check_signatures(founding, [signature])
    by_member = {given.member: given for given in founding.signatures} | {signature.member: signature}
    return replace(founding, signatures=tuple(by_member[address] for address in sorted(by_member)))


def check_founding(founding: Founding, *, now: datetime) -> tuple[Founder, ...]:
    """Checks a founding that somebody else made: certificates, genesis and signatures fit each other.

    Args:
        founding: as read.
        now: certificates must be valid at this moment.

    Returns:
        The homes in the order of admission.

    Raises:
        FoundingError: with the first member or rule that does not.
    """
    members, authority = founding.genesis.members, authority_of(founding)
    if len(founding.certificates) != len(members):
        count = f"{len(members)} members and {len(founding.certificates)} certificates"
        raise FoundingError(f"the founding has {count}")
    if members:
        _check_genesis(founding, "the founding")
    homes = [_read(certificate, authority, now) for certificate in founding.certificates]
    reached: dict[Endpoint, str] = {}
    for member, home in zip(members, homes, strict=True):
        meter, label = home.meter, label_of(address_of(member.node_key))
        if (home.node_key, meter.meter_key, meter.capacity_w, home.valid_until_ms) != (
            member.node_key,
            member.meter_key,
            member.capacity_w,
            member.valid_until_ms,
        ):
            raise FoundingError(f"{label}: its certificate names another key, meter, capacity or end")
        other = reached.setdefault(home.endpoint, label)
        if other != label:
            raise FoundingError(f"{label} would be at {home.endpoint}, where {other} is")
    called = _check_cards(founding)
    _check_signatures(founding, founding.signatures)
    signed = {signature.member for signature in founding.signatures}
    return tuple(
        Founder(
            member=member,
            address=address_of(member.node_key),
            called=called.get(member.node_key),
            endpoint=home.endpoint,
            certificate=certificate,
            has_signed=address_of(member.node_key) in signed,
        )
        for member, home, certificate in zip(members, homes, founding.certificates, strict=True)
    )


def missing_signatures(everybody: Sequence[Founder]) -> tuple[str, ...]:
    """Returns the names of those who have not signed yet."""
    return tuple(founder.name for founder in everybody if not founder.has_signed)


def authority_of(founding: Founding) -> x509.Certificate:
    """Returns the authority's certificate.

    Raises:
        FoundingError: it is none, or not of the key that genesis names.
    """
    try:
        root, *more = read_chain(founding.authority.encode())
        require_root(root)
        if not more and certificate_key(root) == founding.genesis.authority_key:
            return root
    except IdentityError:
        pass  # told below
    raise FoundingError("the authority's certificate is not the root of the key that genesis names")


class _Home(NamedTuple):
    """What the certificate of a founding home must say."""

    node_key: PublicKey
    endpoint: Endpoint
    meter: MeterClaim
    valid_until_ms: Milliseconds
    """The issuing authority's does not end sooner (`chain.require_chain`)."""


def _read(certificate: Certificate, root: x509.Certificate, now: datetime) -> _Home:
    try:
        chain = [one.public_bytes(Encoding.DER) for one in read_chain(certificate.encode())]
        home = certified_home(chain, root)
    except IdentityError as error:
        raise FoundingError(f"a home's certificate: {error}") from None
    label = label_of(address_of(home.node_key))
    if home.endpoint is None or home.meter is None:
        missing = "where its home is reached" if home.endpoint is None else "its meter"
        asked = "`p2pnode init` asks for one that does"
        raise FoundingError(f"{label}: its certificate does not name {missing}; {asked}")
    if not home.valid_from <= now <= home.valid_until:
        term = f"{home.valid_from:%Y-%m-%d} to {home.valid_until:%Y-%m-%d}"
        raise FoundingError(f"{label}: its certificate is valid from {term}, not at {now:%Y-%m-%d}")
    return _Home(home.node_key, home.endpoint, home.meter, time_ms(home.valid_until))


def _check_genesis(founding: Founding, whose: str) -> None:
    try:
        check_genesis(founding.genesis)
    except GenesisRefused as refused:
        raise FoundingError(f"{whose}: {refused}") from None


def _check_cards(founding: Founding) -> Mapping[PublicKey, Called]:
    called = {card.node_key: card.called for card in founding.cards}
    names = [one.name for one in called.values()]
    for card in founding.cards:
        label = label_of(address_of(card.node_key))
        if card.node_key not in [member.node_key for member in founding.genesis.members]:
            raise FoundingError(f"{label} gave a card, and is not among the members")
        if not card.is_signed:
            raise FoundingError(f"{label}: the signature of its card is wrong")
        if names.count(card.called.name) > 1:
            raise FoundingError(f"two homes are called {card.called.name!r}: one of them makes another card")
    if len(called) < len(founding.cards):
        raise FoundingError("a member gave two cards")
    return called


def _check_signatures(founding: Founding, signatures: Sequence[FoundingSignature]) -> None:
    name = founding_digest(founding)
    members = {address_of(member.node_key): member for member in founding.genesis.members}
    if len({given.member for given in signatures}) != len(signatures):
        raise FoundingError("a member signed twice")
    for given in signatures:
        member, label = members.get(given.member), label_of(given.member)
        if member is None:
            raise FoundingError(f"{given.member.hex()} signed, and is not among the members")
        if given.founding != name:
            raise FoundingError(f"{label} signed another founding: with other members, rules or certificates")
        if not verify(member.node_key, signed_bytes(name), given.signature):
            raise FoundingError(f"{label}: its signature is wrong")
