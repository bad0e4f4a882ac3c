"""Rows for who joins: applications that must be declined, verifiers that lie or say nothing, a candidate that votes.

Each is tried at the door, brought by an honest member, and past it, in blocks of a member that leads and executes
them without a rule. Meanwhile an honest home applies, is verified, and becomes a member in the end.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from consensus.codec import decode, encode
from consensus.cryptography import SigningKey, address_of
from consensus.identifiers import Address, Height
from consensus.quorum import fault_bound
from contracts.applicants import Applicant, Standing, Verdict
from contracts.receipts import Status
from contracts.state import Account, account_key, applicant_key
from contracts.state_reading import require
from contracts.transactions import (
    Action,
    GiveVerdict,
    RequestJoin,
    Revocation,
    RevocationReason,
    Revoke,
    sign_transaction,
    transaction_digest,
)
from ledger.checkpoint import CheckpointProof
from node.admission.authority_folder import ISSUING_KEY_NAME, ROOT_KEY_NAME
from node.admission.identity import load_chain, load_key
from node.admission.joining.files import Street as StreetFile
from node.admission.joining.files import read_join_request, write_street
from node.admission.passphrase import read_passphrase_file
from node.cli.sending import NONCE_STEP
from node.home.configuration import load_configuration
from node.home.genesis_file import load_genesis
from node.testnet.folder import AUTHORITY_KEY_FILE_NAME, AUTHORITY_NAME
from tests.faults.applications import APPLICATIONS, Materials, applied, forged_voucher, keys, signed
from tests.faults.books import Books, Decided, fork_height, is_sound, opened
from tests.faults.cases import ADMISSIONS, BEYOND_ADMISSIONS, AdmissionCase
from tests.faults.member_runs import REFUSED, Refusals, refusals_in
from tests.faults.newcomers import plant
from tests.faults.streets import Plan, RunningStreet, make_street, read_diary, started
from tests.faults.table import FELL, UNCHANGED_OR_RISEN, AdmissionRow
from tests.support.new_homes import NewHome, ask_with
from tests.support.testnet import VALID_UNTIL_HEIGHT, Node

HOURS: Final = 24
WINDOW_HOURS: Final = 2
LIAR: Final = 2
DOOR: Final = 3
"""The honest member that brings what strangers deceive it with; the first one brings the honest home's."""

NONE: Final = "none"
Tell = Callable[[str], None]


Rows = list[AdmissionRow]


def admission_rows(n: int, directory: Path, *, only: str, tell: Tell) -> tuple[Rows, Rows]:
    """Runs every behaviour around joining whose name contains `only`, within the bound and beyond it."""
    within = [admission_row(name, n, directory, tell=tell) for name in ADMISSIONS if only in name]
    beyond = [admission_row(name, n, directory, tell=tell, beyond=True) for name in BEYOND_ADMISSIONS if only in name]
    return within, beyond


def admission_row(name: str, n: int, directory: Path, *, tell: Tell, beyond: bool = False) -> AdmissionRow:
    """Runs one behaviour and judges it."""
    case = (BEYOND_ADMISSIONS if beyond else ADMISSIONS)[name]
    plan = Plan(
        n=n,
        liars={} if case.leads is None else {LIAR: case.leads},
        hours=HOURS,
        window_hours=WINDOW_HOURS,
    )
    run = RunningStreet(make_street(directory / f"{'beyond-' * beyond}{name.replace('.', '-')}", plan), plan)
    scene = Scene(run)
    with started(run):
        try:
            (BEYOND if beyond else WITHIN).get(name, _bad_application)(scene, name)
            run.see_that_it_goes_on()
        except (AssertionError, OSError) as error:
            tell(f"{name} at n = {n}: {error}")
        run.stop()
        row = _Judged(name, case, scene).row()
    tell(f"{name} at n = {n}: {'held' if row.held else f'DID NOT HOLD: {row.note}'}")
    return row


@dataclass(frozen=True, kw_only=True)
class _Brought:
    """What somebody tried that the chain must decline, and how it answered."""

    transaction: str
    reason: str


