"""Random operations of homes that join: applications, verdicts, words that they are ready, right ones and wrong."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from msgspec.structs import replace

from consensus.cryptography import SigningKey, address_of
from consensus.identifiers import Address, Digest
from contracts.applicants import Applicant, Standing, Verdict
from contracts.joining import read_unfinished
from contracts.offices import acting_key
from contracts.state import Overlay
from contracts.transactions import Action, RequestJoin
from tests.support.joining import JoiningChain, Newcomer, newcomer, request_of, verdict_on, vouchers_of

Operation = tuple[int | SigningKey, Action]

NEWCOMERS: Final = 6
"""Persons, each with two homes: few enough that they meet again, with the same keys or with others."""


class JoiningOperations:
    """Gives one operation after the other; each is made for the state that it meets."""

    def __init__(self, random: Random, chain: JoiningChain, authority_keys: Sequence[SigningKey] = ()) -> None:
        """Takes randomness, the chain, and the keys that may act for the authority after its first one."""
        self._authority_keys: Final = (chain.community.authority_key, *authority_keys)
        self._random: Final = random
        self._chain: Final = chain
        first = [newcomer(number) for number in range(NEWCOMERS)]
        second = [newcomer(100 + number, person=home.voucher.person) for number, home in enumerate(first)]
        self._homes: Final = {home.address: home for home in (*first, *second)}
        self._number = 0
        self._requests: list[RequestJoin] = []

    def next(self) -> Operation:
        """Returns who sends what next: mostly what brings an application on."""
        if self._random.random() < 0.25:
            return self._random.choice(
                (self._bad_request, self._bad_verdict, self._ready_of_no_candidate, self._request)
            )()
        unfinished = list(read_unfinished(Overlay(self._chain.state)))
        if not unfinished:
            return self._request()
        address, applicant = self._random.choice(unfinished)
        home = self._homes[address]
        return self._verdict(home, applicant) if applicant.standing is Standing.OPEN else self._ready(home)

    # -- right ones

    def _sponsor(self) -> int:
        return self._random.randrange(len(self._chain.community.addresses))

    def _request(self) -> Operation:
        """Of anybody, or once more of who was here before."""
        self._number += 1
        home = self._random.choice(list(self._homes.values()))
        if self._requests and self._random.random() < 0.3:
            home = self._homes[address_of(self._requests[-1].application.node_key)]
        request = self._right_request(home)
        self._requests.append(request)
        return self._sponsor(), request

    def _right_request(self, home: Newcomer) -> RequestJoin:
        community, state = self._chain.community, Overlay(self._chain.state)
        acting = acting_key(state, community.authority_key.address)
        root_key = next(key for key in self._authority_keys if key.public_key == acting)
        return request_of(community, home, number=self._number, root_key=root_key)

    def _verdict(self, home: Newcomer, applicant: Applicant) -> Operation:
        """Of all verifiers the same about a home, or nearly."""
        refused = home.voucher.person[0] % 3 == 0
        verdict = Verdict.IDENTITY_WRONG if refused or self._random.random() < 0.05 else Verdict.ACCEPT
        given = {one.verifier for one in applicant.verdicts}
        missing = [address for address in applicant.panel if address not in given] or list(applicant.panel)
        return self._number_of(self._random.choice(missing)), verdict_on(home, verdict, number=applicant.number)

    def _ready(self, home: Newcomer) -> Operation:
        """The right word, or one that names a block that is not decided, or an old one."""
        right = self._chain.ready()
        unknown = self._chain.ready(block=Digest(bytes(32)))
        old = self._chain.ready(height=1, block=self._chain.block_digest(1))
        return home.node_key, self._random.choice((right, right, unknown, old))

    def _number_of(self, address: Address) -> int:
        return self._chain.community.addresses.index(address)

    # -- wrong ones

    def _ready_of_no_candidate(self) -> Operation:
        return self._sponsor(), self._chain.ready()

    def _bad_request(self) -> Operation:
        community, number = self._chain.community, self._random.randrange(NEWCOMERS)
        self._number += 1
        home, other = newcomer(number), newcomer((number + 1) % NEWCOMERS)
        good = self._right_request(home)
        makers: tuple[Callable[[], RequestJoin], ...] = (
            lambda: request_of(community, home, number=self._number, chain=Digest(bytes(32))),
            lambda: replace(good, meter_signature=good.node_signature),
            lambda: replace(good, vouchers=vouchers_of(community, other)),
            lambda: replace(good, vouchers=replace(good.vouchers, home_signature=good.node_signature)),
            lambda: request_of(community, newcomer(number, valid_until_ms=1), number=self._number),
            lambda: request_of(community, newcomer(number, capacity_w=10**9), number=self._number),
            lambda: request_of(community, self._with_key_of_a_member(home, "node_key"), number=self._number),
            lambda: request_of(community, self._with_key_of_a_member(home, "meter_key"), number=self._number),
            lambda: self._random.choice(self._requests or [good]),
        )
        sender: int | SigningKey = self._random.choice((self._sponsor(),) * 9 + (community.issuer_key,))
        return sender, self._random.choice(makers)()

    def _with_key_of_a_member(self, home: Newcomer, field: str) -> Newcomer:
        community = self._chain.community
        key = self._random.choice((*community.node_keys, *community.meter_keys))
        voucher = replace(home.voucher, **{field: key.public_key})
        return replace_key(Newcomer(home.node_key, home.meter_key, voucher), field, key)

    def _bad_verdict(self) -> Operation:
        """On one that is not open, or again, or by who is no verifier."""
        begun = [one for one in read_unfinished(Overlay(self._chain.state)) if one[1].verdicts]
        if begun and self._random.random() < 0.7:
            address, applicant = self._random.choice(begun)
            again = self._number_of(self._random.choice(applicant.verdicts).verifier)
            sender = self._random.choice((again, self._chain.community.issuer_key))
            return sender, verdict_on(self._homes[address], number=applicant.number)
        home = self._random.choice(list(self._homes.values()))
        return self._sponsor(), verdict_on(home, self._random.choice(list(Verdict)), number=self._number)


def replace_key(home: Newcomer, field: str, key: SigningKey) -> Newcomer:
    """Returns a home with another node or meter key."""
    keys = {"node_key": home.node_key, "meter_key": home.meter_key, field: key}
    return Newcomer(**keys, voucher=home.voucher)
