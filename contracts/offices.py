"""Offices: the authority, the issuer and the grid account, which are no members. Each acts by a key in the state.

An office is named by the hash of its first key, which genesis has. Its owner exchanges the key by a transaction under
the present one: whoever has the key is the owner, as far as a chain can tell. What a new key must show is the same
however it comes in.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from consensus.cryptography import address_of, verify
from consensus.identifiers import Address, Height, PublicKey
from contracts.genesis import Genesis
from contracts.member_changes import forget_revocations
from contracts.office_records import Office, OfficeKeyChange, OfficeName
from contracts.receipts import Reason
from contracts.run import BlockRun, Outcome, Refusal, declined
from contracts.state import Member, Overlay, member_key, office_key
from contracts.transactions import OfficeSuccessor, ReplaceOfficeKey, office_possession_bytes
from contracts.used_keys import key_owner, take_key


def first_office_keys(genesis: Genesis) -> Mapping[OfficeName, PublicKey]:
    """Returns the keys that name the offices of a chain."""
    return {
        OfficeName.AUTHORITY: genesis.authority_key,
        OfficeName.ISSUER: genesis.issuer_key,
        OfficeName.GRID: genesis.grid_key,
    }


def office_addresses(genesis: Genesis) -> Mapping[OfficeName, Address]:
    """Returns how the offices of a chain are named for ever."""
    return {name: address_of(key) for name, key in first_office_keys(genesis).items()}


def acting_key(state: Overlay, address: Address) -> PublicKey | None:
    """Returns the key that acts for an address: an office's key, a member's node key. None: it is nobody's.

    An office comes first: whoever brought its first key in as a member's would have the same address.
    """
    office = state.get(office_key(address), Office)
    if office is not None:
        return office.key
    member = state.get(member_key(address), Member)
    return None if member is None else member.node_key


def execute_replacement(run: BlockRun, sender: Address, action: ReplaceOfficeKey) -> Outcome:
    """Exchanges the key of the office that sent this, or declines: of another office, or no key for it.

    A proposal that waits goes on: a thief who has the key could end each by another key.
    """
    successor = action.successor
    if sender != successor.office:
        return declined(Reason.OFFICE_NOT_SENDER, f"for office {successor.office.hex()}, sent by {sender.hex()}")
    refusal = successor_refusal(run, successor)
    if refusal is not None:
        return Outcome(refusal=refusal)
    install(run, OfficeKeyChange(office=successor.office, key=successor.key))
    return Outcome()


def successor_refusal(run: BlockRun, successor: OfficeSuccessor) -> Refusal | None:
    """Says why a key may not become that of an office: nobody shows that he has it, or as `key_refusal`."""
    office, key = successor.office, successor.key
    if run.overlay.get(office_key(office), Office) is None:
        return Refusal(reason=Reason.OFFICE_UNKNOWN, detail=f"{office.hex()} is no office")
    if not verify(key, office_possession_bytes(run.context.chain, office, key), successor.possession):
        detail = f"key {key.hex()} did not sign that it is to act for office {office.hex()}"
        return Refusal(reason=Reason.OFFICE_NO_POSSESSION, detail=detail)
    return key_refusal(run, key)


def key_refusal(run: BlockRun, key: PublicKey) -> Refusal | None:
    """Says why no office may get a key: it is or was somebody's.

    One that an office had before stays out: it may be the one that was stolen, and its possession was shown to all.
    """
    owner = key_owner(run.overlay, key)
    if owner is None:
        return None
    detail = f"key {key.hex()} is or was that of {owner.hex()}"
    return Refusal(reason=Reason.OFFICE_KEY_USED_BEFORE, detail=detail)


def install(run: BlockRun, change: OfficeKeyChange) -> None:
    """Writes the next key of an office, from the next block on."""
    take_key(run.overlay, change.key, change.office)
    present = run.overlay.require(office_key(change.office), Office)
    following = replace(present, key=change.key, first_height=Height(run.context.height + 1))
    run.overlay.put(office_key(change.office), following)
    if present.name is OfficeName.AUTHORITY:
        forget_revocations(run.overlay)