class Scene:
    """A running street and an honest home beside it that wants to join."""

    def __init__(self, run: RunningStreet) -> None:
        self.run = run
        self.street = run.street
        self.n = run.plan.n
        self.spare = fault_bound(self.n)
        """Verifiers that may lie, or say nothing: every member is one. Said here as docs/protocol.md does."""
        self.needed = self.n - self.spare
        self.liars = len(run.plan.liars)
        self.brought: list[_Brought] = []
        self.admitted: list[RequestJoin] = []
        """What may have executed."""
        self.new = NewHome(self.street, "newcomer")

    @cached_property
    def asked(self) -> RequestJoin:
        """The honest home's request, made by the commands with what a member gives once the street has a block."""
        self.run.wait_for(lambda: self.run.statuses()[0]["height"] > 0, "a block")
        member, file = self.street.node(1), self.street.directory / "newcomer.street"
        proof = bytes.fromhex(member.request("/v1/checkpoint").document["proof"])
        given = StreetFile(
            genesis=load_genesis(member.home),
            root=load_chain(member.home.authority_certificate)[0],
            proof=decode(proof, CheckpointProof),
            peers=tuple(load_configuration(member.home.configuration).p2p.peers),
        )
        write_street(file, given)
        return read_join_request(ask_with(self.street, file, self.new, who="the household of newcomer"))

    @property
    def materials(self) -> Materials:
        liar = self.street.node(LIAR)
        return Materials(
            chain=self.street.chain,
            asked=self.asked,
            issuing_key=self.authority_key(ISSUING_KEY_NAME),
            member_key=liar.key,
            meter_key=load_key(liar.home.meter_key),
        )

    def authority_key(self, name: str) -> SigningKey:
        passphrase = read_passphrase_file(self.street.directory / AUTHORITY_KEY_FILE_NAME)
        return load_key(self.street.directory / AUTHORITY_NAME / name, passphrase=passphrase)

    # --- what members say

    def says(self, number: int, action: Action) -> _Brought:
        """Has a member say something over its own node; returns how the chain answered."""
        node = self.street.node(number)
        self.run.wait_for(node.is_ready, f"{node.name} is ready")
        raw = sign_transaction(
            node.key,
            chain=self.street.chain,
            nonce=node.next_nonce() + NONCE_STEP,
            valid_until_height=VALID_UNTIL_HEIGHT,
            action=action,
        )
        reply, name = node.submit(raw), transaction_digest(raw).hex()
        assert reply.status < 400, reply.document

        reasons: list[str] = []

        def is_decided() -> bool:
            with suppress(OSError):  # a machine with more to do than two cores can: asked again
                receipt = node.request(f"/v1/transactions/{name}").document.get("receipt")
                reasons.extend([] if receipt is None else [receipt["reason"]])
            return bool(reasons)

        self.run.wait_for(is_decided, "it is decided")
        return _Brought(transaction=name, reason=reasons[0])

    def brings(self, number: int, asked: RequestJoin) -> None:
        """Has a member bring an application that must execute."""
        self.admitted.append(asked)
        reason = self.says(number, asked).reason
        assert reason == NONE, f"an honest application: {reason}"

    def tries(self, number: int, action: Action) -> None:
        """Has a member bring what must be declined."""
        self.brought.append(self.says(number, action))

    def judged(self, asked: RequestJoin, verdict: Verdict, *numbers: int) -> None:
        """Has verifiers say what they found."""
        for number in numbers:
            reason = self.says(number, verdict_on(asked, verdict)).reason
            assert reason == NONE, f"verdict of {number}: {reason}"

    def leads_with(self, action: RequestJoin | GiveVerdict) -> None:
        """Has the liar propose it in its own blocks until honest members refused one: late ones nobody looks at."""
        planted = plant(self.street.node(LIAR).home.directory, action)
        honest = [self.street.node(number) for number in self.run.plan.honest]

        def is_refused() -> bool:
            return sum(REFUSED in node.log() for node in honest) > fault_bound(self.n)

        try:
            self.run.wait_for(is_refused, "its blocks are refused")
        finally:
            planted.unlink()

    def members_are(self, count: int, *new: Node) -> None:
        def all_count() -> bool:
            nodes = (*(self.street.node(number) for number in self.run.plan.honest), *new)
            return all((status := node.status()) is not None and status["members"] == count for node in nodes)

        self.run.wait_for(all_count, f"{count} members")

    def lets_in(self, *numbers: int) -> None:
        """Has verifiers accept the honest home, and waits until it is a member and everybody knows."""
        self.run.start_home(self.new.home)
        self.judged(self.asked, Verdict.ACCEPT, *numbers)
        self.members_are(self.n + 1, self.new)

    def honest(self, count: int) -> list[int]:
        """Returns the first honest verifiers."""
        return self.run.plan.honest[:count]


