"""Which member a person means: by name, by address, or by the address' first digits."""

import re
from typing import Final

from consensus.identifiers import Address
from contracts.state import MEMBER_LIST_KEY, Member, MemberList, StateReader, member_key
from node.errors import NotFound
from node.state_views import require

PREFIX_DIGITS_MIN: Final = 8
"""Fewest hexadecimal digits of a name: 32 bits tell a few thousand names apart."""

PREFIX: Final = re.compile(rf"[0-9a-fA-F]{{{PREFIX_DIGITS_MIN},64}}")


def find_member(source: StateReader, text: str) -> Address:
    """Returns the member that `text` names: its name, its address, or the first 8 or more digits of it.

    Raises:
        NotFound: no member, or several.
    """
    addresses = require(source, MEMBER_LIST_KEY, MemberList).addresses
    named = [address for address in addresses if require(source, member_key(address), Member).name == text]
    if not named and PREFIX.fullmatch(text):
        named = [address for address in addresses if address.hex().startswith(text.lower())]
    if len(named) > 1:
        raise NotFound("ambiguous_name", f"{text!r} fits {len(named)} members: give their address")
    if not named:
        raise NotFound("unknown_member", f"{text!r} is neither a member's name nor the beginning of an address")
    return named[0]
