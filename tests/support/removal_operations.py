"""Random operations about members that are removed or renewed: the authority's words, expulsions, right and wrong."""

from collections.abc import Callable
from random import Random
from typing import Final

from consensus.codec import decode, encode
from consensus.cryptography import SigningKey
from consensus.identifiers import Address, Digest
from contracts.proposal_records import Expulsion, Proposal, SuspensionChange
from contracts.state import MEMBER_LIST_KEY, MemberList, proposal_key
from contracts.transactions import (
    Action,
    Approve,
    Propose,
    Revocation,
    RevocationReason,
    Revoke,
    SetLeaving,
    Withdraw,
)
from tests.support.contracts import DictChain, seeded_key
from tests.support.validity import renewal

Operation = tuple[int | SigningKey, Action]

PROPOSERS: Final = 3
"""Few, so that proposals are approved."""


class RemovalOperations:
    """Gives one operation after the other; each is made for the state that it meets."""

    def __init__(self, random: Random, chain: DictChain, authority: Callable[[], SigningKey]) -> None:
        """Takes the key that acts for the authority from `authority`."""
        self._random: Final = random
        self._authority: Final = authority
        self._chain: Final = chain
        self._homes: Final = chain.community
        self._revoked: Revoke | None = None

    def next(self) -> Operation:
        """Returns who sends what next."""
        kinds = (self._revocation, self._measure, self._approval, self._withdrawal, self._leave, self._renewal)
        return self._random.choices(kinds, weights=(2, 6, 24, 3, 1, 4))[0]()

    def _anybody(self) -> int | SigningKey:
        members = range(len(self._homes.addresses))
        return self._random.choice((*members, self._homes.grid_key))

    def _revocation(self) -> Operation:
        """Of a home's key mostly; of what is no home's, for another chain, by somebody else, or once more."""
        homes = self._homes
        if self._revoked is not None and self._random.random() < 0.4:
            return self._anybody(), self._revoked
        others = (homes.meter_keys[0], homes.grid_key, seeded_key("stranger", 0))
        key = self._random.choice((*homes.node_keys[PROPOSERS:], *others))
        revocation = Revocation(
            chain=self._random.choice((*(homes.chain,) * 5, Digest(bytes(32)))),
            node_key=key.public_key,
            reason=self._random.choice(list(RevocationReason)),
        )
        signer = self._random.choice((*(self._authority(),) * 4, homes.issuer_key))
        self._revoked = Revoke(revocation=revocation, signature=signer.sign(encode(revocation)))
        return self._anybody(), self._revoked

    def _measure(self) -> Operation:
        """Somebody is to be expelled, suspended or reinstated."""
        accused = self._random.choice(self._homes.addresses)
        sender = self._random.choice((*range(PROPOSERS), self._homes.grid_key))
        measures = (
            Expulsion(member=accused),
            SuspensionChange(member=accused, suspended=True),
            SuspensionChange(member=accused, suspended=False),
        )
        return sender, Propose(subject=self._random.choices(measures, weights=(4, 1, 1))[0])

    def _last_proposal(self) -> tuple[Address, Proposal | None]:
        proposer = self._random.choice(self._homes.addresses[:PROPOSERS])
        raw = self._chain.state.get(proposal_key(proposer))
        return proposer, None if raw is None else decode(raw, Proposal)

    def _approval(self) -> Operation:
        """Of who is a member and did not approve mostly."""
        proposer, proposal = self._last_proposal()
        approvals = () if proposal is None else proposal.approvals
        present = self._chain.read(MEMBER_LIST_KEY, MemberList).addresses
        missing = [
            number for number, one in enumerate(self._homes.addresses) if one in present and one not in approvals
        ]
        name = Digest(bytes(32)) if proposal is None else proposal.name
        return self._random.choice((*missing * 4, self._anybody())), Approve(proposer=proposer, proposal=name)

    def _withdrawal(self) -> Operation:
        proposer, proposal = self._last_proposal()
        name = Digest(bytes(32)) if proposal is None else proposal.name
        return self._anybody(), Withdraw(proposer=proposer, proposal=name)

    def _renewal(self) -> Operation:
        """Of the sender's own keys mostly; for a while, no longer than before, or until a time that has passed."""
        member = self._random.randrange(len(self._homes.addresses))
        sender = self._random.choice((*(member,) * 4, self._anybody()))
        end_slot = self._random.choice((0, self._chain.slot, *range(self._chain.slot + 1, self._chain.slot + 9)))
        signer = self._random.choice((*(self._authority(),) * 6, self._homes.issuer_key))
        return sender, renewal(self._homes, member, end_slot, root_key=signer)

    def _leave(self) -> Operation:
        return self._anybody(), SetLeaving(leaving=self._random.random() < 0.5)