def verdict_on(asked: RequestJoin, verdict: Verdict) -> GiveVerdict:
    application = asked.application
    return GiveVerdict(applicant=address_of(application.node_key), number=application.number, verdict=verdict)


# --- within the bound ------------------------------------------------------------------------------------------


def _bad_application(scene: Scene, name: str) -> None:
    scene.brings(1, scene.asked)
    _tried(scene, APPLICATIONS[name](scene.materials))
    scene.lets_in(*scene.honest(scene.needed))


def _tried(scene: Scene, asked: RequestJoin) -> None:
    """At the door, and past it."""
    scene.tries(DOOR, asked)
    scene.leads_with(asked)


def _revoked(scene: Scene, name: str) -> None:
    """A stranger is admitted, the authority revokes its key before it came, and it asks again."""
    node, meter = keys()
    asked = applied(scene.materials, node, meter)
    scene.brings(1, asked)
    scene.judged(asked, Verdict.ACCEPT, *scene.honest(scene.needed))
    revocation = Revocation(
        chain=scene.street.chain, node_key=node.public_key, reason=RevocationReason.KEY_COMPROMISE
    )
    root_key = scene.authority_key(ROOT_KEY_NAME)
    said = scene.says(1, Revoke(revocation=revocation, signature=root_key.sign(encode(revocation))))
    assert said.reason == NONE, said.reason
    scene.brings(1, scene.asked)
    _tried(scene, applied(scene.materials, node, meter, number=asked.application.number + 1))
    scene.lets_in(*scene.honest(scene.needed))


def _refuses(scene: Scene, name: str) -> None:
    """As many verifiers as are spare refuse an honest home, and one of them would have its word count for all."""
    scene.brings(1, scene.asked)
    refusal = verdict_on(scene.asked, Verdict.IDENTITY_WRONG)
    scene.leads_with(refusal)
    liars = range(LIAR, LIAR + scene.spare)
    scene.liars = len(liars)
    scene.judged(scene.asked, Verdict.IDENTITY_WRONG, *liars)
    scene.tries(LIAR, refusal)
    scene.lets_in(*(number for number in range(1, scene.n + 1) if number not in liars))


def _silent(scene: Scene, name: str) -> None:
    """As many verifiers as are spare say nothing."""
    scene.liars = scene.spare
    scene.brings(1, scene.asked)
    scene.lets_in(*scene.honest(scene.needed))


def _votes_early(scene: Scene, name: str) -> None:
    """A home that is admitted takes part before it is a member, and says that it is ready after that."""
    scene.liars = 2
    scene.brings(1, scene.asked)
    scene.run.start_home(scene.new.home, "candidate.votes")
    scene.judged(scene.asked, Verdict.ACCEPT, *scene.honest(scene.needed))

    def has_lied() -> bool:
        return any(event["event"] == "done" for event in read_diary(scene.new.home))

    scene.run.wait_for(has_lied, "it voted as a candidate")
    scene.members_are(scene.n + 1, scene.new)


WITHIN: Final[Mapping[str, Callable[[Scene, str], None]]] = {
    "admission.revoked": _revoked,
    "admission.verifier_refuses_all": _refuses,
    "admission.verifiers_silent": _silent,
    "admission.candidate_votes": _votes_early,
}
"""All others are bad applications."""


