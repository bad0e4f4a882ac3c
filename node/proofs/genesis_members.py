"""Whom somebody believes who checks a proof with nothing but genesis at hand."""

from consensus.membership import Membership
from contracts.genesis import Genesis


def genesis_membership(genesis: Genesis) -> Membership:
    """Returns the members that genesis names, under whose keys every proof is checked, of whatever height it is.

    The one place of the proofs that says so: a chain whose members change has to prove their changes here.
    """
    return Membership([member.node_key for member in genesis.members])
