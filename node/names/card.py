"""What a home signs about who lives there: a card, for whom it gives it to, and a forget, for all, once it is gone.

Both name a node key and no address: whose that key is, the chain's state says, as for a link's certificate. Neither
names a chain: a card is made before there is one, and who is to be forgotten means it everywhere.
"""

import re
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta

from consensus.codec import Record, decode, encode
from consensus.cryptography import SigningKey, verify
from consensus.identifiers import PUBLIC_KEY_SIZE_BYTES, PublicKey
from consensus.messages import SignatureField
from node.errors import AddressBookError
from node.home.json_record import read_json_record
from node.names.rules import NAME_LENGTH_MAX, fault_of_name

CONTACT_LENGTH_MAX: Final = 200
"""A telephone number, an e-mail address, or both."""

FILE_SIZE_BYTES_MAX: Final = 16 * 1024

_ADDRESS: Final = re.compile("[0-9a-fA-F]{8,64}")

KeyField = Annotated[PublicKey, Meta(min_length=PUBLIC_KEY_SIZE_BYTES, max_length=PUBLIC_KEY_SIZE_BYTES)]
NameField = Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH_MAX)]
ContactField = Annotated[str, Meta(max_length=CONTACT_LENGTH_MAX)]


class Called(Record, frozen=True, kw_only=True, tag="p2pnode-2-called"):
    """How a household is called, and how people reach it; also the bytes under a card's signature."""

    name: NameField
    contact: ContactField
    """Empty where it gives none."""

    def __post_init__(self) -> None:
        fault = fault_of_name(self.name)
        if fault is not None:
            raise ValueError(f"name: {fault}")
        if reads_as_address(self.name):
            raise ValueError(f"name: {self.name} reads as an address, by which members without a name are told apart")
        if len(self.contact) > CONTACT_LENGTH_MAX:
            raise ValueError(f"contact: has {len(self.contact)} characters, and {CONTACT_LENGTH_MAX} are allowed")
        if not self.contact.isprintable():
            raise ValueError("contact: has a character that cannot be printed")


class Card(Record, frozen=True, kw_only=True, tag="p2pnode-2-card"):
    """A home's word who lives there. Whoever has it may call the home so, and give it on to nobody."""

    node_key: KeyField
    called: Called
    signature: SignatureField

    @property
    def is_signed(self) -> bool:
        """Says whether the home with this key signed it."""
        return verify(self.node_key, encode(self.called), self.signature)


def reads_as_address(name: str) -> bool:
    """Says whether people could take a name for the beginning of an address."""
    return _ADDRESS.fullmatch(name) is not None


def call(name: str, contact: str = "") -> Called:
    """Returns how a household is called, as a person wrote it.

    Raises:
        AddressBookError: name or contact cannot be.
    """
    try:
        return Called(name=name, contact=contact)
    except ValueError as fault:
        raise AddressBookError(str(fault)) from None


def read_card(path: Path) -> Card:
    """Returns the card in a file, which its home signed.

    Raises:
        AddressBookError: it cannot be read, is none, or its signature is wrong.
    """
    card = read_json_record(path, Card, what="card", size_bytes_max=FILE_SIZE_BYTES_MAX, refused=AddressBookError)
    if not card.is_signed:
        raise AddressBookError(f"{path}: the home with this key did not sign it")
    return card


def sign_card(key: SigningKey, called: Called) -> Card:
    """Returns a home's card."""
    return Card(node_key=key.public_key, called=called, signature=key.sign(encode(called)))


class ForgetStatement(Record, frozen=True, kw_only=True, tag="p2pnode-2-forget-statement"):
    """The bytes under the signature: whoever has the name of the home with this key forgets it."""

    node_key: KeyField


class Forget(Record, frozen=True, kw_only=True, tag="p2pnode-2-forget"):
    """A home's word that nobody is to know any more who lived there. It is the last one: no card counts after it."""

    node_key: KeyField
    signature: SignatureField

    @property
    def is_signed(self) -> bool:
        """Says whether the home with this key signed it."""
        return verify(self.node_key, encode(ForgetStatement(node_key=self.node_key)), self.signature)


FORGET_SIZE_BYTES_MAX: Final = 160
"""Key, signature and tag take 119 bytes; checked before anything is decoded."""

RawForget = Annotated[bytes, Meta(min_length=1, max_length=FORGET_SIZE_BYTES_MAX)]
"""An encoded forget, as its home signed it."""


def sign_forget(key: SigningKey) -> Forget:
    """Returns a home's word that it is to be forgotten."""
    return Forget(node_key=key.public_key, signature=key.sign(encode(ForgetStatement(node_key=key.public_key))))


def decode_forget(raw: bytes) -> Forget:
    """Returns the forget that somebody passed on; its signature is not checked.

    Raises:
        DecodeError: it is too long, or none.
    """
    return decode(raw, Forget, size_bytes_max=FORGET_SIZE_BYTES_MAX)


def read_forget(path: Path) -> Forget:
    """Returns the forget in a file, which its home signed.

    Raises:
        AddressBookError: it cannot be read, is none, or its signature is wrong.
    """
    forget = read_json_record(
        path, Forget, what="forget", size_bytes_max=FILE_SIZE_BYTES_MAX, refused=AddressBookError
    )
    if not forget.is_signed:
        raise AddressBookError(f"{path}: the home with this key did not sign it")
    return forget