# --- beyond it -------------------------------------------------------------------------------------------------


def _refuse_together(scene: Scene, name: str) -> None:
    """A quorum of the verifiers refuses an honest home, which asks again at once."""
    scene.liars = scene.needed
    scene.brings(1, scene.asked)
    scene.judged(scene.asked, Verdict.IDENTITY_WRONG, *range(LIAR, LIAR + scene.needed))
    again = replace(scene.asked.application, number=scene.asked.application.number + 1)
    node, meter = (load_key(key) for key in (scene.new.home.node_key, scene.new.home.meter_key))
    scene.tries(1, signed(again, scene.asked.vouchers, node, meter))


def _silent_together(scene: Scene, name: str) -> None:
    """One more than are spare say nothing: nobody joins, until one of them speaks or the day is over."""
    scene.liars = scene.spare + 1
    scene.brings(1, scene.asked)
    scene.run.start_home(scene.new.home)
    scene.judged(scene.asked, Verdict.ACCEPT, *scene.honest(scene.needed - 1))
    scene.run.see_that_it_goes_on()
    scene.members_are(scene.n)


def _captured(scene: Scene, name: str) -> None:
    """A quorum of the verifiers accepts whoever is theirs: without the authority's word, with it, and once more."""
    captured = range(LIAR, LIAR + scene.needed)
    scene.liars = scene.needed
    forged = forged_voucher(scene.materials)
    scene.tries(LIAR, forged)
    for number in captured:
        scene.tries(number, verdict_on(forged, Verdict.ACCEPT))
    scene.brings(LIAR, scene.asked)
    second = applied(scene.materials, *keys(), person=scene.asked.vouchers.home.person)
    scene.tries(DOOR, second)
    scene.judged(scene.asked, Verdict.IDENTITY_NOT_SHOWN, 1)
    scene.run.start_home(scene.new.home, "validator.votes_against_everything")
    scene.judged(scene.asked, Verdict.ACCEPT, *captured)
    scene.members_are(scene.n + 1)
    scene.tries(DOOR, second)


BEYOND: Final[Mapping[str, Callable[[Scene, str], None]]] = {
    "admission.verifier_refuses_all": _refuse_together,
    "admission.verifiers_silent": _silent_together,
    "admission.panel_captured": _captured,
}


# --- judging ---------------------------------------------------------------------------------------------------


