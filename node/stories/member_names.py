"""Members as stories name them, and what a person names: a member by name or by address, or by the address' first
digits; all else by its first digits.
"""

import re
from collections.abc import Collection, Mapping
from typing import Final

from consensus.identifiers import Address, PublicKey
from contracts.state import MEMBER_LIST_KEY, MemberList, StateReader
from contracts.state_reading import require
from ledger.ledger import Ledger
from node.errors import NotFound
from node.names.names import Names
from node.replies.stories import NamedMember

PREFIX_DIGITS_MIN: Final = 8
"""Fewest hexadecimal digits of a name: 32 bits tell a few thousand names apart."""

PREFIX: Final = re.compile(rf"[0-9a-fA-F]{{{PREFIX_DIGITS_MIN},64}}")

NAME_LENGTH_MAX: Final = 64
"""Of an id, an address and a member's name alike."""


def named(names: Names, address: Address) -> NamedMember:
    """Returns an address with the member's name, as stories show it."""
    return NamedMember(name=names.of(address), address=address.hex())


def require_id(text: str) -> None:
    """Refuses what cannot be the name of a trade or of a transaction; commands do so before they ask a node.

    Raises:
        NotFound: `text` is not 8 to 64 hexadecimal digits.
    """
    if not PREFIX.fullmatch(text):
        needed = f"at least the first {PREFIX_DIGITS_MIN} hexadecimal digits are needed, at most {NAME_LENGTH_MAX}"
        raise NotFound("unknown_trade", f"{text[:NAME_LENGTH_MAX]!r} is no name: {needed}")


def require_member_text(text: str) -> None:
    """Refuses what cannot name a member; commands do so before they ask a node.

    A member whose name has no place in the path of a URL is found by its address.

    Raises:
        NotFound: `text` is empty, too long, not printable, or a step in a path.
    """
    if not 1 <= len(text) <= NAME_LENGTH_MAX or not text.isprintable() or text in {".", ".."}:
        raise _unknown_member(text)


def find_member(source: StateReader, names: Names, text: str) -> Address:
    """Returns the member that `text` names: its name in this home, its address, or the first 8 or more digits of it.

    Raises:
        NotFound: no member, or several.
    """
    return _find(require(source, MEMBER_LIST_KEY, MemberList).addresses, names, text)


def find_once_member(source: StateReader, names: Names, text: str) -> Address:
    """Returns who is or ever was a member and is named by `text`, as in `find_member`.

    Raises:
        NotFound: nobody, or several.
    """
    terms = require(source, MEMBER_LIST_KEY, MemberList).terms
    return _find(tuple(dict.fromkeys(term.address for term in terms)), names, text)


def _find(addresses: Collection[Address], names: Names, text: str) -> Address:
    named = [address for address in names.called(text) if address in addresses]
    if not named and PREFIX.fullmatch(text):
        named = [address for address in addresses if address.hex().startswith(text.lower())]
    if len(named) > 1:
        raise NotFound("ambiguous_name", f"{text!r} fits {len(named)} members: give their address")
    if not named:
        raise _unknown_member(text)
    return named[0]


def keys_of_who_left(ledger: Ledger) -> Mapping[PublicKey, Address]:
    """Returns who left the chain by the last node keys that they had: one that was replaced before is nobody's."""
    known = require(ledger, MEMBER_LIST_KEY, MemberList)
    present = frozenset(known.addresses)
    last = {term.address: term.node_key for term in known.terms}
    return {key: address for address, key in last.items() if address not in present}


def _unknown_member(text: str) -> NotFound:
    shown = repr(text[:NAME_LENGTH_MAX])
    return NotFound(
        "unknown_member",
        f"{shown} is neither a member's name nor the beginning of an address",
    )
