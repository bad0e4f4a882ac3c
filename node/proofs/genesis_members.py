"""Whom somebody believes who checks a proof with nothing but genesis at hand."""

from consensus.membership import Membership
from contracts.genesis import Genesis


def genesis_membership(genesis: Genesis) -> Membership:
    """Returns the members that the chain begins with; who they are later a proof has to show (`TrustedSets`)."""
    return Membership.of_keys([member.node_key for member in genesis.members])