class _Judged:
    """One stopped run."""

    def __init__(self, name: str, case: AdmissionCase, scene: Scene) -> None:
        self.name = name
        self.case = case
        self.scene = scene
        self.run = scene.run
        self.homes = [self.run.street.node(number).home for number in self.run.plan.honest]
        diaries = [self.run.street.node(number).home for number in self.run.plan.liars] + [self.scene.new.home]
        self.lies = [event for home in diaries for event in read_diary(home) if event["event"] == "proposal"]

    def row(self) -> AdmissionRow:
        homes = [*self.homes, self.scene.new.home] if self.case.joins else self.homes
        sound = all(map(is_sound, homes))
        with opened(homes) as books:
            return self._row(books, sound=sound)

    def _row(self, books: Sequence[Books], *, sound: bool) -> AdmissionRow:
        own, refusals = books[0], refusals_in(self.run)
        liars = {self.run.street.node(number).address for number in self.run.plan.liars}
        reasons = tuple(one.reason for one in self.scene.brought)
        standing = self._standing(own)
        before_it_counts = range(1, self._counts_from(own))
        checks = {
            "the ledgers verify": sound,
            "one chain": fork_height(books) is None,
            "declined at the door for the expected reasons": tuple(dict.fromkeys(reasons)) == self._reasons(),
            "every member declined it": all(self._declined(one) for one in books),
            "it moved nothing": all(map(own.moved_nothing, self._tried(own))),
            "lies were told": bool(self.lies) or self.case.leads is None,
            "no vote for them": self._no_votes(own, refusals),
            "nobody else was let in": all(self._as_expected(one) for one in books),
            "what becomes of the home": standing is self.case.standing,
            "it counts from its turn on": not any(self._takes_part(own, Height(at)) for at in before_it_counts),
            "it came with nothing": self._wallet_micro(own) == 0,
            "balances": all(one.wallets_follow_contracts() for one in books),
            "honest scores": not any(own.ever_fell(address) for address in own.members if address not in liars),
            "evidence": not any(own.offences_of(address) for address in (*own.members, self.scene.new.address)),
            "went on": self.run.went_on,
        }
        failed = [what for what, holds in checks.items() if not holds]
        return AdmissionRow(
            behaviour=self.name,
            n=self.run.plan.n,
            liars=self.scene.liars,
            at_the_door=", ".join(dict.fromkeys(reasons)) or NONE,
            past_the_door=self._past_the_door(refusals),
            applicant=standing.value,
            balances_unchanged=checks["balances"] and checks["it moved nothing"],
            honest_scores=UNCHANGED_OR_RISEN if checks["honest scores"] else FELL,
            chain_went_on=self.run.went_on and checks["one chain"],
            note="not: " + ", ".join(failed) if failed else self.case.note,
            held=not failed,
        )

    def _reasons(self) -> tuple[str, ...]:
        return tuple(reason.value for reason in self.case.reasons)

    def _tried(self, books: Books) -> list[Decided]:
        return books.find([one.transaction for one in self.scene.brought])

    def _declined(self, books: Books) -> bool:
        """Says whether all that must be is declined, and nobody's fault."""
        tried = self._tried(books)
        receipts = [one.receipt for one in tried]
        return len(tried) == len(self.scene.brought) and all(
            receipt.status is Status.DECLINED and receipt.fault is None for receipt in receipts
        )

    def _no_votes(self, books: Books, refusals: Refusals) -> bool:
        """Says whether the honest members refused a leader's blocks, for that alone, and none of them stands."""
        if self.case.refusal is None:
            return not refusals.names
        steps = {(event["height"], event["slot"]) for event in self.lies}
        headers = [books.ledger.decided_block(Height(at)).header for at in range(1, books.ledger.height + 1)]
        return (
            len(refusals.names) > fault_bound(self.run.plan.n)
            and refusals.reasons == (self.case.refusal.value,)
            and not any((header.height, header.slot) in steps for header in headers)
        )

    def _as_expected(self, books: Books) -> bool:
        """Says whether the applications that executed are those that had to, and who joined is a member."""
        executed = [
            one.action
            for one in books.decided
            if isinstance(one.action, RequestJoin) and one.receipt.status is Status.EXECUTED
        ]
        members = books.ledger.membership().addresses
        joined = (self.scene.new.address,) if self.case.standing is Standing.JOINED else ()
        return executed == self.scene.admitted and members == (*books.members, *joined)

    def _standing(self, books: Books) -> Standing:
        return require(books.ledger, applicant_key(self.scene.new.address), Applicant).standing

    def _counts_from(self, books: Books) -> int:
        """Returns the first height of which the home is a member; one above the tip if it is of none."""
        heights = range(1, books.ledger.height + 1)
        counted = (at for at in heights if self.scene.new.address in books.ledger.membership_at(Height(at)))
        return next(counted, books.ledger.height + 1)

    def _takes_part(self, books: Books, height: Height) -> bool:
        """Says whether the home led a block, or its COMMIT is in what decided it."""
        certificate = books.ledger.certificate(height)
        signers: set[Address] = {one.signer for one in certificate.endorsements} if certificate else set()
        return self.scene.new.address in {books.ledger.decided_block(height).header.leader, *signers}

    def _wallet_micro(self, books: Books) -> int:
        raw = books.ledger.get(account_key(self.scene.new.address))
        if raw is None:
            return 0
        wallet = require(books.ledger, account_key(self.scene.new.address), Account)
        return wallet.available_micro + wallet.held_micro

    def _past_the_door(self, refusals: Refusals) -> str:
        if self.case.refusal is None:
            return self.case.past_the_door
        return f"{', '.join(refusals.reasons)}: no vote of {len(refusals.names)} honest members"
